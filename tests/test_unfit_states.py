"""A saved state that is whole and yet none of this program's is one line, and exit code 5."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune.stage import finetune_stage
from logbook import checkpoint
from logbook.compose import compose
from logbook.errors import Exit, UserError
from meta.assess import assess
from meta.stage import metatrain_stage
from meta.taskset import load_tasks, save_tasks
from tests.finetune_runs import config_of, metatrain_small, pretrain_small

PROMP = "learner=promp tasks=point_goal learner.hidden=[8] learner.meta_batch=3 learner.width=4"


def _change(folder: Path, change: Callable[[Any], object]) -> None:
    """Write a run's newest checkpoint anew, with all its hashes, after a change to its state."""
    newest = checkpoint.listed(folder / "checkpoints")[0]
    state, manifest = checkpoint.load(newest), checkpoint.read_manifest(newest)
    change(state)
    shutil.rmtree(newest)
    checkpoint.save(newest.parent, state, manifest)


@pytest.fixture(scope="module")
def promp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return metatrain_small(tmp_path_factory.mktemp("promp") / "run", f"{PROMP} steps=200")


def _moments(**over: Any) -> Callable[[Any], object]:
    def change(state: Any) -> None:
        (moments,) = state["learner"]["adam"]["state"].values()
        moments.update({key: make(moments) for key, make in over.items()})

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["learner"].update(theta=s["learner"]["theta"][:1]),
        lambda s: s["learner"]["adam"].update(state={"0": 1}),
        lambda s: s["learner"]["adam"].update(state=[]) or s["learner"].update(adam=None),
        _moments(exp_avg=lambda m: m["exp_avg"][:1]),
        _moments(exp_avg=lambda m: m["exp_avg"].long()),
        _moments(exp_avg_sq=lambda m: m["exp_avg_sq"][:-1]),
        _moments(exp_avg_sq=lambda m: "none"),
        _moments(step=lambda m: torch.tensor(-1.0)),
        _moments(step=lambda m: torch.tensor(float("nan"))),
        _moments(step=lambda m: torch.ones(3)),
        _moments(step=lambda m: None),
    ],
)
def test_an_optimiser_state_that_makes_no_sense_is_one_line(
    change: Callable[[Any], object], promp: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(promp, run)
    _change(run, change)
    words = f"{PROMP} steps=600 tasks.episode_steps=7 evaluate.tasks=3 evaluate.baselines=false"
    with pytest.raises(UserError, match="written by another version of this package") as refusal:
        metatrain_stage(compose("metatrain", words.split()).config, run)
    assert refusal.value.code == Exit.CHECKPOINT and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda g: g.update(betas=[1.0, 1.0]),
        lambda g: g.update(lr="x", eps=None),
        lambda g: g.update(params=[0, 1]),
    ],
)
def test_the_settings_of_an_optimiser_are_the_configs(
    change: Callable[[Any], object], promp: Path, tmp_path: Path
) -> None:
    """What a checkpoint says of them does not count, so it can say anything."""
    words = f"{PROMP} steps=600 tasks.episode_steps=7 evaluate.tasks=3 evaluate.baselines=false"
    starts = []
    for name, told in (("plain", lambda g: None), ("changed", change)):
        shutil.copytree(promp, tmp_path / name)
        _change(tmp_path / name, lambda s, to=told: to(s["learner"]["adam"]["param_groups"][0]))
        metatrain_stage(compose("metatrain", words.split()).config, tmp_path / name)
        newest = checkpoint.listed(tmp_path / name / "checkpoints")[0]
        starts.append(checkpoint.load(newest)["learner"]["theta"])
    assert torch.equal(*starts)


@pytest.mark.parametrize("key", ["solved", "feat", "memory"])
def test_a_task_of_another_number_of_worlds_is_one_line(key: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = config_of(pretrain_small(tmp_path / "source"), "scratch")
    finetune_stage({**config, "steps": 200}, run)

    def longer(state: Any) -> None:
        world = state["learner"]["collector"]["world"]
        world[key] = np.concatenate([world[key], world[key][:1]])

    _change(run, longer)
    with pytest.raises(UserError, match=f"another version.*{key} has shape") as refusal:
        finetune_stage(config, run)
    assert refusal.value.code == Exit.CHECKPOINT


@pytest.mark.parametrize(
    ("node", "change", "words"),
    [
        ({}, lambda tasks: tasks, "family.json: tasks: want a choice"),
        ({"name": "nosuch"}, lambda tasks: tasks, "family.json: .*nosuch"),
        (None, lambda tasks: tasks * np.nan, "tasks.safetensors is not what"),
        (None, lambda tasks: tasks[:, 0], "tasks.safetensors is not what"),
        (None, lambda tasks: tasks[:, 1:], "another version of this package .*of shape"),
        (None, lambda tasks: tasks[:0], "another version of this package .*of shape"),
    ],
)
def test_saved_tasks_that_make_no_sense_are_one_line(
    node: Any, change: Any, words: str, promp: Path, tmp_path: Path
) -> None:
    family, tasks = load_tasks(promp / "held_out")
    save_tasks(tmp_path / "t", family if node is None else node, change(tasks), "odd")
    with pytest.raises(UserError, match=words) as refusal:
        assess(promp, [], replay=tmp_path / "t")
    assert refusal.value.code == Exit.CHECKPOINT
