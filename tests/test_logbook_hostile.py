"""A run folder that others meddle with: nothing outside changes, and it stops or goes on."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logbook import checkpoint, files, metrics
from logbook.checkpoint import Manifest
from logbook.errors import Exit, UserError
from logbook.lock import Lock
from logbook.run import Run
from tests.test_logbook_files import ODD, make_odd
from tests.walk_run import CONFIG, fork, outcome, rows, train, uninterrupted


def everything(folder: Path) -> dict[str, bytes | str]:
    """What lies below a folder: the bytes of files, the target of links."""
    return {
        str(p.relative_to(folder)): os.readlink(p) if p.is_symlink() else p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_symlink() or p.is_file()
    }


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that looks much like what is in a run folder, and must stay as it is."""
    outside = tmp_path / "outside"
    for step in (1, 2, 3):
        checkpoint.save(files.subfolder(outside), {"a": {"b": step}}, Manifest(step))
    (outside / ".tmp-precious").mkdir()
    (outside / ".tmp-precious" / "notes").write_bytes(b"precious")
    (outside / "task_00.png").write_bytes(b"precious")
    (outside / "file").write_bytes(b"precious")
    return outside


@pytest.fixture(scope="module", params=[True, False], ids=["finished", "stopped"])
def a_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a few steps to go."""
    folder = tmp_path_factory.mktemp("runs") / "a run"
    if request.param:
        train(folder)
    else:
        with pytest.raises(KeyboardInterrupt):
            train(folder, until=12)
    return folder


@pytest.fixture(scope="module")
def a_stopped_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run stopped at step 12, saved at 5 and 10."""
    folder = tmp_path_factory.mktemp("runs") / "a run"
    with pytest.raises(KeyboardInterrupt):
        train(folder, until=12)
    return folder


