"""Worlds made of N separate environments, stepped one after the other in Python.

The state of such a world is the seed of its episode and the actions since: loading replays them.
That needs no knowledge of the environment's insides, and is exact for every one that is a function
of its seed and actions. One that is led elsewhere, or fails on the way, has lost its episode: its
next step is none, is not to be learned from, and ends it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from envs.base import Array, World, WorldError
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
        label: str,
        num_envs: int,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        max_episode_steps: int,
        render_fps: int,
        render_mode: str | None,
    ) -> None:
        """`label` names the environment in what is said of it, as one types it: env.id=Ant-v5."""
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
        self._label = label
        self._asleep: State | None = None  # what is known of environments that had to be closed
        self._traces = [0] * num_envs  # a checksum of all that each episode has shown so far

    def _reseed(self, ids: NDArray[np.int64], seed: int | Sequence[int | None] | None) -> None:
        # The first episode after a seed is the one that the environment itself would give.
        super()._reseed(ids, seed)
        if isinstance(seed, int | np.integer):
            seed = [int(seed) + i for i in range(self.num_envs)]
        self._given = [None] * self.num_envs if seed is None else list(seed)

    def suspend(self) -> None:
        """Close the environments until the next use, which leads each back to where it stood."""
        if self._asleep is None:
            self._asleep = self._save()
            self._shut()

    def _reopen(self) -> None:
        self._make_way()  # it was closed for others
        try:
            self._open()
        except ValueError as e:
            raise WorldError(str(e)) from e

    def _wake(self) -> None:
        if self._asleep is not None:
            self._reopen()
            state, self._asleep = self._asleep, None
            self._load(state)

    def _begin(self, ids: NDArray[np.int64]) -> None:
        self._wake()
        self.lost[ids] = False
        for i in ids.tolist():
            given, drawn = self._given[i], int(self._rngs[i].integers(2**31))
            self._seeds[i] = drawn if given is None else given
            self._restart(i)

    def _restart(self, i: int) -> None:
        first = self._reset_one(i, int(self._seeds[i]))
        with np.errstate(over="ignore"):
            obs, feat = first.obs.astype(np.float32), first.feat.astype(np.float32)
        if obs.shape != self._obs[i].shape:
            raise WorldError(
                f"{self._label}: after a reset obs has shape {obs.shape}, its space has "
                f"{self._obs[i].shape}"
            )
        named = [f"obs[{k}]" for k in range(len(obs))] if obs.ndim == 1 else []
        _refuse(self._label, named, first.obs, obs)
        _refuse(self._label, list(self.feat_names), first.feat, feat)
        self._obs[i], self._feats[i], self._acts[i], self._traces[i] = obs, feat, [], 0
        self._trace(i, first)

    def _replay(self, i: int, act: Array) -> Outcome:
        self._acts[i].append(act)
        after = self._step_one(i, act)
        with np.errstate(over="ignore", invalid="ignore"):
            obs, feat = after.obs.astype(np.float32), after.feat.astype(np.float32)
            rew = np.float32(after.rew)
        if obs.shape != self._obs[i].shape:
            raise WorldError(
                f"{self._label}: after a step obs has shape {obs.shape}, its space has "
                f"{self._obs[i].shape}"
            )
        if not (np.isfinite(obs).all() and np.isfinite(feat).all() and np.isfinite(rew)):
            after = replace(after, unstable=True)
            self.trouble = self.trouble or self._wrong(i, after, obs, feat)
        if not after.unstable:
            self._obs[i], self._feats[i] = obs, feat
        self._trace(i, after)
        return after

    def _wrong(self, i: int, said: Outcome, obs: Array, feat: Array) -> str:
        """What of a step of world i is no finite float32."""
        names = [*(f"obs[{k}]" for k in range(obs.size)), *self.feat_names, "the reward"]
        told = np.concatenate([said.obs.ravel(), said.feat, [said.rew]])
        with np.errstate(over="ignore"):
            kept = np.concatenate([obs.ravel(), feat, [np.float32(said.rew)]])
        k = int(np.flatnonzero(~np.isfinite(kept))[0])
        return f"{names[k]} was {told[k]:g} after {len(self._acts[i])} steps of an episode"

    def _trace(self, i: int, said: Outcome) -> None:
        ends = np.array([said.rew, said.terminated, said.truncated], np.float64)
        for part in (self._obs[i], self._feats[i], ends):
            self._traces[i] = zlib.crc32(part.tobytes(), self._traces[i])

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        self._wake()
        said = [
            self._gone(i) if self.lost[i] else self._replay(i, a)
            for i, a in enumerate(np.array(act))
        ]
        truncated = np.array([s.truncated for s in said])
        # The base class truncates what has reached its limit: let those be the environment's too.
        self._age[truncated] = self.max_episode_steps - 1
        return (
            np.array([s.rew for s in said]),
            np.array([s.terminated for s in said]),
            np.array([s.unstable for s in said]),
        )

    def _gone(self, i: int) -> Outcome:
        """What a world whose episode is lost says of a step: nothing new."""
        return Outcome(self._obs[i], self._feats[i], unstable=True)

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
        return {
            "seeds": self._seeds.copy(),
            "acts": act,
            "obs": self._obs.copy(),
            "traces": np.array(self._traces, np.int64),
        }

    def _load(self, state: State) -> None:
        if self._asleep is not None:
            self._reopen()
            self._asleep = None
        self._seeds = np.array(state["seeds"], np.int64)
        self.lost[:] = False
        for i in np.flatnonzero(~self._ended).tolist():  # those that ended start anew anyway
            if not self._led_back(i, state):
                self.lost[i], self._traces[i] = True, -1
                self.anew += 1
                self._obs[i] = state["obs"][i]

    def _led_back(self, i: int, state: State) -> bool:
        """Whether the seed and the actions of world i's episode lead to where it was saved."""
        try:
            self._restart(i)
            for act in np.asarray(state["acts"])[i, : self._age[i]]:
                after = self._replay(i, act)
                if after.terminated or after.truncated or after.unstable:
                    return False
        except WorldError:
            return False
        if "traces" in state:
            return self._traces[i] == int(state["traces"][i])
        return np.array_equal(self._obs[i], np.asarray(state["obs"])[i])

    def snapshot(self) -> Array:
        """Frames [N, h * w * 3] uint8, at most 256 pixels wide or high."""
        if self.render_mode != "rgb_array":
            raise ValueError('this world draws frames only if built with render_mode="rgb_array"')
        self._wake()
        frames = []
        for i in range(self.num_envs):
            image = Image.fromarray(as_frame(self._frame(i)))
            image.thumbnail((_FRAME, _FRAME), Image.Resampling.BOX)
            frames.append(np.asarray(image))
        self._frame_shape = frames[0].shape
        return np.stack(frames).reshape(self.num_envs, -1)

    def draw(self, row: Array, width: int, height: int) -> NDArray[np.uint8]:
        """One row of `snapshot()` as a picture [height, width, 3]."""
        frame = Image.fromarray(row.reshape(self._frame_shape))
        return np.asarray(frame.resize((width, height), Image.Resampling.BILINEAR), np.uint8)

    # The hooks.

    def _make_way(self) -> bool:
        """Close the other open worlds of this environment; whether there were any."""
        return False

    def _open(self) -> None:
        """Make the environments anew, after `_shut`."""
        raise NotImplementedError

    def _shut(self) -> None:
        """Close the environments."""
        raise NotImplementedError

    def _reset_one(self, i: int, seed: int) -> Outcome:
        """Start the episode of environment i that `seed` alone decides."""
        raise NotImplementedError

    def _step_one(self, i: int, act: Array) -> Outcome:
        """Step environment i by an element of the single action space."""
        raise NotImplementedError

    def _frame(self, i: int) -> Any:
        """A picture of environment i, as `as_frame` takes it."""
        raise NotImplementedError


