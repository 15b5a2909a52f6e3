"""A run on disk: it knows itself, goes on exactly, and never loses what it has saved."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from logbook import checkpoint, identity, killpoints, versions
from logbook.errors import Exit, UserError
from logbook.identity import digest
from logbook.run import Run
from tests.walk_run import CONFIG, fork, outcome, rows, train, uninterrupted

ROOT = Path(__file__).parent.parent


def test_a_run_leaves_its_record(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(tmp_path)
    said = capfd.readouterr().out
    assert f"tensorboard --logdir {tmp_path} --host 127.0.0.1" in said
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert {"stage": "pretrain", "steps": 30, "exact": True}.items() <= summary.items()
    kept = rows(tmp_path)
    assert [row["step"] for row in kept] == list(range(2, 31, 2))
    assert kept[0]["train/odd"] is None and kept[0]["time/total_timesteps"] == 2
    assert (tmp_path / "overrides.txt").read_text() == "seed=1\n"
    assert json.loads((tmp_path / "versions.json").read_text())["sessions"][0]["from_step"] == 0
    assert len(checkpoint.listed(tmp_path / "checkpoints")) == 2
    train(tmp_path)
    assert f"is finished (30 steps): see {tmp_path / 'summary.json'}" in capfd.readouterr().out
    train(tmp_path, CONFIG | {"steps": 40})
    assert rows(tmp_path)[-1]["step"] == 40 and rows(tmp_path)[: len(kept)] == kept


@pytest.mark.parametrize("until", [1, 2, 5, 6, 13, 29])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path: Path, until: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, until=until)
    train(tmp_path)
    assert outcome(tmp_path) == uninterrupted()


@pytest.mark.parametrize("point", killpoints.POINTS)
def test_killed_at_every_named_point_it_ends_the_same(
    tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if point.startswith("resume"):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, until=8)
    monkeypatch.setattr(killpoints, "_NAME", point)
    died = 0
    for count in ("1", "3", "4"):
        monkeypatch.setattr(killpoints, "_COUNT", count)
        code = fork(lambda: train(tmp_path))
        assert code in (0, -signal.SIGKILL)
        died += code != 0
        for kept in checkpoint.listed(tmp_path / "checkpoints"):
            checkpoint.verify(kept)
        if (tmp_path / "summary.json").exists() and code == 0:
            break
    assert died, f"{point} was never reached"
    monkeypatch.setattr(killpoints, "_NAME", "")
    train(tmp_path)
    assert outcome(tmp_path) == uninterrupted()
    assert not list(tmp_path.rglob(".tmp-*"))


def test_every_named_point_stands_in_the_code() -> None:
    text = "".join(p.read_text() for p in (ROOT / "logbook").glob("*.py") if p.stem != "killpoints")
    for point in killpoints.POINTS:
        assert f'"{point}"' in text


def test_a_mistake_does_not_claim_the_folder(tmp_path: Path) -> None:
    wrong = CONFIG | {"skill": {"name": "none", "view": ["y"]}}
    with pytest.raises(UserError, match="no y"), Run.open(tmp_path, wrong, stage="pretrain"):
        raise UserError("no y")
    train(tmp_path)
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "finished"
    assert "- x" in (tmp_path / "config.yaml").read_text()
    with pytest.raises(UserError, match="holds a run with another config"):
        train(tmp_path, wrong)


def test_another_config_is_refused_by_the_key_that_differs(tmp_path: Path) -> None:
    train(tmp_path)
    other = CONFIG | {"skill": {"name": "none", "view": ["x", "y"]}}
    with pytest.raises(UserError, match=r"skill\.view: \['x'\] -> \['x', 'y'\].*name=") as refusal:
        train(tmp_path, other)
    assert refusal.value.code == Exit.CONFIG
    with pytest.raises(UserError, match="holds a pretrain run"):
        Run.open(tmp_path, CONFIG, stage="finetune")
    train(tmp_path, CONFIG | {"checkpoint_every": 7})  # may change


def test_a_second_process_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    with Run.open(tmp_path, CONFIG, stage="pretrain"):
        with pytest.raises(UserError, match=f"in use by process {os.getpid()} on ") as refusal:
            Run.open(tmp_path, CONFIG, stage="pretrain")
        assert refusal.value.code == Exit.SETUP
        assert fork(lambda: train(tmp_path)) == Exit.SETUP
    train(tmp_path)


def test_damaged_checkpoints_are_named_and_passed_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, until=12)
    newest = checkpoint.listed(tmp_path / "checkpoints")[0]
    path = newest / "walk.safetensors"
    data = bytearray(path.read_bytes())
    data[-9] ^= 4
    path.write_bytes(data)
    train(tmp_path)
    said = capfd.readouterr()
    assert "step-000000010/walk.safetensors" in said.err and "resuming at step 5" in said.out
    assert outcome(tmp_path) == uninterrupted()
    assert (tmp_path / "checkpoints" / "refused-step-000000010").is_dir()


def test_without_a_good_checkpoint_nothing_is_thrown_away(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, until=12)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    for folder in checkpoint.listed(tmp_path / "checkpoints"):
        (folder / "state.json").unlink()
    with pytest.raises(UserError, match="can be trusted") as refusal:
        train(tmp_path)
    assert refusal.value.code == Exit.CHECKPOINT
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert "can be trusted" in (tmp_path / "FAILED").read_text()


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    for seed in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / str(seed), CONFIG | {"seed": seed}, until=6)
    (tmp_path / "1/checkpoints").rename(tmp_path / "mine")
    (tmp_path / "2/checkpoints").rename(tmp_path / "1/checkpoints")
    with pytest.raises(UserError, match="can be trusted"):
        train(tmp_path / "1")


def test_other_versions_are_said_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, until=6)
    real = versions.snapshot()
    monkeypatch.setattr(versions, "snapshot", lambda: real | {"mujoco": "9.0"})
    train(tmp_path)
    assert f"not bit-exact: mujoco {real['mujoco']} -> 9.0" in capfd.readouterr().err
    assert json.loads((tmp_path / "summary.json").read_text())["exact"] is False


def test_a_changed_record_is_cut_by_rows(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, until=12)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes().replace(b" ", b"") + b'{"step": 99')
    train(tmp_path)
    assert outcome(tmp_path) == uninterrupted()


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"steps": 9}, True),
        ({"evaluate": {"episodes": 1}}, True),
        ({"env": {"threads": 2, "name": "ant"}}, True),
        ({"env": {"threads": 1, "name": "hopper"}}, False),
        ({"seed": 2}, False),
        ({"stepsize": 1}, False),
    ],
)
def test_only_what_alters_the_learning_makes_another_run(
    change: dict[str, Any], same: bool
) -> None:
    base = {"seed": 1, "steps": 5, "env": {"threads": 1, "name": "ant"}, "evaluate": {}}
    assert (digest(base, "pretrain") == digest(base | change, "pretrain")) is same
    assert digest(base, "pretrain") != digest(base, "finetune")


def test_a_run_from_before_some_keys_goes_on_as_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three ages: before `size` and `walls`, before `walls`, and with both."""
    ages = [{"name": "point_goal", "unit": 1.0} | k for k in ({}, {"size": 0.5}, {"walls": None})]
    ages[2] |= ages[1]
    folder = tmp_path / "a"
    for stop, tasks in zip((12, 17), ages[:2], strict=True):
        with monkeypatch.context() as then, pytest.raises(KeyboardInterrupt):
            then.setattr(identity, "filled", lambda raw, tasks=tasks: {**raw, "tasks": tasks})
            train(folder, CONFIG | {"tasks": tasks, "steps": 20}, until=stop)
    with pytest.raises(UserError, match=r"another config \(tasks.size: 0.5 -> 0.7\)"):
        train(folder, CONFIG | {"tasks": ages[2] | {"size": 0.7}})
    last = CONFIG | {"tasks": ages[2]}
    train(folder, last)
    train(tmp_path / "b", last)
    both = rows(folder), rows(tmp_path / "b")
    assert both[0] == both[1] and len(both[0]) == 15
    assert outcome(folder)[3] == outcome(tmp_path / "b")[3]
    kept = yaml.safe_load((folder / "config.yaml").read_text())
    assert kept["tasks"] == ages[0] and kept["steps"] == CONFIG["steps"]


def test_a_config_that_was_edited_is_not_that_of_its_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, until=17)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"seed": 2}))
    with pytest.raises(UserError, match="no checkpoint .* can be trusted"):
        train(tmp_path, CONFIG | {"seed": 2})


def test_opening_a_run_does_not_load_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from logbook.run import Run\n"
        f"with Run.open({str(tmp_path)!r}, {CONFIG!r}, stage='pretrain') as r: r.restore()\n"
        "assert not {'torch', 'tensorboard', 'mujoco', 'hydra'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)
