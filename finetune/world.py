"""A world that pays a task's reward, and counts every step that is taken in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from envs.base import World
from finetune.task.base import Array, Task
from logbook.errors import UserError
from rl.types import State, WorldSpec

_LARGEST = float(np.finfo(np.float32).max)


class TaskWorld:
    """The batched world `inner` with a `task`: its reward, its endings, what it shows behind obs.

    `taken` counts env steps over all N worlds; `solved` [N] says which episodes met success.
    """

    def __init__(self, inner: World, task: Task) -> None:
        self.inner, self.task = inner, task
        inner.places = task.places
        self.num_envs = inner.num_envs
        self.single_action_space = inner.single_action_space
        self.taken = 0
        self.solved = np.zeros(inner.num_envs, np.bool_)
        self._feat = np.zeros((inner.num_envs, len(inner.feat_names)), np.float32)
        self._memory = task.begin(inner.num_envs)

    @property
    def world_spec(self) -> WorldSpec:
        """The inner world's, with what the task shows behind obs."""
        spec = self.inner.world_spec
        return replace(spec, obs_dim=spec.obs_dim + self.task.width)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Array, dict[str, Any]]:
        """Start new episodes in all worlds, or in those of `options["reset_mask"]`."""
        obs, info = self.inner.reset(seed=seed, options=options)
        mask = np.ones(self.num_envs, np.bool_)
        if options is not None and "reset_mask" in options:
            mask = np.asarray(options["reset_mask"], np.bool_)
        self._feat = np.array(info["feat"])
        self._memory[mask] = self.task.begin(int(mask.sum()))
        self.solved[mask] = False
        return self._shown(obs), info

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Advance all worlds by one action each; `info["success"]` [N] is this step's."""
        obs, rew, terminated, truncated, info = self.inner.step(actions)
        self.taken += self.num_envs
        valid = ~info["unstable"]
        paid, success, memory = self._judged(info["feat"], self._acts(actions), rew)
        paid, success = np.where(valid, paid, 0.0), success & valid
        if not np.abs(paid).max(initial=0.0) <= _LARGEST:
            raise ValueError(
                f"task.reward: {self.task.title} pays {paid[np.abs(paid).argmax()]:.3g}, and "
                f"{_LARGEST:.2g} is the most that can be learned from: bound it, such as with clip"
            )
        self._memory = np.where(valid[:, None], memory, self._memory)
        self._feat = np.array(info["feat"])
        self.solved |= success
        if self.task.ends:
            terminated = terminated | success
            truncated = truncated & ~terminated
        return self._shown(obs), paid, terminated, truncated, {**info, "success": success}

    def _judged(self, feat: Array, acts: Array, rew: Array) -> tuple[Array, Array, Array]:
        """What the task says of a step. Raises UserError if it is no reward, success and memory."""
        try:
            paid, success, memory = self.task.judge(self._feat, feat, acts, rew, self._memory)
            said = np.asarray(paid, np.float64), np.asarray(success, np.bool_), np.asarray(memory)
        except (Exception, SystemExit) as e:  # a task of somebody's own may raise anything
            if isinstance(e, UserError) or str(e).startswith("task."):  # a formula's own words
                raise
            raise UserError(f"task={self.task.title}: judge: {type(e).__name__}: {e}") from e
        for what, got, want in zip(
            ("a reward", "a success", "a memory"),
            said,
            (rew.shape, rew.shape, self._memory.shape),
            strict=True,
        ):
            if got.shape != want:
                raise UserError(
                    f"task={self.task.title}: judge gives {what} of shape {got.shape}, want {want}"
                )
        return said

    def _acts(self, actions: Array) -> Array:
        """What the world was given, [N, A]; one-hot if discrete."""
        space = self.single_action_space
        if hasattr(space, "n"):
            return np.eye(int(space.n))[np.asarray(actions) - getattr(space, "start", 0)]
        return np.asarray(actions, np.float64).reshape(self.num_envs, -1)

    def _shown(self, obs: Array) -> Array:
        if not self.task.width:
            return obs
        return np.concatenate([obs, self.task.show(self._feat, self._memory)], 1)

    def snapshot(self) -> Array:
        """What `draw` needs to know of each world, [N, S]."""
        return self.inner.snapshot()

    def draw(self, row: Array, width: int, height: int) -> Array:
        """A picture [height, width, 3] of one row of `snapshot()`."""
        return self.inner.draw(row, width, height)

    @property
    def metadata(self) -> dict[str, Any]:
        """The inner world's."""
        return self.inner.metadata

    def close(self) -> None:
        """Free the renderers."""
        self.inner.close()

    def state_dict(self) -> State:
        """The complete state of every world, and of the task in it."""
        return {
            "inner": self.inner.state_dict(),
            "taken": self.taken,
            "solved": self.solved.copy(),
            "feat": self._feat.copy(),
            "memory": self._memory.copy(),
        }

    def load_state_dict(self, state: State) -> None:
        """Undo `state_dict`."""
        self.inner.load_state_dict(state["inner"])
        own = {"solved": self.solved, "feat": self._feat, "memory": self._memory}
        for key, now in own.items():
            if np.shape(state[key]) != now.shape:
                raise ValueError(f"{key} has shape {np.shape(state[key])}, not {now.shape}")
        self.taken = int(state["taken"])
        self.solved = np.array(state["solved"], np.bool_)
        self._feat = np.array(state["feat"])
        self._memory = np.array(state["memory"], np.float32)
