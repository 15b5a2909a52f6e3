"""A run on disk: it knows itself, goes on exactly, and never loses what it has saved."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from logbook import checkpoint, identity, killpoints, metrics, progress, run, versions
from logbook.errors import Exit, UserError
from logbook.identity import digest
from logbook.run import Run

CONFIG = {"skill": {"name": "none", "view": ["x"]}, "seed": 1, "steps": 30, "checkpoint_every": 5}
ROOT = Path(__file__).parent.parent


def _train(folder: Path, config: dict[str, Any] = CONFIG, until: int | None = None) -> None:
    """A run whose learner is a random walk: enough to tell exact from nearly exact."""
    with Run.open(folder, config, stage="pretrain", overrides=["seed=1"]) as a_run:
        if a_run.done:
            return
        rng, walk, step = np.random.default_rng(0), np.zeros((40, 3)), 0
        if (found := a_run.restore()) is not None:
            step, state = found
            rng.bit_generator.state = state["rng"]
            walk = state["walk"]
        while step < config["steps"]:
            walk += rng.normal(size=walk.shape)
            step += 1
            if step % 2 == 0:
                a_run.log(step, {"train/loss": walk[0, 0], "train/odd": float("nan")})
            if step % config["checkpoint_every"] == 0:
                a_run.save(step, {"rng": rng.bit_generator.state, "walk": walk})
            if a_run.stop_requested():
                a_run.save(step, {"rng": rng.bit_generator.state, "walk": walk})
                raise a_run.stopped()
            if step == until:
                raise KeyboardInterrupt
        a_run.finish({"walked": float(walk.sum())})


def _rows(folder: Path) -> list[dict[str, Any]]:
    """The record without what depends on the clock."""
    timed = ("time/time_elapsed", "time/fps")
    return [
        {k: v for k, v in row.items() if k not in timed}
        for row in metrics.rows(folder / "metrics.jsonl")
    ]


def _outcome(folder: Path) -> tuple[Any, ...]:
    found, skipped = checkpoint.newest(folder / "checkpoints")
    assert found is not None and not skipped
    walked = json.loads((folder / "summary.json").read_text())["walked"]
    return found.name, checkpoint.read_manifest(found).files, _rows(folder), walked


def _fork(work: Callable[[], None]) -> int:
    """Run `work` in a child; its exit status as from subprocess."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except UserError as error:
            code = int(error.code)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    folder = tmp_path_factory.mktemp("whole") / "run"
    _train(folder)
    return _outcome(folder)


def test_a_run_leaves_its_record(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _train(tmp_path)
    said = capfd.readouterr().out
    assert f"tensorboard --logdir {tmp_path} --host 127.0.0.1" in said
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert {"stage": "pretrain", "steps": 30, "exact": True}.items() <= summary.items()
    rows = _rows(tmp_path)
    assert [row["step"] for row in rows] == list(range(2, 31, 2))
    assert rows[0]["train/odd"] is None and rows[0]["time/total_timesteps"] == 2
    assert (tmp_path / "overrides.txt").read_text() == "seed=1\n"
    assert json.loads((tmp_path / "versions.json").read_text())["sessions"][0]["from_step"] == 0
    assert len(checkpoint.listed(tmp_path / "checkpoints")) == 2
    _train(tmp_path)
    assert f"is finished (30 steps): see {tmp_path / 'summary.json'}" in capfd.readouterr().out
    _train(tmp_path, CONFIG | {"steps": 40})
    assert _rows(tmp_path)[-1]["step"] == 40 and _rows(tmp_path)[: len(rows)] == rows


@pytest.mark.parametrize("until", [1, 2, 5, 6, 13, 29])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    tmp_path: Path, whole: tuple[Any, ...], until: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path, until=until)
    _train(tmp_path)
    assert _outcome(tmp_path) == whole