def as_frame(said: Any) -> NDArray[np.uint8]:
    """What an environment's `render` gave as a picture [h, w, 3] of 0 to 255.

    Floats in [0, 1] are shares of white. Grey, transparent and channels-first pictures and lists of
    frames, of which the last counts, are taken too. Raises ValueError for all else.
    """
    if isinstance(said, list | tuple) and len(said) and np.ndim(said[-1]) >= 2:
        said = said[-1]
    frame = np.asarray(said)
    if frame.dtype.kind not in "fiub" or frame.ndim not in (2, 3) or not frame.size:
        shown = type(said).__name__ if frame.dtype.kind not in "fiub" else f"shape {frame.shape}"
        raise ValueError(f"render() gave {shown}, want a picture [height, width, 3]")
    if not np.isfinite(frame).any():
        raise ValueError("render() gave NaN everywhere, want a picture [height, width, 3]")
    if frame.ndim == 2:
        frame = frame[..., None]
    if frame.shape[-1] not in (1, 3, 4) and frame.shape[0] in (1, 3, 4):
        frame = np.moveaxis(frame, 0, -1)
    if frame.shape[-1] not in (1, 3, 4):
        raise ValueError(f"render() gave shape {frame.shape}, want a picture [height, width, 3]")
    frame = frame[..., :3] if frame.shape[-1] > 1 else np.repeat(frame, 3, -1)
    if frame.dtype.kind == "b" or (frame.dtype.kind == "f" and np.nanmax(frame, initial=0) <= 1):
        frame = frame * 255.0
    return np.nan_to_num(frame).clip(0, 255).round().astype(np.uint8)


def _refuse(label: str, names: Sequence[str], told: Array, kept: Array) -> None:
    """Raise WorldError for an entry that is no float32 number: no episode can begin with it."""
    bad = np.flatnonzero(~np.isfinite(kept))
    if len(bad):
        k = int(bad[0])
        name = names[k] if k < len(names) else f"obs entry {k}"
        beyond = ", beyond float32" if np.isfinite(told.ravel()[k]) else ""
        more = f", and {len(bad) - 1} more such entries" if len(bad) > 1 else ""
        raise WorldError(
            f"{label}: after a reset {name} is {told.ravel()[k]:g}{beyond}{more}; an episode must "
            "begin with finite numbers"
        )
