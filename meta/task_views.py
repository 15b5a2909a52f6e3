"""What proposed tasks are: what they pay where, who does well on them, which of them are alike.

Judged on the same transitions for all tasks: the skills' own policies, where their run is at hand,
and policies that act at random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from envs.tasks.base import Tasks
from logbook.heritage import Pretrained, widest
from meta.proposals import Proposer
from rl.collect import to_world
from rl.types import WorldSpec

Array = NDArray[Any]
RANDOM = 4  # policies that act at random, beside the skills
BINS = 20  # of a feat, equally full, to see how much of a reward it explains
MAP = 61  # places along a side of a reward map
CELLS = 24  # of a map that is drawn over visited states, along a side
CHUNK = 65_536  # transitions judged at a time


@dataclass(frozen=True)
class Seen:
    """Episodes of P policies, R each, up to T steps; past an episode's end nothing is `alive`."""

    spec: WorldSpec
    names: list[str]  # [P]
    skills: int  # of the P policies: those of skills come first, random ones after them
    obs: Array  # [T, P, R, O]
    act: Array  # [T, P, R, A], in the world's units
    feat: Array  # [T, P, R, F]
    next_obs: Array
    next_feat: Array
    alive: Array  # [T, P, R] bool
    walls: Array  # [M, 4]

    def rows(self, values: Array) -> Array:
        """[T, P, R, ...] as the M transitions that were lived, [M, ...]."""
        return np.asarray(values[self.alive])

    def named(self, name: str) -> Array:
        """The feat of that name after each lived step, [M]."""
        return self.rows(self.next_feat[..., self.spec.feat_names.index(name)]).astype(np.float64)


@torch.no_grad()
def watch(found: Proposer, source: Pretrained | None, *, steps: int, reps: int, seed: int) -> Seen:
    """One episode of every skill and of a few random policies, `reps` times each."""
    z = torch.zeros(0, 0) if source is None else source.skill.all_z()
    count = len(z)
    policies = count + RANDOM
    world = widest(found.make_world, policies * reps, max_episode_steps=max(steps, 2))
    spec, rng = world.world_spec, np.random.default_rng(seed)
    shown, walls = z.repeat_interleave(reps, 0), world.walls()
    turns = []
    for first in range(0, policies * reps, world.num_envs):
        agent = None if source is None else source.agent
        lived = _lived(world, agent, shown[first:], rng, steps, seed + first)
        turns.append({k: np.stack(v)[:, : policies * reps - first] for k, v in lived.items()})
    world.close()
    longest = max(len(turn["alive"]) for turn in turns)
    kept = {k: np.concatenate([_padded(t[k], longest) for t in turns], 1) for k in turns[0]}
    kept["alive"] = kept["alive"] & np.concatenate(
        [
            np.repeat(np.arange(longest)[:, None] < len(t["alive"]), t["alive"].shape[1], 1)
            for t in turns
        ],
        1,
    )
    parts = {k: x.reshape(longest, policies, reps, *x.shape[2:]) for k, x in kept.items()}
    names = [f"skill {k}" for k in range(count)] + [f"random {k}" for k in range(RANDOM)]
    return Seen(spec=spec, names=names, skills=count, walls=walls, **parts)


def _padded(x: Array, length: int) -> Array:
    """Rows [T, ...] that go on with the last one up to `length`."""
    return np.concatenate([x, np.repeat(x[-1:], length - len(x), 0)])


def _lived(
    world: Any, agent: Any, shown: torch.Tensor, rng: np.random.Generator, steps: int, seed: int
) -> dict[str, list[Array]]:
    """One episode in every world: of the skills z `shown` in the first, at random in the others."""
    spec, num = world.world_spec, world.num_envs
    shown = shown[:num]
    obs, info = world.reset(seed=seed)
    feat, going = info["feat"], np.ones(num, np.bool_)
    kept: dict[str, list[Array]] = {}
    for _ in range(steps):
        act = torch.from_numpy(_random_acts(rng, num, spec))
        if agent is not None and len(shown):
            seen = torch.from_numpy(obs[: len(shown)])
            act[: len(shown)] = agent.act(seen, shown, explore=False)[0].cpu()
        given = to_world(act, world.single_action_space)
        next_obs, _, terminated, truncated, info = world.step(given)
        row = {"obs": obs, "feat": feat, "next_obs": next_obs, "next_feat": info["feat"]}
        row["act"] = act.numpy() if spec.discrete else given.reshape(len(given), -1)
        row["alive"] = going & ~info["unstable"]
        for key, value in row.items():
            kept.setdefault(key, []).append(np.array(value))
        obs, feat = next_obs, info["feat"]
        done = terminated | truncated
        going = going & ~done
        if not going.any():
            break
        if done.any():
            obs, info = world.reset(options={"reset_mask": done})
            feat = info["feat"]
    return kept


