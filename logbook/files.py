"""Files that are whole or not there, durable once written, and read and written without trust.

A run folder may come from anybody, and another user may change it meanwhile. What lies in it is
read only where it is an ordinary file of bounded size, and written only to files that were made
for it: a link, pipe, device or socket there is refused, so that nothing outside is read or written.
The folder itself may be a link, or lie below one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from logbook.errors import Exit, UserError
from logbook.killpoints import reach

TEMPORARY = ".tmp-"
"""How the name of everything unfinished begins."""

SMALL = 1 << 22
"""Bytes that a file which is read whole may have; those of long runs have some 100 kB."""

_MAX_LISTS = 1 << 20  # lists and objects in one JSON text: each takes some 60 bytes of memory
_MAX_VALUES = 1 << 22
_MAX_DIGITS = 20
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def no_space(error: OSError) -> bool:
    """Whether the disk, the quota or the allowed file size is exhausted."""
    return error.errno in _NO_SPACE


def unwritable(folder: Path, error: OSError) -> UserError:
    """What to tell the user when a run folder takes no files."""
    remedy = "choose another folder with hydra.run.dir=..."
    if no_space(error):
        remedy = "make room, or " + remedy
    return UserError(f"{folder} cannot be written: {error.strerror}: {remedy}", Exit.SETUP)


def create(path: Path) -> BinaryIO:
    """Open a new file for writing; what bears its name goes, and no link is followed."""
    path.unlink(missing_ok=True)
    how = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, how, 0o666), "wb")


def write(path: Path, data: bytes, halfway: str | None = None) -> tuple[int, str]:
    """Write and sync a new file; its length and SHA-256. `halfway` is a kill point's name."""
    with create(path) as file:
        file.write(data[: len(data) // 2])
        if halfway is not None:
            file.flush()
            reach(halfway)
        file.write(data[len(data) // 2 :])
        file.flush()
        os.fsync(file.fileno())
    return len(data), hashlib.sha256(data).hexdigest()


@contextmanager
def draft(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of `path` in the end, whole or not at all."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}")
    try:
        with create(temporary) as file:
            yield file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace(path: Path, data: bytes) -> None:
    """Replace a file by `data`, whole or not at all, and make it durable."""
    with draft(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Delete a file or a folder with all in it, if it is there; of a link the link alone."""
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except (FileNotFoundError, NotADirectoryError):
        pass


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or deleted in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


OURS = frozenset(
    "lock run.json status.json versions.json config.yaml overrides.txt metrics.jsonl summary.json "
    "report.html index.html tasks.html tasks.json adaptation.png FAILED checkpoints tb videos "
    "proposals held_out tasks".split()
)
"""The names in a run folder that we read or write."""


def check_run_folder(folder: Path) -> None:
    """Refuse a run folder in which one of our names is a link, pipe, device or socket (code 5)."""
    for name in sorted(OURS):
        if is_odd(folder / name):
            raise odd(folder / name)


def is_odd(path: Path) -> bool:
    """Whether there is something that is neither an ordinary file nor a folder."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def subfolder(path: Path) -> Path:
    """A folder inside a run folder, made if it is missing.

    Raises OSError, and UserError (code 5) if it is a link or no folder: what is written there would
    lie elsewhere.
    """
    try:
        path.mkdir()
    except FileExistsError:
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise odd(path) from None
    return path


def plain_folder(path: Path) -> bool:
    """Whether a folder inside a run folder is there; UserError (code 5) for a link to one."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISDIR(mode):
        raise odd(path)
    return True


def odd(path: Path) -> UserError:
    """What to tell the user of a link, pipe or device where a file or folder of a run belongs."""
    return UserError(
        f"{path} is {_kind(path.lstat().st_mode)}, which a run folder may not hold under that "
        "name: move it away, or put in its place what it leads to",
        Exit.CHECKPOINT,
    )


def _kind(mode: int) -> str:
    kinds = {stat.S_ISLNK: "a link", stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe"}
    kinds |= {stat.S_ISSOCK: "a socket", stat.S_ISREG: "a file"}
    return next((name for test, name in kinds.items() if test(mode)), "a device")


def open_plain(path: Path) -> BinaryIO:
    """Open an ordinary file for reading; OSError for a link, a device, a pipe or a folder."""
    if stat.S_ISREG(path.lstat().st_mode):  # a device may do something when it is opened
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return os.fdopen(fd, "rb")
        os.close(fd)
    raise OSError(errno.ELOOP, "it is a link or device, not a plain file", str(path))


def read_bytes(path: Path, limit: int = SMALL) -> bytes:
    """All of an ordinary file that may come from anybody.

    Raises FileNotFoundError, and UserError (code 5) for what is no such file, cannot be read or
    has more than `limit` bytes.
    """
    try:
        with open_plain(path) as file:
            data = file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", Exit.CHECKPOINT) from None
    if len(data) > limit:
        shown = f"{limit >> 20} MiB" if limit >> 20 else f"{limit >> 10} KiB"
        raise UserError(f"{path} cannot be read: it is larger than {shown}", Exit.CHECKPOINT)
    return data


def read_text(path: Path, limit: int = SMALL) -> str:
    """The text of an ordinary file, as `read_bytes`; what is not UTF-8 is refused too."""
    try:
        return read_bytes(path, limit).decode()
    except UnicodeDecodeError:
        raise UserError(f"{path} cannot be read: it is no UTF-8 text", Exit.CHECKPOINT) from None


def read_json(path: Path, limit: int = SMALL) -> dict[str, Any]:
    """The object in a small file of a run folder, {} if there is no such file.

    Raises UserError (code 5) for everything else: a link or pipe, too large, no object.
    """
    try:
        found = parse_json(read_bytes(path, limit))
        _refuse_depth(found)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}", Exit.CHECKPOINT) from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: it is no JSON object", Exit.CHECKPOINT)
    return found


ODD = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, AssertionError)
"""What goes wrong with data that is not what it should be."""


@contextmanager
def sound(path: Path) -> Iterator[None]:
    """Use what was read from `path`: what does not fit is a UserError (code 5) that names it."""
    try:
        yield
    except ODD as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
        line = f"{path} does not hold what a run writes there ({why}): put back a copy of it"
        raise UserError(line, Exit.CHECKPOINT) from None


def readable_json(path: Path) -> dict[str, Any]:
    """The object in a file that only adds to something, such as a neighbour's; {} if unreadable."""
    try:
        return read_json(path)
    except UserError:
        return {}


def parse_json(text: bytes) -> Any:
    """Strict JSON: no NaN, no repeated keys, no absurd depth, length or number. ValueError."""
    if text.count(b"[") + text.count(b"{") > _MAX_LISTS or text.count(b",") > _MAX_VALUES:
        raise ValueError("it holds far too many values")
    try:
        return json.loads(
            text.decode(),
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_unique,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8 text") from None


def _refuse_depth(value: Any, left: int = 100) -> None:
    if isinstance(value, dict | list):
        if not left:
            raise ValueError("nested too deeply")
        for inner in value.values() if isinstance(value, dict) else value:
            _refuse_depth(inner, left - 1)


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"the number {word[:20]} is too large")
    return value


def _whole(word: str) -> int:
    if len(word) > _MAX_DIGITS:
        raise ValueError(f"the number {word[:20]}... is too large")
    return int(word)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object repeats a key")
    return found


def pretty(value: Any) -> bytes:
    """JSON for people; infinities and NaN, which JSON lacks, are null."""
    return (json.dumps(_without_odd(value), indent=2, allow_nan=False) + "\n").encode()


def _without_odd(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_odd(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_odd(inner) for inner in value]
    if value is None or isinstance(value, str | int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