@pytest.mark.parametrize("name", sorted(files.OURS))
def test_a_link_under_any_name_of_ours_is_refused(
    tmp_path: Path, outside: Path, name: str, a_run: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(a_run, run)
    files.remove(run / name)
    before = everything(outside)
    for target in (outside, outside / "file", Path("nowhere")):
        (run / name).symlink_to(target)
        with pytest.raises(UserError, match=f"run/{name} is a link, which") as refusal:
            train(run, CONFIG | {"steps": 30})
        assert refusal.value.code == Exit.CHECKPOINT
        assert everything(outside) == before and not (tmp_path / "nowhere").exists()
        (run / name).unlink()


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_other_odd_things_are_refused_at_once(tmp_path: Path, kind: str) -> None:
    for name in sorted(files.OURS):
        run = tmp_path / name
        run.mkdir()
        make_odd(run / name, kind, tmp_path / "outside")
        with pytest.raises(UserError, match=rf"{name} is a \w+, which") as refusal:
            train(run)
        assert refusal.value.code == Exit.CHECKPOINT and len(list(run.iterdir())) == 1


def test_a_run_folder_may_be_a_link_or_lie_below_one(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch disk"
    (scratch / "run").mkdir(parents=True)
    (tmp_path / "run").symlink_to(scratch / "run")
    (tmp_path / "runs").symlink_to(scratch)
    train(tmp_path / "run")
    train(tmp_path / "runs" / "below" / "0")
    for folder in (tmp_path / "run", tmp_path / "runs" / "below" / "0"):
        assert outcome(folder) == uninterrupted() and (scratch / "run" / "lock").exists()
        train(folder, CONFIG | {"steps": 40})


def test_pruning_and_sweeping_follow_no_links(tmp_path: Path, outside: Path) -> None:
    parent = tmp_path / "checkpoints"
    for step in (5, 6):
        checkpoint.save(parent, {"a": {}}, Manifest(step))
    (parent / "step-000000001").symlink_to(outside / "step-000000001")
    (parent / "step-000000002").write_bytes(b"")
    (parent / ".tmp-step-000000001-pruned").symlink_to(outside)
    (parent / ".tmp-pipe").symlink_to(outside)
    before = everything(outside)
    checkpoint.prune(parent, 2)
    (parent / f".tmp-step-000000007-{os.getpid()}").symlink_to(outside)
    checkpoint.save(parent, {"a": {}}, Manifest(7))
    checkpoint.sweep(parent)
    assert everything(outside) == before
    names = sorted(p.name for p in parent.iterdir())
    assert names == ["step-000000005", "step-000000006", "step-000000007"]


def test_a_copy_by_hard_links_does_not_change_with_the_run(tmp_path: Path) -> None:
    run, backup = tmp_path / "run", tmp_path / "backup"
    with pytest.raises(KeyboardInterrupt):
        train(run, until=12)
    shutil.copytree(run, backup, copy_function=os.link)
    (backup / "lock").write_bytes(b"kept")
    before = everything(backup)
    train(run)
    assert outcome(run) == uninterrupted() and everything(backup) == before
    train(backup)
    assert outcome(backup) == uninterrupted()


def test_a_lock_that_was_deleted_is_taken_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
        a_run.restore()
        (tmp_path / "lock").unlink()
        a_run.log(1, {"a": 1.0})
        assert "lock was deleted while the run went on: made again" in capfd.readouterr().err
        assert fork(lambda: train(tmp_path)) == Exit.SETUP
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
        a_run.save(1, {"a": {}})


@pytest.mark.parametrize("what", ["log", "save", "finish", "stop_at_once"])
def test_a_run_that_another_process_took_over_writes_no_more(tmp_path: Path, what: str) -> None:
    def go_on(a_run: Run) -> Any:
        if what == "log":
            return a_run.log(2, {"a": 1.0})
        return {
            "save": lambda: a_run.save(2, {"a": {}}),
            "finish": lambda: a_run.finish({}),
            "stop_at_once": a_run.stop_at_once,
        }[what]()

    with pytest.raises(UserError, match="is another process's now") as refusal:
        with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
            a_run.restore()
            a_run.save(1, {"walk": {}})
            (tmp_path / "lock").unlink()
            shutil.rmtree(tmp_path / "checkpoints")
            (tmp_path / "metrics.jsonl").unlink()
            assert fork(lambda: train(tmp_path)) == 0
            before = everything(tmp_path)
            go_on(a_run)
    assert refusal.value.code == Exit.CHECKPOINT
    assert everything(tmp_path) == before and outcome(tmp_path) == uninterrupted()


@pytest.mark.parametrize("moved", [True, False])
def test_a_folder_that_was_deleted_or_moved_is_not_made_again(tmp_path: Path, moved: bool) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    with pytest.raises(UserError, match="run was deleted or moved while it ran") as refusal:
        with Run.open(run, CONFIG, stage="pretrain") as a_run:
            a_run.restore()
            run.rename(elsewhere)
            if not moved:
                shutil.rmtree(elsewhere)
            a_run.save(1, {"a": {}})
    assert refusal.value.code == Exit.CHECKPOINT and not run.exists()
    if moved:
        train(elsewhere)
        assert outcome(elsewhere) == uninterrupted()


@pytest.mark.parametrize("replaced", [True, False])
def test_rows_whose_file_was_deleted_are_written_again(tmp_path: Path, replaced: bool) -> None:
    path = tmp_path / "metrics.jsonl"
    with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
        a_run.restore()
        for step in range(1, 10):
            a_run.log(step, {"a": step / 3})
            if step in (4, 6, 9):
                path.unlink()
                if replaced:
                    path.write_bytes(b"another hand's\n")
        a_run.save(9, {})
    assert [row["step"] for row in rows(tmp_path)] == list(range(1, 10))


@pytest.mark.parametrize("kind", ODD)
def test_rows_are_read_from_ordinary_files_alone(tmp_path: Path, kind: str) -> None:
    make_odd(path := tmp_path / "metrics.jsonl", kind, tmp_path / "outside")
    with pytest.raises((UserError, OSError)):
        list(metrics.rows(path))


def test_lines_that_are_no_rows_are_left_out_and_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "metrics.jsonl"
    bad = b'[]\n{"step": "1"}\n{"step": 1, "a": "x"}\n{"step": null}\n{"a": 1}\n\xff\n'
    bad += b'{"step": 1, "a": 1e999}\n' + b"[" * 100_000 + b"\n"
    path.write_bytes(b'{"step": 1, "a": null}\n' + bad + b'{"step": 2, "a": 1.5}\n{"step": 3')
    assert list(metrics.rows(path)) == [{"step": 1, "a": None}, {"step": 2, "a": 1.5}]
    assert "8 lines are no rows of numbers and were left out" in capfd.readouterr().err
    with path.open("ab") as file:
        file.truncate(1 << 26)  # a hole, read in pieces
    assert len(list(metrics.rows(path))) == 2


def test_a_lock_of_any_content_is_one_line(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    for text in (b"[" * 2000, b"\x1b[31m", b'{"pid": 1}', b"\xff" * 3000, b"null", b""):
        os.truncate(tmp_path / "lock", 0)
        os.pwrite(lock._fd, text, 0)
        with pytest.raises(UserError, match="in use by another process: wait"):
            Lock(tmp_path / "lock")
    lock.release()


@pytest.mark.parametrize(
    "notes",
    [{"metrics": m} for m in (None, -1, "9", 1.5, 10**18, True, [])]
    + [{"elapsed": e} for e in ([], None, -1.0, "1", 1e300, {})]
    + [{"exact": None}, {"exact": 1}, {"exact": "yes"}],
    ids=str,
)
def test_a_checkpoint_whose_notes_make_no_sense_is_passed_over(
    tmp_path: Path, a_stopped_run: Path, notes: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(a_stopped_run, run)
    newest = checkpoint.listed(run / "checkpoints")[0]
    manifest = checkpoint.read_manifest(newest)
    changed = replace(manifest, notes=manifest.notes | notes)
    (newest / "manifest.json").write_bytes(changed.dump())
    train(run)
    told = capfd.readouterr().err
    assert f"{newest.name}/manifest.json: its notes make no sense" in told
    assert outcome(run) == uninterrupted()


@pytest.mark.parametrize("length", [0, 7, 10**9, 2**53])
def test_rows_of_another_length_than_noted_are_cut_at_the_step(
    tmp_path: Path, a_stopped_run: Path, length: int, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(a_stopped_run, run)
    newest = checkpoint.listed(run / "checkpoints")[0]
    manifest = checkpoint.read_manifest(newest)
    changed = replace(manifest, notes=manifest.notes | {"metrics": length})
    (newest / "manifest.json").write_bytes(changed.dump())
    train(run)
    if length:
        assert "metrics.jsonl was changed by another hand" in capfd.readouterr().err
        assert outcome(run) == uninterrupted()


def test_a_manifest_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    folder = checkpoint.save(tmp_path, {"a": {}}, Manifest(1))
    for depth in (900, 100_000):
        text = '{"schema": 1, "seal": "", "notes": ' + "[" * depth + "]" * depth + "}"
        (folder / "manifest.json").write_text(text)
        with pytest.raises(checkpoint.CheckpointError, match=r"manifest\.json: "):
            checkpoint.read_manifest(folder)
