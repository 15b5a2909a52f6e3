"""Statistics across seeds, against cases worked by hand and against scipy's trimmed mean."""

import math

import numpy as np
import pytest
import scipy.stats

from logbook import stats


def test_iqm_leaves_out_a_quarter_on_each_side():
    assert stats.aggregate_iqm([[0.0, 100.0], [2.0, 4.0]]) == 3.0  # of 0 2 4 100: 2 and 4
    assert stats.aggregate_iqm([[-50.0], [1.0], [2.0], [6.0], [900.0]]) == 3.0  # 5 // 4 = 1 a side
    assert stats.aggregate_iqm([[1.0], [2.0], [9.0]]) == 4.0  # 3 // 4 = 0: the plain mean


@pytest.mark.parametrize("shape", [(3, 1), (5, 4), (10, 7)])
def test_iqm_equals_scipys_trimmed_mean(shape):
    scores = np.random.default_rng(0).standard_cauchy(shape)
    want = scipy.stats.trim_mean(scores, 0.25, axis=None)
    assert stats.aggregate_iqm(scores) == pytest.approx(want, rel=1e-12)


def test_median_is_over_tasks_of_means_over_runs():
    scores = [[0.0, 10.0, 5.0], [2.0, 30.0, 5.0]]  # means 1, 20, 5
    assert stats.aggregate_median(scores) == 5.0
    assert stats.aggregate_mean(scores) == pytest.approx(52 / 6)


def test_optimality_gap_ignores_what_exceeds_the_goal():
    assert stats.aggregate_optimality_gap([[0.5, 3.0]]) == pytest.approx(0.25)
    assert stats.aggregate_optimality_gap([[1.0, 3.0]], gamma=2.0) == pytest.approx(0.5)


def test_probability_of_improvement_counts_pairs_within_a_task():
    x, y = [[1.0, 5.0], [3.0, 5.0]], [[2.0, 5.0], [0.0, 9.0]]
    # task 0: 1>0, 3>2, 3>0 of four; task 1: two ties at a half, two losses
    assert stats.probability_of_improvement(x, y) == pytest.approx((0.75 + 0.25) / 2)
    with pytest.raises(ValueError, match="same tasks"):
        stats.probability_of_improvement(x, [[1.0]])


def test_performance_profile_is_a_share_above():
    shares = stats.performance_profile([[1.0, 2.0], [3.0, 4.0]], [0.0, 2.0, 4.0])
    assert shares.tolist() == [1.0, 0.5, 0.0]


def test_two_equally_likely_runs_give_the_exact_bootstrap_distribution():
    # Resampled means are 0, 1/2, 1 with odds 1:2:1: a quarter of the mass lies at either end.
    scores = [[0.0], [1.0]]
    assert stats.interval(scores, stats.aggregate_mean, confidence=0.6) == (0.5, 0.0, 1.0)
    assert stats.interval(scores, stats.aggregate_mean, confidence=0.4) == (0.5, 0.5, 0.5)


def test_the_bootstrap_is_stratified_by_task():
    # Each task is constant over its runs: within tasks nothing can vary, across them all would.
    scores = np.tile([0.0, 10.0, 20.0], (4, 1))
    assert stats.interval(scores, stats.aggregate_mean) == (10.0, 10.0, 10.0)


def test_the_interval_of_a_mean_approaches_the_normal_one():
    scores = np.random.default_rng(1).normal(size=400)
    _, low, high = stats.interval(scores, stats.aggregate_mean, reps=4000)
    want = 2 * 1.96 * scores.std() / math.sqrt(400)
    assert high - low == pytest.approx(want, rel=0.05)


def test_one_run_has_no_spread_and_no_scores_are_refused():
    assert stats.interval([7.0]) == (7.0, 7.0, 7.0)
    with pytest.raises(ValueError, match="at least one"):
        stats.interval(np.zeros((0, 2)))


def test_the_same_seed_gives_the_same_interval():
    scores = np.random.default_rng(2).normal(size=(6, 3))
    assert stats.interval(scores, seed=3) == stats.interval(scores, seed=3)
