"""Numbers across seeds that do not flatter: robust means, with intervals that few runs need.

After Agarwal et al. 2021 (arXiv 2108.13264), under rliable's names. Scores are [runs, tasks]; an
aggregate reads the last two axes, so that all bootstrap resamples go through at once. Their
bootstrap is meant for many tasks: of one task and three runs its 95 % interval covers 76 %. There
and on up to seven tasks intervals are Student's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MANY = 8  # tasks from which intervals are those of a stratified bootstrap
_COVERS = {1: 0.0, 2: 0.80, 3: 0.87, 4: 0.90, 5: 0.91, 7: 0.92, 10: 0.93, 20: 0.94}  # by runs


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


@lru_cache(maxsize=256)
def t_quantile(df: float, confidence: float = 0.95) -> float:
    """How many standard errors Student's t with `df` degrees of freedom stays within."""
    df = min(df, 1e5)  # where it is the normal distribution's
    angle = np.linspace(0.0, math.pi / 2, 20_001)  # t = sqrt(df) tan(angle)
    density = np.cos(angle) ** (df - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(df) * math.tan(np.interp(confidence, mass / mass[-1], angle))


def mean_and_error(groups: Sequence[Any]) -> tuple[float, float, float]:
    """The mean over groups of the mean within each, its standard error and degrees of freedom.

    The error is of what varies within groups: runs of a task, or episodes of it. Groups may be
    unlike (degrees of freedom by Welch and Satterthwaite). With one value in any of them the error
    is zero: nothing is known of the spread.
    """
    groups = [np.asarray(group, np.float64) for group in groups]
    middle = float(np.mean([group.mean() for group in groups]))
    counts = np.array([len(group) for group in groups])
    if counts.min() < 2:
        return middle, 0.0, 1.0
    each = np.array([group.var(ddof=1) for group in groups]) / counts
    whole = float(each.sum())
    df = whole**2 / float((each**2 / (counts - 1)).sum()) if whole > 0.0 else 1.0
    return middle, math.sqrt(whole) / len(groups), df


def mean_interval(groups: Sequence[Any], confidence: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high) by Student's t, of the mean over groups of the mean within each."""
    middle, error, df = mean_and_error(groups)
    half = t_quantile(df, confidence) * error
    return middle, middle - half, middle + half


def interval(
    scores: Any,
    aggregate: Callable[[Array], Array] = aggregate_iqm,
    *,
    confidence: float = 0.95,
    reps: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """(aggregate, low, high) of scores [runs, tasks]; a vector [runs] counts as one task.

    From `MANY` tasks on these are percentiles of a stratified bootstrap, as in rliable, which is
    made for many tasks (`covers` says how sure they are). Of fewer tasks it is as wide as Student's
    t has it for the mean, times how much wider or narrower a bootstrap finds the aggregate than
    the mean. With one run the interval is the point itself: nothing is known of the spread.
    """
    scores = np.asarray(scores, np.float64)
    scores = scores[:, None] if scores.ndim == 1 else scores
    value = float(aggregate(scores))
    drawn = _resampled(scores, reps, seed)
    values = aggregate(drawn)
    if scores.shape[1] >= MANY:
        low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
        return value, float(low), float(high)
    middle, low, _ = mean_interval(list(scores.T), confidence)
    spread = float(aggregate_mean(drawn).std())
    half = (middle - low) * float(values.std()) / spread if spread > 0.0 else 0.0
    return value, value - half, value + half


def _resampled(scores: Array, reps: int, seed: int) -> Array:
    """Scores [reps, runs, tasks]: runs are drawn with replacement for each task by itself."""
    _flat(scores)
    runs, tasks = scores.shape
    drawn = np.random.default_rng(seed).integers(runs, size=(reps, runs, tasks))
    resampled: Array = scores[drawn, np.arange(tasks)]
    return resampled


def covers(runs: int, tasks: int) -> float:
    """How often `interval` of that many normal scores covers the truth, where 0.95 is asked for.

    Measured (tests/test_stats.py) for the IQM. Student's does so of few tasks, however few the
    runs, or a little more often; the bootstrap of many tasks falls short where runs are few.
    """
    known = max(n for n in _COVERS if n <= runs)
    return 0.95 if tasks < MANY and runs > 1 else _COVERS[known]


def share_interval(share: Any, count: int, confidence: float = 0.95) -> tuple[Array, Array]:
    """Low and high of a share that was found in `count` independent tries (Wilson 1927)."""
    p, z = np.asarray(share, np.float64), t_quantile(math.inf, confidence)
    middle = p + z**2 / (2 * count)
    half = z * np.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
    low, high = ((middle + sign * half) / (1 + z**2 / count) for sign in (-1, 1))
    return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)


def win_interval(
    chance: float, runs: Sequence[tuple[int, int]], confidence: float = 0.95
) -> tuple[float, float]:
    """Low and high of a probability of improvement between so many runs (of x, of y) a task.

    Newcombe's method 5 (2006, Statistics in Medicine 25, 559-573): all chances from which `chance`
    is no further than their own standard error allows. It knows that three wins of three may be
    luck, as resampling does not. Tasks count as alike; where they are not, it is too wide.
    """
    at = np.linspace(0.0, 1.0, 2001)
    of_one = at * (1 - at)
    each = (1 - at) / (2 - at) + at / (1 + at)
    error = np.sqrt(sum(of_one * (1 + ((x + y) / 2 - 1) * each) / (x * y) for x, y in runs))
    reach = t_quantile(math.inf, confidence) * error / len(runs)
    likely = at[np.abs(at - chance) <= reach + 1e-9]
    return float(min(likely[0], chance)), float(max(likely[-1], chance))
