"""Who reads the checkpoints of a run takes the newest, and says so where that cannot be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from logbook import checkpoint, files, heritage
from logbook.checkpoint import CheckpointError, Manifest
from logbook.config import load_config
from logbook.episodes import begin
from logbook.errors import Exit, UserError
from logbook.run import Run
from meta import inspect_tasks, proposals
from meta.assess import assess
from meta.fitted_tasks import inspect_fitted
from meta.stage import restore as restored_learner
from pretrain import inspect_skills
from pretrain.resume import resume
from pretrain.stage import assemble
from pretrain.stage import restore as restored_skills
from tests.finetune_runs import metatrain_small, pretrain_small
from tests.walk_run import fork

Reader = Callable[[Path], Any]


def _with_config(read: Callable[[Path, Any], Any], stage: str) -> Reader:
    return lambda folder: read(folder, load_config(folder / "config.yaml", stage))


READERS: dict[str, tuple[str, str, Reader]] = {
    "inspect-skills": ("skills", "checkpoints", _with_config(restored_skills, "pretrain")),
    "from": ("skills", "checkpoints", lambda f: heritage.pretrained(f, torch.device("cpu"))),
    "evaluate": ("carml", "checkpoints", _with_config(restored_learner, "metatrain")),
    "proposals": ("maml", "proposals", lambda f: proposals.load(f / "proposals")),
    "world_of": (
        "maml", "proposals",
        lambda f: heritage.world_of(f, load_config(f / "config.yaml", "metatrain")),
    ),
}  # fmt: skip
"""A run, where in it the checkpoints lie, and who reads them."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small finished run of each kind."""
    home = tmp_path_factory.mktemp("runs")
    skills = pretrain_small(home / "skills")
    small = "learner.meta_batch=2 learner.width=2 learner.hidden=[8] evaluate.horizon=2 steps=56"
    maml = f"learner=maml tasks=skills from={skills} {small}"
    carml = "learner=rl2 tasks=carml steps=60 learner.meta_batch=4 learner.hidden=8 "
    carml += "learner.value_hidden=[8] learner.minibatches=2"
    return {
        "skills": skills,
        "maml": metatrain_small(home / "maml", maml),
        "carml": metatrain_small(home / "carml", carml),
    }


def _only(parent: Path) -> Path:
    """The newest checkpoint, left alone."""
    newest, *others = checkpoint.listed(parent)
    for other in others:
        shutil.rmtree(other)
    return newest


