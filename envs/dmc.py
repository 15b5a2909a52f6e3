"""Any dm_control task as a world, through the task's own Python code: exact and slow.

The suite (`domain=cheetah task=run`) and the manipulation tasks (`domain=manipulation
task=reach_site_features`, a Jaco arm). The batched worlds beside this file are many times faster.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from envs.base import Array
from envs.checked import reason
from envs.looped import LoopedWorld, Outcome
from rl.ranges import Count

__all__ = ["Dmc"]

_MAX_OBS_FEATS = 64
_FREE = 1e9
_WHERE = {  # domain: the object whose place says where the agent is, and the axes it moves along
    "acrobot": ("site", "tip", "xz"),
    "ball_in_cup": ("body", "ball", "xz"),
    "cartpole": ("body", "cart", "x"),
    "cheetah": ("body", "torso", "xz"),
    "dog": ("body", "torso", "xyz"),
    "finger": ("site", "tip", "xz"),
    "fish": ("body", "torso", "xyz"),
    "hopper": ("body", "torso", "xz"),
    "humanoid": ("body", "torso", "xyz"),
    "humanoid_CMU": ("body", "root", "xyz"),
    "manipulation": ("site", "jaco_arm/jaco_hand/pinchsite", "xyz"),
    "manipulator": ("body", "hand", "xz"),
    "pendulum": ("geom", "mass", "xz"),
    "point_mass": ("body", "pointmass", "xy"),
    "quadruped": ("body", "torso", "xyz"),
    "reacher": ("body", "finger", "xy"),
    "stacker": ("body", "hand", "xz"),
    "swimmer": ("body", "head", "xy"),
    "walker": ("body", "torso", "xz"),
}


class Dmc(LoopedWorld):
    """Obs: the task's observations in its own order, flattened to float32 [O].

    Feats: x and y of the agent, their velocities over the last step, and its height, as far as the
    domain has them; the observation's entries for a domain unknown here. An episode ends at the
    task's own limit (truncated) or when its discount falls to 0 (terminated); a PhysicsError is a
    divergence. `max_episode_steps` replaces the suite's limit, and can only shorten manipulation's.
    `task_kwargs` go to the suite's task as they stand (such as environment_kwargs). `threads` is
    ignored. Frames need `render_mode="rgb_array"`.
    """

    draws = "for some tasks, which observe pictures"

    def __init__(
        self,
        *,
        num_envs: int,
        max_episode_steps: Count | None,
        threads: int,
        domain: str,
        task: str,
        task_kwargs: dict[str, Any],
        render_mode: str | None = None,
    ) -> None:
        endless = max_episode_steps is not None
        try:
            with quiet():
                self.envs = load(domain, task, num_envs, endless=endless, task_kwargs=task_kwargs)
        except Exception as error:  # MuJoCo's and dm_control's differ
            if "OpenGL" not in str(error):
                raise
            raise ValueError(
                f"env.task={task} observes pictures, and no OpenGL draws here: doctor says what to "
                "install; a task whose name ends in features needs none"
            ) from error
        if render_mode is None and domain == "quadruped":
            for env in self.envs:  # escape would open a renderer in every reset, to show its hills
                env.physics._make_rendering_contexts = _none
        one = self.envs[0]
        self._domain = domain
        actions = one.action_spec()
        # motors without limits, such as the suite's lqr
        free = np.maximum(actions.maximum, -actions.minimum) >= _FREE
        low = np.where(free, -1.0, actions.minimum).astype(np.float32)
        high = np.where(free, 1.0, actions.maximum).astype(np.float32)
        width = sum(int(np.prod(spec.shape)) for spec in one.observation_spec().values())
        self.dt = float(one.control_timestep())
        self._kind, self._object, axes = _WHERE.get(domain, ("", "", ""))
        self._floor = [k for k, axis in enumerate("xy") if axis in axes]
        self._has_height = "z" in axes
        named = [("xy"[k], "m") for k in self._floor]
        named += [(f"{'xy'[k]}_velocity", "m/s") for k in self._floor]
        named += [("height", "m")] * self._has_height
        if not named:
            named = [(f"obs_{k}", "as observed") for k in range(min(width, _MAX_OBS_FEATS))]
        self.feat_names, self.feat_units = (tuple(column) for column in zip(*named, strict=True))
        self.motion = tuple(name for name in self.feat_names if name.endswith("_velocity"))
        self.plane = ("x", "height") if axes == "xz" else self.feat_names[:2]
        self._before = np.zeros((num_envs, 3))
        super().__init__(
            name="dmc",
            label=f"env=dmc env.domain={domain} env.task={task}",
            num_envs=num_envs,
            observation_space=Box(-np.inf, np.inf, (width,), np.float32),
            action_space=Box(low, high, dtype=np.float32),
            max_episode_steps=max_episode_steps or _limit(one),
            render_fps=round(1.0 / self.dt),
            render_mode=render_mode,
        )

    def _reset_one(self, i: int, seed: int) -> Outcome:
        env = self.envs[i]
        stream = env.random_state if self._domain == "manipulation" else env.task.random
        stream.seed(seed % 2**32)
        with quiet():
            obs = flat(env.reset().observation)
        self._before[i] = self._where(i)
        return Outcome(obs, self._describe(i, obs))

    def _step_one(self, i: int, act: Array) -> Outcome:
        from dm_control.rl.control import PhysicsError

        try:
            said = self.envs[i].step(act)
        except PhysicsError:
            return Outcome(self._obs[i].copy(), self._feats[i].copy(), unstable=True)
        obs, rew = flat(said.observation), float(said.reward)
        feat = self._describe(i, obs)
        terminated = bool(said.last() and said.discount == 0.0)
        truncated = bool(said.last()) and not terminated
        return Outcome(obs, feat, rew, terminated, truncated)

    def _where(self, i: int) -> Array:
        if not self._kind:
            return np.zeros(3)
        data = self.envs[i].physics.named.data
        places = {"body": "xpos", "site": "site_xpos", "geom": "geom_xpos"}
        return np.array(getattr(data, places[self._kind])[self._object])

    def _describe(self, i: int, obs: Array) -> Array:
        if not self._kind:
            return obs[:_MAX_OBS_FEATS]
        now = self._where(i)
        velocity = (now - self._before[i]) / self.dt
        self._before[i] = now
        return np.concatenate(
            [now[self._floor], velocity[self._floor], now[2:][: self._has_height]]
        )

    def _frame(self, i: int) -> NDArray[np.uint8]:
        physics = self.envs[i].physics
        physics.model.vis.quality.offsamples = 0  # these three make software rendering bearable
        plain = {"shadow": False, "reflection": False}
        frame = physics.render(
            256, 256, camera_id=0 if physics.model.ncam else -1, render_flag_overrides=plain
        )
        return np.asarray(frame, np.uint8)

    def close_extras(self, **kwargs: Any) -> None:
        """Free the renderers."""
        for env in self.envs:
            env.close()


def load(
    domain: str,
    task: str,
    count: int,
    *,
    endless: bool = False,
    task_kwargs: Mapping[str, Any] | None = None,
) -> list[Any]:
    """`count` environments of one task; `endless` lifts the suite's time limit."""
    given = dict(task_kwargs or {})
    if "random" in given:
        raise ValueError("env.task_kwargs.random: episodes are seeded by the run: leave it out")
    if domain == "manipulation":
        from dm_control import manipulation

        _check("env.task", task, manipulation.ALL)
        if given:
            raise ValueError(
                f"env.task_kwargs.{next(iter(given))}: manipulation tasks take no arguments"
            )
        return [manipulation.load(task, seed=0) for _ in range(count)]
    from dm_control import suite

    _check("env.domain", domain, [*suite.TASKS_BY_DOMAIN, "manipulation"])
    _check("env.task", task, suite.TASKS_BY_DOMAIN[domain])
    kwargs: dict[str, Any] = {"random": 0} | ({"time_limit": math.inf} if endless else {}) | given
    try:
        return [suite.load(domain, task, task_kwargs=copy.deepcopy(kwargs)) for _ in range(count)]
    except Exception as error:  # of the task's own constructor
        if not given or getattr(error, "one_line", False):
            raise
        told = ", ".join(f"env.task_kwargs.{key}={value}"[:80] for key, value in given.items())
        raise ValueError(
            f"env.domain={domain} env.task={task} cannot be made with {told}: {reason(error)}"
        ) from error


def _none() -> None:
    return None


def _check(key: str, value: str, known: Any) -> None:
    if value not in known:
        near = difflib.get_close_matches(value, known, 1, 0.0)[0]
        raise ValueError(
            f"{key}={value} is unknown: did you mean {near}? Known: {', '.join(known)}"
        )


def _limit(env: Any) -> int:
    """Steps after which the task itself ends an episode; 1000 where it never does."""
    steps = getattr(env, "_step_limit", None)
    if steps is None:  # a manipulation task counts in seconds
        steps = round(env._time_limit / env.control_timestep(), 6)
    return 1000 if math.isinf(steps) else math.ceil(steps)


def flat(obs: dict[str, Any]) -> Array:
    return np.concatenate([np.ravel(part) for part in obs.values()]).astype(np.float32)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep dm_control's remarks on displays it need not have and old model options to itself."""
    from absl import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
