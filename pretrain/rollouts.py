"""What the policy does with each skill when nobody adds noise: the material of every judgement."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.base import World
from rl.collect import to_world
from rl.types import Batch, WorldSpec
from skills.base import Skill

Array = NDArray[Any]


class Actor(Protocol):
    """The half of an agent that is looked at here."""

    def act(self, obs: Tensor, z: Tensor, explore: bool) -> tuple[Tensor, dict[str, Tensor]]: ...


class WorldFactory(Protocol):
    """Builds the run's world anew; keywords go over the run's own settings.

    Used with `max_episode_steps` (a longer look) and `render_mode` ("rgb_array", for videos).
    """

    def __call__(self, *, num_envs: int, **settings: Any) -> World: ...


@dataclass(frozen=True)
class Judgement:
    """What a discriminator said of the states of each skill, [K, K]: rows are the true skills."""

    confusion: Array  # share of the skill's states for which each skill is the most likely
    log_q: Array  # [K], mean log q(true skill | transition), nats


@dataclass(frozen=True)
class Rollouts:
    """One episode of each of K skills, R times, T steps at most.

    What lies past the end of an episode repeats its last state, is not `alive` and earns 0.
    """

    spec: WorldSpec
    z: Array  # [K, Z]
    start: Array  # [K, R, F], feat before the first step
    feat: Array  # [K, R, T, F], feat after each step
    rew: Array  # [K, R, T], native reward
    alive: Array  # [K, R, T] bool, the step was taken and its physics held
    act_rms: Array  # [K], root mean square of the actions
    terminated: Array  # [K, R] bool, ended by the world and not by time
    unstable: int  # episodes ended by a physics divergence
    walls: Array  # [M, 4], see World.walls
    judged: Judgement | None  # None for methods without log_q
    snapshots: Array | None  # [K, T', S], first repetition, every `stride` steps, from the start
    stride: int = 1

    @property
    def count(self) -> int:
        """K, the number of skills."""
        return len(self.z)

    def named(self, name: str) -> Array:
        """The feat of that name after each step, [K, R, T]."""
        return np.asarray(self.feat[..., self.spec.feat_names.index(name)])

    def begun(self, name: str) -> Array:
        """The feat of that name before the first step, [K, R]."""
        return np.asarray(self.start[..., self.spec.feat_names.index(name)])

    def lengths(self) -> Array:
        """Steps lived, [K, R]."""
        return np.asarray(self.alive.sum(-1))

    def returns(self) -> Array:
        """Native return, [K, R]."""
        return np.asarray(self.rew.sum(-1))

    def means(self) -> Array:
        """Each feat's mean over the steps lived, [K, R, F]."""
        total = np.where(self.alive[..., None], self.feat, 0.0).sum(2, dtype=np.float64)
        return np.asarray(total / np.maximum(self.lengths(), 1)[..., None])

    def finals(self) -> Array:
        """Each feat at the end, [K, R, F]."""
        return np.asarray(self.feat[:, :, -1])


@contextmanager
def undisturbed(skill: Skill, seed: int) -> Iterator[None]:
    """Let the skill draw from a generator of its own for a while; its own stays where it was."""
    before = skill.generator.get_state()
    try:
        skill.generator.manual_seed(seed)  # in here: a look may be given up at any moment
        yield
    finally:
        skill.generator.set_state(before)


