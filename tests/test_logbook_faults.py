"""What goes wrong around a run: full disks, signals, errors; nothing saved is lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rl.train
from logbook import checkpoint, progress, run, signals
from logbook.errors import Exit, UserError
from logbook.run import Run
from rl.train import Means, drive
from tests.walk_run import CONFIG, fork, outcome, rows, train, uninterrupted


@contextmanager
def small_files() -> Iterator[Callable[[int], None]]:
    """A limit on the size of files: the nearest thing to a full disk without a disk.

    Not a fixture: those end after pytest has reported, perhaps to a file of its own.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    try:
        yield limit
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_files() as limit:
        monkeypatch.setattr(run, "_WAITS", (0.01, 0.01))
        with pytest.raises(UserError, match="safe at step-000000001: make room") as refusal:
            with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
                a_run.restore()
                a_run.log(1, {"a": 1.0})
                a_run.save(1, {"rows": np.ones(10)})
                limit(20_000)
                a_run.save(2, {"rows": np.ones(10_000)})
        assert refusal.value.code == Exit.SETUP
        assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-000000001"]
        checkpoint.verify(tmp_path / "checkpoints" / "step-000000001")


def test_rows_wait_for_space(tmp_path: Path) -> None:
    with small_files() as limit:
        with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
            a_run.restore()
            limit(1000)
            for step in range(1, 21):
                a_run.log(step, {"train/loss": step / 3})
            written = (tmp_path / "metrics.jsonl").read_bytes()
            assert written.endswith(b"}\n") and len(written) <= 1000
            limit(100_000)
            a_run.log(21, {"train/loss": 7.0})
        assert [row["step"] for row in rows(tmp_path)] == list(range(1, 22))


def test_a_disk_full_from_the_start_is_found_at_once(tmp_path: Path) -> None:
    with small_files() as limit:
        limit(30)
        with pytest.raises(
            UserError, match="cannot be written: File too large: make room"
        ) as refusal:
            Run.open(tmp_path / "run", CONFIG, stage="pretrain")
        assert refusal.value.code == Exit.SETUP


@pytest.mark.parametrize("place", ["file/run", "/proc/run", "/sys/run"])
def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path, place: str) -> None:
    if not os.path.ismount(Path(place).parent) and place != "file/run":
        pytest.skip("a folder like any other here")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"run cannot be written: .*hydra\.run\.dir=") as refusal:
        Run.open(tmp_path / place, CONFIG, stage="pretrain")
    assert refusal.value.code == Exit.SETUP