@pytest.mark.parametrize("name", READERS)
def test_a_reader_says_that_it_takes_an_older_checkpoint(
    tmp_path: Path, runs: dict[str, Path], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    run, place, read = READERS[name]
    copy = tmp_path / "run"
    shutil.copytree(runs[run], copy)
    good = _only(copy / place)
    read(copy)
    assert "warning" not in capfd.readouterr().err
    bad = good.with_name("step-000009999")
    shutil.copytree(good, bad)
    read(copy)
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(told) == 1 and "step-000009999: it holds step" in told[0]
    assert f"the older {good.name} is used" in told[0]
    shutil.rmtree(good)
    with pytest.raises(UserError, match="step-000009999: it holds step") as refusal:
        read(copy)
    assert refusal.value.code == Exit.CHECKPOINT


@pytest.mark.parametrize("name", [n for n in READERS if READERS[n][1] == "checkpoints"])
def test_a_reader_takes_no_checkpoint_of_another_run(
    tmp_path: Path, runs: dict[str, Path], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    run, place, read = READERS[name]
    copy = tmp_path / "run"
    shutil.copytree(runs[run], copy)
    good = _only(copy / place)
    checkpoint.save(copy / place, checkpoint.load(good), Manifest(9999, "of another"))
    read(copy)
    assert "it belongs to another run; the older" in capfd.readouterr().err
    shutil.rmtree(good)
    with pytest.raises(UserError, match="step-000009999: it belongs to another run") as refusal:
        read(copy)
    assert refusal.value.code == Exit.CHECKPOINT


def test_tasks_are_not_shown_from_a_checkpoint_of_another_run(
    tmp_path: Path, runs: dict[str, Path]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(runs["carml"], copy)
    good = _only(copy / "checkpoints")
    checkpoint.save(copy / "checkpoints", checkpoint.load(good), Manifest(9999, "of another"))
    shutil.rmtree(good)
    with pytest.raises(UserError, match="it belongs to another run"):
        inspect_fitted(copy, load_config(copy / "config.yaml", "metatrain"), copy)


def test_a_reader_says_that_the_last_checkpoint_is_gone(
    tmp_path: Path, runs: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(runs["skills"], copy)
    status = {"state": "finished", "step": 10_000, "steps": 10_000}
    files.replace(copy / "status.json", files.pretty(status))
    heritage.newest_state(copy, "pretrain")
    assert "was finished at step 10,000; the newest checkpoint" in capfd.readouterr().err


def test_a_reader_beside_a_saving_run_never_finds_nothing(tmp_path: Path) -> None:
    parent, over = tmp_path / "checkpoints", tmp_path / "over"
    checkpoint.save(parent, {"at": {"step": 0}}, Manifest(0, "me"))

    def save() -> None:
        for step in range(1, 101):
            checkpoint.save(parent, {"at": {"step": step}}, Manifest(step, "me"))
            checkpoint.prune(parent, 1)
        over.touch()

    pid = os.fork()
    if pid == 0:
        os._exit(fork(save))
    seen = set()
    while not over.exists():
        taken = checkpoint.take(parent, "me")
        assert taken.state == {"at": {"step": taken.manifest.step}}
        seen.add(taken.manifest.step)
    assert os.waitpid(pid, 0)[1] == 0 and len(seen) > 1
    with pytest.raises(CheckpointError, match="another run"):
        checkpoint.take(parent, "you")
    with pytest.raises(CheckpointError, match="it holds no checkpoint"):
        checkpoint.take(tmp_path)


@pytest.mark.parametrize(
    ("where", "value"),
    [("collector.obs", {}), ("collector.obs", torch.zeros(3, 2)), ("collector.z", -1),
     ("collector.z", torch.zeros(2, 8, 4)), ("collector.z", torch.zeros(8, 4).double()),
     ("collector.return", float("nan")), ("collector.return", np.zeros(3)),
     ("collector.length", 10**18), ("means", {"sums": {"a": []}, "counts": {"a": 1}}),
     ("means", {"sums": {"a": [1.0]}, "counts": {"a": 0}}), ("agent.replay.count", "x"),
     ("agent.replay.rows", None), ("step", []), ("updates", 1e999), ("skill", 7)],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_a_sealed_state_of_other_types_is_one_line(
    tmp_path: Path, runs: dict[str, Path], where: str, value: Any
) -> None:
    config = load_config(runs["skills"] / "config.yaml", "pretrain") | {"steps": 300}
    [newest] = checkpoint.listed(runs["skills"] / "checkpoints")
    state = checkpoint.load(newest)
    *parents, last = where.split(".")
    node = state
    for key in parents:
        node = node[key]
    node[last] = value
    training = assemble(config)
    with Run.open(tmp_path, config, stage="pretrain") as run:
        run.restore()
        with pytest.raises(UserError, match="checkpoint was written by another") as refusal:
            begin(run, training, (256, state))
    assert refusal.value.code == Exit.CHECKPOINT and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("z", "x"), ("dropped", 3), ("of", {"a": 1}), ("skills", {"0": {"node": {}}})],
)
def test_saved_proposals_of_other_types_are_one_line(
    tmp_path: Path, runs: dict[str, Path], key: str, value: object
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(runs["maml"], copy)
    good = _only(copy / "proposals")
    state = {**checkpoint.load(good), key: value}
    manifest = checkpoint.read_manifest(good)
    shutil.rmtree(good)
    checkpoint.save(copy / "proposals", state, Manifest(manifest.step, manifest.run))
    with pytest.raises(UserError, match="from=") as refusal:
        proposals.load(copy / "proposals")
    assert refusal.value.code == Exit.CHECKPOINT and "\n" not in str(refusal.value)


@pytest.mark.parametrize("kind", ["folder", "fifo", "dangling link"])
@pytest.mark.parametrize("command", ["resume", "inspect-skills", "inspect-tasks", "evaluate"])
def test_a_config_that_is_no_file_is_named(tmp_path: Path, kind: str, command: str) -> None:
    path = tmp_path / "config.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("nothing")
    (tmp_path / "checkpoints" / "step-000000001").mkdir(parents=True)
    readers: dict[str, Callable[[Path], Any]] = {
        "resume": resume,
        "inspect-skills": inspect_skills.inspect,
        "inspect-tasks": inspect_tasks.inspect,
        "evaluate": lambda folder: assess(folder, []),
    }
    with pytest.raises(UserError, match=r"config\.yaml (cannot be read|is a)") as refusal:
        readers[command](tmp_path)
    assert refusal.value.code == Exit.CHECKPOINT
