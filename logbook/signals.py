"""Asked to stop: finish the update, save, leave with the exit code that means "run me again"."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")


class _GivenUp(BaseException):
    """Not an Exception, lest the work that is given up takes it for a failure of its own."""


class Stop:
    """While open, stop signals set `requested` instead of ending the process.

    With `raises` set they raise what it returns, in the main thread, wherever it is.
    A second Ctrl-C ends it at once: whatever was being saved is whole or not there. Off the main
    thread Python cannot catch signals, and `requested` stays False.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.raises: Callable[[], BaseException] | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal has asked for the end; cheap enough for every step."""
        return bool(self.reason)

    def spares(self, work: Callable[[], None]) -> bool:
        """Whether `work` was done: a stop signal, past or to come, gives it up wherever it is.

        It must leave things well when an exception passes through, and not be needed.
        """

        def give_up() -> BaseException:
            self.raises = None  # once: a second signal must not disturb the clearing up
            return _GivenUp()

        try:
            self.raises = give_up
            if self.requested:
                return False
            work()
            self.raises = None
        except _GivenUp:
            return False
        finally:
            self.raises = None
        return True

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in _SIGNALS:
                number = signal.Signals[name]
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before if before is not None else signal.SIG_DFL)
        self._before = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.requested and number == signal.SIGINT and self.reason == "SIGINT"
        if again:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.reason = signal.Signals(number).name
        if self.raises is not None:
            raise self.raises()
        hint = ", Ctrl-C again to leave at once" if number == signal.SIGINT else ""
        # os.write: print is not safe inside a signal handler
        os.write(2, f"\n{self.reason}: finishing this update and saving{hint}\n".encode())
