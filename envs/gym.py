"""Any Gymnasium id as a world: slower than the batched worlds beside this file, and general."""

from __future__ import annotations

import difflib
import sys
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.base import Array
from envs.looped import LoopedWorld, Outcome

__all__ = ["Gym"]

_LIST = "python -c 'import gymnasium; gymnasium.pprint_registry()'"
_MAX_OBS_FEATS = 64  # an image's pixels are no task space
_MEASURED = {  # what Gymnasium's locomotion tasks report beside the observation
    "x_position": ("x", "m"),
    "y_position": ("y", "m"),
    "x_velocity": ("x_velocity", "m/s"),
    "y_velocity": ("y_velocity", "m/s"),
}


class Gym(LoopedWorld):
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
        self._space = one.observation_space
        flat = spaces.utils.flatten_space(self._space)
        assert isinstance(flat, spaces.Box)
        self._measured = _measured(one)
        named = [_MEASURED[key] for key in self._measured]
        named += [(f"obs_{k}", "as observed") for k in range(min(flat.shape[0], _MAX_OBS_FEATS))]
        self.feat_names, self.feat_units = (tuple(column) for column in zip(*named, strict=True))
        self.plane = self.feat_names[:2] if len(named) > 1 else ()
        low, high = flat.low.astype(np.float32), flat.high.astype(np.float32)
        limit = one.spec.max_episode_steps if one.spec else None
        super().__init__(
            name="gym",
            num_envs=num_envs,
            observation_space=spaces.Box(low, high, dtype=np.float32),
            action_space=_flat_actions(one.action_space),
            max_episode_steps=max_episode_steps or limit or 1000,
            render_fps=int(one.metadata.get("render_fps") or 25),
            render_mode=render_mode,
        )

    def _reset_one(self, i: int, seed: int) -> Outcome:
        obs, info = self.envs[i].reset(seed=seed)
        flat = self._flatten(obs)
        return Outcome(flat, self._describe(flat, info))

    def _step_one(self, i: int, act: Array) -> Outcome:
        env = self.envs[i]
        space = env.action_space
        given: Any
        if isinstance(space, spaces.Discrete):
            given = int(act) + int(space.start)
        else:
            given = act.astype(space.dtype).reshape(space.shape or ())
        warned = _warnings(env)
        obs, rew, terminated, truncated, info = env.step(given)
        flat, rew = self._flatten(obs), float(rew)
        sane = bool(np.isfinite(flat).all()) and np.isfinite(rew) and _warnings(env) == warned
        feat = self._describe(flat, info)
        return Outcome(flat, feat, rew, bool(terminated), bool(truncated), not sane)

    def _flatten(self, obs: Any) -> Array:
        if isinstance(self._space, spaces.Box):
            return np.asarray(obs).ravel()
        flat = spaces.utils.flatten(self._space, obs)
        assert isinstance(flat, np.ndarray)
        return flat

    def _describe(self, flat: Array, info: dict[str, Any]) -> Array:
        measured = [info.get(key, 0.0) for key in self._measured]
        return np.concatenate([measured, flat[:_MAX_OBS_FEATS]])

    def _frame(self, i: int) -> NDArray[np.uint8]:
        return np.asarray(self.envs[i].render(), np.uint8)

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()


def _make(
    id: str, max_episode_steps: int | None, render_mode: str | None
) -> gymnasium.Env[Any, Any]:
    drawn = {} if render_mode is None else {"render_mode": render_mode}  # many do not know the word
    try:
        return gymnasium.make(
            id, max_episode_steps=max_episode_steps, disable_env_checker=True, **drawn
        )
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv) as error:
        named = {_unversioned(known): known for known in gymnasium.registry}
        near = difflib.get_close_matches(_unversioned(id), named, 1, 0.7)
        hint = f"did you mean {named[near[0]]}?" if near else f"to list them: {_LIST}"
        raise ValueError(f"env.id={id} is no registered Gymnasium id: {hint}") from error
    except (gymnasium.error.Error, ImportError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"env.id={id} cannot be made here: {reason}") from error


def _unversioned(id: str) -> str:
    return id.rpartition("-v")[0] or id


def _measured(env: gymnasium.Env[Any, Any]) -> tuple[str, ...]:
    """Which of the known measurements this environment reports."""
    _, info = env.reset(seed=0)
    env.action_space.seed(0)
    info = info | env.step(env.action_space.sample())[4]
    return tuple(key for key in _MEASURED if key in info and np.ndim(info[key]) == 0)


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
