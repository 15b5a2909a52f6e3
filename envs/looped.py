"""Worlds made of N separate environments, stepped one after the other in Python.

The state of such a world is the seed of its episode and the actions since: loading replays them.
That needs no knowledge of the environment's insides, and is exact for every one that is a function
of its seed and actions; one found not to be is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from envs.base import Array, World
from rl.types import State

_FRAME = 256  # pixels of a kept frame's longer side: an episode of them must fit in memory


@dataclass(frozen=True)
class Outcome:
    """What one environment said: after a reset (the defaults), or after a step."""

    obs: Array  # [O]
    feat: Array  # [F]
    rew: float = 0.0
    terminated: bool = False
    truncated: bool = False
    unstable: bool = False


class LoopedWorld(World):
    """A subclass sets the feats' names and fills `_reset_one`, `_step_one` and `_frame`.

    Frames can be had only with `render_mode="rgb_array"`, and only of now: `snapshot` draws them.
    """

    def __init__(
        self,
        *,
        name: str,
        num_envs: int,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        max_episode_steps: int,
        render_fps: int,
        render_mode: str | None,
    ) -> None:
        super().__init__(
            name=name,
            num_envs=num_envs,
            observation_space=observation_space,
            action_space=action_space,
            max_episode_steps=max_episode_steps,
            render_fps=render_fps,
            render_mode=render_mode,
        )
        self._obs = np.zeros((num_envs, *(observation_space.shape or ())), np.float32)
        self._feats = np.zeros((num_envs, len(self.feat_names)), np.float32)
        self._seeds = np.zeros(num_envs, np.int64)
        self._given: list[int | None] = []  # seeds of the episodes about to begin
        self._acts: list[list[Array]] = [[] for _ in range(num_envs)]

    def _reseed(self, ids: NDArray[np.int64], seed: int | Sequence[int | None] | None) -> None:
        # The first episode after a seed is the one that the environment itself would give.
        super()._reseed(ids, seed)
        if isinstance(seed, int | np.integer):
            seed = [int(seed) + i for i in range(self.num_envs)]
        self._given = [None] * self.num_envs if seed is None else list(seed)

    def _begin(self, ids: NDArray[np.int64]) -> None:
        for i in ids.tolist():
            given, drawn = self._given[i], int(self._rngs[i].integers(2**31))
            self._seeds[i] = drawn if given is None else given
            self._restart(i)

    def _restart(self, i: int) -> None:
        first = self._reset_one(i, int(self._seeds[i]))
        self._obs[i], self._feats[i], self._acts[i] = first.obs, first.feat, []

    def _replay(self, i: int, act: Array) -> Outcome:
        self._acts[i].append(act)
        after = self._step_one(i, act)
        self._obs[i], self._feats[i] = after.obs, after.feat
        return after

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        said = [self._replay(i, a) for i, a in enumerate(np.array(act))]
        truncated = np.array([s.truncated for s in said])
        # The base class truncates what has reached its limit: let those be the environment's too.
        self._age[truncated] = self.max_episode_steps - 1
        return (
            np.array([s.rew for s in said]),
            np.array([s.terminated for s in said]),
            np.array([s.unstable for s in said]),
        )

    def _observe(self) -> Array:
        return self._obs.copy()

    def _feat(self) -> Array:
        return self._feats.copy()

    def _save(self) -> State:
        space = self.single_action_space
        longest = max(map(len, self._acts))
        act = np.zeros((self.num_envs, longest, *(space.shape or ())), space.dtype)
        for i, acts in enumerate(self._acts):
            if acts:  # before its first step a world has none, and [] has no width
                act[i, : len(acts)] = acts
        return {"seeds": self._seeds.copy(), "acts": act, "obs": self._obs.copy()}

    def _load(self, state: State) -> None:
        self._seeds = np.array(state["seeds"], np.int64)
        for i in np.flatnonzero(~self._ended).tolist():  # those that ended start anew anyway
            self._restart(i)
            for act in np.asarray(state["acts"])[i, : self._age[i]]:
                self._replay(i, act)
            if not np.array_equal(self._obs[i], np.asarray(state["obs"])[i]):
                raise ValueError(
                    f"world {i} of env={self.name} cannot be resumed: the same seed and actions "
                    "led elsewhere; it is not deterministic, or this is another version of it"
                )

    def snapshot(self) -> Array:
        """Frames [N, h * w * 3] uint8, at most 256 pixels wide or high."""
        if self.render_mode != "rgb_array":
            raise ValueError('this world draws frames only if built with render_mode="rgb_array"')
        frames = []
        for i in range(self.num_envs):
            image = Image.fromarray(np.asarray(self._frame(i), np.uint8))
            image.thumbnail((_FRAME, _FRAME), Image.Resampling.BOX)
            frames.append(np.asarray(image))
        self._frame_shape = frames[0].shape
        return np.stack(frames).reshape(self.num_envs, -1)

    def draw(self, row: Array, width: int, height: int) -> NDArray[np.uint8]:
        """One row of `snapshot()` as a picture [height, width, 3]."""
        frame = Image.fromarray(row.reshape(self._frame_shape))
        return np.asarray(frame.resize((width, height), Image.Resampling.BILINEAR), np.uint8)

    # The hooks.

    def _reset_one(self, i: int, seed: int) -> Outcome:
        """Start the episode of environment i that `seed` alone decides."""
        raise NotImplementedError

    def _step_one(self, i: int, act: Array) -> Outcome:
        """Step environment i by an element of the single action space."""
        raise NotImplementedError

    def _frame(self, i: int) -> NDArray[np.uint8]:
        """A picture [h, w, 3] of environment i."""
        raise NotImplementedError
