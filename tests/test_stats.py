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
    # Resampled means of a task are 0, 1/2, 1 with odds 1:2:1; of eight such tasks 0, 1/16, ...: the
    # sum of 16 coins. Of one task among constant ones they are 0, 1/16, 2/16 with odds 1:2:1.
    one = np.zeros((2, 8))
    one[1, 0] = 1.0
    assert stats.interval(one, stats.aggregate_mean, confidence=0.6) == (1 / 16, 0.0, 1 / 8)
    assert stats.interval(one, stats.aggregate_mean, confidence=0.4) == (1 / 16, 1 / 16, 1 / 16)
    coins = np.tile([[0.0], [1.0]], 8)
    found = stats.interval(coins, stats.aggregate_mean)
    low, high = scipy.stats.binom(16, 0.5).ppf([0.025, 0.975]) / 16
    assert found == (0.5, low, high), "runs are drawn for each task by itself"


def test_the_bootstrap_is_stratified_by_task():
    # Each task is constant over its runs: within tasks nothing can vary, across them all would.
    for tasks in (3, 12):
        scores = np.tile(10.0 * np.arange(tasks), (4, 1))
        middle = 5.0 * (tasks - 1)
        assert stats.interval(scores, stats.aggregate_mean) == (middle, middle, middle)


@pytest.mark.parametrize(
    ("df", "confidence", "want"),
    [
        (1, 0.95, 12.7062),
        (2, 0.95, 4.3027),
        (4, 0.95, 2.7764),
        (9, 0.99, 3.2498),
        (29, 0.90, 1.6991),
        (120, 0.95, 1.9799),
        (math.inf, 0.95, 1.95996),
    ],
)
def test_quantiles_of_students_t_are_those_of_the_table(df, confidence, want):
    assert stats.t_quantile(df, confidence) == pytest.approx(want, rel=1e-4)


def test_quantiles_of_students_t_are_scipys_between_the_degrees():
    for df in (1.37, 2.5, 7.9, 333.3):
        assert stats.t_quantile(df) == pytest.approx(scipy.stats.t.ppf(0.975, df), rel=1e-5)


def test_the_interval_of_one_task_is_students():
    # 0, 3, 6: mean 3, standard error sqrt(9 / 3), two degrees of freedom.
    half = 4.302653 * math.sqrt(3.0)
    for aggregate in (stats.aggregate_mean, stats.aggregate_iqm, stats.aggregate_median):
        want = pytest.approx((3.0, 3.0 - half, 3.0 + half), rel=1e-5)
        assert stats.interval([0.0, 3.0, 6.0], aggregate) == want
    scores = np.random.default_rng(0).normal(size=6)
    want = scipy.stats.t.interval(0.9, 5, scores.mean(), scipy.stats.sem(scores))
    found = stats.interval(scores, stats.aggregate_mean, confidence=0.9)
    assert found[1:] == pytest.approx(want, rel=1e-4)


def test_the_interval_of_a_few_tasks_is_welchs():
    # Means 1 and 10, errors sqrt(1 / 2) and sqrt(4 / 2): that of the mean is sqrt(2.5) / 2; degrees
    # of freedom (0.5 + 2)^2 / (0.5^2 + 2^2) = 1.47.
    groups = [[1 - math.sqrt(0.5), 1 + math.sqrt(0.5)], [10 - math.sqrt(2.0), 10 + math.sqrt(2.0)]]
    half = scipy.stats.t.ppf(0.975, 2.5**2 / 4.25) * math.sqrt(2.5) / 2
    want = pytest.approx((5.5, 5.5 - half, 5.5 + half), rel=1e-4)
    assert stats.mean_interval(groups) == want
    assert stats.interval(np.array(groups).T, stats.aggregate_mean) == want
    # Of unequal groups every one counts as much as the others.
    assert stats.mean_interval([[0.0, 2.0], [10.0] * 98])[0] == 5.5
    assert stats.mean_interval([[0.0, 2.0], [10.0]]) == (5.5, 5.5, 5.5), "one value has no spread"


@pytest.mark.parametrize(("runs", "tasks"), [(3, 1), (5, 1), (2, 4), (3, 7), (3, 8), (5, 8)])
def test_an_interval_covers_what_it_is_said_to_cover(runs, tasks):
    rng, tries = np.random.default_rng(0), 500
    hit = 0
    for _ in range(tries):
        _, low, high = stats.interval(rng.normal(size=(runs, tasks)), reps=300)
        hit += low <= 0.0 <= high
    said = stats.covers(runs, tasks)
    least = said - 3 * math.sqrt(said * (1 - said) / tries)
    most = 1.0 if tasks < stats.MANY else said + 0.04
    assert least < hit / tries < most
    assert said == (0.95 if tasks < 8 else {3: 0.87, 5: 0.91}[runs])


def test_what_few_runs_cover():
    assert [stats.covers(n, 8) for n in (1, 2, 6, 1000)] == [0.0, 0.80, 0.91, 0.94]
    assert [stats.covers(n, 1) for n in (1, 2, 50)] == [0.0, 0.95, 0.95]


def test_wins_of_few_runs_may_be_luck():
    low, high = stats.win_interval(1.0, [(3, 3)])
    assert high == 1.0 and 0.3 < low < 0.6, "nine wins of nine, by three runs each"
    assert stats.win_interval(1.0, [(30, 30)])[0] > 0.9
    assert stats.win_interval(1.0, [(3, 3)] * 8)[0] > 0.85
    low, high = stats.win_interval(0.3, [(4, 5)])
    mirrored = stats.win_interval(0.7, [(5, 4)])
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)
    rng, hit = np.random.default_rng(0), 0
    true = scipy.stats.norm.cdf(1 / math.sqrt(2))  # of a shift by one spread
    for _ in range(400):
        x, y = rng.normal(1.0, 1.0, (3, 1)), rng.normal(size=(3, 1))
        low, high = stats.win_interval(stats.probability_of_improvement(x, y), [(3, 3)])
        hit += low <= true <= high
    assert hit / 400 > 0.92


def test_the_interval_of_a_share_is_wilsons():
    for share, count in ((0.0, 3), (1 / 3, 3), (0.5, 24), (1.0, 10)):
        found = scipy.stats.binomtest(round(share * count), count).proportion_ci(method="wilson")
        assert stats.share_interval(share, count) == pytest.approx(
            (found.low, found.high), abs=1e-4
        )


def test_the_interval_of_a_mean_approaches_the_normal_one():
    for tasks in (1, 8):
        scores = np.random.default_rng(1).normal(size=(400, tasks))
        _, low, high = stats.interval(scores, stats.aggregate_mean, reps=4000)
        want = 2 * 1.96 * scores.std() / math.sqrt(scores.size)
        assert high - low == pytest.approx(want, rel=0.05)


def test_one_run_has_no_spread_and_no_scores_are_refused():
    assert stats.interval([7.0]) == (7.0, 7.0, 7.0)
    with pytest.raises(ValueError, match="at least one"):
        stats.interval(np.zeros((0, 2)))


def test_the_same_seed_gives_the_same_interval():
    for tasks in (3, 8):
        scores = np.random.default_rng(2).normal(size=(6, tasks))
        assert stats.interval(scores, seed=3) == stats.interval(scores, seed=3)
