"""One process at a time on one run."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path

from logbook.errors import Exit, UserError


class Lock:
    """An exclusive lock that the system drops when its holder dies, however it dies."""

    def __init__(self, path: Path) -> None:
        """Take the lock or raise UserError naming the process that holds it."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(os.pread(self._fd, 1000, 0))
            os.close(self._fd)
            raise UserError(
                f"{path.parent} is in use by {holder}: wait for it or stop it, "
                "or start another run with name=...",
                Exit.SETUP,
            ) from None
        except OSError as error:  # a file system without locks
            os.close(self._fd)
            raise UserError(
                f"{path}: this file system cannot lock files ({error.strerror}): "
                "choose a run folder on another disk with hydra.run.dir=...",
                Exit.SETUP,
            ) from None
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, text.encode(), 0)

    def release(self) -> None:
        """Let go. The file stays: deleting it would let two processes lock two files."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def _holder(text: bytes) -> str:
    try:
        found = json.loads(text)
        return f"process {found['pid']} on {found['host']} since {found['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