@torch.no_grad()
def rollouts(
    world: World,
    agent: Actor,
    skill: Skill,
    z: Tensor,
    reps: int,
    steps: int,
    seed: int,
    *,
    judged: bool = True,
    every: int = 0,
) -> Rollouts:
    """Run every skill of z [K, Z] `reps` times for up to `steps` steps, with the policy's mode.

    `world` holds K * reps worlds, rep by rep: world r * K + k runs skill k, so that the first K of
    a larger batch see the same starts as a batch of K alone. A world of fewer is lived in
    in turns. With `every`, a snapshot of each skill's first repetition is kept at that stride.
    `judged` asks the discriminator, if there is
    one; z must then be `skill.all_z()`. Draws from no generator but the worlds' own, seeded here.
    """
    num, wide = len(z), world.num_envs
    count = num * reps
    if wide > count:
        raise ValueError(f"{num} skills x {reps} need {count} worlds, got {wide}")
    z_all = z.float().repeat(reps, 1)
    judge: _Judge | None = None
    if judged and num > 1 and skill.log_q is not None:
        judge = _Judge(skill, num, reps)
    turns, films = [], []
    for first in range(0, count, wide):
        rows = np.minimum(np.arange(first, first + wide), count - 1)
        film = Film(world, min(num - first, wide), every) if every and first < num else None
        lived = _lived(
            world, agent, z_all[rows], steps, seed + first, rows, count - first, judge, film
        )
        turns.append({k: x[: count - first] for k, x in lived.items()})
        films += [film] if film else []
    whole = {k: np.concatenate([turn[k] for turn in turns]) for k in turns[0]}
    shots, stride = joined(films)

    def by_skill(x: Array) -> Array:
        """[R * K, ...] over the worlds to [K, R, ...]."""
        return np.ascontiguousarray(x.reshape(reps, num, *x.shape[1:]).swapaxes(0, 1))

    lasted = np.maximum(whole["alive"].sum(1), 1)
    return Rollouts(
        spec=world.world_spec,
        z=z.cpu().numpy(),
        start=by_skill(whole["start"]),
        feat=by_skill(whole["feat"]),
        rew=by_skill(whole["rew"]),
        alive=by_skill(whole["alive"]),
        act_rms=np.sqrt(by_skill(whole["effort"] / lasted).mean(1)),
        terminated=by_skill(whole["terminated"]),
        unstable=int(whole["unstable"].sum()),
        walls=world.walls(),
        judged=judge.verdict() if judge else None,
        snapshots=shots,
        stride=stride,
    )


def _lived(
    world: World,
    agent: Actor,
    z: Tensor,
    steps: int,
    seed: int,
    rows: Array,
    count: int,
    judge: _Judge | None,
    film: Film | None,
) -> dict[str, Array]:
    """An episode of z [N, Z] in every world, of which `count` are looked at; arrays [N, ...]."""
    obs, info = world.reset(seed=seed)
    start = np.array(info["feat"])
    feats = np.zeros((steps, *start.shape), np.float32)
    rews = np.zeros((steps, world.num_envs), np.float32)
    alive = np.zeros((steps, world.num_envs), np.bool_)
    ended_by_world = np.zeros(world.num_envs, np.bool_)
    going = np.arange(world.num_envs) < count
    effort = np.zeros(world.num_envs)
    unstable = np.zeros(world.num_envs, np.int64)
    feat = start
    if film:
        film.shoot(0, going, ~going)
    for t in range(steps):
        act = agent.act(torch.from_numpy(obs), z, explore=False)[0].float().cpu()
        act = act.clamp(-1.0, 1.0)
        seen, rew, terminated, truncated, info = world.step(
            to_world(act, world.single_action_space)
        )
        valid = going & ~info["unstable"]
        unstable += going & info["unstable"]
        if judge:
            batch = _batch(obs, act, seen, feat, info["feat"], rew, terminated, truncated, z)
            judge.hear(batch, valid, rows)
        effort[valid] += np.square(act.numpy()[valid]).mean(-1)
        rews[t] = np.where(valid, rew, 0.0)
        alive[t] = valid
        before = feats[t - 1] if t else start
        feats[t] = np.where(going[:, None], info["feat"], before)
        ended_by_world |= going & terminated
        done = terminated | truncated
        if film:
            film.shoot(t + 1, going, done)
        going &= ~done
        obs, feat = seen, info["feat"]
        if not going.any():
            feats[t + 1 :] = feats[t]
            break
        if done.any():  # those that ended must be reset to step on; nobody looks at them any more
            obs, info = world.reset(options={"reset_mask": done})
            feat = info["feat"]
    return {
        "start": start,
        "feat": feats.swapaxes(0, 1),
        "rew": rews.T,
        "alive": alive.T,
        "effort": effort,
        "terminated": ended_by_world,
        "unstable": unstable,
    }


