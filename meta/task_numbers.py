"""The numbers of proposed tasks, tasks.json: how diverse, how hard, how like a known family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.tasks.base import Tasks
from meta.proposals import Proposer
from meta.task_views import Seen, correlations, effective_number, explained, family_rewards

Array = NDArray[Any]
FAMILY_TASKS = 16  # of the family that the proposals are held against
REACH = 2.0  # spreads of random returns that the best must be ahead by
ALIKE = 0.95  # correlation of two tasks' rewards that is worth a word
SAME = 0.8  # mean correlation above which the tasks of a family look alike


def measured(found: Proposer, seen: Seen, paid: Array, own: list[int | None]) -> dict[str, Any]:
    """The numbers of tasks.json, but for maps and families."""
    flat = np.stack([task[seen.alive] for task in paid])
    r = correlations(flat, flat)
    returns = paid.sum(1)  # [K, P, R]
    apart = ~np.eye(len(r), dtype=bool)
    spread = returns[:, seen.skills :].std((1, 2))
    tasks = []
    for k in range(found.count):
        each = returns[k].mean(1)
        first = int(each.argmax())
        low = float(returns[k, seen.skills :].mean())
        pays = [
            {
                "feat": name,
                "share": explained(seen.named(name), flat[k]),
                "r": float(correlations(seen.named(name)[None], flat[k : k + 1])[0, 0]),
            }
            for name in seen.spec.feat_names
        ]
        others = np.where(apart[k], r[k], -2.0)
        skill = own[k]
        rank = None if skill is None else 1 + int((each[: seen.skills] > each[skill]).sum())
        tasks.append(
            {
                "task": k,
                "best": float(each[first]),
                "best_policy": seen.names[first] if first < seen.skills else "a random policy",
                "worst": float(each.min()),
                "random": low,
                "random_spread": float(spread[k]),
                "spread": float(each[: seen.skills].std()) if seen.skills > 1 else None,
                "own_skill": skill,
                "own": None if skill is None else float(each[skill]),
                "own_rank": rank,
                "within_reach": bool(each[first] > low + REACH * max(spread[k], 1e-9)),
                "pays_for": sorted(pays, key=lambda p: -float(p["share"]))[:4],  # type: ignore[arg-type]
                "most_alike": {"task": int(others.argmax()), "r": float(others.max())}
                if len(r) > 1
                else None,
                "returns": {n: float(v) for n, v in zip(seen.names, each, strict=True)},
            }
        )
    known = [t for t in tasks if t["own_rank"] is not None]
    numbers: dict[str, Any] = {
        "count": found.count,
        "dropped": list(found.dropped),
        "transitions": int(seen.alive.sum()),
        "judged_on": (f"{seen.skills} skills and " if seen.skills else "")
        + f"{len(seen.names) - seen.skills} random policies",
        "diversity": {
            "effective": effective_number(r),
            "best_policies": len({t["best_policy"] for t in tasks}),
            "mean_r": float(r[apart].mean()) if len(r) > 1 else 0.0,
            "r": r.round(4).tolist(),
        },
        "difficulty": {
            "solved": sum(bool(t["within_reach"]) for t in tasks),
            "own_best": sum(t["own_rank"] == 1 for t in known) if known else None,
        },
        "tasks": tasks,
    }
    return numbers | {"alarms": alarms(numbers, r)}


def alarms(numbers: Mapping[str, Any], r: Array) -> list[str]:
    """What should worry whoever trains on these tasks."""
    count, lines = numbers["count"], []
    if count == 1:
        lines.append(
            "one task is no family: there is nothing to tell apart, so nothing to adapt to"
        )
    different = numbers["diversity"]["best_policies"]
    if count > 1 and different < 0.5 * count:
        lines.append(f"only {different} policies are the best seen on any of {count} tasks")
    same = np.argwhere(np.triu(r, 1) > ALIKE)
    if len(same):
        i, j = same[np.argmax(r[same[:, 0], same[:, 1]])]
        lines.append(
            f"{len(same)} pairs of tasks pay for much the same (correlation above {ALIKE}), most "
            f"of all {i} and {j} ({r[i, j]:.2f})"
        )
    idle = [str(t["task"]) for t in numbers["tasks"] if not t["within_reach"]]
    if idle:
        lines.append(
            f"nobody seen is clearly ahead of random policies on task{'s' * (len(idle) > 1)} "
            f"{', '.join(idle)}"
        )
    return lines


def overlap(family: Tasks, seen: Seen, paid: Array, seed: int) -> dict[str, Any]:
    """How the proposed rewards correlate with those of a family on the same steps.

    Raises ValueError if the family pays for what this world does not show.
    """
    every = family.all_tasks(held_out=True)
    if every is None:
        every = family.sample(4 * FAMILY_TASKS, np.random.default_rng(seed), held_out=True)
    tasks = np.unique(every, axis=0)
    if len(tasks) > FAMILY_TASKS:
        tasks = tasks[np.linspace(0, len(tasks) - 1, FAMILY_TASKS).round().astype(int)]
    wanted = family_rewards(family, tasks, seen)
    among = correlations(wanted, wanted)[~np.eye(len(tasks), dtype=bool)]
    r = correlations(np.stack([task[seen.alive] for task in paid]), wanted)
    return {
        "family": family.name,
        "names": [
            f"{n}, {u}".rstrip(", ")
            for n, u in zip(family.task_names, family.task_units, strict=True)
        ],
        "tasks": tasks.tolist(),
        "r": r.round(4).tolist(),
        "best": [
            {"task": int(k), "r": float(v)} for k, v in zip(r.argmax(0), r.max(0), strict=True)
        ],
        "mean_best_r": float(r.max(0).mean()),
        "among_r": float(among.mean()) if len(among) else 0.0,
    }
