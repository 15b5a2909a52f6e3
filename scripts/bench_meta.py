"""Stage 2 in ratios: MAML's outer step, cheetahs and pulls end to end, and cells through time.

What `maml` and `rl2` measure at length, in one table; and env steps of MAML on the cheetah,
sampling and learning together, beside those of its worlds alone. Without --threads one thread is
used, or all cores where no one else wants them.
"""

from __future__ import annotations

import argparse
from types import ModuleType
from typing import Any

import bench_maml
import bench_rl2
import numpy as np
import torch

from logbook.compose import compose
from meta.stage import assemble
from rl.matmul import choose_matmul


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this section."""
    parser.add_argument("--seconds", type=float, default=6.0, help="of turns for each row")
    parser.add_argument("--turns", type=int, default=2, help="of MAML's outer step")
    parser.add_argument("--threads", type=int, default=bench_rl2.fitting()[-1])
    parser.add_argument("--peer", metavar="FOLDER", help="pytorch-maml-rl, as `maml` takes it")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """One section after the other, and the cheetah."""
    threads = f"--threads={options.threads}"
    peer = [f"--peer={options.peer}"] if options.peer else []
    maml = bench_maml.run(_options(bench_maml, threads, f"--turns={options.turns}", *peer))
    rl2 = bench_rl2.run(_options(bench_rl2, threads, f"--seconds={options.seconds}"))
    (step,) = maml["rows"]
    gru, pulls = rl2["rows"]
    rows = [
        _row("MAML-TRPO outer step, s", step["ours s"], "loop", step["loop s"], step["x loop"]),
        _row("GRU there and back, ms", gru["ours"], "nn.GRU", gru["torch"], gru["x torch"]),
        _row("bandit pulls/s", pulls["ours"], "with nn.GRU", pulls["torch"], pulls["x torch"]),
        _row("the same, of processor time", pulls["cpu"], "-", None, None),
        cheetah(options),
    ]
    bars = ("1.8 x", "1.4 x", "200,000", "-", "20,000")
    rows = [row | {"bar": bar} for row, bar in zip(rows, bars, strict=True)]
    if options.peer:
        its, ratio = step["peer s"], step["x peer"]
        rows.insert(
            1, _row("the same", step["ours s"], "pytorch-maml-rl", its, ratio) | {"bar": "-"}
        )
    notes = [f"threads: {options.threads}", *maml["notes"], *rl2["notes"][:1]]
    return {"rows": rows, "notes": notes, "threads": options.threads}


def cheetah(options: argparse.Namespace) -> dict[str, Any]:
    """Env steps per second of MAML on cheetah_direction, beside those of the same worlds alone."""
    usual = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    choose_matmul()
    words = ["learner=maml", "tasks=cheetah_direction", "learner.meta_batch=10", "device=cpu"]
    config = compose("metatrain", [*words, f"tasks.threads={options.threads}"]).config
    training = assemble(config)
    family = training.family
    worlds, steps = family.num_envs, family.episode_steps
    noise = np.random.default_rng(0).uniform(-1, 1, (steps, worlds, family.spec.act_dim))

    def alone() -> None:
        family.reset()
        for act in noise.astype(np.float32):
            family.step(act)

    took = bench_rl2.in_turns({"ours": training.advance, "alone": alone}, options.seconds)
    torch.set_num_threads(usual)
    each = {"ours": training.step / training.updates, "alone": float(worlds * steps)}
    wall, cpu = (
        {key: each[key] / min(t[clock] for t in times) for key, times in took.items()}
        for clock in (0, 1)
    )
    rates = wall if options.threads > 1 else cpu
    ratio = rates["ours"] / rates["alone"]
    return _row("cheetah env steps/s", wall["ours"], "worlds alone", wall["alone"], ratio)


def _row(
    what: str, ours: float, peer: str, theirs: float | None, ratio: float | None
) -> dict[str, Any]:
    return {"what": what, "ours": ours, "peer": peer, "its": theirs, "ratio": ratio}


def _options(section: ModuleType, *words: str) -> argparse.Namespace:
    """The options of another section, as if it had been called by itself."""
    parser = argparse.ArgumentParser()
    section.arguments(parser)
    return parser.parse_args(words)
