"""Asked to stop: finish the update, save, leave with the exit code that means "run me again"."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")
_ENDING = ("SIGTERM", "SIGHUP")
_PATIENCE = 10.0  # seconds that a round may go on after a stop was asked for


class GivenUp(BaseException):
    """Not an Exception, lest the work that is given up takes it for a failure of its own."""


class TookTooLong(Exception):
    """What `within` limits is not done in time."""


class Late(BaseException):
    """As GivenUp: not to be caught by who is late."""


class Stop:
    """While open, stop signals set `requested` instead of ending the process.

    With `raises` set they raise what it returns, in the main thread, wherever it is. Otherwise the
    work under way has ten seconds to be done and to be saved; then `GivenUp` is raised in it.
    A second Ctrl-C ends it at once: whatever was being saved is whole or not there. Off the main
    thread Python cannot catch signals, and `requested` stays False.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.raises: Callable[[], BaseException] | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._calm = False

    @property
    def requested(self) -> bool:
        """Whether a signal has asked for the end; cheap enough for every step."""
        return bool(self.reason)

    @contextlib.contextmanager
    def unhurried(self) -> Iterator[None]:
        """What is done here, such as saving, may take as long as it does and is never given up."""
        self._calm = True
        self._disarm()
        try:
            yield
        finally:
            self._calm = False

    def _disarm(self) -> None:
        if signal.SIGALRM in self._before:
            signal.setitimer(signal.ITIMER_REAL, 0.0)

    def spares(self, work: Callable[[], None]) -> bool:
        """Whether `work` was done: a stop signal, past or to come, gives it up wherever it is.

        It must leave things well when an exception passes through, and not be needed.
        """

        def give_up() -> BaseException:
            self.raises = None  # once: a second signal must not disturb the clearing up
            return GivenUp()

        try:
            self.raises = give_up
            if self.requested:
                return False
            work()
            self.raises = None
        except GivenUp:
            return False
        finally:
            self.raises = None
        return True

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in _SIGNALS:
                number = signal.Signals[name]
                if name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN:
                    continue  # nohup: the terminal may go, the run goes on
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._disarm()
        for number, before in self._before.items():
            signal.signal(number, before if before is not None else signal.SIG_DFL)
        self._before = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.requested and number == signal.SIGINT and self.reason == "SIGINT"
        if again:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        first, self.reason = not self.requested, signal.Signals(number).name
        if self.raises is not None:
            raise self.raises()
        hint = ", Ctrl-C again to leave at once" if number == signal.SIGINT else ""
        line = f"\n{self.reason}: finishing this update and saving{hint}\n"
        with contextlib.suppress(OSError):  # a terminal that is closed is why we are asked
            os.write(2, line.encode())  # print is not safe inside a signal handler
        if first and not self._calm:
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._overdue)
            signal.setitimer(signal.ITIMER_REAL, _PATIENCE, _PATIENCE)  # again, if swallowed

    def _overdue(self, number: int, frame: FrameType | None) -> None:
        raise GivenUp


@contextlib.contextmanager
def clearing_up() -> Iterator[None]:
    """Outside of a run, let SIGTERM and SIGHUP end the process by way of its `finally`s.

    Children are ended then and half-written files removed. Who looks sees a process that was
    ended by that signal, as without this.
    """
    before: dict[signal.Signals, Any] = {}
    asked: list[int] = []

    def give_up(number: int, frame: FrameType | None) -> None:
        if not asked:  # once: a second signal must not disturb the clearing up
            asked.append(number)
            raise GivenUp

    try:
        if threading.current_thread() is threading.main_thread():
            for name in _ENDING:
                number = signal.Signals[name]
                if signal.getsignal(number) == signal.SIG_DFL:
                    before[number] = signal.signal(number, give_up)
        yield
    except GivenUp:
        if not asked:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if asked:
            os.kill(os.getpid(), asked[0])


@contextlib.contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Raise `TookTooLong` in what takes longer, where Python runs or a system call waits.

    No limit off the main thread. Within a limit there can be no other.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, late)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)  # again, if swallowed
        yield
    except Late:
        raise TookTooLong(f"{what} took over {seconds:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before if before is not None else signal.SIG_DFL)
