"""Driving a training, of any stage: rows and checkpoints at fixed env steps, stops, rollbacks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from rl.types import Diverged, Metrics, State

__all__ = [
    "Diverged",
    "Means",
    "Pace",
    "Recorder",
    "Resumable",
    "Trainable",
    "drive",
    "pace_of",
    "train",
]

LONG = 5.0  # seconds of a round, past which a stop may come in its midst


class Recorder(Protocol):
    """What the loop asks of a run on disk; logbook/run.py fills it."""

    def tick(self, step: int) -> None: ...

    def log(self, step: int, row: Mapping[str, float]) -> None: ...

    def save(self, step: int, state: State) -> None: ...

    def stop_requested(self) -> bool: ...


class Means:
    """Running means of named tensors; nothing is read from the device until `take`."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}  # [n] for n metrics that come together, by their names
        self._counts: dict[str, int] = {}

    def add(self, prefix: str, metrics: Metrics) -> None:
        """Count one value of each metric."""
        if not metrics:
            return
        key = ",".join(f"{prefix}/{name}" for name in metrics)
        device = next((v.device for v in metrics.values() if isinstance(v, Tensor)), None)
        values = [
            v if isinstance(v, Tensor) else torch.tensor(v, dtype=torch.float64, device=device)
            for v in metrics.values()
        ]
        total = torch.stack(values).detach().double()
        self._sums[key] = total.add_(self._sums[key]) if key in self._sums else total
        self._counts[key] = self._counts.get(key, 0) + 1

    def __bool__(self) -> bool:
        return bool(self._sums)

    def take(self) -> dict[str, float]:
        """The means since the last call, as numbers."""
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        for key, totals in self._sums.items():
            for name, total in zip(key.split(","), totals.tolist(), strict=True):
                sums[name] = sums.get(name, 0.0) + total
                counts[name] = counts.get(name, 0) + self._counts[key]
        self._sums, self._counts = {}, {}
        return {name: total / counts[name] for name, total in sums.items()}

    def lost(self) -> list[str]:
        """The names whose values so far are no finite number."""
        return [
            name
            for key, totals in self._sums.items()
            for name, fine in zip(key.split(","), totals.isfinite().tolist(), strict=True)
            if not fine
        ]

    def state_dict(self) -> State:
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: State) -> None:
        self._sums = {k: torch.as_tensor(v) for k, v in state["sums"].items()}
        self._counts = {k: int(v) for k, v in state["counts"].items()}
        for key, total in self._sums.items():
            if total.shape != (len(key.split(",")),) or self._counts[key] < 1:
                raise ValueError(f"the running means of {key} make no sense")


class Resumable(Recorder, Protocol):
    """What `drive` asks of a run on disk besides."""

    def roll_back(self, reason: str) -> tuple[int, State, int]:
        """The last good (step, state), and how often this happened."""
        ...

    def stopped(self) -> Exception: ...


class Trainable(Protocol):
    """What is driven: it learns in rounds, counts env steps, and can be put down and taken up."""

    means: Means

    @property
    def step(self) -> int:
        """Env steps so far, over all worlds."""
        ...

    def advance(self) -> object:
        """One round of experience and of learning."""
        ...

    def row(self) -> dict[str, float]:
        """The metrics since the last row."""
        ...

    def reseed(self, seed: int) -> None: ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...


class Pace(NamedTuple):
    """How often a training learns, in env steps over all worlds."""

    whole: int  # of a round, which is never cut short
    first: int  # taken by the end of the first round that something is learned from
    most: bool = False  # both may be less, as where episodes end early


def pace_of(agent: Any, num_envs: int, warmup: int = 0) -> Pace:
    """The pace of an agent in `num_envs` worlds that is not updated before `warmup` env steps."""
    whole = agent.horizon * num_envs
    wait = getattr(agent, "start_steps", 0)  # for what it learns from, if it remembers
    return Pace(whole, -(-max(wait, warmup, 1) // whole) * whole)


def unsound(state: Any, name: str = "") -> list[str]:
    """The names of the arrays and tensors in a state that hold what is not a finite number."""
    if isinstance(state, Mapping):
        return [bad for key, part in state.items() for bad in unsound(part, f"{name}.{key}"[:99])]
    x = torch.from_numpy(state) if isinstance(state, np.ndarray) else state
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.sum().isfinite():
        return []
    return [] if bool(x.isfinite().all()) else [name.lstrip(".")]  # or the sum alone is too large


def train(
    training: Trainable,
    recorder: Recorder,
    *,
    steps: int,
    log_every: int,
    checkpoint_every: int,
    early_look: Callable[[], None] | None = None,
    early_look_at: int = 0,
) -> bool:
    """Run until `steps` env steps; True when done, False when stopped on request (and saved).

    Rows and checkpoints fall on fixed env steps, so that a killed and resumed run writes what an
    uninterrupted one writes. `early_look` is called in the round that reaches `early_look_at`
    steps, after what that round saves; it must not touch the training's generators. Rounds that
    take long are saved besides, where that costs little: a stop in their midst gives one up.
    """
    saved_at = cost = 0.0  # seconds

    def crossed(before: int, every: int) -> bool:
        return training.step // every > before // every

    def refuse(bad: list[str]) -> None:
        if bad:
            raise Diverged(f"{', '.join(bad)} is not a finite number at step {training.step:,}")

    def log() -> None:
        row = training.row()
        refuse([key for key, value in row.items() if not math.isfinite(value)])
        recorder.log(training.step, row)

    def advance() -> None:
        try:
            training.advance()
        except Diverged as reason:
            raise Diverged(f"{reason} at step {training.step:,}") from reason
        except Exception as reason:  # NaN makes others stumble: a world, a task's formula
            lost = training.means.lost() or unsound(training.state_dict())
            if not lost:
                raise
            raise Diverged(f"{lost[0]} is not a finite number ({reason})") from reason

    def save() -> None:  # never what has diverged: it would push out the last good checkpoint
        nonlocal saved_at, cost
        refuse(training.means.lost())
        began = monotonic()
        state = training.state_dict()
        refuse(unsound(state)[:1])
        recorder.save(training.step, state)
        saved_at = monotonic()
        cost = saved_at - began

    while training.step < steps:
        before, began = training.step, monotonic()
        advance()
        recorder.tick(training.step)
        long = monotonic() - began > LONG and monotonic() - saved_at > 20 * cost
        if crossed(before, log_every):
            log()
        if (long or crossed(before, checkpoint_every)) and training.step < steps:
            save()
        if early_look is not None and before < early_look_at <= training.step:
            early_look()
        if recorder.stop_requested() and training.step < steps:
            save()
            return False
    if training.means:  # what came after the last row; not twice, if resumed from here
        log()
    save()
    return True


def drive(
    training: Trainable,
    run: Resumable,
    stream: Callable[[int], int],
    *,
    steps: int,
    log_every: int,
    checkpoint_every: int,
    early_look: Callable[[], None] | None = None,
    early_look_at: int = 0,
) -> None:
    """`train` to the end; a divergence goes back to the last checkpoint and draws anew.

    `stream` gives the seed of the n-th rollback. Raises `run.stopped()` when asked to stop.
    """
    while True:
        try:
            done = train(
                training,
                run,
                steps=steps,
                log_every=log_every,
                checkpoint_every=checkpoint_every,
                early_look=early_look,
                early_look_at=early_look_at,
            )
        except Diverged as reason:
            _, state, times = run.roll_back(str(reason))
            training.load_state_dict(state)
            training.reseed(stream(times))
            continue
        if not done:
            raise run.stopped()
        return
