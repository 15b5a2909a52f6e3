"""Did it learn? The numbers of summary.json, from deterministic rollouts that nobody trained on.

Coverage counts 1 m cells over 48 rollouts, as METRA does, but in episodes of the world's own length
(1000 steps for the half-cheetah), where METRA's have 200: set `evaluate.steps=200` to compare.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from logbook.heritage import widest
from pretrain.rollouts import Actor, Rollouts, WorldFactory, rollouts, undisturbed
from rl.types import WorldSpec
from skills.base import Skill

Array = NDArray[Any]
Numbers = dict[str, Any]

COVERAGE_ROLLOUTS = 48  # METRA's protocol
FAR, STILL = 5.0, 2.0  # m: displacement that counts as travel, and as none
EARLY = 0.2  # of the steps: an episode this short was hardly lived
MIXED_UP = 0.25  # share of states taken for another skill that makes two skills near-duplicates


def evaluate(
    world_factory: WorldFactory,
    agent: Actor,
    skill: Skill,
    seed: int,
    *,
    steps: int | None = None,
    reps: int | None = None,
) -> tuple[Numbers, Rollouts]:
    """Run every skill and measure; `steps=None` is the world's own episode length.

    `reps=None` runs each skill at least 4 times and all of them at least 48 times together.
    Touches no generator of the training.
    """
    with undisturbed(skill, seed):
        z = skill.all_z()
        some = skill.sample_z(COVERAGE_ROLLOUTS)
    reps = reps or max(4, math.ceil(COVERAGE_ROLLOUTS / len(z)))
    longer = {} if steps is None else {"max_episode_steps": steps}
    world = widest(world_factory, len(z) * reps, **longer)
    steps = steps or world.world_spec.max_episode_steps
    try:
        taken = rollouts(world, agent, skill, z, reps, steps, seed)
    finally:
        world.close()
    cells = random_cells = None
    if horizontal(taken.spec):
        world = widest(world_factory, COVERAGE_ROLLOUTS, **longer)
        try:
            random_cells = len(_random_cells(world, steps, seed + 1))
            if _all_of_them(z, some) and reps * len(z) >= COVERAGE_ROLLOUTS:
                cells = len(visited(taken, COVERAGE_ROLLOUTS))
            else:
                if _all_of_them(z, some):  # split evenly over a finite set
                    some = z[torch.arange(COVERAGE_ROLLOUTS) % len(z)]
                wide = rollouts(world, agent, skill, some, 1, steps, seed + 2, judged=False)
                cells = len(visited(wide))
        finally:
            world.close()
    return numbers(taken, cells, random_cells), taken


def numbers(taken: Rollouts, cells: int | None = None, random_cells: int | None = None) -> Numbers:
    """What summary.json says of the skills. None where a world or method has no such thing.

    skills: `accuracy` is the share of states whose most likely skill under the discriminator is
    the true one (for methods without a discriminator: of episodes recognised by `recognised`);
    `mi_nats` = E[log q(z|s)] + log K, a lower bound on the mutual information of skill and state
    (without a discriminator: Fano's bound at that accuracy); `effective` = exp(mi_nats), how many
    skills told apart without fail would carry as much. Where the discriminator is surer than it is
    right, `mi_nats` is below 0: a true bound that says nothing, and `effective` is 1.
    coverage: distinct 1 x 1 m floor cells (x alone where the world has one horizontal axis).
    displacement: metres from start to end, signed along x where x is the direction of travel.
    feat_spread: the smallest and largest value over skills, `of` the episode's end for places and
    of its mean for all else.
    """
    skills = _skills(taken)
    returns = taken.returns().mean(1)
    travel = travelled(taken)
    result: Numbers = {
        "skills": skills,
        "coverage": {"cells": cells, "random_cells": random_cells},
        "native_return": {
            "per_skill": _list(returns),
            "min": float(returns.min()),
            "max": float(returns.max()),
        },
        "motion": _motion(taken),
        "displacement": {"per_skill": None if travel is None else _list(travel.mean(1))},
        "feat_spread": _feat_spread(taken),
        "episode_length": {
            "per_skill": _list(taken.lengths().mean(1)),
            "steps": taken.rew.shape[2],
        },
        "unstable": taken.unstable,
    }
    result["alarms"] = alarms(taken, result)
    return result


def horizontal(spec: WorldSpec) -> tuple[str, ...]:
    """The feats that say where on the floor the agent is: ("x", "y"), ("x",) or ()."""
    return tuple(name for name in spec.plane if name in ("x", "y"))


def travels(spec: WorldSpec) -> bool:
    """Whether the world has a direction of travel: its first motion feat is a speed along x."""
    return bool(spec.motion) and spec.motion[0].startswith("x_velocity") and "x" in spec.feat_names


def travelled(taken: Rollouts) -> Array | None:
    """Displacement in m, [K, R]: along x if that is the only axis, else the distance."""
    axes = horizontal(taken.spec)
    if not axes:
        return None
    parts = [taken.named(a)[:, :, -1] - taken.begun(a) for a in axes]
    return parts[0] if len(parts) == 1 else np.asarray(np.hypot(parts[0], parts[1]))


def visited(taken: Rollouts, limit: int | None = None) -> set[tuple[int, ...]]:
    """The distinct 1 x 1 m cells of the first `limit` rollouts, counted rep by rep."""
    axes = horizontal(taken.spec)
    path = np.stack([taken.named(a) for a in axes], -1).swapaxes(0, 1)  # [R, K, T, axes]
    begun = np.stack([taken.begun(a) for a in axes], -1).swapaxes(0, 1)
    path = np.concatenate([begun[:, :, None], path], 2)
    path = path.reshape(-1, *path.shape[2:])[:limit]
    return {tuple(cell) for cell in np.unique(np.floor(path.reshape(-1, len(axes))), axis=0)}


def recognised(described: Array) -> float:
    """How often a skill is recognised from [K, R, D], by the nearest centroid.

    Centroids come from half of the repetitions and are tested on the other half, and the other
    way round. Columns are divided by their spread within skills; a column that is the same
    everywhere says nothing.
    """
    num, reps, _ = described.shape
    if num == 1 or reps < 2:
        return math.nan
    right = 0.0
    for fold in (0, 1):
        fit, test = described[:, fold::2], described[:, 1 - fold :: 2]
        centre = fit.mean(1)
        overall = described.std((0, 1))
        within = np.sqrt(np.square(fit - centre[:, None]).mean((0, 1)))
        scale = np.maximum(within, 1e-3 * overall)
        use = overall > 1e-9
        gap = (test[:, :, None, use] - centre[:, use]) / scale[use]
        guess = np.square(gap).sum(-1).argmin(-1)  # [K, R / 2]
        right += float((guess == np.arange(num)[:, None]).sum())
    return float(right / (num * reps))


def _skills(taken: Rollouts) -> Numbers:
    num = taken.count
    ceiling = math.log(num)
    accuracy: float | None
    if num == 1:
        accuracy, nats, judge = None, 0.0, "one policy: nothing to tell apart"
    elif taken.judged is not None:
        accuracy = float(np.diag(taken.judged.confusion).mean())
        nats, judge = float(taken.judged.log_q.mean()) + ceiling, "discriminator"
    else:
        accuracy = recognised(taken.means())
        nats, judge = fano(accuracy, num), "nearest centroid"
        accuracy = None if math.isnan(accuracy) else accuracy
    return {
        "count": num,
        "accuracy": accuracy,
        "chance": 1 / num,
        "mi_nats": nats,
        "mi_ceiling_nats": ceiling,
        "effective": math.exp(max(nats, 0.0)),
        "judge": judge,
    }


def fano(accuracy: float, num: int) -> float:
    """The least mutual information, in nats, that guessing among `num` so well needs."""
    if math.isnan(accuracy) or accuracy <= 1 / num:
        return 0.0
    miss = 1 - accuracy
    doubt = 0.0 if miss == 0 else -miss * math.log(miss) - accuracy * math.log(accuracy)
    return math.log(num) - doubt - miss * math.log(max(num - 1, 1))


def _motion(taken: Rollouts) -> Numbers | None:
    if not travels(taken.spec):
        return None
    along = (taken.named("x")[:, :, -1] - taken.begun("x")).mean(1)
    picked = [taken.spec.feat_names.index(name) for name in taken.spec.motion]
    accuracy = recognised(taken.means()[..., picked])
    return {
        "accuracy": None if math.isnan(accuracy) else accuracy,
        "forward": int((along > FAR).sum()),
        "backward": int((along < -FAR).sum()),
        "still": int((np.abs(along) < STILL).sum()),
    }


def _feat_spread(taken: Rollouts) -> Numbers:
    places = {"x", "y"}
    finals, means = taken.finals().mean(1), taken.means().mean(1)  # [K, F]
    spread = {}
    for i, name in enumerate(taken.spec.feat_names):
        value = (finals if name in places else means)[:, i]
        of = "final" if name in places else "mean"
        spread[name] = {"of": of, "min": float(value.min()), "max": float(value.max())}
    return spread


def confused(taken: Rollouts) -> list[tuple[int, int, float]]:
    """Pairs of skills that are hard to tell apart, with the share of states mixed up."""
    if taken.judged is None:
        return []
    mixed = (taken.judged.confusion + taken.judged.confusion.T) / 2
    found = np.argwhere(np.triu(mixed, 1) >= MIXED_UP)
    return [(int(i), int(j), float(mixed[i, j])) for i, j in found]


def alarms(taken: Rollouts, result: Numbers) -> list[str]:
    """What should worry a reader, worst first; empty if nothing does."""
    said = []
    skills, motion, coverage = result["skills"], result["motion"], result["coverage"]
    if skills["accuracy"] is not None:
        if skills["accuracy"] < 1.5 * skills["chance"]:
            said.append(
                f"collapsed: skills are recognised {skills['accuracy']:.0%} of the time, "
                f"chance is {skills['chance']:.0%}"
            )
        elif skills["mi_nats"] < 0:
            said.append(
                "the discriminator is surer than it is right: its bound on the mutual information, "
                f"{skills['mi_nats']:.2f} nats, does not tell how many skills are distinct"
            )
        elif skills["effective"] < skills["count"] / 2:
            said.append(
                f"only {skills['effective']:.1f} of {skills['count']} skills count as distinct"
            )
    lived = float(np.median(taken.lengths()))
    if taken.terminated.mean() > 0.5 and lived < EARLY * taken.rew.shape[2]:
        said.append(f"most episodes end early, the median after {lived:.0f} steps")
    if motion is not None and skills["count"] > 1 and motion["still"] == skills["count"]:
        said.append(
            f"no skill moves {STILL:g} m: these are poses, not motions (what the discriminator "
            "sees decides; try a view of the motion)"
        )
    if taken.judged is not None:
        likely = taken.judged.confusion.argmax(1)
        lost = [f"{k} (like {j})" for k, j in enumerate(likely) if j != k]
        if lost:
            said.append(f"skills that look more like another: {', '.join(lost)}")
    pairs = [f"{i} and {j} ({share:.0%})" for i, j, share in confused(taken)]
    if pairs:
        said.append(f"near-duplicates, with the share of states mixed up: {', '.join(pairs)}")
    cells, random_cells = coverage["cells"], coverage["random_cells"]
    if cells is not None and random_cells is not None and cells < random_cells:
        said.append(f"the skills visit {cells} cells, a random policy {random_cells}")
    if taken.unstable:
        said.append(f"the physics diverged in {taken.unstable} evaluation episodes")
    return said


@torch.no_grad()
def _random_cells(world: Any, steps: int, seed: int) -> set[tuple[int, ...]]:
    """The cells that uniformly random actions visit."""
    anything = _Random(world.world_spec, seed)
    nothing = Skill(0)
    z = torch.zeros(COVERAGE_ROLLOUTS, 0)
    return visited(rollouts(world, anything, nothing, z, 1, steps, seed, judged=False))


class _Random:
    """An agent that acts uniformly at random."""

    def __init__(self, spec: WorldSpec, seed: int) -> None:
        self._spec = spec
        self._rng = torch.Generator().manual_seed(seed)

    def act(self, obs: torch.Tensor, z: torch.Tensor, explore: bool) -> tuple[torch.Tensor, Any]:
        noise = torch.rand(len(obs), self._spec.act_dim, generator=self._rng)
        if self._spec.discrete:
            return torch.zeros_like(noise).scatter_(1, noise.argmax(1, keepdim=True), 1.0), {}
        return 2 * noise - 1, {}


def _all_of_them(z: torch.Tensor, some: torch.Tensor) -> bool:
    """Whether z is the whole set that `some` was drawn from."""
    return bool((some[:, None] == z).all(-1).any(-1).all())


def _list(values: Array) -> list[float]:
    return [float(v) for v in values]
