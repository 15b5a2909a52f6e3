"""The set-up script on machines that lack something: a stand-in for Python plays the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Answers as a Python of $FAKE_VERSION would; its pip and venv only note what was asked of them.
STAND_IN = """#!/bin/sh
echo "$*" >> "$FAKE_CALLS"
case "$*" in
    *"import sys, venv, ensurepip"*) exit "$FAKE_UNFIT" ;;
    *'print("%d.%d.%d"'*) echo "$FAKE_VERSION" ;;
    *"-m venv"*)
        for folder in "$@"; do :; done
        mkdir -p "$folder/bin"
        cp "$0" "$folder/bin/python" ;;
    *"pip install"*"+cpu"*)
        echo "ERROR: No matching distribution found for torch"
        exit "${FAKE_NO_CPU_BUILD:-0}" ;;
    *"pip install"*)
        case "$*" in *-e*) sleep "${FAKE_SLOW:-0}" ;; esac
        echo "ERROR: the disk is on fire"
        exit "${FAKE_PIP_FAILS:-0}" ;;
    *"import torch"*) exit "${FAKE_NO_TORCH:-0}" ;;
    *"fcntl"*) exec REAL "$@" ;;
esac
"""


class Machine:
    """A copy of the set-up files in a folder with a space in its name, and a stand-in Python."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a clone"
        (self.root / "scripts").mkdir(parents=True)
        for name in ("pyproject.toml", "constraints.txt", "scripts/bootstrap.sh"):
            shutil.copy2(ROOT / name, self.root / name)
        self.calls = folder / "calls"
        self.python = folder / "my python"
        self.python.write_text(STAND_IN.replace("REAL", f"'{sys.executable}'"))
        self.python.chmod(0o755)
        self.env = {
            **{
                k: v for k, v in os.environ.items() if not k.startswith(("PRETRAIN_", "AUTOTELIC_"))
            },
            "PYTHON": str(self.python),
            "FAKE_CALLS": str(self.calls),
            "FAKE_VERSION": "3.12.4",
            "FAKE_UNFIT": "0",
            "PRETRAIN_TORCH": "cpu",
        }
        self.stamp = self.root / ".venv" / "autotelic-stamp"

    def start(self, **env: str) -> subprocess.Popen[str]:
        command = ["sh", str(self.root / "scripts" / "bootstrap.sh")]
        return subprocess.Popen(
            command, env={**self.env, **env}, cwd="/", stderr=subprocess.PIPE, text=True
        )

    def set_up(self, **env: str) -> tuple[int, str]:
        """Exit code and what was said."""
        self.calls.write_text("")
        process = self.start(**env)
        said = process.communicate(timeout=60)[1]
        return process.returncode, said

    def asked(self, word: str) -> list[str]:
        return [line for line in self.calls.read_text().splitlines() if word in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_sets_up_once(machine: Machine) -> None:
    code, said = machine.set_up()
    assert code == 0, said
    assert machine.asked("torch==") and machine.asked(f"-e {machine.root}[test]")
    assert "PRETRAIN_TORCH=cuda" in said and "CPU build" in said
    assert machine.set_up() == (0, "")
    assert machine.calls.read_text() == "", "the second time costs no Python at all"


@pytest.mark.parametrize("file", ["pyproject.toml", "constraints.txt"])
def test_sets_up_again_after_a_change(machine: Machine, file: str) -> None:
    machine.set_up()
    with (machine.root / file).open("a") as f:
        f.write("\n# a change\n")
    assert machine.set_up()[0] == 0
    assert machine.asked("pip install")
    assert machine.set_up() == (0, "")


def test_a_moved_folder_is_set_up_again(machine: Machine) -> None:
    machine.set_up()
    machine.root = machine.root.rename(machine.root.with_name("moved"))
    assert machine.set_up()[0] == 0
    assert machine.asked(f"-e {machine.root}[test]")


def test_a_stated_choice_is_kept_until_another_is_stated(machine: Machine) -> None:
    machine.set_up()
    assert machine.set_up(PRETRAIN_TORCH="") == (0, "")
    code, said = machine.set_up(PRETRAIN_TORCH="cuda")
    assert code == 0 and "with CUDA" in said
    assert [line for line in machine.asked("torch==") if "!=" in line]
    assert machine.set_up(PRETRAIN_TORCH="") == (0, "")


@pytest.mark.parametrize(
    "env, words",
    [
        ({"FAKE_VERSION": "3.9.2", "FAKE_UNFIT": "1"}, ["3.9.2", "3.11", "PYTHON="]),
        ({"FAKE_VERSION": "3.14.0", "FAKE_UNFIT": "1"}, ["3.14.0", "3.13", "PYTHON="]),
        ({"FAKE_VERSION": "3.11.2", "FAKE_UNFIT": "1"}, ["venv", "apt install python3.11-venv"]),
        ({"PYTHON": "/nowhere/python"}, ["/nowhere/python", "apt install python3 python3-venv"]),
        ({"PRETRAIN_TORCH": "gpu"}, ["PRETRAIN_TORCH=gpu", "cpu, cuda, skip"]),
        ({"PRETRAIN_TORCH": "skip", "FAKE_NO_TORCH": "1"}, ["no torch", "pip install -e"]),
        ({"FAKE_PIP_FAILS": "1"}, ["the disk is on fire", "autotelic-setup.log", "again"]),
    ],
)
def test_says_what_is_missing(machine: Machine, env: dict[str, str], words: list[str]) -> None:
    code, said = machine.set_up(**env)
    assert code == 3
    last = said.splitlines()[-1]
    assert last.startswith("set-up: ")
    assert all(word in said for word in words), said
    assert not machine.stamp.exists()


def test_a_failed_set_up_is_taken_up_again(machine: Machine) -> None:
    assert machine.set_up(FAKE_PIP_FAILS="1")[0] == 3
    assert machine.set_up()[0] == 0
    assert machine.stamp.exists()


def test_a_failed_renewal_leaves_no_stamp(machine: Machine) -> None:
    machine.set_up()
    (machine.root / "constraints.txt").open("a").write("# a change\n")
    assert machine.set_up(FAKE_PIP_FAILS="1")[0] == 3
    assert not machine.stamp.exists()


def test_without_a_cpu_build_it_says_what_the_other_costs(machine: Machine) -> None:
    code, said = machine.set_up(FAKE_NO_CPU_BUILD="1")
    assert code == 0
    assert "3 GB" in said and "AUTOTELIC_TORCH_INDEX" in said
    assert "+cpu" not in machine.asked("torch==")[-1]


def test_the_cpu_index_is_the_users(machine: Machine) -> None:
    machine.set_up(AUTOTELIC_TORCH_INDEX="file:///an index")
    (line,) = machine.asked("+cpu")
    assert "--extra-index-url file:///an index" in line


def test_two_shells_do_not_race(machine: Machine) -> None:
    first = machine.start(FAKE_SLOW="2")
    deadline = time.monotonic() + 30
    while not machine.calls.exists() or not machine.asked("torch=="):
        assert time.monotonic() < deadline and first.poll() is None
    second = machine.start()
    said = second.communicate(timeout=60)[1]
    assert first.wait(60) == 0 and second.returncode == 0
    assert said == "another shell is setting up this folder; waiting for it\n"
    assert len(machine.asked(" -e ")) == 1
    assert first.stderr is not None
    first.stderr.close()


def test_the_pins_lie_within_the_ranges() -> None:
    """What the launchers install is what a plain `pip install .` allows."""
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            pins[canonicalize_name(name)] = version
    asked = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])
