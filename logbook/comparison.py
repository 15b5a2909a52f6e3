"""Methods held against each other: the numbers of `compare`, from scores to intervals.

Scores are {method: {task: [a number a run]}}. Robust means, probabilities of improvement and
performance profiles are rliable's (Agarwal et al. 2021, arXiv 2108.13264), and from eight tasks on
so are the intervals of means; logbook/stats.py has them. Across tasks only what is on one scale is
averaged: scores that were normalised, or those of a single task. Who beats whom needs no scale.
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
    """[value, low, high] of IQM, mean and median of scores [runs, tasks], and how they were made.

    The optimality gap, how far runs fall short of the expert, is there for normalised scores.
    `covers` is how often such an interval holds the truth where scores are normal.
    """
    chosen = dict(_AGGREGATES)
    if normalised:
        chosen["optimality_gap"] = stats.aggregate_optimality_gap
    few = scores.shape[1] < stats.MANY
    found: dict[str, Any] = {"runs": len(scores), "interval": "Student's t" if few else "bootstrap"}
    found["covers"] = stats.covers(*scores.shape)
    for name, aggregate in chosen.items():
        found[name] = list(stats.interval(scores, aggregate, reps=REPS))
    return found


def kind_of(found: Mapping[str, Any]) -> str:
    """How the intervals of `aggregates` were made, and how often such ones hold the truth."""
    if found["runs"] == 1:
        return "one run: no interval"
    return f"{found['interval']}, holds the truth {100 * found['covers']:.0f} % of the time"


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


def improvement_interval(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> list[float]:
    """[probability, low, high] that x beats y, for (runs of x, runs of y) of each task.

    Ties count a half, and every task as much as any other.
    """
    wins = [(np.sign(np.subtract.outer(x, y)).mean() + 1.0) / 2.0 for x, y in pairs]
    chance = float(np.mean(wins))
    return [chance, *stats.win_interval(chance, [(len(x), len(y)) for x, y in pairs])]


def profile(tables: Mapping[str, Array]) -> dict[str, Any]:
    """The share of runs above each threshold, with 95 % bands, for all methods.

    Thresholds are as far apart over the range of all scores, and a little beyond it.
    """
    low = min(float(s.min()) for s in tables.values())
    high = max(float(s.max()) for s in tables.values())
    margin = 0.04 * (high - low) or 0.5
    at = np.linspace(low - margin, high + margin, THRESHOLDS)
    found: dict[str, Any] = {"thresholds": at.tolist(), "share": {}}
    for method, scores in tables.items():
        share = stats.performance_profile(scores, at)
        band = stats.share_interval(share, scores.size)
        found["share"][method] = {
            "value": share.tolist(),
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
