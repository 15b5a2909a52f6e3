"""TensorBoard event files, by TensorBoard's own messages and record writer.

Its writers of scalars put a queue and a thread between a row and the disk; a run has one row in
seconds, so each goes straight to the file here, and a full disk is told where the row is logged.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logbook import files

_AROUND = 16  # bytes of a record around its message: a length and two checksums


class EventFile:
    """One event file; TensorBoard drops earlier points from `first_step` on when it reads it."""

    def __init__(self, folder: Path, first_step: int) -> None:
        files.subfolder(folder)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / name).open("xb", buffering=0)
        self._first, self._began = first_step, False

    def append(self, step: int, row: Mapping[str, float]) -> None:
        """Add the numbers of one row. Raises OSError."""
        if not self._began:
            self._begin()
        values = [{"tag": tag, "simple_value": value} for tag, value in row.items()]
        self._put(step, summary={"value": values})

    def _begin(self) -> None:
        """Load the library, 0.1 s that opening a run need not wait, and start a session."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._writer = Event, RecordWriter(self._file)
        self._put(0, file_version="brain.Event:2")
        self._put(self._first, session_log={"status": SessionLog.START})
        self._began = True

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _put(self, step: int, **what: Any) -> None:
        data = self._event(wall_time=time.time(), step=step, **what).SerializeToString()
        start = self._file.tell()
        self._writer.write(data)
        if self._file.tell() != start + len(data) + _AROUND:  # a full disk: leave no torn record
            self._file.truncate(start)
            self._file.seek(start)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
