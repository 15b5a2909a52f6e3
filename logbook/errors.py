"""The one error a user sees: a line that says what, where and the remedy, and an exit code."""

from __future__ import annotations

import re
import unicodedata
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    CONFIG = 2  # a key, value or combination that cannot work
    SETUP = 3  # the machine lacks what the toolkit needs
    CAPABILITY = 4  # asked for something this machine cannot do (a GPU, a video)
    CHECKPOINT = 5  # a run folder that cannot be trusted or read
    AGAIN = 75  # stopped on request and saved: run the same command again


class UserError(Exception):
    """A mistake or lack that the user can mend; shown as one line, without a traceback."""

    one_line = True

    def __init__(self, message: str, code: Exit = Exit.CONFIG) -> None:
        super().__init__(message)
        self.code = code


def shown(text: str) -> str:
    """Text without characters that move a terminal's cursor or colour: they are spelled out."""
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Zl", "Zp") else _spelled(c)
        for c in text
    )


def one_line(text: str) -> str:
    """The same on one line; blanks within it stay, since a path may have them."""
    return shown(re.sub(r"\s*[\r\n]\s*", " ", text.strip()))


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode()


_NO_MEMORY = ("alloc", "out of memory", "storage size", "maximum allowed size", "array is too big")


def no_memory(error: BaseException) -> bool:
    """Whether memory is what is missing: torch and numpy have several words for it."""
    if isinstance(error, MemoryError):
        return True
    told = str(error).lower()
    if isinstance(error, SystemError):  # Python's own words for an import that ran out of it
        return "_find_and_load" in told
    if isinstance(error, ImportError):  # a library that cannot be mapped
        return "map segment" in told or "cannot allocate memory" in told
    return isinstance(error, RuntimeError | ValueError) and any(w in told for w in _NO_MEMORY)