@pytest.mark.parametrize("point", killpoints.POINTS)
def test_killed_at_every_named_point_it_ends_the_same(
    tmp_path: Path, whole: tuple[Any, ...], point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if point.startswith("resume"):
        with pytest.raises(KeyboardInterrupt):
            _train(tmp_path, until=8)
    monkeypatch.setattr(killpoints, "_NAME", point)
    died = 0
    for count in ("1", "3", "4"):
        monkeypatch.setattr(killpoints, "_COUNT", count)
        code = _fork(lambda: _train(tmp_path))
        assert code in (0, -signal.SIGKILL)
        died += code != 0
        for kept in checkpoint.listed(tmp_path / "checkpoints"):
            checkpoint.verify(kept)
        if (tmp_path / "summary.json").exists() and code == 0:
            break
    assert died, f"{point} was never reached"
    monkeypatch.setattr(killpoints, "_NAME", "")
    _train(tmp_path)
    assert _outcome(tmp_path) == whole
    assert not list(tmp_path.rglob(".tmp-*"))


def test_every_named_point_stands_in_the_code() -> None:
    text = "".join(p.read_text() for p in (ROOT / "logbook").glob("*.py") if p.stem != "killpoints")
    for point in killpoints.POINTS:
        assert f'"{point}"' in text


def test_a_mistake_does_not_claim_the_folder(tmp_path: Path) -> None:
    wrong = CONFIG | {"skill": {"name": "none", "view": ["y"]}}
    with pytest.raises(UserError, match="no y"), Run.open(tmp_path, wrong, stage="pretrain"):
        raise UserError("no y")
    _train(tmp_path)
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "finished"
    assert "- x" in (tmp_path / "config.yaml").read_text()
    with pytest.raises(UserError, match="holds a run with another config"):
        _train(tmp_path, wrong)


def test_another_config_is_refused_by_the_key_that_differs(tmp_path: Path) -> None:
    _train(tmp_path)
    other = CONFIG | {"skill": {"name": "none", "view": ["x", "y"]}}
    with pytest.raises(UserError, match=r"skill\.view: \['x'\] -> \['x', 'y'\].*name=") as refusal:
        _train(tmp_path, other)
    assert refusal.value.code == Exit.CONFIG
    with pytest.raises(UserError, match="holds a pretrain run"):
        Run.open(tmp_path, CONFIG, stage="finetune")
    _train(tmp_path, CONFIG | {"checkpoint_every": 7})  # may change


def test_a_second_process_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    with Run.open(tmp_path, CONFIG, stage="pretrain"):
        with pytest.raises(UserError, match=f"in use by process {os.getpid()} on ") as refusal:
            Run.open(tmp_path, CONFIG, stage="pretrain")
        assert refusal.value.code == Exit.SETUP
        assert _fork(lambda: _train(tmp_path)) == Exit.SETUP
    _train(tmp_path)


def test_damaged_checkpoints_are_named_and_passed_over(
    tmp_path: Path, whole: tuple[Any, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path, until=12)
    newest = checkpoint.listed(tmp_path / "checkpoints")[0]
    path = newest / "walk.safetensors"
    data = bytearray(path.read_bytes())
    data[-9] ^= 4
    path.write_bytes(data)
    _train(tmp_path)
    said = capfd.readouterr()
    assert "step-000000010/walk.safetensors" in said.err and "resuming at step 5" in said.out
    assert _outcome(tmp_path) == whole
    assert (tmp_path / "checkpoints" / "refused-step-000000010").is_dir()


def test_without_a_good_checkpoint_nothing_is_thrown_away(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path, until=12)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    for folder in checkpoint.listed(tmp_path / "checkpoints"):
        (folder / "state.json").unlink()
    with pytest.raises(UserError, match="can be trusted") as refusal:
        _train(tmp_path)
    assert refusal.value.code == Exit.CHECKPOINT
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert "can be trusted" in (tmp_path / "FAILED").read_text()


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    for seed in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            _train(tmp_path / str(seed), CONFIG | {"seed": seed}, until=6)
    (tmp_path / "1/checkpoints").rename(tmp_path / "mine")
    (tmp_path / "2/checkpoints").rename(tmp_path / "1/checkpoints")
    with pytest.raises(UserError, match="can be trusted"):
        _train(tmp_path / "1")


def test_other_versions_are_said_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path, until=6)
    real = versions.snapshot()
    monkeypatch.setattr(versions, "snapshot", lambda: real | {"mujoco": "9.0"})
    _train(tmp_path)
    assert f"not bit-exact: mujoco {real['mujoco']} -> 9.0" in capfd.readouterr().err
    assert json.loads((tmp_path / "summary.json").read_text())["exact"] is False


def test_a_changed_record_is_cut_by_rows(tmp_path: Path, whole: tuple[Any, ...]) -> None:
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path, until=12)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes().replace(b" ", b"") + b'{"step": 99')
    _train(tmp_path)
    assert _outcome(tmp_path) == whole


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
        assert [row["step"] for row in _rows(tmp_path)] == list(range(1, 22))


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


