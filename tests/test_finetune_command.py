"""The command `finetune`: what it inherits, what it refuses, and how it hands over."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from finetune.__main__ import _finetune
from finetune.stage import assemble, learn, next_command
from logbook import files
from logbook.compose import compose
from logbook.config import load_config
from logbook.errors import UserError
from logbook.heritage import pretrained
from logbook.identity import to_yaml
from pretrain.resume import resume
from tests.finetune_runs import config_of, pretrain_small


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain_small(tmp_path_factory.mktemp("source") / "run")


def test_world_and_agent_are_inherited_and_the_command_line_wins(source: Path) -> None:
    job = compose("finetune", [f"from={source}", "agent.lr=5e-4", "env.max_episode_steps=30"])
    record = load_config(source / "config.yaml", "pretrain")
    assert job.config["env"] == {**record["env"], "max_episode_steps": 30}
    own = {"updates": 8, "replay_size": 200_000, "start_steps": 1000, "lr": 5e-4}
    assert job.config["agent"] == {**record["agent"], **own}
    assert job.run_dir.parent.name == job.config["name"] and "run" in job.config["name"]


def test_a_saved_config_needs_no_other_folder(source: Path, tmp_path: Path) -> None:
    config = compose("finetune", [f"from={source}"]).config
    config["from"] = "gone"
    (tmp_path / "config.yaml").write_bytes(to_yaml(config))
    assert load_config(tmp_path / "config.yaml", "finetune") == config


@pytest.mark.parametrize(
    "formula",
    ["-abs(x_velocity - 1.5) - 0.05*sum(act**2)", "where(x > 1, 'a', 2)", "clip(x, -1, 1)", "x>1"],
)
def test_formulas_are_taken_as_typed(formula: str, source: Path) -> None:
    job = compose("finetune", [f"from={source}", "task=custom", f"task.reward={formula}"])
    assert job.config["task"]["reward"] == formula


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "from: missing; finetune goes on from a pretrain run, from=RUN"),
        (["from=nowhere"], "from=nowhere is not a run: there is no such folder"),
        (["from={}", "env=cheetah"], "takes its env from the run"),
        (["from={}", "env.name=maze"], "takes its env from the run"),
        (["from={}", "env.siz=3"], "did you mean env.size?"),
        (["from={}", "agent.updates=x"], "agent.updates=x: want a whole number"),
        (["from={}", "task=run_forwrd"], "did you mean task=run_forward?"),
        (["from={}", "strategy=polcy"], "did you mean strategy=policy?"),
        (["from={}", "strategy.rul=sweep"], "did you mean strategy.rule?"),
        (["from={}", "strategy.rule=best"], "want one of sweep, halving, regression"),
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, source: Path) -> None:
    with pytest.raises(UserError) as e:
        compose("finetune", [word.format(source) for word in words])
    assert said in str(e.value) and "\n" not in str(e.value)


def test_a_wrong_formula_is_told_before_torch_is_used(source: Path, tmp_path: Path) -> None:
    config = config_of(source, "policy", "custom", "task.reward=hight-1")
    with pytest.raises(UserError, match="hight at column 1 is no feat of point") as e:
        _finetune(config, tmp_path / "run", ())
    assert e.value.code == 2 and not (tmp_path / "run").exists()


def test_what_does_not_fit_is_refused_with_the_cure(source: Path, tmp_path: Path) -> None:
    run = pretrained(source, torch.device("cpu"))
    with pytest.raises(UserError, match="agent.actor.theta is not of the pretrained size: leave"):
        assemble(config_of(source, "weights", more="agent.hidden=[8]"), run)
    assemble(config_of(source, "scratch", more="agent.hidden=[8]"), run)
    with pytest.raises(UserError, match="4 numbers behind obs.*use strategy=scratch, hierarchy"):
        assemble(config_of(source, "policy", "waypoints", "task.at=[[1,0],[0,1]]"), run)
    with pytest.raises(UserError, match="only an agent with replay can learn from; use sac"):
        config = config_of(source, "hierarchy")
        config["strategy"]["controller"] = compose("pretrain", ["agent=ppo"]).config["agent"]
        assemble(config, run)
    copy = tmp_path / "other"
    shutil.copytree(source, copy)
    marked = {**files.read_json(copy / "run.json"), "stage": "metatrain"}
    (copy / "run.json").write_text(json.dumps(marked))
    with pytest.raises(UserError, match="is a metatrain run, want one of pretrain"):
        compose("finetune", [f"from={copy}"])
    with pytest.raises(UserError, match=r"but these lie in it: .*other \(metatrain\)"):
        compose("finetune", [f"from={tmp_path}"])
    shutil.rmtree(copy / "checkpoints")
    shutil.copy(source / "run.json", copy / "run.json")
    with pytest.raises(UserError, match="has no checkpoint yet: train it first, with: .*resume"):
        compose("finetune", [f"from={copy}"])


def test_a_skill_less_run_still_hands_over_its_policy(tmp_path: Path) -> None:
    none = pretrain_small(tmp_path / "none", "none")
    run = pretrained(none, torch.device("cpu"))
    learner = assemble(config_of(none, "policy"), run).learner
    assert learner.player() is not None and learner.notes()["steps_choosing"] == 0
    with pytest.raises(UserError, match="has 1 skill: there is nothing to pick from"):
        assemble(config_of(none, "hierarchy"), run)


def test_from_one_command_to_the_next(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run, be told what was taken over, resume from the folder alone, paste what comes next."""
    config = config_of(source, "policy", "run_forward", "steps=300 evaluate.every=100")
    folder = tmp_path / "run"
    _finetune({**config, "steps": 200}, folder, ())
    told = capsys.readouterr().out
    assert f"inherited from {source}: env=point, agent=sac, skill=diayn" in told
    assert "overridden: env.max_episode_steps 100 -> 20" in told
    summary = files.read_json(folder / "summary.json")
    assert summary["finetune"]["task"] == "run_forward"
    assert "<polyline" in (folder / "report.html").read_text()
    assert resume(folder) == 0  # finished: says so, and repeats nothing
    assert files.read_json(folder / "summary.json") == summary
    words = next_command(config).split()
    assert words[1:] == [f"from={source}", "task=run_forward", "strategy=all"]
    assert compose("finetune", words[1:]).config["strategy"]["name"] == "all"
    assert Path(sys.executable).with_name("finetune").name == Path(words[0]).name


def test_a_config_that_goes_on_from_nothing_is_one_line(tmp_path: Path) -> None:
    config = {"device": "cpu", "from": None, "strategy": {"name": "policy"}}
    with pytest.raises(UserError, match="from: missing"):
        learn(config, tmp_path / "run")
