"""The one error a user sees: a line that says what, where and the remedy, and an exit code."""

from __future__ import annotations

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
