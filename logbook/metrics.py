"""The numbers of a run: one row per log, in metrics.jsonl and as TensorBoard events.

metrics.jsonl is the record. A checkpoint notes its length, and a resumed run cuts it back to
that, so that the rows of a killed and resumed run are those of an uninterrupted one. Infinities
and NaN, which JSON lacks, are null there.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from logbook import files, progress
from logbook.killpoints import reach

_LONGEST = 1 << 20  # bytes of a row


class MetricsFile:
    """An append-only file of JSON rows that survives a full disk and a sudden death."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises UserError (code 5) for a link, pipe or device."""
        self._path = path
        how = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        if files.is_odd(path):
            raise files.odd(path)
        self._fd = os.open(path, how, 0o644)
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            raise files.odd(path)
        self.bytes = os.lseek(self._fd, 0, os.SEEK_END)
        self._waiting = b""  # rows that a full disk has not taken yet

    def append(self, step: int, row: Mapping[str, float]) -> None:
        """Add a row. Raises OSError if the disk takes nothing; the row is then kept for later."""
        values = {k: v if math.isfinite(v) else None for k, v in row.items()}
        self._waiting += json.dumps({"step": step, **values}).encode() + b"\n"
        self._drain()
        reach("metrics.row")

    def sync(self) -> int:
        """Make all rows durable; return the file's length in bytes."""
        self._drain()
        self._keep()
        os.fsync(self._fd)
        reach("metrics.synced")
        return self.bytes

    def cut(self, length: int) -> bool:
        """Forget all after `length` bytes; False if that is not the end of a row of this file."""
        if length > 0 and os.pread(self._fd, 1, length - 1) != b"\n":
            return False
        self.bytes, self._waiting = length, b""
        self._keep()
        os.ftruncate(self._fd, length)
        os.fsync(self._fd)
        return True

    def _keep(self) -> None:
        """Be the one file of this name, and have no other name.

        Otherwise a copy takes its place: rows of a file that was deleted or replaced would be lost,
        and a file that has other names, as in a backup by hard links, would change under all.
        """
        ours = os.fstat(self._fd)
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            there = None
        same = there is not None and (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
        if same and ours.st_nlink == 1:
            return
        with files.draft(self._path) as file:
            for at in range(0, self.bytes, _LONGEST):
                file.write(os.pread(self._fd, min(_LONGEST, self.bytes - at), at))
            file.flush()
            os.fsync(file.fileno())
            fresh = os.dup(file.fileno())
        os.close(self._fd)
        self._fd = fresh
        if not same:
            progress.warn(f"{self._path} was deleted or replaced meanwhile: written again")

    def cut_after(self, step: int) -> None:
        """Forget all rows after `step`, and all from the first that is not a row."""
        length = 0
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(0)
            for line in _lines(file):
                row = _row(line)
                if row is None or row["step"] > step:
                    break
                length += len(line)
        self.cut(length)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _drain(self) -> None:
        if not self._waiting:
            return
        self._keep()
        half = len(self._waiting) // 2
        try:
            done = 0
            for piece in (self._waiting[:half], self._waiting[half:]):
                done += os.pwrite(self._fd, piece, self.bytes + done)
                reach("metrics.half_row")
            if done < len(self._waiting):  # the disk became full in the middle
                done += os.pwrite(self._fd, self._waiting[done:], self.bytes + done)
        except OSError:
            os.ftruncate(self._fd, self.bytes)  # never leave half a row
            raise
        self.bytes += done
        self._waiting = b""


def rows(path: Path) -> Iterator[dict[str, float | None]]:
    """The rows of a metrics.jsonl; what is none is left out with a warning, but a torn end.

    Raises OSError and UserError (code 5) for what is no ordinary file.
    """
    if files.is_odd(path):
        raise files.odd(path)
    bad = 0
    with files.open_plain(path) as file:
        for line in _lines(file):
            row = _row(line)
            if row is not None:
                yield row
            else:
                bad += line.endswith(b"\n")
    if bad:
        progress.warn(f"{path}: {bad} lines are no rows of numbers and were left out")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, in pieces where they are far too long for a row."""
    while line := file.readline(_LONGEST):
        yield line


def _row(line: bytes) -> dict[str, Any] | None:
    """The row in a line: numbers and nulls by their tags, and the step; None if it is no row."""
    try:
        row = files.parse_json(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    fine = all(v is None or type(v) in (int, float) for v in row.values())
    return row if fine else None
