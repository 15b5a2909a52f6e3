"""Methods held against each other: the numbers of `compare`, from scores to intervals.

Scores are {method: {task: [a number a run]}}. Robust means, their stratified bootstrap intervals,
probabilities of improvement and performance profiles are rliable's (Agarwal et al. 2021, arXiv
2108.13264); logbook/stats.py has them. Across tasks only what is on one scale is averaged: scores
that were normalised, or those of a single task. Who beats whom needs no scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logbook import stats

Array = NDArray[Any]
Scores = Mapping[str, Mapping[str, Sequence[float]]]
REPS = 2000  # bootstrap resamples
THRESHOLDS = 101  # of a performance profile

_AGGREGATES = {
    "iqm": stats.aggregate_iqm,
    "mean": stats.aggregate_mean,
    "median": stats.aggregate_median,
}


def compared(scores: Scores, references: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """Everything that is said of one metric, ready for JSON.

    `references` has (random, expert) of the tasks whose scores can be normalised: (score -
    random) / (expert - random).
    """
    tasks = list(dict.fromkeys(t for by_task in scores.values() for t in by_task))
    shared = [t for t in tasks if all(t in by_task for by_task in scores.values())]
    normalised = bool(shared) and all(t in references for t in shared)
    found: dict[str, Any] = {
        "tasks": {
            t: {
                m: _task(by_task[t], references.get(t))
                for m, by_task in scores.items()
                if t in by_task
            }
            for t in tasks
        },
        "shared_tasks": shared,
        "normalised": normalised,
        "overall": None,
        "improvement": improvement(scores),
        "profile": None,
    }
    if normalised or len(shared) == 1:
        tables = {
            m: table([_normal(by_task[t], references.get(t)) for t in shared])
            for m, by_task in scores.items()
        }
        found["overall"] = {m: aggregates(s, normalised) for m, s in tables.items()}
        found["profile"] = profile(tables)
    return found


def _normal(values: Sequence[float], reference: tuple[float, float] | None) -> Array:
    low, high = reference or (0.0, 1.0)
    return (np.asarray(values, np.float64) - low) / (high - low)


def _task(values: Sequence[float], reference: tuple[float, float] | None) -> dict[str, Any]:
    found: dict[str, Any] = {"scores": list(values), **aggregates(table([values]), False)}
    if reference is not None:
        found["normalised"] = _normal(values, reference).tolist()
    return found


def table(columns: Sequence[Any]) -> Array:
    """[runs, tasks]: of unequally many runs a task, the first so many that all tasks have."""
    runs = min(len(column) for column in columns)
    return np.stack([np.asarray(column, np.float64)[:runs] for column in columns], 1)


def aggregates(scores: Array, normalised: bool) -> dict[str, Any]:
    """[value, low, high] of IQM, mean and median of scores [runs, tasks].

    The optimality gap, how far runs fall short of the expert, is there for normalised scores.
    """
    chosen = dict(_AGGREGATES)
    if normalised:
        chosen["optimality_gap"] = stats.aggregate_optimality_gap
    found: dict[str, Any] = {"runs": len(scores)}
    for name, aggregate in chosen.items():
        found[name] = list(stats.interval(scores, aggregate, reps=REPS))
    return found


def improvement(scores: Scores) -> dict[str, dict[str, list[float]]]:
    """[probability, low, high] that a run of one method beats one of another, of every pair.

    Over the tasks that the two share, and absent if there are none.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for x, of_x in scores.items():
        for y, of_y in scores.items():
            both = [t for t in of_x if t in of_y]
            if x != y and both:
                pairs = [(of_x[t], of_y[t]) for t in both]
                found.setdefault(x, {})[y] = improvement_interval(pairs)
    return found


def improvement_interval(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]],
    *,
    confidence: float = 0.95,
    reps: int = REPS,
    seed: int = 0,
) -> list[float]:
    """[probability, low, high] that x beats y, for (runs of x, runs of y) of each task.

    Runs of either are drawn with replacement for each task by itself; ties count a half.
    """
    rng = np.random.default_rng(seed)
    point, drawn = 0.0, np.zeros(reps)
    for x, y in pairs:
        wins = (np.sign(np.subtract.outer(np.asarray(x), np.asarray(y))) + 1.0) / 2.0
        # How often each run was drawn is all that the mean over the drawn pairs depends on.
        of_x = rng.multinomial(len(x), np.full(len(x), 1 / len(x)), size=reps)
        of_y = rng.multinomial(len(y), np.full(len(y), 1 / len(y)), size=reps)
        point += wins.mean() / len(pairs)
        drawn += np.einsum("rx,xy,ry->r", of_x, wins, of_y) / (len(x) * len(y) * len(pairs))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return [float(point), float(low), float(high)]


def profile(tables: Mapping[str, Array], reps: int = REPS) -> dict[str, Any]:
    """The share of runs above each threshold, with bootstrap bands, for all methods.

    Thresholds are as far apart over the range of all scores, and a little beyond it.
    """
    low = min(float(s.min()) for s in tables.values())
    high = max(float(s.max()) for s in tables.values())
    margin = 0.04 * (high - low) or 0.5
    at = np.linspace(low - margin, high + margin, THRESHOLDS)
    found: dict[str, Any] = {"thresholds": at.tolist(), "share": {}}
    for method, scores in tables.items():
        rng = np.random.default_rng(0)
        runs, tasks = scores.shape
        above = scores[..., None] > at  # [runs, tasks, thresholds]
        drawn = rng.multinomial(runs, np.full(runs, 1 / runs), size=(reps, tasks))
        shares = np.einsum("btr,rtk->bk", drawn, above) / (runs * tasks)
        band = np.quantile(shares, [0.025, 0.975], axis=0)
        found["share"][method] = {
            "value": stats.performance_profile(scores, at).tolist(),
            "low": band[0].tolist(),
            "high": band[1].tolist(),
        }
    return found


def curve(runs: Sequence[Sequence[tuple[float, float]]]) -> dict[str, list[float]]:
    """IQM over runs with its interval wherever all of them have a point: x, value, low, high."""
    by_run = [dict(points) for points in runs]
    shared = sorted(set.intersection(*(set(points) for points in by_run))) if by_run else []
    found: dict[str, list[float]] = {"x": shared, "value": [], "low": [], "high": []}
    for x in shared:
        value, low, high = stats.interval([[points[x]] for points in by_run], reps=REPS)
        for key, number in (("value", value), ("low", low), ("high", high)):
            found[key].append(number)
    return found
