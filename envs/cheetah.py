"""A planar half-cheetah that may run forward or backward; Gymnasium's HalfCheetah-v5."""

from __future__ import annotations

import gymnasium.envs.mujoco
import mujoco
import numpy as np

from envs.base import Array
from envs.mujoco import MujocoWorld

__all__ = ["HalfCheetah"]


class HalfCheetah(MujocoWorld):
    """Obs [17]: qpos without x, qvel. Reward: forward speed - 0.1 |act|^2. Never terminates."""

    feat_names = ("x", "x_velocity", "x_velocity_1s", "height", "pitch")
    feat_units = ("m", "m/s", "m/s over the past second", "m above the start pose", "rad")
    motion = ("x_velocity_1s",)
    plane = ("x", "height")

    def __init__(
        self, *, num_envs: int, max_episode_steps: int, threads: int, render_mode: str | None = None
    ) -> None:
        path = f"{gymnasium.envs.mujoco.__path__[0]}/assets/half_cheetah.xml"
        super().__init__(
            name="cheetah",
            model=mujoco.MjModel.from_xml_path(path),
            num_envs=num_envs,
            obs_dim=17,
            frame_skip=5,
            max_episode_steps=max_episode_steps,
            threads=threads,
            render_mode=render_mode,
        )
        self._speed = np.zeros(num_envs)

    def _start(self, rng: np.random.Generator) -> tuple[Array, Array]:
        qpos = self.model.qpos0 + rng.uniform(-0.1, 0.1, self.model.nq)
        return qpos, 0.1 * rng.standard_normal(self.model.nv)

    def _begin(self, ids: Array) -> None:
        super()._begin(ids)
        self._speed[ids] = 0.0

    def _outcome(self, act: Array, qpos_before: Array) -> tuple[Array, Array]:
        self._speed = (self.qpos[:, 0] - qpos_before[:, 0]) / self.dt
        rew = self._speed - 0.1 * np.square(act).sum(1)
        return rew, np.zeros(self.num_envs, np.bool_)

    def _observe(self) -> Array:
        return np.concatenate([self.qpos[:, 1:], self.qvel], 1, dtype=np.float32)

    def _feat(self) -> Array:
        x, height, pitch = self.qpos[:, :3].T
        mean = self._trail.velocity()[:, 0]
        return np.stack([x, self._speed, mean, height, pitch], 1).astype(np.float32)