def _random_acts(rng: np.random.Generator, n: int, spec: WorldSpec) -> Array:
    if spec.discrete:
        return np.eye(spec.act_dim, dtype=np.float32)[rng.integers(spec.act_dim, size=n)]
    return rng.uniform(-1.0, 1.0, (n, spec.act_dim)).astype(np.float32)


def rewards(found: Proposer, seen: Seen) -> Array:
    """What every proposed task pays for every step, [K, T, P, R]; 0 where nothing is alive."""
    parts = [seen.rows(x) for x in (seen.obs, seen.feat, seen.next_obs, seen.next_feat, seen.act)]
    paid = np.zeros((found.count, *seen.alive.shape))
    for k in range(found.count):
        paid[k][seen.alive] = judged(found, k, *parts)
    return paid


def judged(found: Proposer, k: int, *parts: Array) -> Array:
    """The reward [M] of task k for transitions: obs, feat, next_obs, next_feat, act."""
    pieces = [
        found.reward(np.full(len(parts[0][i : i + CHUNK]), k), *(x[i : i + CHUNK] for x in parts))
        for i in range(0, len(parts[0]), CHUNK)
    ]
    return np.concatenate(pieces).astype(np.float64)


def correlations(a: Array, b: Array) -> Array:
    """Pearson's r of rows a [K, M] with rows b [J, M], [K, J]; 0 where a row does not vary."""

    def scaled(x: Array) -> Array:
        x = x - x.mean(1, keepdims=True)
        size = np.sqrt(np.square(x).sum(1, keepdims=True))
        return np.asarray(np.divide(x, size, out=np.zeros_like(x), where=size > 1e-9))

    return np.clip(scaled(a) @ scaled(b).T, -1.0, 1.0)


def effective_number(r: Array) -> float:
    """How many tasks there are if those that pay alike count as one: 1 to K.

    The diversity of order 1 of Leinster and Cobbold (Ecology 93, 2012) with equal weights; two
    tasks are as similar as their rewards correlate, and not at all if these oppose each other.
    """
    ordinary = np.maximum(r, 0.0).mean(1)
    return float(np.exp(-np.log(ordinary).mean()))


