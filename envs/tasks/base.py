"""What every task family is: N worlds side by side, each told which task of the family it is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.base import Array, World, pack_rng, unpack_rng
from rl.types import State, WorldSpec


class Tasks:
    """Base of all families. A task is a row [D] of float64; a trial is `episodes` episodes of one.

    `reset` and `step` are those of a batched world without auto-reset (envs/base.py): `step`
    returns the true successor, the caller resets by mask. `info["feat"]` [N, F] describes the
    state in task space, `info["unstable"]` [N] marks steps never to be learned from, and
    `info["target"]` [N, A], where a family has it, is the act that was asked for. All chance
    within an episode comes from one generator seeded by `seed`.
    """

    task_names: tuple[str, ...]
    """What each column of a task is; its length is D."""

    task_units: tuple[str, ...]

    baselines: tuple[str, ...] = ()
    """Policies with known answers that fit this family, by their names in meta/known.py."""

    body: bool | None = False
    """Whether the world has joints (envs/base.py); None: as that of the run that proposes them."""

    falls: bool | None = False
    """Whether its world can fall over; None: as that run's."""

    def __init__(
        self,
        *,
        name: str,
        num_envs: int,
        seed: int,
        obs_dim: int,
        action_space: gymnasium.Space[Any],
        episodes: int,
        episode_steps: int,
        feat_names: Sequence[str] = (),
        feat_units: Sequence[str] = (),
    ) -> None:
        if episodes < 1:
            raise ValueError(f"a trial of {episodes} episodes: it must have at least 1")
        self.name = name
        self.num_envs = num_envs
        self.episodes = episodes
        self.episode_steps = episode_steps
        self.single_action_space = action_space
        discrete = isinstance(action_space, gymnasium.spaces.Discrete)
        self.spec = WorldSpec(
            name=name,
            obs_dim=obs_dim,
            act_dim=int(action_space.n) if discrete else int(np.prod(action_space.shape or ())),  # type: ignore[attr-defined]
            discrete=discrete,
            feat_names=tuple(feat_names),
            feat_units=tuple(feat_units),
            max_episode_steps=episode_steps,
        )
        self._rng = np.random.default_rng(seed)
        self.tasks: Array = np.zeros((num_envs, self.task_dim))
        self._steady = np.zeros(num_envs, np.bool_)

    @property
    def task_dim(self) -> int:
        """D, the numbers that tell one task of the family from another."""
        return len(self.task_names)

    def sample(self, n: int, rng: np.random.Generator, held_out: bool) -> Array:
        """Draw n tasks [n, D]. A family of finitely many keeps some for `held_out` alone.

        Families over a continuum ignore `held_out`: two draws never agree. The few whose tasks
        are too few to divide (two directions) say so in their docstring.
        """
        raise NotImplementedError

    def all_tasks(self, held_out: bool) -> Array | None:
        """All tasks that `sample` may draw [m, D], each once; None of a continuum.

        `sample` draws them with equal chances. So they can be tested equally often.
        """
        return None

    def enter(self, tasks: Array) -> None:
        """Put world i into the task tasks[i]; every world must be reset before its next step."""
        tasks = np.asarray(tasks, np.float64)
        if tasks.shape != (self.num_envs, self.task_dim):
            raise ValueError(
                f"{self.name}: tasks of shape {tasks.shape}, want {(self.num_envs, self.task_dim)}"
            )
        self.tasks = tasks.copy()
        self._enter()

    def reset(self, mask: NDArray[np.bool_] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start episodes in all worlds, or where `mask` [N]; returns obs [N, O] float32, info."""
        ids = np.arange(self.num_envs) if mask is None else np.flatnonzero(mask)
        self._begin(ids)
        return self._observe(), {"feat": self._feat()}

    def step(self, act: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """One action each; obs [N, O], rew [N], terminated [N], truncated [N], info."""
        rew, terminated, truncated = self._advance(act)
        info = {"feat": self._feat(), "unstable": self._steady}
        return self._observe(), rew, terminated, truncated, info

    def wait(self) -> bool:
        """Whether rewards wait from now on: steps pay nothing, and `settle` makes up for it.

        So do families where all steps of a round are judged in less time than one by one.
        """
        return False

    def settle(self) -> Array:
        """The rewards [T, N] float32 of the steps since `wait`, which is over then."""
        raise ValueError(f"{self.name} owes no rewards")

    def rewards(self, tasks: Array, feat: Array, next_feat: Array, act: Array) -> Array:
        """What steps [M] from `feat` to `next_feat` would pay, each under its own task [M, D].

        Without what the world itself pays. Raises ValueError in families that pay for more.
        """
        raise ValueError(f"{self.name} does not pay for feats alone")

    def state_dict(self) -> State:
        """Everything a loaded copy needs to go on bit for bit."""
        return {
            "rng": np.array([pack_rng(self._rng)], np.uint64).view(np.int64),
            "tasks": self.tasks.copy(),
            "world": self._save(),
        }

    def load_state_dict(self, state: State) -> None:
        """Undo `state_dict`."""
        self._rng = unpack_rng(np.array(state["rng"]).view(np.uint64)[0])
        self.enter(np.array(state["tasks"]))
        self._load(state["world"])

    def marks(self, act: Array, next_feat: Array) -> dict[str, float]:
        """What else tells how trials went, as means over worlds; `act` [T, N, A], feat [T, N, F].

        Of families whose worlds live through whole trials step by step together. Where several
        worlds make the episodes of one task, each is a trial of its own here.
        """
        return {}

    def learn(self, next_feat: Array, valid: NDArray[np.bool_]) -> dict[str, float]:
        """See where a learner went, [T, N, F] where `valid` [T, N]: curricula follow it.

        Returns numbers to log.
        """
        return {}

    def lessons(self) -> State:
        """What `learn` has made of the family, for another copy to `take`."""
        return {}

    def take(self, lessons: State) -> None:
        """Be the family that these lessons came from."""

    # The hooks. All chance comes from self._rng, in whole arrays.

    def _enter(self) -> None:
        """Make ready what depends on `self.tasks`."""

    def _begin(self, ids: NDArray[np.int64]) -> None:
        """Start an episode in these worlds."""
        raise NotImplementedError

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        """Move on; reward [N], terminated [N] bool, truncated [N] bool."""
        raise NotImplementedError

    def _observe(self) -> Array:
        """The observations [N, O] float32, a fresh array; none of them tells the task."""
        raise NotImplementedError

    def _feat(self) -> Array:
        """The features in task space [N, F] float32, a fresh array."""
        return np.zeros((self.num_envs, 0), np.float32)

    def _save(self) -> State:
        raise NotImplementedError

    def _load(self, state: State) -> None:
        raise NotImplementedError


class Rewarded(Tasks):
    """A family that gives one world many rewards: tasks differ in `_reward`, not in dynamics.

    The world is any of envs/; its own reward is what `_reward` is handed as `own`.
    """

    def __init__(self, world: World, *, name: str, seed: int, episodes: int) -> None:
        spec = world.world_spec
        super().__init__(
            name=name,
            num_envs=world.num_envs,
            seed=seed,
            obs_dim=spec.obs_dim,
            action_space=world.single_action_space,
            episodes=episodes,
            episode_steps=world.max_episode_steps,
            feat_names=spec.feat_names,
            feat_units=spec.feat_units,
        )
        self.spec = replace(self.spec, motion=spec.motion, plane=spec.plane)
        self.world = world
        self._now: Array = world.reset(seed=seed)[1]["feat"]

    def reset(self, mask: NDArray[np.bool_] | None = None) -> tuple[Array, dict[str, Any]]:
        options = None if mask is None else {"reset_mask": mask}
        obs, info = self.world.reset(options=options)
        self._now = info["feat"]
        return obs, {"feat": self._now}

    def step(self, act: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        before = self._now
        obs, own, terminated, truncated, info = self.world.step(act)
        self._now = info["feat"]
        rew = np.where(info["unstable"], 0.0, self._reward(before, self._now, act, own))
        reached = self._reached(self._now) & ~truncated
        return obs, rew, terminated | reached, truncated, info

    def _reward(self, feat: Array, next_feat: Array, act: Array, own: Array) -> Array:
        """The reward [N] of a step under `self.tasks`; act is in the world's own units."""
        raise NotImplementedError

    def rewards(self, tasks: Array, feat: Array, next_feat: Array, act: Array) -> Array:
        held, self.tasks = self.tasks, np.asarray(tasks, np.float64)
        try:
            return self._reward(feat, next_feat, act, np.zeros(len(feat)))
        finally:
            self.tasks = held

    def _reached(self, feat: Array) -> Array:
        """Where the task is over [N] bool."""
        return np.zeros(self.num_envs, np.bool_)

    def _save(self) -> State:
        return {"world": self.world.state_dict(), "feat": self._now.copy()}

    def _load(self, state: State) -> None:
        self.world.load_state_dict(state["world"])
        self._now = np.array(state["feat"])
