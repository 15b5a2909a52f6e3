"""Any Gymnasium id as a batched world: N separate environments, stepped one after the other.

The batched worlds beside this file are faster; this one takes what it is given. A world's state
is the seed of its episode and the actions since: loading replays them. That is exact for every
environment that is a function of its seed and actions, and refused for one found not to be.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from PIL import Image

from envs.base import Array, World
from rl.types import State

__all__ = ["Gym"]

_FRAME = 256  # pixels of a kept frame's longer side: an episode of them must fit in memory
_MAX_OBS_FEATS = 64  # an image's pixels are no task space
_MEASURED = {  # what Gymnasium's locomotion tasks report beside the observation
    "x_position": ("x", "m"),
    "y_position": ("y", "m"),
    "x_velocity": ("x_velocity", "m/s"),
    "y_velocity": ("y_velocity", "m/s"),
}


class Gym(World):
    """`id` is a registered Gymnasium id; obs is its observation flattened to float32 [O].

    Observations: Box, Discrete and Multi* (one-hot), and Dict or Tuple of these. Actions: Box with
    finite bounds (flattened to [A]) and Discrete. Feats: x, y and their velocities where the
    environment reports them, then the observation's entries. `max_episode_steps=None` keeps the
    id's own limit (1000 where it has none). An id `module:Name` runs code of that module, so it
    needs `allow_import`. `threads` is ignored. Frames need `render_mode="rgb_array"`.
    """

    def __init__(
        self,
        *,
        num_envs: int,
        max_episode_steps: int | None,
        threads: int,
        id: str,
        allow_import: bool,
        render_mode: str | None = None,
    ) -> None:
        if ":" in id and not allow_import:
            raise ValueError(
                f"env.id={id} would import the module {id.split(':')[0]!r}: "
                "add env.allow_import=true if you trust its code"
            )
        self.envs = [_make(id, max_episode_steps, render_mode) for _ in range(num_envs)]
        one = self.envs[0]
        _check_spaces(id, one)
        limit = one.spec.max_episode_steps if one.spec else None
        flat = spaces.utils.flatten_space(one.observation_space)
        assert isinstance(flat, spaces.Box)
        super().__init__(
            name="gym",
            num_envs=num_envs,
            observation_space=spaces.Box(
                flat.low.astype(np.float32), flat.high.astype(np.float32), dtype=np.float32
            ),
            action_space=_flat_actions(one.action_space),
            max_episode_steps=max_episode_steps or limit or 1000,
            render_fps=int(one.metadata.get("render_fps") or 25),
            render_mode=render_mode,
        )
        self.id = id
        self._plain = isinstance(one.observation_space, spaces.Box)
        self._measured = self._probe()
        width = int(np.prod(flat.shape))
        named = [_MEASURED[key] for key in self._measured]
        named += [(f"obs_{k}", "as observed") for k in range(min(width, _MAX_OBS_FEATS))]
        self.feat_names, self.feat_units = map(tuple, zip(*named, strict=True))
        self.plane = self.feat_names[:2] if len(named) > 1 else ()
        self._obs = np.zeros((num_envs, width), np.float32)
        self._info = np.zeros((num_envs, len(self._measured)), np.float32)
        self._seeds = np.zeros(num_envs, np.int64)
        self._given: list[int | None] = []  # seeds of the episodes about to begin
        self._acts: list[list[Array]] = [[] for _ in range(num_envs)]

    def _probe(self) -> tuple[str, ...]:
        """Which of the known measurements this environment reports."""
        env = self.envs[0]
        _, info = env.reset(seed=0)
        env.action_space.seed(0)
        info = info | env.step(env.action_space.sample())[4]
        return tuple(key for key in _MEASURED if np.ndim(info.get(key, ())) == 0 and key in info)

    def _reseed(self, ids: NDArray[np.int64], seed: int | Sequence[int | None] | None) -> None:
        # The first episode after a seed is the one that the id itself would give.
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
        obs, info = self.envs[i].reset(seed=int(self._seeds[i]))
        self._acts[i] = []
        self._info[i] = 0.0
        self._keep(i, self._flatten(obs), info)

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        rew = np.zeros(self.num_envs)
        terminated, truncated, unstable = np.zeros((3, self.num_envs), np.bool_)
        for i, a in enumerate(np.array(act)):
            rew[i], terminated[i], truncated[i], unstable[i] = self._step_one(i, a)
        # The base class truncates what has reached its limit: let those be the environment's too.
        self._age[truncated] = self.max_episode_steps - 1
        return rew, terminated, unstable

    def _step_one(self, i: int, act: Array) -> tuple[float, bool, bool, bool]:
        env = self.envs[i]
        space = env.action_space
        warned = _warnings(env)
        given: Any
        if isinstance(space, spaces.Discrete):
            given = int(act) + int(space.start)
        else:
            given = act.astype(space.dtype).reshape(space.shape or ())
        obs, rew, terminated, truncated, info = env.step(given)
        self._acts[i].append(act)
        flat = self._flatten(obs)
        if _warnings(env) > warned or not np.isfinite(flat).all() or not np.isfinite(float(rew)):
            return 0.0, False, True, True
        self._keep(i, flat, info)
        return float(rew), bool(terminated), bool(truncated), False

    def _flatten(self, obs: Any) -> Array:
        if self._plain:
            return np.asarray(obs).ravel()
        flat = spaces.utils.flatten(self.envs[0].observation_space, obs)
        assert isinstance(flat, np.ndarray)
        return flat

    def _keep(self, i: int, obs: Array, info: dict[str, Any]) -> None:
        self._obs[i] = obs
        for k, key in enumerate(self._measured):
            if key in info:
                self._info[i, k] = info[key]

    def _observe(self) -> Array:
        return self._obs.copy()

    def _feat(self) -> Array:
        return np.concatenate([self._info, self._obs[:, :_MAX_OBS_FEATS]], 1)

    def _save(self) -> State:
        shape = self.single_action_space.shape or ()
        act = np.zeros((self.num_envs, max(map(len, self._acts)), *shape))
        for i, acts in enumerate(self._acts):
            act[i, : len(acts)] = acts
        return {
            "id": self.id,
            "seeds": self._seeds.copy(),
            "acts": act,
            "obs": self._obs.copy(),
            "info": self._info.copy(),
        }

    def _load(self, state: State) -> None:
        if state["id"] != self.id:
            raise ValueError(f"this state is of env.id={state['id']}, not of {self.id}")
        self._seeds = np.array(state["seeds"], np.int64)
        for i in np.flatnonzero(~self._ended).tolist():  # those that ended start anew anyway
            self._restart(i)
            for a in np.asarray(state["acts"])[i, : self._age[i]]:
                self._step_one(i, a.astype(self.single_action_space.dtype))
            if not np.array_equal(self._obs[i], np.asarray(state["obs"])[i]):
                raise ValueError(
                    f"env.id={self.id} cannot be resumed: the same seed and actions led elsewhere"
                )
        self._obs = np.array(state["obs"], np.float32)
        self._info = np.array(state["info"], np.float32)

    def snapshot(self) -> Array:
        """Frames [N, h * w * 3] uint8, at most 256 pixels wide or high."""
        if self.render_mode != "rgb_array":
            raise ValueError('this world draws frames only if built with render_mode="rgb_array"')
        frames = []
        for env in self.envs:
            image = Image.fromarray(np.asarray(env.render(), np.uint8))
            image.thumbnail((_FRAME, _FRAME), Image.Resampling.BOX)
            frames.append(np.asarray(image))
        self._frame_shape = frames[0].shape
        return np.stack(frames).reshape(self.num_envs, -1)

    def draw(self, row: Array, width: int, height: int) -> NDArray[np.uint8]:
        frame = Image.fromarray(row.reshape(self._frame_shape))
        frame = frame.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(frame, np.uint8)

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()


def _make(
    id: str, max_episode_steps: int | None, render_mode: str | None
) -> gymnasium.Env[Any, Any]:
    try:
        return gymnasium.make(
            id,
            max_episode_steps=max_episode_steps,
            render_mode=render_mode,
            disable_env_checker=True,
        )
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv) as error:
        near = difflib.get_close_matches(id, gymnasium.registry, 1, 0.0)
        raise ValueError(
            f"env.id={id} is no registered Gymnasium id: did you mean {near[0]}?"
        ) from error
    except (gymnasium.error.Error, ImportError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"env.id={id} cannot be made here: {reason}") from error


def _check_spaces(id: str, env: gymnasium.Env[Any, Any]) -> None:
    """Refuse, in one line, what has no flat form."""
    act = env.action_space
    supported = isinstance(act, spaces.Discrete) or (
        isinstance(act, spaces.Box)
        and np.issubdtype(act.dtype or object, np.floating)
        and act.is_bounded()
    )
    if not supported:
        raise ValueError(
            f"env.id={id} has the action space {act}: supported are Discrete, "
            "and Box of floats with finite bounds"
        )
    if not _flattens(env.observation_space):
        raise ValueError(
            f"env.id={id} has the observation space {env.observation_space}: supported are Box, "
            "Discrete, MultiDiscrete, MultiBinary, and Dict or Tuple of these"
        )


def _flattens(space: spaces.Space[Any]) -> bool:
    if isinstance(space, spaces.Dict):
        return all(map(_flattens, space.values()))
    if isinstance(space, spaces.Tuple):
        return all(map(_flattens, space))
    return isinstance(
        space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
    )


def _flat_actions(space: spaces.Space[Any]) -> spaces.Space[Any]:
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(int(space.n))
    assert isinstance(space, spaces.Box)
    return spaces.Box(space.low.ravel(), space.high.ravel(), dtype=space.dtype)


def _warnings(env: gymnasium.Env[Any, Any]) -> int:
    """How often MuJoCo found this environment's state or control bad; 0 if it is not on MuJoCo."""
    mujoco = sys.modules.get("mujoco")
    data = getattr(env.unwrapped, "data", None)
    if mujoco is None or not isinstance(data, mujoco.MjData):
        return 0
    kinds = mujoco.mjtWarning
    bad = (kinds.mjWARN_BADQPOS, kinds.mjWARN_BADQVEL, kinds.mjWARN_BADQACC, kinds.mjWARN_BADCTRL)
    return sum(int(data.warning[int(kind)].number) for kind in bad)
