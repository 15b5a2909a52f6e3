"""The rows of a run in its three places: metrics.jsonl, TensorBoard, the reader's screen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logbook import progress
from logbook.events import EventFile
from logbook.metrics import MetricsFile

MANY = 0.01  # share of steps that may be dropped without a word


class Record:
    """Where rows go. What a full disk refuses is kept or dropped with a warning, never fatal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._metrics = MetricsFile(folder / "metrics.jsonl")
        self._events: EventFile | None = None
        self._progress: progress.Progress | None = None
        self._warned: set[str] = set()
        self._began, self._carried = time.monotonic(), 0.0
        self._last = (0, 0.0)  # step and elapsed seconds of the last row

    @property
    def elapsed(self) -> float:
        """Seconds spent on this run, over all its sessions, without those that were lost."""
        return self._carried + time.monotonic() - self._began

    def begin(self, step: int, steps: int, length: int, elapsed: float) -> None:
        """Go on from `step` of `steps`, where metrics.jsonl had `length` bytes."""
        self.quiet()
        if self._events is not None:
            self._events.close()
        if not self._metrics.cut(length):
            progress.warn(f"{self._folder}/metrics.jsonl was changed by another hand")
            self._metrics.cut_after(step)
        self._began, self._carried = time.monotonic(), elapsed
        self._last = (step, elapsed)
        try:
            self._events = EventFile(self._folder / "tb", step + 1 if step else 0)
        except OSError as error:
            progress.warn(f"no TensorBoard events: {error.strerror}")
        self._progress = progress.Progress(steps, step)

    def tick(self, step: int) -> None:
        """Move the progress bar."""
        if self._progress is not None:
            self._progress.update(step)

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Write one row, with the time and the rate since the row before."""
        elapsed = self.elapsed
        before, then = self._last
        self._last = (step, elapsed)
        numbers = {tag: float(value) for tag, value in row.items()}
        numbers.setdefault("time/total_timesteps", float(step))
        numbers["time/time_elapsed"] = elapsed
        numbers["time/fps"] = (step - before) / max(elapsed - then, 1e-9)
        try:
            self._metrics.append(step, numbers)
        except OSError as error:
            self._warn_once(f"metrics.jsonl: {error.strerror}; the rows wait in memory")
        try:
            if self._events is not None:
                self._events.append(step, numbers)
        except OSError as error:
            self._warn_once(f"TensorBoard events: {error.strerror}")
        if self._progress is not None:
            self._progress.update(step, numbers)
        self._warn_of_dropped(numbers.get("rollout/unstable", 0.0), step - before)

    def _warn_of_dropped(self, share: float, steps: int) -> None:
        if share > MANY and "dropped" not in self._warned:
            self._warned.add("dropped")
            progress.warn(
                f"{share:.1%} of the last {steps:,} steps cannot be learned from: what an env says "
                "must be finite numbers (and its physics must hold); see rollout/unstable"
            )

    def sync(self) -> int:
        """Make the rows durable; return the length of metrics.jsonl. Raises OSError."""
        return self._metrics.sync()

    def quiet(self) -> None:
        """End the progress bar."""
        if self._progress is not None:
            self._progress.close()

    def close(self) -> None:
        """Close everything."""
        self.quiet()
        self._metrics.close()
        if self._events is not None:
            self._events.close()

    def _warn_once(self, line: str) -> None:
        if line not in self._warned:
            self._warned.add(line)
            progress.warn(line)


def now() -> str:
    """The time of day, for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S")
