"""A screen that goes away, in every way that one can: the run goes on, or is saved."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from logbook import checkpoint, streams

ROOT = Path(__file__).parent.parent

_RUN = """
import sys
from pathlib import Path
from logbook import progress
from logbook.cli import guard
from logbook.errors import UserError
from tests.walk_run import CONFIG, train
def stage():
    for _ in range(int(sys.argv[3])):
        progress.say("said to nobody \\u2713 " + "x" * 999)
        progress.warn("warned nobody")
    steps = int(float(sys.argv[2]))
    train(Path(sys.argv[1]), {**CONFIG, "steps": steps, "checkpoint_every": 10**9})
def perform():
    try:
        stage()
    except UserError as e:
        from logbook.cli import report
        return report(e, Path(sys.argv[1]))
    return 0
guard(perform)
"""


def _start(folder: Path, steps: float, lines: int, **streams: Any) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", _RUN, str(folder), str(steps), str(lines)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    return subprocess.Popen(words, cwd=ROOT, env=env, **streams)


def _state(folder: Path) -> str:
    return str(json.loads((folder / "status.json").read_text())["state"])


def _at_the_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup


def test_a_closed_terminal_saves(tmp_path: Path) -> None:
    screen, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    try:
        run = _start(
            tmp_path,
            1e9,
            0,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            preexec_fn=_at_the_terminal,
        )
    finally:
        os.close(inside)
    shown = b""
    while b" steps" not in shown and len(shown) < 10_000:  # the bar moves
        shown += os.read(screen, 4096)
    os.close(screen)
    try:
        assert run.wait(timeout=120) == 75
    finally:
        run.kill()
    assert _state(tmp_path) == "stopped" and not (tmp_path / "FAILED").exists()
    assert checkpoint.listed(tmp_path / "checkpoints")


def test_a_run_outlives_who_reads_it(tmp_path: Path) -> None:
    run = _start(tmp_path, 30, 99, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdout is not None and run.stderr is not None
    run.stdout.readline()  # as `| head -1` does
    run.stdout.close()
    run.stderr.close()
    assert run.wait(timeout=120) == 0 and _state(tmp_path) == "finished"


def _close() -> None:
    for number in range(3):
        os.close(number)


@pytest.mark.parametrize("how", ["closed", "full"])
def test_a_run_needs_no_screen(tmp_path: Path, how: str) -> None:
    if how == "closed":
        run = _start(tmp_path / "run", 30, 99, preexec_fn=_close)
        assert run.wait(timeout=120) == 0
    else:
        with open("/dev/full", "wb") as full:
            run = _start(tmp_path / "run", 30, 99, stdout=full, stderr=full)
            assert run.wait(timeout=120) == 0
    assert _state(tmp_path / "run") == "finished"


def test_a_reader_who_does_not_read_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_WAIT", 0.01)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    screen = streams._Screen(writer, "ascii", True)
    for _ in range(3):
        screen.write("x" * 80_000 + "\n")
    os.close(reader)
    screen.write("nobody: \u2713\n")
    screen.close()
    os.close(writer)