def test_an_error_leaves_a_report_and_the_run_goes_on(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Run.open(tmp_path, CONFIG, stage="pretrain"):
        1 / 0  # noqa: B018
    assert "ZeroDivisionError" in (tmp_path / "FAILED").read_text()
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "failed"
    train(tmp_path)
    assert outcome(tmp_path) == uninterrupted() and not (tmp_path / "FAILED").exists()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"])
def test_a_signal_saves_and_says_run_me_again(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Run.log

    def log(self: Run, step: int, row: Any) -> None:
        real(self, step, row)
        if step == 8:
            os.kill(os.getpid(), signal.Signals[name])

    was = signal.signal(signal.Signals[name], signal.SIG_DFL)  # under nohup HUP is ignored
    before = signal.getsignal(signal.Signals[name])
    try:
        with monkeypatch.context() as patch, pytest.raises(UserError, match=name) as refusal:
            patch.setattr(Run, "log", log)
            train(tmp_path)
        restored = signal.getsignal(signal.Signals[name])
    finally:
        signal.signal(signal.Signals[name], was)
    assert refusal.value.code == Exit.AGAIN and f"resume {tmp_path}" in str(refusal.value)
    assert checkpoint.listed(tmp_path / "checkpoints")[0].name == "step-000000008"
    assert restored is before
    train(tmp_path)
    assert outcome(tmp_path) == uninterrupted()


def test_a_second_interrupt_leaves_at_once(tmp_path: Path) -> None:
    def stubborn() -> None:
        with Run.open(tmp_path, CONFIG, stage="pretrain"):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            os._exit(0)  # not reached

    assert fork(stubborn) == -signal.SIGINT


def test_a_point_is_saved_once(tmp_path: Path) -> None:
    def names() -> list[str]:
        return [folder.name for folder in checkpoint.listed(tmp_path / "checkpoints")]

    for session in (1, 2):
        with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
            assert (a_run.restore() is None) == (session == 1)
            a_run.save(3, {"a": 1})
            a_run.save(3, {"a": 1})
            assert names() == ["step-000000003"]
    with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
        a_run.restore()
        a_run.log(3, {"rows": 1.0})
        a_run.save(3, {"a": 1})
    assert names() == ["step-000000003.2", "step-000000003"]


def test_what_is_saved_may_be_left_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="SIGTERM and saved at step 3") as refusal:
        with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
            a_run.restore()
            a_run.save(3, {})
            a_run.stop_at_once()
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("not reached")
    assert refusal.value.code == Exit.AGAIN


def test_what_may_be_spared_is_given_up_when_asked_to_stop(tmp_path: Path) -> None:
    reached = []

    def work() -> None:
        try:
            reached.append("begun")
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append("done")
        except Exception:  # as in code that takes any failure for one of its own
            reached.append("caught")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # an impatient scheduler
            reached.append("cleared up")

    with pytest.raises(UserError, match="SIGTERM and saved at step 3"):
        with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
            a_run.restore()
            assert a_run.unless_stopped(lambda: reached.append("quiet"))
            assert not a_run.unless_stopped(work) and a_run.stop_requested()
            assert not a_run.unless_stopped(work), "asked already"
            a_run.save(3, {})
            os.kill(os.getpid(), signal.SIGTERM)  # nothing more is interrupted
            raise a_run.stopped()
    assert reached == ["quiet", "begun", "cleared up"]


def test_spared_work_may_fail(tmp_path: Path) -> None:
    def work() -> None:
        raise KeyError

    with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
        a_run.restore()
        with pytest.raises(KeyError):
            a_run.unless_stopped(work)
        os.kill(os.getpid(), signal.SIGTERM)
        assert a_run.stop_requested()


def test_a_line_of_progress_promises_no_time_when_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_PLAIN_EVERY", 0.0)
    bar = progress.Progress(100, 0)
    for step in (50, 100, 120):
        bar.update(step, {"rollout/ep_rew_mean": 2.0})
    going, *over = capsys.readouterr().out.splitlines()
    assert going.startswith("50 of 100 steps, ") and "1 min left, return 2" in going
    assert len(over) == 2 and not any("left" in line for line in over)
    assert all(line.endswith(" a second, return 2") for line in over)


def test_a_run_rolls_back_twice_and_then_gives_up(tmp_path: Path) -> None:
    with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
        a_run.restore()
        with pytest.raises(UserError, match="loss is nan; given up"):
            a_run.roll_back("loss is nan")  # nothing to go back to
    with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
        a_run.restore()
        for step in (1, 2):
            a_run.log(step, {"train/loss": 0.5})
            a_run.save(step, {"at": step})
        a_run.log(3, {"train/loss": float("nan")})
        assert a_run.roll_back("loss is nan") == (2, {"at": 2}, 1)
        a_run.log(3, {"train/loss": float("nan")})  # again: the checkpoint holds the cause
        assert a_run.roll_back("loss is nan") == (1, {"at": 1}, 2)
        with pytest.raises(UserError, match="loss is nan; given up"):
            a_run.roll_back("loss is nan")
        assert not a_run.exact
    assert [row["step"] for row in rows(tmp_path)] == [1]


def test_a_stop_asked_for_during_the_last_save_is_heard(tmp_path: Path) -> None:
    with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
        a_run.restore()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(UserError, match="SIGTERM"):
            a_run.stop_at_once()


class Endless:
    """A training whose third round never ends; it asks itself to stop in round `asked`."""

    def __init__(self, asked: int) -> None:
        self.means, self.step, self._asked = Means(), 0, asked

    def advance(self) -> None:
        self.step += 1
        if self.step == self._asked:
            os.kill(os.getpid(), signal.SIGTERM)
        while self.step == 3:
            with contextlib.suppress(Exception):  # as strangers' code does
                open(os.devnull).close()

    def row(self) -> dict[str, float]:
        return self.means.take()

    def reseed(self, seed: int) -> None: ...

    def state_dict(self) -> dict[str, int]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.step = state["step"]


def _driven(folder: Path, asked: int) -> UserError:
    with pytest.raises(UserError) as told, Run.open(folder, CONFIG, stage="pretrain") as a_run:
        training = Endless(asked)
        found = a_run.restore()
        if found is None:
            a_run.save(0, training.state_dict())
        else:
            training.load_state_dict(found[1])
        drive(training, a_run, int, steps=30, log_every=99, checkpoint_every=99)
    return told.value


def test_a_round_that_does_not_end_is_given_up_and_what_was_saved_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_PATIENCE", 0.05)
    for asked, saved in ((2, 2), (3, 2)):  # between rounds, and within the one that does not end
        told = _driven(tmp_path, asked)
        assert told.code == Exit.AGAIN
        assert str(told).startswith(f"stopped by SIGTERM and saved at step {saved}: go on")
        status = json.loads((tmp_path / "status.json").read_text())
        assert (status["state"], status["step"]) == ("stopped", saved)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


def test_a_save_is_not_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_PATIENCE", 0.01)
    real = checkpoint.save

    def slow(*args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            pass
        return real(*args)

    with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
        a_run.restore()
        monkeypatch.setattr(checkpoint, "save", slow)
        a_run.save(3, {})
        assert a_run.stop_requested()
    assert checkpoint.listed(tmp_path / "checkpoints")[0].name == "step-000000003"


def test_rounds_that_take_long_are_saved_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_PATIENCE", 0.05)
    monkeypatch.setattr(rl.train, "LONG", 0.0)
    assert re.search("saved at step [12]:", str(_driven(tmp_path, 3)))  # 1 if saving was slow


def test_nohup_is_obeyed(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not a_run.stop_requested()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
