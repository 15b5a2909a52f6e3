"""Task-space features that bodies of one kind share, read off the root joint."""

from __future__ import annotations

import numpy as np

from envs.base import Array
from envs.mujoco import MujocoWorld

PLANAR = ("x", "x_velocity", "x_velocity_1s", "height", "pitch")

_TRAVEL = ("x", "y", "x_velocity", "y_velocity", "x_velocity_1s", "y_velocity_1s")
_TRAVEL_UNITS = ("m", "m", "m/s", "m/s", "m/s over the past second", "m/s over the past second")

FLAT = (*_TRAVEL, "yaw")
FLAT_UNITS = (*_TRAVEL_UNITS, "rad, turns counted")

FREE = (*_TRAVEL, "height", "upright", "yaw")
FREE_UNITS = (*_TRAVEL_UNITS, "m", "cosine of the tilt", "rad")


def planar(world: MujocoWorld) -> Array:
    """PLANAR, [N, 5] float32: a body on rails in the x-z plane (qpos: x, z, pitch, ...)."""
    feat = np.empty((world.num_envs, 5), np.float32)
    feat[:, 0] = world.qpos[:, 0]
    feat[:, 1] = world.speed[:, 0]
    feat[:, 2] = world.pace()[:, 0]
    feat[:, 3:] = world.qpos[:, 1:3]
    return feat


def planar_units(height: str) -> tuple[str, ...]:
    """Units of PLANAR; where its height is measured from differs between models."""
    return ("m", "m/s", "m/s over the past second", height, "rad")


def flat(world: MujocoWorld) -> Array:
    """FLAT, [N, 7] float32: a body in the x-y plane (qpos: x, y, yaw, ...)."""
    feat = np.empty((world.num_envs, 7), np.float32)
    feat[:, :2] = world.qpos[:, :2]
    feat[:, 2:4] = world.speed
    feat[:, 4:6] = world.pace()
    feat[:, 6] = world.qpos[:, 2]
    return feat


def free(world: MujocoWorld) -> Array:
    """FREE, [N, 9] float32: a body with a free joint (qpos: x, y, z, quaternion, ...)."""
    a, b, c, d = world.qpos[:, 3:7].T
    norm = a * a + b * b + c * c + d * d  # not 1 at the start: the noise is added to it too
    feat = np.empty((world.num_envs, 9), np.float32)
    feat[:, :2] = world.qpos[:, :2]
    feat[:, 2:4] = world.speed
    feat[:, 4:6] = world.pace()
    feat[:, 6] = world.qpos[:, 2]
    feat[:, 7] = 1.0 - 2.0 * (b * b + c * c) / norm
    feat[:, 8] = np.arctan2(2.0 * (a * d + b * c), a * a + b * b - c * c - d * d)
    return feat
