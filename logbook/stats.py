"""Numbers across seeds that do not flatter: robust means with stratified bootstrap intervals.

After Agarwal et al. 2021 (arXiv 2108.13264), under rliable's names. Scores are [runs, tasks]; a
function of this file reads the last two axes, so that all bootstrap resamples go through at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _flat(scores: Any) -> Array:
    scores = np.asarray(scores, np.float64)
    if scores.ndim < 2 or 0 in scores.shape:
        raise ValueError(f"scores have shape {scores.shape}, want [runs, tasks] with at least one")
    flat: Array = scores.reshape(*scores.shape[:-2], -1)
    return flat


def aggregate_iqm(scores: Any) -> Array:
    """Interquartile mean: of all runs x tasks scores, the lowest and highest quarter are left out.

    A quarter is rounded down, as in rliable: of 3 seeds none are left out, of 5 one a side.
    """
    flat = np.sort(_flat(scores), -1)
    cut = flat.shape[-1] // 4
    return np.asarray(flat[..., cut : flat.shape[-1] - cut].mean(-1))


def aggregate_mean(scores: Any) -> Array:
    """Mean over runs and tasks."""
    return np.asarray(_flat(scores).mean(-1))


def aggregate_median(scores: Any) -> Array:
    """Median over tasks of the mean over runs."""
    _flat(scores)
    return np.asarray(np.median(np.mean(scores, -2), -1))


def aggregate_optimality_gap(scores: Any, gamma: float = 1.0) -> Array:
    """How far scores fall short of `gamma` on average; what exceeds it earns nothing."""
    return np.asarray(gamma - np.minimum(_flat(scores), gamma).mean(-1))


def probability_of_improvement(scores_x: Any, scores_y: Any) -> float:
    """The chance that a run of x beats a run of y on the same task, mean over tasks; ties half.

    `scores_x` [runs_x, tasks] and `scores_y` [runs_y, tasks].
    """
    x, y = np.asarray(scores_x, np.float64), np.asarray(scores_y, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"scores have shapes {x.shape} and {y.shape}, want the same tasks")
    wins = np.sign(x[:, None] - y[None])
    return float((wins.mean() + 1.0) / 2.0)


def performance_profile(scores: Any, thresholds: Any) -> Array:
    """The share of runs x tasks scores above each threshold, [len(thresholds)]."""
    return np.asarray((_flat(scores)[..., None, :] > np.asarray(thresholds)[:, None]).mean(-1))


def interval(
    scores: Any,
    aggregate: Callable[[Array], Array] = aggregate_iqm,
    *,
    confidence: float = 0.95,
    reps: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """(aggregate, low, high) of scores [runs, tasks], by percentiles of a stratified bootstrap.

    Runs are drawn with replacement for each task by itself. A vector [runs] counts as one task.
    With one run the interval is the point itself: nothing is known of the spread.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim == 1:
        scores = scores[:, None]
    _flat(scores)
    rng = np.random.default_rng(seed)
    runs, tasks = scores.shape
    drawn = rng.integers(runs, size=(reps, runs, tasks))
    values = aggregate(scores[drawn, np.arange(tasks)])
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(aggregate(scores)), float(low), float(high)
