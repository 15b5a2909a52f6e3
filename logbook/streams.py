"""The reader's screen may go away: what is written to it from then on is dropped."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from typing import Any

_WAIT = 1.0  # seconds that a reader who does not read is waited for


class _Losable(io.FileIO):
    """A file descriptor that takes everything, and drops what nobody reads."""

    def write(self, data: Any) -> int:
        """The number of bytes taken, which is at least one."""
        length = len(memoryview(data).cast("B"))
        try:
            taken = super().write(data)
            if taken is None:  # it must not be waited for, says who opened it
                select.select([], [self], [], _WAIT)
                taken = super().write(data)
        except OSError:  # a closed terminal, a pipe whose reader left, a full disk
            return length
        return length if taken is None else taken


def outlive_the_screen() -> None:
    """Make print, and all else that goes to stdout or stderr, never fail for lack of a reader.

    Descriptors 0 to 2 that were closed before the start lead nowhere, so that no file is opened
    under their numbers. What the encoding of the screen lacks is shown as an escape.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream: Any = getattr(sys, name)
        if stream is not getattr(sys, f"__{name}__") or isinstance(stream, _Screen):
            continue  # somebody's own, as in a notebook
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        encoding = getattr(stream, "encoding", None) or "utf-8"
        by_line = name == "stderr" or bool(getattr(stream, "line_buffering", True))
        setattr(sys, name, _Screen(number, encoding, by_line))


class _Screen(io.TextIOWrapper):
    def __init__(self, number: int, encoding: str, by_line: bool) -> None:
        raw = io.BufferedWriter(_Losable(number, "w", closefd=False))
        super().__init__(raw, encoding, errors="backslashreplace", line_buffering=by_line)