def test_an_error_leaves_a_report_and_the_run_goes_on(
    tmp_path: Path, whole: tuple[Any, ...]
) -> None:
    with pytest.raises(ZeroDivisionError), Run.open(tmp_path, CONFIG, stage="pretrain"):
        1 / 0  # noqa: B018
    assert "ZeroDivisionError" in (tmp_path / "FAILED").read_text()
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "failed"
    _train(tmp_path)
    assert _outcome(tmp_path) == whole and not (tmp_path / "FAILED").exists()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"])
def test_a_signal_saves_and_says_run_me_again(
    tmp_path: Path, whole: tuple[Any, ...], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Run.log

    def log(self: Run, step: int, row: Any) -> None:
        real(self, step, row)
        if step == 8:
            os.kill(os.getpid(), signal.Signals[name])

    before = signal.getsignal(signal.Signals[name])
    with monkeypatch.context() as patch, pytest.raises(UserError, match=name) as refusal:
        patch.setattr(Run, "log", log)
        _train(tmp_path)
    assert refusal.value.code == Exit.AGAIN and f"resume {tmp_path}" in str(refusal.value)
    assert checkpoint.listed(tmp_path / "checkpoints")[0].name == "step-000000008"
    assert signal.getsignal(signal.Signals[name]) is before
    _train(tmp_path)
    assert _outcome(tmp_path) == whole


def test_a_second_interrupt_leaves_at_once(tmp_path: Path) -> None:
    def stubborn() -> None:
        with Run.open(tmp_path, CONFIG, stage="pretrain"):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            os._exit(0)  # not reached

    assert _fork(stubborn) == -signal.SIGINT


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
    assert [row["step"] for row in _rows(tmp_path)] == [1]


def test_a_stop_asked_for_during_the_last_save_is_heard(tmp_path: Path) -> None:
    with Run.open(tmp_path, CONFIG, stage="pretrain") as a_run:
        a_run.restore()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(UserError, match="SIGTERM"):
            a_run.stop_at_once()


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
            _train(folder, CONFIG | {"tasks": tasks, "steps": 20}, until=stop)
    with pytest.raises(UserError, match=r"another config \(tasks.size: 0.5 -> 0.7\)"):
        _train(folder, CONFIG | {"tasks": ages[2] | {"size": 0.7}})
    last = CONFIG | {"tasks": ages[2]}
    _train(folder, last)
    _train(tmp_path / "b", last)
    rows, whole = _rows(folder), _rows(tmp_path / "b")
    assert rows == whole and len(rows) == 15
    assert _outcome(folder)[3] == _outcome(tmp_path / "b")[3]
    kept = yaml.safe_load((folder / "config.yaml").read_text())
    assert kept["tasks"] == ages[0] and kept["steps"] == CONFIG["steps"]


def test_a_config_that_was_edited_is_not_that_of_its_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path, until=17)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"seed": 2}))
    with pytest.raises(UserError, match="no checkpoint .* can be trusted"):
        _train(tmp_path, CONFIG | {"seed": 2})


def test_opening_a_run_does_not_load_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from logbook.run import Run\n"
        f"with Run.open({str(tmp_path)!r}, {CONFIG!r}, stage='pretrain') as r: r.restore()\n"
        "assert not {'torch', 'tensorboard', 'mujoco', 'hydra'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)
