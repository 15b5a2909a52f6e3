"""Files that are whole or not there, durable once written, and read without trust."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from logbook.errors import Exit, UserError
from logbook.killpoints import reach

TEMPORARY = ".tmp-"
"""How the name of everything unfinished begins."""

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


def write(path: Path, data: bytes, halfway: str | None = None) -> tuple[int, str]:
    """Write and sync a file; return its length and SHA-256. `halfway` is a kill point's name."""
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
        if halfway is not None:
            file.flush()
            reach(halfway)
        file.write(data[len(data) // 2 :])
        file.flush()
        os.fsync(file.fileno())
    return len(data), hashlib.sha256(data).hexdigest()


def replace(path: Path, data: bytes) -> None:
    """Replace a file by `data`, whole or not at all, and make it durable."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}")
    try:
        write(temporary, data)
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or deleted in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_plain(path: Path) -> BinaryIO:
    """Open an ordinary file for reading; OSError for a link, a device, a pipe or a folder."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.ELOOP, "it is a link or device, not a plain file", str(path))
    return os.fdopen(fd, "rb")


def pretty(value: Any) -> bytes:
    """JSON for people."""
    return (json.dumps(value, indent=2, default=float) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file of the run's own; {} if it is not there or is not one."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
