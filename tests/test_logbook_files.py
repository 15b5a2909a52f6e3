"""The files of a run folder as an enemy or an accident leaves them: one line each, no hang."""

from __future__ import annotations

import json
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logbook import files, marks, tensors
from logbook.cli import report
from logbook.errors import Exit, UserError

ODD = ("link", "dangling", "pipe", "device", "socket", "folder")


def make_odd(path: Path, kind: str, outside: Path) -> None:
    """Put at `path` what belongs in no run folder; a link leads to `outside`."""
    if kind == "link":
        outside.write_bytes(b"{}")
        path.symlink_to(outside)
    elif kind == "dangling":
        path.symlink_to(path.with_name("nowhere"))
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")  # making one wants root; what it leads to is not opened
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as s:
            here = os.open(path.parent, os.O_RDONLY)
            s.bind(f"/proc/self/fd/{here}/{path.name}")  # a socket's name must be short
            os.close(here)
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("read", [files.read_bytes, files.read_text, files.read_json])
def test_only_ordinary_files_are_read(
    tmp_path: Path, kind: str, read: Callable[[Path], Any]
) -> None:
    path = tmp_path / "run.json"
    make_odd(path, kind, tmp_path / "outside")
    with pytest.raises(UserError, match=r"run\.json cannot be read: ") as refusal:
        read(path)
    assert refusal.value.code == Exit.CHECKPOINT and "\n" not in str(refusal.value)


def test_a_real_device_is_not_opened() -> None:
    with pytest.raises(UserError, match="/dev/zero cannot be read: it is a link or device"):
        files.read_bytes(Path("/dev/zero"))


@pytest.mark.parametrize("kind", ODD[:-1])
def test_writing_puts_a_file_in_the_place_of_a_link(tmp_path: Path, kind: str) -> None:
    path, outside = tmp_path / "status.json", tmp_path / "outside"
    make_odd(path, kind, outside)
    draft = path.with_name(f"{files.TEMPORARY}{path.name}-{os.getpid()}")
    make_odd(draft, kind, outside)
    files.replace(path, b"new")
    assert path.read_bytes() == b"new" and not path.is_symlink()
    assert not outside.exists() or outside.read_bytes() == b"{}"
    assert not (tmp_path / "nowhere").exists() and not os.path.lexists(draft)
    make_odd(other := tmp_path / "rows.safetensors", kind, outside)
    tensors.write(other, {"rows": np.ones(3)})
    assert not other.is_symlink() and (not outside.exists() or outside.read_bytes() == b"{}")


@pytest.mark.parametrize("kind", ODD[:-1])
def test_a_folder_inside_is_no_link(tmp_path: Path, kind: str) -> None:
    assert not files.plain_folder(tmp_path / "tb")
    make_odd(tmp_path / "tb", kind, tmp_path / "outside")
    for use in (files.subfolder, files.plain_folder):
        with pytest.raises(UserError, match="tb is a .*, which a run folder may not") as refusal:
            use(tmp_path / "tb")
        assert refusal.value.code == Exit.CHECKPOINT
    assert files.subfolder(tmp_path / "videos") == files.subfolder(tmp_path / "videos")
    assert files.plain_folder(tmp_path / "videos")


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"null", b'"x"', b"7", b"[" * 100_000, b'{"a":' * 100_000, b"{}{}", b"\xff{}",
     b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1e999}', b'{"a": %s}' % (b"9" * 5000),
     b'{"a": %s}' % (b"9" * 100), b'{"a": 1, "a": 2}', b"\x00", '{"a": 1}'.encode("utf-16"),
     b'{"a": [%s]}' % (b"[]," * 1_100_000 + b"[]"), b" " * (files.SMALL + 1)],
    ids=lambda text: repr(text[:12]),
)  # fmt: skip
def test_what_is_no_object_is_one_line(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(text)
    with pytest.raises(UserError, match=r"run\.json (is damaged|cannot be read): ") as refusal:
        files.read_json(path)
    assert refusal.value.code == Exit.CHECKPOINT and len(str(refusal.value).splitlines()) == 1
    assert files.readable_json(path) == {}


def test_a_hole_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="larger than 4 MiB"):
        files.read_json(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 15


def test_what_json_lacks_is_written_as_null(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    odd = {"a": [float("nan"), np.float32("inf")], "b": np.int64(3), "c": True, "d": (1.5, None)}
    files.replace(path, files.pretty(odd))
    assert files.read_json(path) == {"a": [None, None], "b": 3.0, "c": True, "d": [1.5, None]}
    assert files.read_json(tmp_path / "absent.json") == {}


@pytest.mark.parametrize("value", [None, [], {}, 1.5, True, "x", -1, 10**19, 10**17, ["x"], [{}]])
@pytest.mark.parametrize("key", ["state", "step", "steps", "stage", "sessions"])
def test_small_files_of_other_types_are_one_line(tmp_path: Path, key: str, value: Any) -> None:
    name = {"stage": "run.json", "sessions": "versions.json"}.get(key, "status.json")
    good = {"stage": str, "state": str, "sessions": list}.get(key, int)
    if type(value) is good and value in ("x", []):
        return
    (tmp_path / name).write_text(json.dumps({key: value}))
    with pytest.raises(UserError, match=f"{name} is damaged: ") as refusal:
        marks.stage_of(tmp_path)
        marks.status_of(tmp_path)
        marks.sessions_of(tmp_path)
    assert refusal.value.code == Exit.CHECKPOINT


def test_data_that_does_not_fit_is_one_line_that_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    uses: list[Callable[[dict[str, Any]], Any]] = [
        lambda found: found["absent"], lambda found: found["list"]["x"],
        lambda found: found["list"][9], lambda found: float(found["text"]),
        lambda found: 1 / found["none"], lambda found: found["text"].nothing,
        lambda found: f"{found['list']:g}", lambda found: int(float(found["huge"]) * 1e300),
    ]  # fmt: skip
    files.replace(path, files.pretty({"list": [], "text": "x", "none": 0, "huge": 1e300}))
    for use in uses:
        with pytest.raises(UserError, match=r"summary\.json does not hold") as refusal:
            with files.sound(path):
                use(files.read_json(path))
        assert refusal.value.code == Exit.CHECKPOINT


def test_a_summary_may_not_be_nested_without_end(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    for depth in (98, 200, 900):
        path.write_text('{"a": ' + "[" * depth + "]" * depth + "}")
        if depth < 100:
            files.read_json(path)
            continue
        with pytest.raises(UserError, match="nested too deeply"):
            files.read_json(path)


@pytest.mark.parametrize(
    ("error", "told", "code"),
    [
        (MemoryError(), "out of memory", 4),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory", 4),
        (SystemError("<function _find_and_load> returned NULL"), "out of memory", 4),
        (OSError(24, "Too many open files", "x"), "ulimit -n 1024", 3),
        (OSError(12, "Cannot allocate memory", "x"), "free memory", 3),
    ],
)
def test_what_the_machine_lacks_is_one_line(
    error: Exception, told: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(error) == code
    line = capsys.readouterr().err
    assert told in line and line.startswith("error: ") and len(line.splitlines()) == 1