class _Judge:
    """Asks the discriminator about each transition as it happens: observations are not kept."""

    def __init__(self, skill: Skill, num: int, reps: int) -> None:
        self._skill = skill
        parts = [*skill.parameters(), *skill.buffers()]
        self._device = parts[0].device if parts else torch.device("cpu")
        self._truth = torch.arange(num).repeat(reps)
        self._votes = torch.zeros(num, num, dtype=torch.float64)
        self._log_q = torch.zeros(num, dtype=torch.float64)

    def hear(self, batch: Batch, valid: Array, rows: Array) -> None:
        assert self._skill.log_q is not None
        log_q = self._skill.log_q(batch.map(lambda x: x.to(self._device))).double().cpu()
        keep = torch.from_numpy(valid)
        truth, log_q = self._truth[torch.from_numpy(rows)][keep], log_q[keep]
        ones = torch.ones(len(truth), dtype=torch.float64)
        self._votes.index_put_((truth, log_q.argmax(-1)), ones, accumulate=True)
        self._log_q.index_put_((truth,), log_q.gather(1, truth[:, None])[:, 0], accumulate=True)

    def verdict(self) -> Judgement:
        heard = self._votes.sum(1)
        log_q = self._log_q / heard.clamp(min=1.0)
        # of a skill that has no step to show, nothing is known
        log_q = torch.where((heard > 0) & log_q.isfinite(), log_q, -math.log(len(heard)))
        confusion = self._votes / heard.clamp(min=1.0)[:, None]
        return Judgement(confusion.numpy(), log_q.numpy())


class Film:
    """Snapshots of the first K worlds, thinned so that a long episode of frames fits in memory."""

    limit = 256 * 2**20  # bytes

    def __init__(self, world: World, num: int, every: int) -> None:
        self._world, self._num = world, num
        self.stride = every
        self._frames: list[Array] = []
        self._now: Array | None = None

    def shoot(self, t: int, going: Array, done: Array) -> None:
        """See the worlds that were `going` before this step, if it is time or one is `done`."""
        going, done = going[: self._num], done[: self._num]
        due = t % self.stride == 0
        if not (due or (going & done).any()):
            return
        now = np.array(self._world.snapshot()[: self._num])
        if self._now is not None:
            now = np.where(going.reshape(-1, *[1] * (now.ndim - 1)), now, self._now)
        self._now = now
        if due:
            self._frames.append(now)
        if len(self._frames) * now.nbytes > self.limit:
            self._frames = self._frames[::2]
            self.stride *= 2

    def frames(self) -> Array:
        return np.stack(self._frames, 1)


def joined(films: Sequence[Film]) -> tuple[Array | None, int]:
    """Snapshots [K, T', S] of films shot in turns, at the widest of their strides."""
    if not films:
        return None, 1
    stride = max(film.stride for film in films)
    shots = [film.frames()[:, :: stride // film.stride] for film in films]
    longest = max(x.shape[1] for x in shots)
    padded = [np.concatenate([x, np.repeat(x[:, -1:], longest - x.shape[1], 1)], 1) for x in shots]
    return np.concatenate(padded), stride


def _batch(
    obs: Array,
    act: Tensor,
    next_obs: Array,
    feat: Array,
    next_feat: Array,
    rew: Array,
    terminated: Array,
    truncated: Array,
    z: Tensor,
) -> Batch:
    return Batch(
        obs=torch.from_numpy(obs),
        act=act,
        next_obs=torch.from_numpy(next_obs),
        feat=torch.from_numpy(feat),
        next_feat=torch.from_numpy(next_feat),
        rew=torch.from_numpy(rew.astype(np.float32)),
        terminated=torch.from_numpy(terminated),
        truncated=torch.from_numpy(truncated),
        z=z,
    )
