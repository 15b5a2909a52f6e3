"""A run whose learner is a random walk: enough to tell exact from nearly exact."""

from __future__ import annotations

import json
import os
import tempfile
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from logbook import checkpoint, metrics
from logbook.errors import UserError
from logbook.run import Run

CONFIG = {"skill": {"name": "none", "view": ["x"]}, "seed": 1, "steps": 30, "checkpoint_every": 5}


def train(folder: Path, config: dict[str, Any] = CONFIG, until: int | None = None) -> None:
    """Learn in `folder`, from where it stopped; interrupted at step `until`."""
    with Run.open(folder, config, stage="pretrain", overrides=["seed=1"]) as a_run:
        if a_run.done:
            return
        rng, walk, step = np.random.default_rng(0), np.zeros((40, 3)), 0
        if (found := a_run.restore()) is not None:
            step, state = found
            rng.bit_generator.state = state["rng"]
            walk = state["walk"]
        while step < config["steps"]:
            walk += rng.normal(size=walk.shape)
            step += 1
            if step % 2 == 0:
                a_run.log(step, {"train/loss": walk[0, 0], "train/odd": float("nan")})
            if step % config["checkpoint_every"] == 0:
                a_run.save(step, {"rng": rng.bit_generator.state, "walk": walk})
            if a_run.stop_requested():
                a_run.save(step, {"rng": rng.bit_generator.state, "walk": walk})
                raise a_run.stopped()
            if step == until:
                raise KeyboardInterrupt
        a_run.finish({"walked": float(walk.sum())})


def rows(folder: Path) -> list[dict[str, Any]]:
    """The record without what depends on the clock."""
    timed = ("time/time_elapsed", "time/fps")
    return [
        {k: v for k, v in row.items() if k not in timed}
        for row in metrics.rows(folder / "metrics.jsonl")
    ]


def outcome(folder: Path) -> tuple[Any, ...]:
    """Its last checkpoint by name and digests, its record, its summary."""
    found, skipped = checkpoint.newest(folder / "checkpoints")
    assert found is not None and not skipped
    walked = json.loads((folder / "summary.json").read_text())["walked"]
    return found.name, checkpoint.read_manifest(found).files, rows(folder), walked


@cache
def uninterrupted() -> tuple[Any, ...]:
    """The outcome of a run that nobody stopped."""
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder) / "run")
        return outcome(Path(folder) / "run")


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a child; its exit status as from subprocess."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except UserError as error:
            code = int(error.code)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
