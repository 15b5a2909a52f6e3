"""Any Gymnasium id as a world: slower than the batched worlds beside this file, and general."""

from __future__ import annotations

import contextlib
import copy
import difflib
import re
import sys
import weakref
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.base import Array, WorldError
from envs.checked import ask, begun, flat, number, reason, remarks, stepped
from envs.looped import LoopedWorld, Outcome
from envs.measured import MEASURED, is_number, places, source
from rl.ranges import Count

__all__ = ["Gym"]

_LIST = "python -c 'import gymnasium; gymnasium.pprint_registry()'"
_MAX_OBS_FEATS = 64  # an image's pixels are no task space
_OURS = {  # arguments of gymnasium.make that are set otherwise
    "id": "use env.id",
    "max_episode_steps": "use env.max_episode_steps",
    "render_mode": "videos set it themselves",
    "disable_env_checker": "what an environment says is held against its spaces anyway",
}
_UNBOUNDED = 1e30  # a bound of an action so far off says nothing of its size
_OPEN: weakref.WeakSet[Gym] = weakref.WeakSet()
"""The worlds whose environments are open in this process."""


class Gym(LoopedWorld):
    """`id` is a registered Gymnasium id; obs is its observation flattened to float32 [O].

    Observations: Box, Discrete and Multi* (one-hot), and Dict or Tuple of these. Actions: Box with
    finite bounds (flattened to [A]) and Discrete. Feats: x, y and their velocities where the
    environment reports them after a reset as well as after a step, or MuJoCo can be asked; then the
    observation's entries. `kwargs` go to its constructor as they stand. `max_episode_steps=None`
    keeps the id's own limit (1000 where it has none). An id `module:Name` runs code of that module,
    so it needs `allow_import`. `threads` is ignored. Frames need `render_mode="rgb_array"`.
    """

    def __init__(
        self,
        *,
        num_envs: int,
        max_episode_steps: Count | None,
        threads: int,
        id: str,
        kwargs: dict[str, Any],
        allow_import: bool,
        render_mode: str | None = None,
    ) -> None:
        if ":" in id and not allow_import:
            raise ValueError(
                f"env.id={id} would import the module {id.split(':')[0]!r}: "
                "add env.allow_import=true if you trust its code"
            )
        for key in kwargs:
            if key in _OURS:
                raise ValueError(f"env.kwargs.{key}: not an argument to pass on: {_OURS[key]}")
        self._label = f"env.id={id}"
        self._make = partial(_make, id, max_episode_steps, render_mode, kwargs)
        self._count = num_envs
        self.envs: list[gymnasium.Env[Any, Any]] = []
        weakref.finalize(self, _close_all, self.envs)  # of a world that nobody closes
        self._open()
        try:
            one = self.envs[0]
            self._space = _check_spaces(self._label, one)
            try:
                self._measure()
            except WorldError:  # some take up what only one may have when they are reset
                if not self._make_way():
                    raise
                self._measure()
        except BaseException:
            self._shut()
            raise
        row = spaces.utils.flatten_space(self._space)
        assert isinstance(row, spaces.Box)
        named = [MEASURED[key] for key in self._measured]
        named += [(f"obs_{k}", "as observed") for k in range(min(row.shape[0], _MAX_OBS_FEATS))]
        self.feat_names, self.feat_units = (tuple(column) for column in zip(*named, strict=True))
        self.plane = self.feat_names[:2] if len(named) > 1 else ()
        low, high = row.low.astype(np.float32), row.high.astype(np.float32)
        limit = one.spec.max_episode_steps if one.spec else None
        fps = (one.metadata or {}).get("render_fps")
        super().__init__(
            name="gym",
            label=self._label,
            num_envs=num_envs,
            observation_space=spaces.Box(low, high, dtype=np.float32),
            action_space=_flat_actions(one.action_space),
            max_episode_steps=max_episode_steps or limit or 1000,
            render_fps=int(fps) if isinstance(fps, int | float) and fps >= 1 else 25,
            render_mode=render_mode,
        )

    def _reset_one(self, i: int, seed: int) -> Outcome:
        obs, info = self._begin_episode(self.envs[i], seed)
        row = flat(self._label, self._space, obs, "after a reset")
        told = self._measured_at_start(self.envs[i], info)
        return Outcome(row, self._describe(row, told))

    def _step_one(self, i: int, act: Array) -> Outcome:
        env = self.envs[i]
        space = env.action_space
        given: Any
        if isinstance(space, spaces.Discrete):
            given = int(act) + int(space.start)
        else:
            given = act.astype(space.dtype).reshape(space.shape or ())
        warned = _warnings(env)
        said = stepped(self._label, ask(self._label, "step", env.step, given))
        obs, rew, terminated, truncated, info = said
        row = flat(self._label, self._space, obs, "after a step")
        told = [self._told(key, info, "a step's") for key in self._measured]
        sane = _warnings(env) == warned
        return Outcome(row, self._describe(row, told), rew, terminated, truncated, not sane)

    def _begin_episode(self, env: gymnasium.Env[Any, Any], seed: int) -> Any:
        return begun(self._label, ask(self._label, "reset", env.reset, seed=seed))

    def _told(self, key: str, info: Mapping[str, Any], whose: str) -> float:
        if key not in info:
            raise WorldError(
                f"{self._label}: {whose} info has no {key} this time, but others had: report it "
                "always or never"
            )
        return number(f"{self._label}: {whose} info[{key!r}]", info[key])

    def _measured_at_start(self, env: gymnasium.Env[Any, Any], info: Mapping[str, Any]) -> Any:
        """The measurements after a reset: its info's, or else where MuJoCo has the body.

        Velocities that MuJoCo tells are those over the last step: 0 where there was none.
        """
        told = []
        for key in self._measured:
            if key not in self._asked:
                told.append(self._told(key, info, "a reset's"))
            else:
                told.append(0.0 if "velocity" in key else places(env)[self._asked[key]])
        return told

    def _measure(self) -> None:
        """Find which of the known measurements are true after a reset as well as after a step."""
        env = self.envs[0]
        obs, before = self._begin_episode(env, 0)
        row = flat(self._label, self._space, obs, "after a reset")
        self.remarks = tuple(remarks(self._label, self._space, row))
        start = places(env)
        env.action_space.seed(0)
        act = env.action_space.sample()
        obs, _, _, _, after = stepped(self._label, ask(self._label, "step", env.step, act))
        flat(self._label, self._space, obs, "after a step")
        end = places(env)
        self._asked: dict[str, tuple[int, int]] = {}  # which of `places` MuJoCo is asked for
        found = []
        for key in MEASURED:
            if not is_number(after.get(key)):
                continue
            if not is_number(before.get(key)):
                place = source(env, key, float(after[key]), start, end, self._asked)
                if place is None:
                    continue
                self._asked[key] = place
            found.append(key)
        self._measured = tuple(found)

    def _describe(self, row: Array, told: list[float]) -> Array:
        return np.concatenate([told, row[:_MAX_OBS_FEATS]])

    def _frame(self, i: int) -> Any:
        return self.envs[i].render()

    def _open(self) -> None:
        """Make the environments; where only so many may be open, other worlds of them give way."""
        try:
            self._make_all()
        except ValueError:
            if not self._make_way():
                raise
            self._make_all()
        _OPEN.add(self)

    def _make_way(self) -> bool:
        """Close the other open worlds of this environment; whether there were any."""
        others = [w for w in _OPEN if w is not self and w._label == self._label]
        for world in others:
            world.suspend()
        return bool(others)

    def _make_all(self) -> None:
        try:
            while len(self.envs) < self._count:
                self.envs.append(self._make())
        except BaseException:
            self._shut()  # what is open may hold a port or a screen
            raise

    def _shut(self) -> None:
        _OPEN.discard(self)
        _close_all(self.envs)

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment."""
        self._shut()


def _close_all(envs: list[gymnasium.Env[Any, Any]]) -> None:
    """Close environments and forget them."""
    while envs:
        with contextlib.suppress(Exception, SystemExit):  # it is not needed any more
            envs.pop().close()


def _make(
    id: str, max_episode_steps: int | None, render_mode: str | None, kwargs: dict[str, Any]
) -> gymnasium.Env[Any, Any]:
    drawn = {} if render_mode is None else {"render_mode": render_mode}  # many do not know the word
    try:
        return gymnasium.make(
            id,
            max_episode_steps=max_episode_steps,
            disable_env_checker=True,
            **drawn,
            **copy.deepcopy(kwargs),  # an environment may write into what it is given
        )
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv) as error:
        module, colon, own = id.rpartition(":")
        named = {_unversioned(known): known for known in gymnasium.registry}
        near = difflib.get_close_matches(_unversioned(own), named, 1, 0.7)
        hint = f"to list them: {_LIST}"
        if near:
            hint = f"did you mean {module}{colon}{named[near[0]]}?"
        raise ValueError(f"env.id={id} is no registered Gymnasium id: {hint}") from error
    except (Exception, SystemExit) as error:
        if getattr(error, "one_line", False):  # a signal asked for the end
            raise
        said = reason(error)
        hint = _missing_module(id, str(error)) or _missing_argument(said)
        raise ValueError(
            f"env.id={id} cannot be made here{_with(kwargs, said)}: {said}{hint}"
        ) from error


def _with(kwargs: Mapping[str, Any], said: str) -> str:
    """The arguments that an error speaks of, or else all of them."""
    spoken_of = [key for key in kwargs if re.search(rf"\b{re.escape(key)}\b", said)]
    told = [f"env.kwargs.{key}={kwargs[key]}"[:80] for key in spoken_of or kwargs]
    return f" with {', '.join(told[:6])}" if told else ""


def _missing_module(id: str, said: str) -> str:
    """What to do about the module of an id that is not found."""
    module = id.rpartition(":")[0].partition(".")[0]
    if not module or f"No module named {module!r}" not in said:
        return ""
    here = Path(f"{module}.py").is_file() or Path(module).is_dir()
    folder, where = (".", "it lies in this folder") if here else ("FOLDER", "if a folder holds it")
    return f"; {where}: put PYTHONPATH={folder} before the command"


def _missing_argument(said: str) -> str:
    """How to give a constructor what it lacks."""
    found = re.search(r"missing \d+ required [\w-]+ arguments?: '(\w+)'", said)
    return f"; give it with env.kwargs.{found[1]}=VALUE" if found else ""


def _unversioned(id: str) -> str:
    return id.rpartition("-v")[0] or id


def _check_spaces(label: str, env: gymnasium.Env[Any, Any]) -> spaces.Space[Any]:
    """The observation space; refuse, in one line, what has no flat form."""
    act, obs = (getattr(env, f"{what}_space", None) for what in ("action", "observation"))
    for what, space in (("action", act), ("observation", obs)):
        if not isinstance(space, spaces.Space):
            raise ValueError(f"{label} has no {what}_space: set self.{what}_space in its __init__")
    supported = isinstance(act, spaces.Discrete) or (
        isinstance(act, spaces.Box)
        and np.issubdtype(act.dtype or object, np.floating)
        and act.is_bounded()
        and bool((np.abs([act.low, act.high]) < _UNBOUNDED).all())
    )
    if not supported:
        raise ValueError(
            f"{label} has the action space {act}: supported are Discrete, "
            "and Box of floats with finite bounds"
        )
    assert obs is not None
    if not _flattens(obs):
        raise ValueError(
            f"{label} has the observation space {obs}: supported are Box, "
            "Discrete, MultiDiscrete, MultiBinary, and Dict or Tuple of these"
        )
    return obs


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
