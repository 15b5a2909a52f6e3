"""What every world is: a batch of N worlds behind Gymnasium's VectorEnv, without auto-reset.

`step` returns the true successor of every world, also of those that ended; the caller resets them
with `reset(options={"reset_mask": mask})`. `info["feat"]` [N, F] float32 describes the returned
observations in task space; `info["unstable"]` [N] bool marks worlds whose physics diverged in
this step, or whose observation, feats or reward are no numbers that float32 holds: they come back
truncated, with their last good observation and feats and zero reward, and the transition must not
be learned from. An episode that begins with no number raises WorldError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rl.types import State, WorldSpec

Array = NDArray[Any]
_WORD = (1 << 64) - 1
_LARGEST = float(np.finfo(np.float32).max)  # of what learners can be shown and paid


class WorldError(Exception):
    """A world cannot go on: the text says in one line which, where and why."""

    one_line = True  # a person needs no traceback of ours


def _fine(x: Array) -> bool:
    """Whether float32 holds all of it."""
    return bool(np.abs(x).max(initial=0) <= _LARGEST)


def pack_rng(rng: np.random.Generator) -> list[int]:
    """A PCG64 generator as six 64-bit words."""
    state = rng.bit_generator.state
    place, stream = state["state"]["state"], state["state"]["inc"]
    halves = [place >> 64, place & _WORD, stream >> 64, stream & _WORD]
    return [*halves, state["has_uint32"], state["uinteger"]]


def unpack_rng(words: Array) -> np.random.Generator:
    """Undo `pack_rng`."""
    a, b, c, d, has, left = (int(w) for w in words)
    bits = np.random.PCG64(0)
    bits.state = {
        "bit_generator": "PCG64",
        "state": {"state": a << 64 | b, "inc": c << 64 | d},
        "has_uint32": has,
        "uinteger": left,
    }
    return np.random.Generator(bits)


class World(VectorEnv[Array, Array, Array]):
    """Base of all worlds. A subclass states its feats and fills the five hooks at the bottom.

    `reset(seed=s)` seeds world i with s + i, as Gymnasium's vector environments do; every world
    draws from its own generator, so a world's course does not depend on its neighbours.
    """

    feat_names: tuple[str, ...]
    feat_units: tuple[str, ...]
    motion: tuple[str, ...] = ()
    plane: tuple[str, ...] = ()
    body: bool = True  # it has joints: stage 2 scales its obs, and takes other settings (configs)
    falls: bool = False  # it can fall over, and a fall is the end
    remarks: tuple[str, ...] = ()  # what to know before training in it, a line each

    def __init__(
        self,
        *,
        name: str,
        num_envs: int,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        max_episode_steps: int,
        render_fps: int = 25,
        render_mode: str | None = None,
    ) -> None:
        self.name = name
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.render_mode = render_mode
        self.single_observation_space = observation_space
        self.single_action_space = action_space
        self.observation_space = batch_space(observation_space, num_envs)
        self.action_space = batch_space(action_space, num_envs)
        self.metadata = {
            "autoreset_mode": AutoresetMode.DISABLED,
            "render_modes": ["rgb_array"],
            "render_fps": render_fps,
        }
        self.lost = np.zeros(num_envs, np.bool_)  # episodes that a loaded world could not take up
        self.trouble = ""  # what was wrong with the first step that could not be used, if known
        self.anew = 0  # episodes that could not be taken up since construction
        self.unstable = 0  # worlds ended by a physics divergence since construction
        self._age: NDArray[np.int64] = np.zeros(num_envs, np.int64)
        self._ended: NDArray[np.bool_] = np.ones(num_envs, np.bool_)  # must be reset before a step
        self._rngs: list[np.random.Generator] = []
        self._seen: tuple[Array, Array] | None = None  # the last observations and feats returned
        self.places: Array = np.zeros((0, 3))  # x, y, radius, m: for `draw` to mark, where it can

    @property
    def world_spec(self) -> WorldSpec:
        """Sizes and names, for learners."""
        space = self.single_action_space
        discrete = isinstance(space, gymnasium.spaces.Discrete)
        return WorldSpec(
            name=self.name,
            obs_dim=int(np.prod(self.single_observation_space.shape or ())),
            act_dim=int(space.n) if discrete else int(np.prod(space.shape or ())),  # type: ignore[attr-defined]
            discrete=discrete,
            feat_names=self.feat_names,
            feat_units=self.feat_units,
            motion=self.motion,
            plane=self.plane,
            max_episode_steps=self.max_episode_steps,
        )

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start new episodes in all worlds, or in those of `options["reset_mask"]` [N] bool.

        Returns the observations and feats of all N worlds. A seed reseeds only the worlds that
        are reset; None leaves their generators where they are.
        """
        mask = np.ones(self.num_envs, np.bool_)
        if options is not None and "reset_mask" in options:
            mask = np.asarray(options["reset_mask"], np.bool_)
            if mask.shape != (self.num_envs,):
                raise ValueError(f"reset_mask has shape {mask.shape}, want ({self.num_envs},)")
        ids = np.flatnonzero(mask)
        self._reseed(ids, seed)
        if len(ids):
            self._begin(ids)
            self._age[ids] = 0
            self._ended[ids] = False
        obs, feat = self._observe(), self._feat()
        if not (_fine(obs) and _fine(feat)):
            names, told, bad = self._entries(obs[ids], feat[ids], np.zeros(len(ids)))
            for i, k in np.argwhere(bad)[:1]:
                raise WorldError(
                    f"env={self.name}: after a reset {names[k]} is {told[i, k]:g}; an episode must "
                    "begin with finite numbers"
                )
        obs, feat = self._keep(obs, feat, ids)
        return obs, {"feat": feat}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Advance all worlds by one action each, [N, A] inside the action space or [N] integers."""
        if self._ended.any():
            raise RuntimeError(
                f"worlds {np.flatnonzero(self._ended)[:8].tolist()} have ended: "
                'reset them first, with options={"reset_mask": mask}'
            )
        rew, terminated, unstable = self._advance(actions)
        obs, feat = self._observe(), self._feat()
        self._age += 1
        if not (_fine(rew) and _fine(obs) and _fine(feat)):
            unstable = self._strange(obs, feat, rew, unstable)
        truncated = (self._age >= self.max_episode_steps) & ~terminated
        fresh = None
        if unstable.any():
            fresh = np.flatnonzero(~unstable)
            self.unstable += int(unstable.sum())
            terminated = terminated & ~unstable
            truncated = truncated | unstable
            rew = np.where(unstable, 0.0, rew)
        self._ended = terminated | truncated
        obs, feat = self._keep(obs, feat, fresh)
        return obs, rew, terminated, truncated, {"feat": feat, "unstable": unstable}

    def _reseed(self, ids: NDArray[np.int64], seed: int | Sequence[int | None] | None) -> None:
        if not self._rngs:
            self._rngs = [seeding.np_random(None)[0] for _ in range(self.num_envs)]
        if isinstance(seed, int | np.integer):
            seed = [int(seed) + i for i in range(self.num_envs)]
        if seed is None:
            return
        if len(seed) != self.num_envs:
            raise ValueError(f"{len(seed)} seeds for {self.num_envs} worlds: give one each, or one")
        for i in ids:
            if seed[i] is not None:
                self._rngs[i] = seeding.np_random(seed[i])[0]

    def _entries(self, obs: Array, feat: Array, rew: Array) -> tuple[list[str], Array, Array]:
        """The names of all numbers that a world tells, them [N, K], and which float32 lacks."""
        told = np.concatenate([obs.reshape(len(obs), -1), feat, rew[:, None]], 1)
        obs_names = [f"obs[{k}]" for k in range(told.shape[1] - feat.shape[1] - 1)]
        names = [*obs_names, *self.feat_names, "the reward"]
        return names, told, ~(np.abs(told) <= _LARGEST)

    def _strange(self, obs: Array, feat: Array, rew: Array, unstable: Array) -> Array:
        """`unstable` [N], and the worlds of whose step something is no number."""
        names, told, bad = self._entries(obs, feat, rew)
        bad &= ~unstable[:, None]
        if not self.trouble:
            for i, k in np.argwhere(bad)[:1]:
                after = f"after {self._age[i]} steps of an episode"
                self.trouble = f"{names[k]} was {told[i, k]:g} {after}"
        return np.asarray(unstable | bad.any(1))

    def _keep(
        self, obs: Array, feat: Array, fresh: NDArray[np.int64] | None
    ) -> tuple[Array, Array]:
        """What to return of now; rows other than `fresh` stay as they were last returned.

        None is all rows. The caller may write into what it is given, so a copy is kept.
        """
        if fresh is None or self._seen is None:
            self._seen = obs.copy(), feat.copy()
            return obs, feat
        self._seen[0][fresh], self._seen[1][fresh] = obs[fresh], feat[fresh]
        return self._seen[0].copy(), self._seen[1].copy()

    def render(self) -> tuple[Array, ...] | None:
        """One frame of every world, if built with render_mode="rgb_array"."""
        if self.render_mode != "rgb_array":
            return None
        return tuple(self.draw(row, 480, 480) for row in self.snapshot())

    def state_dict(self) -> State:
        """The complete state of every world: a loaded copy continues bit for bit."""
        seen = None if self._seen is None else {"obs": self._seen[0], "feat": self._seen[1]}
        return {
            "age": self._age.copy(),
            "ended": self._ended.copy(),
            "unstable": self.unstable,
            "rngs": np.array([pack_rng(r) for r in self._rngs], np.uint64)
            .reshape(-1, 6)
            .view(np.int64),
            "seen": seen,
            "world": self._save(),
        }

    def load_state_dict(self, state: State) -> None:
        """Undo `state_dict`. Raises ValueError if it is the state of another number of worlds."""
        if len(state["age"]) != self.num_envs:
            raise ValueError(
                f"this is the state of {len(state['age'])} worlds, not of {self.num_envs}: "
                f"build the world with num_envs={len(state['age'])}"
            )
        self._age = np.array(state["age"], np.int64)
        self._ended = np.array(state["ended"], np.bool_)
        self.unstable = int(state["unstable"])
        self._rngs = [unpack_rng(row) for row in np.array(state["rngs"]).view(np.uint64)]
        seen = state["seen"]
        self._seen = None if seen is None else (np.array(seen["obs"]), np.array(seen["feat"]))
        self._load(state["world"])

    # The hooks. `ids` are the worlds that start a new episode, drawn from `self._rngs[i]`.

    def _begin(self, ids: NDArray[np.int64]) -> None:
        raise NotImplementedError

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        """Move on; return reward [N] float64, terminated [N] bool, unstable [N] bool."""
        raise NotImplementedError

    def _observe(self) -> Array:
        """The observations [N, O], a fresh array."""
        raise NotImplementedError

    def _feat(self) -> Array:
        """The task-space features [N, F] float32, a fresh array."""
        raise NotImplementedError

    def _save(self) -> State:
        raise NotImplementedError

    def _load(self, state: State) -> None:
        raise NotImplementedError

    def snapshot(self) -> Array:
        """What `draw` needs to know of each world, [N, S]: cheap to keep for a whole episode."""
        raise NotImplementedError

    def draw(self, row: Array, width: int, height: int) -> NDArray[np.uint8]:
        """A picture [height, width, 3] of one row of `snapshot()`."""
        raise NotImplementedError

    def walls(self) -> Array:
        """What nothing passes, for maps: rectangles [M, 4] of x, y (lower left), width, height."""
        return np.zeros((0, 4))
