"""The numbers of a run: one row per log, in metrics.jsonl and as TensorBoard events.

metrics.jsonl is the record. A checkpoint notes its length, and a resumed run cuts it back to
that, so that the rows of a killed and resumed run are those of an uninterrupted one. Infinities
and NaN, which JSON lacks, are null there.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from logbook.killpoints import reach


class MetricsFile:
    """An append-only file of JSON rows that survives a full disk and a sudden death."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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
        os.fsync(self._fd)
        reach("metrics.synced")
        return self.bytes

    def cut(self, length: int) -> bool:
        """Forget all after `length` bytes; False if that is not the end of a row of this file."""
        if length > 0 and os.pread(self._fd, 1, length - 1) != b"\n":
            return False
        os.ftruncate(self._fd, length)
        os.fsync(self._fd)
        self.bytes, self._waiting = length, b""
        return True

    def cut_after(self, step: int) -> None:
        """Forget all rows after `step`, and all from the first that is not a row."""
        length = 0
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(0)
            for line in file:
                try:
                    if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                        break
                except (ValueError, KeyError, TypeError):
                    break
                length += len(line)
        self.cut(length)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _drain(self) -> None:
        if not self._waiting:
            return
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
    """The rows of a metrics.jsonl; a last row that was cut short is left out."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)
