"""CARML: the mixture finds where the states are, and its rewards ask for one's own component."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from logbook.build import build
from logbook.compose import compose
from meta.assess import assess
from meta.stage import metatrain_stage


def make(*words: str, num_envs: int = 4, seed: int = 0) -> Any:
    texts = ["tasks=carml", *(f"tasks.{w}" for w in words)]
    return build("tasks", compose("metatrain", texts).config["tasks"], num_envs=num_envs, seed=seed)


def states(*middles: tuple[float, float], spread: float, n: int = 3000) -> Any:
    rng = np.random.default_rng(0)
    found = np.concatenate([rng.normal(m, spread, (n, 2)) for m in middles])
    return found[None].astype(np.float32), np.ones((1, len(found)), np.bool_)


def test_a_fit_finds_the_places_that_a_learner_goes_to() -> None:
    family = make("components=3", "every=1")
    for _ in range(3):
        family.learn(*states((2, 0), (-2, 0), (0, 2), spread=0.1, n=20000))
    found = family.lessons()["middle"]
    for place in ((2, 0), (-2, 0), (0, 2)):
        assert np.abs(found - place).sum(1).min() < 0.1
    own = family.rewards_at(found)
    assert (own.argmax(1) == np.arange(3)).all(), "a task asks for its own place"


def test_the_reward_is_the_papers() -> None:
    family = make("components=2", "every=0", "balance=0.3")
    state = {**family.lessons(), "middle": np.array([[0.0, 0.0], [1.0, 0.5]])}
    state |= {"spread": np.array([[0.5, 0.5], [0.2, 0.4]]), "share": np.array([0.25, 0.75])}
    family.take(state)
    at = np.array([[0.3, 0.1], [0.9, 0.9]])
    under = np.stack(
        [multivariate_normal(m, np.diag(s**2)).logpdf(at) for m, s in zip(
            state["middle"], state["spread"], strict=True)], 1)  # fmt: skip
    joint = np.exp(under) * state["share"]
    posterior = np.log(joint / joint.sum(1, keepdims=True))
    want = (0.3 - 1) * under + posterior
    np.testing.assert_allclose(family._raw(at), want, rtol=1e-9)
    np.testing.assert_allclose(family.log_density(at)[1], np.log(joint.sum(1)), rtol=1e-9)


def test_with_one_spread_the_far_side_of_a_task_is_its_own() -> None:
    """One wide heap and one narrow one: far out on the narrow one's side, whose is it?"""
    wide, narrow = states((2, 0), spread=1.0), states((-2, 0), spread=0.2)
    both = np.concatenate([wide[0], narrow[0]], 1), np.concatenate([wide[1], narrow[1]], 1)
    recognised = {}
    for shared in (True, False):
        family = make("components=2", "every=1", "balance=1.0", f"shared_spread={shared}")
        for _ in range(3):
            family.learn(*both)
        found = family.lessons()
        left = int(found["middle"][:, 0].argmin())
        recognised[shared] = bool(family.rewards_at(np.array([-8.0, 0.0])).argmax() == left)
        assert bool(np.ptp(found["spread"]) == 0.0) is shared
    assert recognised == {True: True, False: False}


def test_fixed_random_tasks_stay_and_others_follow() -> None:
    fixed, follows = make("every=0"), make("every=2")
    before = [f.lessons()["middle"].copy() for f in (fixed, follows)]
    entropies = []
    for width in (0.2, 0.2, 1.0, 1.0):
        fixed.learn(*states((0, 0), spread=width, n=20000))
        entropies.append(follows.learn(*states((0, 0), spread=width, n=20000))["entropy"])
    assert np.array_equal(fixed.lessons()["middle"], before[0])
    assert not np.allclose(follows.lessons()["middle"], before[1])
    # A Gaussian of spread 0.2 has -0.38 nats; half of it of spread 1 adds much.
    assert entropies[1] == pytest.approx(np.log(2 * np.pi * np.e * 0.04), abs=0.2)
    assert entropies[-1] > entropies[1] + 1


def test_a_copy_takes_the_lessons() -> None:
    one, other = make("every=1"), make("every=1", seed=5)
    one.learn(*states((1, 1), spread=0.3))
    other.take(one.lessons())
    at = np.random.default_rng(1).normal(0, 1, (5, 2))
    np.testing.assert_array_equal(one.rewards_at(at), other.rewards_at(at))


def test_a_run_is_evaluated_on_the_tasks_that_it_was_fitted_to(tmp_path: Path) -> None:
    """What the end of training scored, `evaluate` scores again; other settings are other tasks."""
    words = "tasks=carml tasks.every=1 tasks.components=3 tasks.episode_steps=5 learner=maml"
    words += " learner.hidden=[8] learner.meta_batch=3 learner.width=4 steps=600"
    words += " evaluate.tasks=3 evaluate.baselines=false"
    metatrain_stage(compose("metatrain", words.split()).config, tmp_path / "run")
    at_the_end = json.loads((tmp_path / "run" / "summary.json").read_text())["meta"]
    place = tmp_path / "again.json"
    assert assess(tmp_path / "run", [], to=place) == 0
    assert json.loads(place.read_text())["meta"] == at_the_end
    assert assess(tmp_path / "run", ["tasks.components=4"], to=place) == 0
    other = json.loads(place.read_text())["meta"]
    assert other["returns_by_shot"] != at_the_end["returns_by_shot"]
