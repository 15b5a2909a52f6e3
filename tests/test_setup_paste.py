"""The commands that a run prints work when pasted into the shell that started it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from logbook.progress import paste


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands beside the Python that runs, off the PATH."""
    bin = tmp_path / "my venv" / "bin"
    bin.mkdir(parents=True)
    for name in ("python", "resume"):
        (bin / name).touch(0o755)
    monkeypatch.setattr(sys, "executable", str(bin / "python"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return bin


def test_by_name_where_path_leads_to_it(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(venv))
    assert paste("resume", Path("runs/a/0")) == "resume runs/a/0"


def test_by_path_where_it_does_not(
    venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    shown = shlex.split(paste("resume", "runs/an odd name/0"))
    assert shown == [str(venv / "resume").lstrip("/"), "runs/an odd name/0"]
    monkeypatch.chdir(tmp_path)
    assert shlex.split(paste("resume", "x"))[0] == "my venv/bin/resume"


def test_another_command_of_that_name_is_not_ours(
    venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "resume").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir("/usr")
    assert shlex.split(paste("resume"))[0] == str(venv / "resume")


def test_a_command_that_is_nowhere_keeps_its_name(venv: Path) -> None:
    assert paste("finetune", "from=RUN") == "finetune from=RUN"
