"""Point families: goals, corners, walls, and what is known of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from logbook.build import build
from logbook.compose import compose
from logbook.errors import UserError
from meta.evaluate import score
from meta.known import known
from meta.trial import live, returns_by_episode
from tests.families import acts, family

Array = NDArray[Any]


def test_standing_still_and_going_straight_score_what_was_computed() -> None:
    """Of the mean over all goals; those used here lie on a grid, so chance plays no part."""
    side = (np.arange(40) + 0.5) / 40 - 0.5
    goals = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    tasks = family("point_goal", len(goals))
    tasks.enter(goals)
    tasks.reset()
    still = np.zeros(len(goals))
    for t in range(100):
        _, rew, terminated, truncated, _ = tasks.step(np.zeros((len(goals), 2)))
        still += rew
        assert not terminated.any() and truncated.all() == (t == 99)
    assert still.mean() == pytest.approx(-38.26, abs=0.02)

    rounds = live(tasks, known("straight", tasks, 0), goals, horizon=2, explore=False)
    straight = returns_by_episode(rounds, 2).mean(1)
    np.testing.assert_allclose(straight, [-0.506, -0.506], atol=0.002)
    assert rounds[0].shape[0] == 10  # at most five moves, twice


def test_goals_fill_the_square_and_no_two_draws_agree() -> None:
    tasks = family("point_goal", 1)
    rng = np.random.default_rng(0)
    goals = tasks.sample(4000, rng, held_out=False)
    assert goals.min() < -0.499 and goals.max() > 0.499 and np.abs(goals).max() <= 0.5
    assert np.abs(goals.mean(0)).max() < 0.02
    assert not np.isin(tasks.sample(4000, rng, held_out=True), goals).any()


def test_point_goal_step_by_step() -> None:
    tasks = family("point_goal", 4, episodes=1, episode_steps=3)
    tasks.enter(np.array([[0.3, -0.4], [0.1, 0.0], [0.1, 0.109], [0.1, 0.111]]))
    obs, _ = tasks.reset()
    assert obs.dtype == np.float32 and not obs.any()
    act = np.array([[0.0, 0.0], [9.0, 0.0], [0.1, 0.1], [0.1, 0.1]])
    obs, rew, terminated, truncated, info = tasks.step(act)
    np.testing.assert_allclose(obs[1:], [[0.1, 0.0], [0.1, 0.1], [0.1, 0.1]], atol=1e-7)
    np.testing.assert_allclose(rew, [-0.5, 0.0, -0.009, -0.011], atol=1e-9)
    assert terminated.tolist() == [False, True, True, False] and not truncated.any()
    np.testing.assert_array_equal(info["feat"], obs)
    obs, _ = tasks.reset(terminated)
    np.testing.assert_allclose(obs, [[0, 0], [0, 0], [0, 0], [0.1, 0.1]], atol=1e-7)
    tasks.step(0 * act)
    _, _, terminated, truncated, _ = tasks.step(np.array([[0, 0], [0.1, 0], [0, 0], [0, 0.011]]))
    assert terminated.tolist() == [False, True, False, True]
    assert truncated.tolist() == [True, False, False, False]  # its time is up, but it arrived


def test_corners_pay_only_where_they_can_be_told_apart() -> None:
    """The rule of the authors' code written out for one point, against the family's."""
    tasks = family("point_corner", 64, episode_steps=60)
    goals = tasks.sample(64, np.random.default_rng(0), held_out=True)
    assert len(np.unique(goals, axis=0)) == 4 and (np.abs(goals) == 2.0).all()
    tasks.enter(goals)
    before, _ = tasks.reset()
    assert np.abs(before).max() <= 0.2 and len(np.unique(before, axis=0)) == 64
    drift = 0.5 * np.random.default_rng(3).uniform(-0.2, 0.2, (64, 2))
    paid = 0
    for act in acts(tasks, 60) + drift:
        after, rew, terminated, _, _ = tasks.step(act)
        np.testing.assert_allclose(after, before + np.clip(act, -0.2, 0.2), atol=1e-6)
        for i, (x, y) in enumerate(after.tolist()):
            corners = [math.dist((x, y), c) for c in [(-2, -2), (2, -2), (-2, 2), (2, 2)]]
            left = math.dist((x, y), goals[i])
            counts = abs(x) + abs(y) >= 0.5 and left <= min(corners)
            progress = math.dist(before[i], goals[i]) - left
            assert rew[i] == pytest.approx(progress if counts else 0.0, abs=1e-6)
            paid += counts
        assert not terminated.any()
        before = after
    assert 300 < paid < 64 * 60 - 300  # both cases were met


@pytest.mark.parametrize("plane", [{}, {"unit": 2.5, "walls": 2.5}])
def test_the_oracle_reaches_every_corner(plane: dict[str, float]) -> None:
    tasks = family("point_corner", 40, **plane)
    goals = tasks.sample(40, np.random.default_rng(0), held_out=False)
    rounds = live(tasks, known("straight", tasks, 0), goals, horizon=1, explore=False)
    gained = returns_by_episode(rounds, 1)[0]
    assert gained.min() > 2.0 and gained.max() < math.dist((0, 0), (2, 2))
    np.testing.assert_allclose(rounds[0].next_feat[-1], goals, atol=1e-5)


def test_corner_marks_worked_by_hand() -> None:
    """Two episodes of three steps: the first tells where one goes, the end who arrives."""
    tasks = family("point_corner", 3, episode_steps=3)
    tasks.enter(np.array([[2.0, 2.0], [2.0, -2.0], [-2.0, 2.0]]))
    first = [[[0, 0], [1.5, -1.5], [0, 0]], [[-2, -1.5], [-2, 1.5], [-1, 1]], np.zeros((3, 2))]
    last = [np.full((3, 2), 2.0), np.full((3, 2), 2.0), [[2, 1.6], [2, -2.6], [-2, 2]]]
    feat = np.moveaxis(np.array(first, float), 0, 1)  # given by world
    found = tasks.marks(np.zeros((6, 3, 2)), np.concatenate([feat, np.array(last)]))
    want = {"near_sw": 1 / 3, "near_se": 1 / 3, "near_nw": 1 / 3, "near_ne": 0.0, "arrived": 2 / 3}
    assert found == pytest.approx(want)


class Outward:
    """Goes from where it starts along both axes, in four worlds of a task; learns nothing."""

    told, hears, width = False, False, 4

    def rounds(self, horizon: int) -> list[int]:
        return [1] * horizon

    def begin(self, n: int, told: Any) -> None:
        return None

    def act(self, obs: Any, last: Any, memory: None, explore: bool) -> Any:
        return obs.sign(), {}, None

    def adapt(self, memory: None, rollout: Any) -> None:
        return None


def test_marks_of_a_policy_in_several_worlds_of_a_task() -> None:
    goals = np.repeat([[2.0, 2.0], [-2.0, -2.0]], 30, 0)

    def make(num_envs: int, seed: int) -> Any:
        return family("point_corner", num_envs, seed=seed, episode_steps=10)

    policy: Any = Outward()
    marks = score(make, policy, goals, horizon=2, seed=0).marks
    near = [marks[f"near_{corner}"] for corner in ("sw", "se", "nw", "ne")]
    assert sum(near) == pytest.approx(1.0) and 0.15 < min(near) and max(near) < 0.35
    assert 0.15 < marks["arrived"] < 0.35, "by chance, the goals' own quadrant"


def test_a_walled_plane_ends_where_env_point_does() -> None:
    tasks = family("point_corner", 3, walls=2.5, unit=2.5)
    words = ["env=point", "env.size=2.5", "env.step_size=0.2"]
    world = build("env", compose("pretrain", words).config["env"], num_envs=3)
    tasks.enter(np.full((3, 2), 2.0))
    tasks.reset()
    world.reset(seed=0)
    tasks._at[:] = world._pos[:] = [[2.4, 0.0], [-2.4, 2.45], [0.0, 0.0]]
    act = np.array([[0.2, 0.1], [-0.2, 0.2], [0.2, 0.2]], np.float32)
    obs, rew, *_ = tasks.step(act)
    np.testing.assert_allclose(obs, world.step(act / 0.2)[0], atol=1e-6)
    np.testing.assert_allclose(obs[0], [1.0, 0.04], atol=1e-6)
    gained = math.dist((2.4, 0), (2, 2)) - math.dist((2.5, 0.1), (2, 2))
    assert rew[0] == pytest.approx(gained), "the way made, not the way asked for"
    for name, walls in (("point_goal", 0.4), ("point_corner", 1.9), ("carml", 0)):
        with pytest.raises(UserError, match=f"tasks.walls={walls}"):
            family(name, 1, walls=walls)