def explained(values: Array, rew: Array, bins: int = BINS) -> float:
    """The share of a reward's variance [M] that a feat [M] explains, by equally full bins."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
    return _between(np.digitize(values, edges), rew)


def _between(cell: Array, rew: Array) -> float:
    """The variance between cells over all variance."""
    total = float(rew.var())
    if total < 1e-12:
        return 0.0
    _, where, count = np.unique(cell, return_inverse=True, return_counts=True)
    means = np.bincount(where, rew) / count
    return float((count * np.square(means - rew.mean())).sum() / len(rew) / total)


@dataclass(frozen=True)
class Map:
    """What each task pays over one or two feats; NaN where nobody has been."""

    axes: tuple[str, ...]
    at: tuple[Array, ...]  # the middles of the cells along each axis
    values: Array  # [K, ...]
    exact: bool  # computed at places, not gathered from visited states
    spread: Array | None = None  # for one axis: the standard deviation in each cell


def reward_map(found: Proposer, seen: Seen, paid: Array) -> Map:
    """Over the plane if a place can be synthesised, else over the feats that explain most.

    Exact maps show what a step from the start to each place would pay: for rewards of being
    somewhere that is the reward there, for rewards of going it is what all the way pays.
    """
    exact = _exact_map(found, seen)
    if exact is not None:
        return exact
    spec = seen.spec
    flat = [k[seen.alive] for k in paid]
    pairs = [p for p in (spec.plane, spec.motion) if len(p) == 2 and "height" not in p]
    if pairs:
        cells = [_cells(seen, pair)[0] for pair in pairs]
        worth = [np.mean([_between(cell, rew) for rew in flat]) for cell in cells]
        return _visited(seen, pairs[int(np.argmax(worth))], flat)
    names = spec.motion or spec.feat_names[:1]
    return _visited(seen, names[:1], flat)


def _exact_map(found: Proposer, seen: Seen) -> Map | None:
    """For worlds whose whole state is a place in the plane."""
    if len(seen.spec.plane) != 2:
        return None
    world = found.make_world(num_envs=1)
    placed = np.shape(world.state_dict()["world"].get("position")) == (1, 2)
    world.close()
    if not placed:
        return None
    world = found.make_world(num_envs=MAP * MAP)
    obs, info = world.reset(seed=0)
    state = world.state_dict()
    sides = []
    for name in seen.spec.plane:
        low, high = seen.named(name).min(), seen.named(name).max()
        sides.append((float(low), float(high)))
    # A square about all that was visited: the plane beyond it is nobody's.
    middle = [(low + high) / 2 for low, high in sides]
    half = 1.08 * max(high - low for low, high in sides) / 2 + 1e-6
    at = tuple(np.linspace(m - half, m + half, MAP) for m in middle)
    x, y = (side.ravel() for side in np.meshgrid(*at, indexing="ij"))
    start = info["feat"].mean(0)[[seen.spec.feat_names.index(n) for n in seen.spec.plane]]
    begun = _stand(world, state, np.tile(start, (MAP * MAP, 1)))
    there = _stand(world, state, np.stack([x, y], 1))
    world.close()
    act = np.zeros((MAP * MAP, seen.spec.act_dim), np.float32)
    values = [judged(found, k, *begun, *there, act) for k in range(found.count)]
    grid = np.reshape(values, (found.count, MAP, MAP))
    for left, low, wide, high in seen.walls:  # nobody is in a wall
        inside = (at[0][:, None] > left) & (at[0][:, None] < left + wide)
        inside = inside & (at[1] > low) & (at[1] < low + high)
        grid[:, inside] = np.nan
    return Map(tuple(seen.spec.plane), at, grid, True)


def _stand(world: Any, state: Mapping[str, Any], places: Array) -> tuple[Array, Array]:
    """Observations and feats of worlds put at rest at places [N, 2]."""
    there = {k: np.zeros_like(v) for k, v in state["world"].items()}
    there["position"] = places.astype(np.float64)
    world.load_state_dict({**state, "seen": None, "world": there})
    obs, info = world.reset(options={"reset_mask": np.zeros(len(places), np.bool_)})
    return obs, info["feat"]


def _cells(seen: Seen, axes: Sequence[str]) -> tuple[Array, list[Array]]:
    """The cell [M] in which each lived step ended, and the edges along each axis."""
    cell, edges = np.zeros(int(seen.alive.sum()), np.int64), []
    for name in axes:
        values = seen.named(name)
        low, high = np.quantile(values, [0.002, 0.998])
        edge = np.linspace(low, max(high, low + 1e-6), CELLS + 1)
        cell = cell * CELLS + np.clip(np.digitize(values, edge) - 1, 0, CELLS - 1)
        edges.append(edge)
    return cell, edges


def _visited(seen: Seen, axes: Sequence[str], flat: Sequence[Array]) -> Map:
    cell, edges = _cells(seen, axes)
    shape = (CELLS,) * len(axes)
    size = CELLS ** len(axes)
    count = np.bincount(cell, minlength=size)
    enough = count >= 3
    means, spreads = [], []
    for rew in flat:
        total = np.bincount(cell, rew, size)
        square = np.bincount(cell, np.square(rew), size)
        mean = np.divide(total, count, out=np.full(size, np.nan), where=enough)
        variance = np.divide(square, count, out=np.full(size, np.nan), where=enough) - mean**2
        means.append(mean.reshape(shape))
        spreads.append(np.sqrt(np.maximum(variance, 0.0)).reshape(shape))
    middles = tuple((edge[1:] + edge[:-1]) / 2 for edge in edges)
    return Map(tuple(axes), middles, np.stack(means), False, np.stack(spreads))


def family_rewards(family: Tasks, tasks: Array, seen: Seen) -> Array:
    """What a hand-made family's tasks [J, D] pay for the transitions seen, [J, M].

    What the family's own world would take besides (contacts) is left out. Raises ValueError if
    the family reads feats that this world has not.
    """
    lacking = [name for name in family.spec.feat_names if name not in seen.spec.feat_names]
    if lacking or not family.spec.feat_names:
        raise ValueError(
            f"{family.name} pays for {', '.join(lacking) or 'no feats'}, which {seen.spec.name} "
            f"does not have ({', '.join(seen.spec.feat_names)})"
        )
    columns = [seen.spec.feat_names.index(name) for name in family.spec.feat_names]
    feat, next_feat = (seen.rows(x[..., columns]) for x in (seen.feat, seen.next_feat))
    act = seen.rows(seen.act)
    return np.stack(
        [family.rewards(np.tile(task, (len(feat), 1)), feat, next_feat, act) for task in tasks]
    )
