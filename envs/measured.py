"""Where MuJoCo has a body whose environment tells its place with steps alone, not after a reset."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from envs.base import Array

MEASURED = {  # what Gymnasium's locomotion tasks report beside the observation
    "x_position": ("x", "m"),
    "y_position": ("y", "m"),
    "x_velocity": ("x_velocity", "m/s"),
    "y_velocity": ("y_velocity", "m/s"),
}
_NEAR = 1e-3  # m: places that agree so well are the same


def is_number(value: Any) -> bool:
    """Whether a value of an info is one plain number."""
    return np.ndim(value) == 0 and np.asarray(value).dtype.kind in "biuf"


def places(env: gymnasium.Env[Any, Any]) -> Array:
    """Where MuJoCo has the body: its root joint and its centre of mass, each x and y, [2, 2]."""
    mujoco = sys.modules.get("mujoco")
    data = getattr(env.unwrapped, "data", None)
    if mujoco is None or not isinstance(data, mujoco.MjData) or len(data.qpos) < 2:
        return np.full((2, 2), np.nan)
    masses = data.model.body_mass
    centre = masses @ data.xipos[:, :2] / max(masses.sum(), 1e-9)
    return np.stack([np.array(data.qpos[:2]), centre])


def source(
    env: gymnasium.Env[Any, Any],
    key: str,
    told: float,
    start: Array,
    end: Array,
    known: Mapping[str, tuple[int, int]],
) -> tuple[int, int] | None:
    """Which of `places` a measurement that comes with steps alone is, or moves with; or None."""
    axis = "xy".index(key[0])
    if "position" in key:
        fits = [k for k in range(2) if abs(end[k, axis] - told) < _NEAR]
        return (fits[0], axis) if fits else None
    dt = getattr(env.unwrapped, "dt", None)
    if not isinstance(dt, float):
        return None
    which = known.get(f"{key[0]}_position")
    rows = range(2) if which is None else [which[0]]
    moved = [end[k, axis] - start[k, axis] for k in rows]
    fits = [k for k, way in zip(rows, moved, strict=True) if abs(told * dt - way) < _NEAR]
    return (fits[0], axis) if fits else None
