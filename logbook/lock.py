"""One process at a time on one run."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import time
from pathlib import Path

from logbook import files, progress
from logbook.errors import Exit, UserError

_TRIES = 100  # at a file that others keep replacing


class Lock:
    """An exclusive lock that the system drops when its holder dies, however it dies.

    What is locked is the file that bears the name. Whoever finds another file there than the one
    that it has locked does not hold the lock: the name was given away (`held`).
    """

    def __init__(self, path: Path) -> None:
        """Take the lock or raise UserError naming the process that holds it."""
        self.path = path
        for _ in range(_TRIES):
            self._fd = self._locked()
            if self.held():
                break
            os.close(self._fd)
        else:
            raise UserError(f"{path} changes all the time: stop who replaces it", Exit.CHECKPOINT)
        if os.fstat(self._fd).st_nlink > 1:  # not to be written to under its other names as well
            self._begin_anew()
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, text.encode(), 0)

    def _locked(self) -> int:
        """The file under the lock's name, opened and locked. Raises UserError."""
        how = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        if files.is_odd(self.path):
            raise files.odd(self.path)
        fd = os.open(self.path, how, 0o644)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise files.odd(self.path)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(os.pread(fd, 1000, 0))
            os.close(fd)
            raise UserError(
                f"{self.path.parent} is in use by {holder}: wait for it or stop it, "
                "or start another run with name=...",
                Exit.SETUP,
            ) from None
        except OSError as error:  # a file system without locks
            os.close(fd)
            raise UserError(
                f"{self.path}: this file system cannot lock files ({error.strerror}): "
                "choose a run folder on another disk with hydra.run.dir=...",
                Exit.SETUP,
            ) from None
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _begin_anew(self) -> None:
        """Put a file of our own under the name, locked before anybody can see it."""
        draft = self.path.with_name(f"{files.TEMPORARY}lock-{os.getpid()}")
        with files.create(draft) as file:
            fd = os.dup(file.fileno())
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.replace(self.path)
        os.close(self._fd)
        self._fd = fd

    def held(self) -> bool:
        """Whether the file that we locked still bears the lock's name."""
        try:
            there, ours = os.stat(self.path, follow_symlinks=False), os.fstat(self._fd)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def keep(self) -> None:
        """Raise UserError (code 5) if the run's folder or its lock was taken away meanwhile.

        A lock that was deleted, and that nobody else has taken, is taken again.
        """
        if self.held():
            return
        folder = self.path.parent
        if not folder.is_dir():
            why = "was deleted or moved while it ran: what it learned since its last save is lost"
        elif self._retake():
            progress.warn(f"{self.path} was deleted while the run went on: made again")
            return
        else:
            why = "is another process's now: its lock was deleted or replaced while it ran"
        raise UserError(f"{folder} {why}; this process stops", Exit.CHECKPOINT)

    def _retake(self) -> bool:
        """Whether the lock is held again after its file was deleted: not if another took it."""
        try:
            how = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(self.path, how, 0o644)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        os.pwrite(fd, os.pread(self._fd, 1000, 0), 0)
        os.close(self._fd)
        self._fd = fd
        return self.held()

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
    except (ValueError, KeyError, TypeError, RecursionError):
        return "another process"
