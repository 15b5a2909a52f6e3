"""What a proposed reward costs: a world's step without and with it, and meta-training on both.

    scripts/bench.py umrl --from RUN --hand-made cheetah_direction

The step of the family that the skills of RUN propose, against the step of their bare world: paid
at once, as learners need it that act on rewards (RL²), and paid when the episodes are over, which
is how those by gradient steps live. And env steps per second of the whole loops of MAML and RL² on
it, against the same on a hand-made family of that world. All take turns in one process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from logbook.compose import compose
from meta.stage import assemble, family_factory
from rl.matmul import choose_matmul


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this section."""
    parser.add_argument("--from", dest="source", required=True, metavar="RUN")
    parser.add_argument("--hand-made", default="cheetah_direction", metavar="FAMILY")
    parser.add_argument("--worlds", type=int, nargs="*", default=[64, 400])
    parser.add_argument("--steps", type=int, default=50, help="of a turn")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--updates", type=int, default=2, help="of a turn of meta-training")
    parser.add_argument("--threads", type=int, default=2)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Let them take turns."""
    torch.set_num_threads(options.threads)
    choose_matmul()
    proposed = ["tasks=skills", f"from={options.source}"]
    hand_made = [f"tasks={options.hand_made}"]
    rows = [row for n in options.worlds for row in _steps(proposed, n, options)]
    rows += [_training(learner, proposed, hand_made, options) for learner in ("maml", "rl2")]
    note = (
        "bar: a proposed reward costs at most 10 % of the step; training at least 0.8 of the rate"
    )
    return {"rows": rows, "notes": [note]}


def _steps(proposed: list[str], n: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The world's step alone, and with the reward of a proposal, told at once and late."""
    family = family_factory(_config("maml", proposed, options))(n, 0)
    world = family.world
    family.enter(np.arange(n)[:, None] % family.source.count)
    rng = np.random.default_rng(0)
    space = world.single_action_space
    acts = rng.uniform(space.low, space.high, (options.steps, n, *space.shape)).astype(space.dtype)

    def bare() -> None:
        world.reset()
        for act in acts:
            world.step(act)

    def judged() -> None:
        family.reset()
        for act in acts:
            family.step(act)

    def late() -> None:
        family.wait()
        judged()
        family.settle()

    bare_s, *paid = _turns([bare, judged, late], options.turns)
    rate = n * options.steps
    return [
        {
            "what": f"world step, N={n}, paid {when}",
            "without /s": rate / min(bare_s),
            "with /s": rate / min(seconds),
            "time ratio": statistics.median(y / x for x, y in zip(bare_s, seconds, strict=True)),
        }
        for when, seconds in zip(("at once", "by the round"), paid, strict=True)
    ]


def _training(
    learner: str, proposed: list[str], hand: list[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Whole rounds of a learner on hand-made and on proposed tasks."""
    trainings = [assemble(_config(learner, words, options)) for words in (hand, proposed)]
    steps = []

    def rounds(k: int) -> Callable[[], None]:
        def some() -> None:
            before = trainings[k].step
            for _ in range(options.updates):
                trainings[k].advance()
            steps.append(trainings[k].step - before)

        return some

    a, b = _turns([rounds(0), rounds(1)], max(3, options.turns // 3))
    taken = steps[-1]
    pairs = [x / y for x, y in zip(a, b, strict=True)]
    return {
        "what": f"{learner}, env steps",
        "without /s": taken / min(a),
        "with /s": taken / min(b),
        "time ratio": 1 / statistics.median(pairs),
    }


def _config(learner: str, words: list[str], options: argparse.Namespace) -> dict[str, Any]:
    extra = ["tasks.episode_steps=100", f"tasks.threads={options.threads}"]
    return compose("metatrain", [f"learner={learner}", *words, *extra]).config


def _turns(runs: list[Callable[[], None]], turns: int) -> list[list[float]]:
    """Seconds of each, taking turns, after one to warm up."""
    seconds: list[list[float]] = [[] for _ in runs]
    for turn in range(turns + 1):
        for k, one in enumerate(runs):
            start = time.perf_counter()
            one()
            if turn:
                seconds[k].append(time.perf_counter() - start)
    return seconds
