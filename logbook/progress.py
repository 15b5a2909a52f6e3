"""What a person sees while a run goes on. The only place that prints."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from logbook.errors import one_line, shown
from logbook.words import pasted

_PLAIN_EVERY = 30.0  # seconds between lines when nobody watches a terminal

_bars: list[Any] = []


def say(line: str = "") -> None:
    """A line for the reader, above a progress bar if there is one."""
    line = shown(line)
    if _bars:
        _bars[-1].write(line, file=sys.stdout)
    else:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def warn(line: str) -> None:
    """Something that the reader should know and that does not stop the run."""
    line = f"warning: {one_line(line)}"
    if _bars:
        _bars[-1].write(line, file=sys.stderr)
    else:
        sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def paste(name: str, *words: object) -> str:
    """A command that works when pasted here: by its path where PATH does not lead to ours.

    A word is a path, a pair of key and value, or text that stands as it is (logbook/words.py).
    """
    own, found = Path(sys.executable).with_name(name), shutil.which(name)
    if own.exists() and not (found and own.samefile(found)):
        here = Path.cwd()
        name = str(own.relative_to(here) if own.is_relative_to(here) else own)
        name = name if "/" in name else f"./{name}"
    return pasted(name, *words)


def table(rows: Sequence[tuple[str, Any]]) -> None:
    """Names and values in two columns."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        say(f"  {name:<{width}}  {_short(value)}")


class Progress:
    """A bar with the time left on a terminal; elsewhere a plain line now and then."""

    def __init__(self, total: int, start: int) -> None:
        self.total = total
        self._start, self._step = start, start
        self._began = self._spoke = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=start, unit=" steps", unit_scale=True, dynamic_ncols=True
            )
            _bars.append(self._bar)

    def update(self, step: int, row: Mapping[str, float] | None = None) -> None:
        """Move on to `step`, showing the numbers of `row` if given."""
        ahead, self._step = step - self._step, step
        if self._bar is not None:
            if row:
                self._bar.set_postfix_str(_headline(row), refresh=False)
            self._bar.update(ahead)
            return
        now = time.monotonic()
        if row is not None and now - self._spoke >= _PLAIN_EVERY:
            self._spoke = now
            rate = (step - self._start) / (now - self._began)
            left = (self.total - step) / rate if rate > 0 else 0.0
            line = f"{step:,} of {self.total:,} steps, {rate:,.0f} a second"
            promise = f"{_span(left)} left" if left > 0 else ""  # what comes now are no steps
            say(", ".join(filter(None, (line, promise, _headline(row)))))

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            _bars.remove(self._bar)
            self._bar = None


_HEADLINES = {
    "skill/discriminator_acc": "accuracy",
    "skill/intrinsic_reward_mean": "intrinsic",
    "rollout/ep_rew_mean": "return",
}


def _headline(row: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {row[tag]:.3g}" for tag, name in _HEADLINES.items() if tag in row)


def _span(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes / 60:.1f} h" if minutes > 90 else f"{max(1, round(minutes))} min"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
