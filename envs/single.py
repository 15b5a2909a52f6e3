"""One world alone, as a plain Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs import make_default
from envs.base import Array


class SingleWorld(gymnasium.Env[Array, Array]):
    """The world of configs/env/<world>.yaml with `num_envs=1`, without the leading dimension.

    `info` holds `feat` [F] and, after a step, `unstable`. The batch of one is `batched`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}

    def __init__(self, world: str, *, render_mode: str | None = None, **params: Any) -> None:
        self.batched = make_default(world, render_mode=render_mode, **params)
        self.observation_space = self.batched.single_observation_space
        self.action_space = self.batched.single_action_space
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": self.batched.metadata["render_fps"]}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start a new episode."""
        super().reset(seed=seed)
        obs, info = self.batched.reset(seed=seed)
        return obs[0], {"feat": info["feat"][0]}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Advance by one action inside the action space."""
        obs, rew, terminated, truncated, info = self.batched.step(np.asarray(action)[None])
        told = {"feat": info["feat"][0], "unstable": bool(info["unstable"][0])}
        return obs[0], float(rew[0]), bool(terminated[0]), bool(truncated[0]), told

    def render(self) -> NDArray[np.uint8] | None:
        """A frame [height, width, 3], if built with `render_mode="rgb_array"`."""
        frames = self.batched.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Free the renderers."""
        self.batched.close()
