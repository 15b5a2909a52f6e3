"""A run of too few steps to learn says so before it starts, in every stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.stage import assemble as finetuning
from finetune.stage import finetune_stage
from logbook.build import build
from logbook.compose import compose
from meta.stage import assemble as metatraining
from meta.stage import metatrain_stage
from pretrain.stage import pretrain_stage
from tests.finetune_runs import STRATEGIES, config_of, metatrain_small, pretrain_small

SMALL = "env=point num_envs=4 atlas.videos=false evaluate.reps=1 evaluate.steps=5 device=cpu"
POINTS = "learner=maml tasks=point_goal learner.hidden=[8] learner.meta_batch=3 learner.width=4"
POINTS += " tasks.episode_steps=7 evaluate.tasks=3 evaluate.baselines=false device=cpu"
BANDITS = "learner=rl2 tasks=bandit tasks.arms=3 tasks.pulls=4 learner.hidden=8"
BANDITS += " learner.meta_batch=6 learner.epochs=1 learner.minibatches=1 device=cpu"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain_small(tmp_path_factory.mktemp("source") / "run")


@pytest.fixture(scope="module")
def learner(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = f"learner=maml tasks=skills from={source} steps=200 learner.hidden=[8]"
    words += " learner.meta_batch=3 learner.width=4"
    return metatrain_small(tmp_path_factory.mktemp("learner") / "run", words)


def _told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if "steps=" in line]


@pytest.mark.parametrize(
    ("words", "told", "updates"),
    [
        ("steps=60 agent.start_steps=62", "before step 64; try steps=64", False),
        ("steps=64 agent.start_steps=62", "", True),
        ("steps=9 agent=ppo agent.horizon=8", "a round is 32 env steps", True),
    ],
)
def test_too_few_steps_are_told(
    words: str, told: str, updates: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = compose("pretrain", [*SMALL.split(), *words.split()]).config
    pretrain_stage(config, tmp_path / "run")
    said = _told(capsys)
    assert len(said) == bool(told) and told in "".join(said)
    assert ('"train/n_updates": 0' not in (tmp_path / "run/metrics.jsonl").read_text()) == updates


@pytest.mark.parametrize("words", [POINTS, BANDITS])
def test_a_round_of_trials_is_as_long_as_told(words: str) -> None:
    training = metatraining(compose("metatrain", words.split()).config)
    training.advance()
    assert training.step == training.pace.whole == training.pace.first


def test_metatrain_tells_what_a_round_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for steps, told in ((167, True), (168, False)):
        config = compose("metatrain", [*POINTS.split(), f"steps={steps}"]).config
        metatrain_stage(config, tmp_path / str(steps))
        said = _told(capsys)
        assert len(said) == told and "up to 168 env steps, and" in "".join(said) or not told


def _finetuning(config: dict[str, Any]) -> Any:
    strategy = build("strategy", config["strategy"])
    return finetuning(config, strategy.take_over(Path(config["from"]), torch.device("cpu")))


@pytest.mark.parametrize(
    ("strategy", "more"),
    [
        *((name, "") for name in STRATEGIES),
        ("scratch", "agent.start_steps=0"),
        ("weights", "strategy.warmup=41"),
        ("hierarchy", "strategy.skill_steps=3 env.max_episode_steps=100"),
        ("policy", "strategy.warmup=42"),
        ("policy", "strategy.rule=sweep strategy.episodes=3 num_envs=5"),
        ("policy", "strategy.rule=regression strategy.steps=50 num_envs=3"),
    ],
)
def test_a_strategy_first_learns_when_it_says(strategy: str, more: str, source: Path) -> None:
    training = _finetuning(config_of(source, strategy, more=more))
    learner, before = training.learner, 0
    while not learner.updates:
        before = training.step
        training.advance()
    pace = learner.pace
    assert training.step == pace.first or (pace.most and training.step < pace.first)
    if not pace.most:
        assert training.step - before == pace.whole


def test_a_round_of_adapting_is_as_long_as_told(learner: Path) -> None:
    words = [f"from={learner}", "task=goal_3_4", "strategy=adapt", "evaluate.episodes=2"]
    training = _finetuning(compose("finetune", words).config)
    training.advance()
    assert training.step == training.learner.pace.whole


def test_finetune_tells_when_it_begins_to_learn(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for steps, told in ((36, "nothing is learned before step 40; try steps=40"), (40, "")):
        config = {**config_of(source, "scratch"), "steps": steps}
        finetune_stage(config, tmp_path / str(steps))
        said = _told(capsys)
        assert len(said) == bool(told) and told in "".join(said)
    config = {**config_of(source, "hierarchy"), "steps": 20}
    finetune_stage(config, tmp_path / "hierarchy")
    assert "learning may not begin before step 60; try steps=60" in "".join(_told(capsys))
