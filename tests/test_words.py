"""Paths and formulas on command lines: taken as typed, and printed so that they can be pasted."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from logbook.compose import compose, sweep
from logbook.errors import UserError
from logbook.progress import paste
from logbook.words import folder, given, pasted, quoted, typed

ODD = [
    "runs/a=b/0",
    "runs/skill.num_skills=3,agent.lr=0.1/0",
    "jürgen/über run/0",
    "  two  blanks  ",
    "a,b/run",
    "a'b/run",
    'a"b/run',
    "'a'",
    '"a","b"',
    "a(b)/[c]{d}/run",
    "a$HOME/`id`/!x/#y/run",
    "a${b}/run",
    "a\\${b}/run",
    "back\\slash\\",
    "~home/run",
    "~",
    "-m/run",
    "--help",
    "null",
    "7",
    "true/../x;y&z|w<v>u?*",
    "choice(a,b)/c:d@e%f^g",
    "日本/0",
]


def read(override: str) -> Any:
    """The value of an override as a composed config has it, without composing one."""
    parsed = OverridesParser.create().parse_override(typed(override))
    assert not parsed.is_sweep_override()
    return OmegaConf.create({"value": parsed.value()}).value


def batched(words: list[str]) -> list[tuple[str, str]]:
    """The words two by two."""
    return list(zip(words[::2], words[1::2], strict=True))


def through_a_shell(line: str) -> list[str]:
    shown = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True
    )
    return shown.stdout.split("\0")[:-1]


def test_printed_commands_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in map(Path, ODD):
        path.mkdir(parents=True, exist_ok=True)
    lines = [pasted(path, ("from", path)) for path in map(Path, ODD)]
    for path, line, words in zip(
        ODD, lines, batched(through_a_shell(" ".join(lines))), strict=True
    ):
        run, override = words
        assert "\n" not in line and not run.startswith(("-", "~"))
        assert folder(run).samefile(path)
        assert Path(read(override)).samefile(path), line


@pytest.mark.parametrize("key", ["from", "hydra.run.dir"])
def test_a_path_is_typed_as_it_stands(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No quotes but the shell's."""
    monkeypatch.chdir(tmp_path)
    for path in ODD:
        if path in ("'a'", '"a","b"', "null"):  # what Hydra means by these stays
            continue
        Path(path).mkdir(parents=True, exist_ok=True)
        assert read(f"{key}={path}") == str(Path(path))
        assert read(typed(f"{key}={path}", many=True)) == str(Path(path))


def test_paths_beside_commas_and_interpolations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a,b").mkdir()
    jobs = sweep("metatrain", ["from=ü/${seed},a,b,c d,'e,f'", "seed=3"])
    assert [job.config["from"] for job in jobs] == ["ü/3", "a,b", "c d", "e,f"]
    assert typed("from=choice(a,b)", many=True) == "from=choice(a,b)"
    assert read("from=7") == "7" and read("from=null") is None and read("from='a,b'") == "a,b"
    monkeypatch.setenv("HOME", "/home/jürgen")
    job = compose("metatrain", ["from=~/run/", "hydra.run.dir=~/a=b,c"])
    assert job.config["from"] == "/home/jürgen/run"
    assert job.run_dir == Path("/home/jürgen/a=b,c")


@pytest.mark.parametrize("path", ["a\nb", "a\x1b[31mb", "a\u2028b", os.fsdecode(b"a\xff")])
def test_what_no_line_can_hold_is_refused_on_one(path: str) -> None:
    for take in (folder, lambda text: typed(f"from={text}")):
        with pytest.raises(UserError, match="rename it") as e:
            take(path)
        assert str(e.value).isprintable()


@pytest.mark.parametrize("text", ["a'b", "\\", "a\\'b\\\\", 'x > 0, "y"', " ", "[1, {2}]"])
def test_hydras_quotes_keep_the_text(text: str) -> None:
    assert read(f"k={quoted(text)}") == text


VALUES = [None, True, 3, 1e-9, "easy", "true", "7", "a b", "a'b", [1, 2.5], ["x", None], {"a": "b"}]


@pytest.mark.parametrize("value", VALUES)
def test_values_are_printed_as_they_are_typed(value: object) -> None:
    found = read(given("tasks.key", value))
    assert found == value and (found is None) == (value is None)


def test_a_formula_is_printed_on_one_line() -> None:
    line = paste("finetune", "task=custom", ("task.reward", "where(x > 0,\n  'a', -1)"))
    assert shlex.split(line)[-1] == "task.reward=where(x > 0, 'a', -1)"
