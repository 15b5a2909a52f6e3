"""The battery: its members follow from the seed, and its verdicts call things what they are."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "battery.py"


def command() -> ModuleType:
    """The script as a module; the package `battery` lies beside it."""
    spec = importlib.util.spec_from_file_location("battery_command", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


battery = command()

from battery.runs import Runs  # noqa: E402
from battery.starts import Starter  # noqa: E402
from battery.trial import Member, Try, Verdict, attempt  # noqa: E402


@pytest.mark.parametrize("kind", battery.KINDS, ids=lambda kind: kind.name)
def test_members_follow_from_the_seed(kind) -> None:
    names = [member.name for member in kind.members(3, 12)]
    assert names == [member.name for member in kind.members(3, 12)]
    assert len(set(names)) == len(names) == len(kind.exact) + 12
    assert names != [member.name for member in kind.members(4, 12)]
    assert names[: len(kind.exact)] == [member.name for member in kind.exact]


def test_kinds_have_names_of_their_own() -> None:
    assert len({kind.name for kind in battery.KINDS}) == len(battery.KINDS) > 5


def tried(tmp_path: Path, line: str, check: str = "worked", limit: float = 60.0) -> Verdict:
    """The verdict on a try of one line of shell."""

    def play(t: Try) -> None:
        t.guard(t.work / "own")
        t.write("own/a.txt", "a")
        end = t.start("sh", line.format(t=t, python=sys.executable), limit=limit)
        getattr(t, check)(end)

    starter = Starter(fresh=True)
    verdict = attempt(Member("", play), tmp_path / "t", Runs(tmp_path / "runs"), starter)
    assert not (tmp_path / "t").exists()
    return verdict


def wrong(verdict: Verdict) -> set[str]:
    return {key for key, texts in vars(verdict).items() if texts}


@pytest.mark.parametrize(
    ("line", "check", "found"),
    [
        ("true", "worked", set()),
        ("touch new.txt; mkdir runs", "worked", set()),
        ("echo 'error: no such thing' >&2; exit 5", "refused", set()),
        ("{python} -c 'raise KeyError(1)'", "either", {"tracebacks", "other"}),
        ("echo x > {t.outside}/notes.txt", "worked", {"outside"}),
        ("touch {t.outside}/notes.txt", "worked", {"outside"}),
        ("rm {t.outside}/folder/map.png", "worked", {"outside"}),
        ("echo x > {t.place}/strange.txt", "worked", {"outside"}),
        ("echo b > own/a.txt", "worked", {"outside"}),
        ("touch {t.canary}", "worked", {"code_run"}),
        ("{python} -c 'import this'", "worked", {"code_run"}),
        ("exit 5", "refused", {"other"}),
        ("echo 'error: a' >&2; exit 1", "either", {"other"}),
        ("echo 'error: a' >&2; exit 2", "worked", {"other"}),
        ("kill -9 $$", "either", {"other"}),
        ("printf 'error: a\\nerror: b\\n' >&2; exit 2", "refused", {"other"}),
        ("printf 'error: \\033[2J\\n' >&2; exit 2", "refused", {"other"}),
    ],
)
def test_verdicts_call_things_what_they_are(tmp_path, line, check, found) -> None:
    assert wrong(tried(tmp_path, line, check)) == found


def test_what_never_ends_is_killed_with_all_that_it_began(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    verdict = tried(tmp_path, f"sleep 1000 & echo $! > {pid}; wait", limit=2.0)
    assert wrong(verdict) == {"hangs"}
    child = Path(f"/proc/{int(pid.read_text())}/stat")
    until = time.monotonic() + 60
    while child.exists() and child.read_text().split()[2] != "Z":  # it dies when it is scheduled
        assert time.monotonic() < until


def test_a_forked_command_is_the_command(tmp_path: Path) -> None:
    runs, starter = Runs(tmp_path / "runs"), Starter()
    try:
        for fresh in (False, True):
            trial = Try(tmp_path / f"t{fresh}", runs, starter)
            end = trial.start("pretrain", "skill=dian", fresh=fresh)
            trial.refused(end, (2,), "did you mean skill=diayn")
            assert trial.verdict().good, trial.verdict()
    finally:
        starter.close()


def test_a_try_that_fails_itself_does_not_answer_for_the_next(tmp_path: Path) -> None:
    def fail(pid: int) -> None:
        raise KeyError(pid)

    runs, starter = Runs(tmp_path / "runs"), Starter()
    try:
        trial = Try(tmp_path / "t", runs, starter)
        with pytest.raises(KeyError):
            trial.start("sh", "sleep 100", meanwhile=fail)
        assert trial.start("sh", "exit 5").code == 5
    finally:
        starter.close()


@pytest.mark.battery
def test_the_battery_finds_nothing(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    run = [sys.executable, str(SCRIPT), "--members", "2", "--json", str(out)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(out.read_text())["all"]["as it should be"] > 5
