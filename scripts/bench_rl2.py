"""RL²: pulls per second end to end on bandits, and back-propagation through time against torch's.

A pull is acted, paid and learned from. Cells run a sequence forwards and backwards, beside nn.GRU
and nn.LSTM as they come and with the precision of products that our commands choose. They take
turns, so that a busy machine troubles all alike; "cpu" rates count the time that the process had.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from logbook.compose import compose
from meta.stage import assemble
from rl.matmul import choose_matmul
from rl.recurrent import GRU, LSTM, Cell


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this section."""
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100, help="length of a sequence")
    parser.add_argument("--batch", type=int, default=256, help="sequences")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--inputs", type=int, default=16)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Cells first, then whole learning."""
    usual = torch.get_num_threads(), torch.get_float32_matmul_precision()
    precision = choose_matmul()
    rows: list[dict[str, Any]] = []
    heads = "what threads ours torch torch_as_ours x_torch x_torch_as_ours median cpu".split()
    try:
        for threads in options.threads:
            torch.set_num_threads(threads)
            for cell in ("GRU", "LSTM"):
                rows.append(dict.fromkeys(heads))
                rows[-1] |= {"what": f"{cell}, ms there and back", "threads": threads}
                rows[-1] |= through_time(options, cell, precision)
            rows.append(dict.fromkeys(heads))
            rows[-1] |= {"what": "bandit 5 x 10, pulls/s", "threads": threads}
            rows[-1] |= pulls(options.turns)
    finally:
        torch.set_num_threads(usual[0])
        torch.set_float32_matmul_precision(usual[1])
    notes = [
        f"{options.batch} sequences of {options.steps} steps, {options.hidden} units; torch as it "
        f"comes, with precision 'highest', and with ours, {precision!r}",
        "cpu: pulls per second of processor time, which counts all threads",
    ]
    return {"rows": rows, "notes": notes}


def through_time(options: argparse.Namespace, name: str, precision: str) -> dict[str, float]:
    """Milliseconds of ours and of torch's cell, in turns, at their best."""
    shape = options.steps, options.batch, options.inputs
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    cls: type[Cell] = {"GRU": GRU, "LSTM": LSTM}[name]
    cell = cls(options.inputs, options.hidden, torch.Generator().manual_seed(0))
    peer = getattr(nn, name)(options.inputs, options.hidden)
    into = torch.empty_like(cell.theta)

    def ours() -> None:
        torch.set_float32_matmul_precision(precision)
        trace = cell.trace(x)
        cell.pull(trace, trace.out, into)

    def theirs(at: str) -> None:
        torch.set_float32_matmul_precision(at)
        peer.zero_grad()
        out, _ = peer(x)
        out.backward(out.detach())

    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    contenders: dict[str, Callable[[], None]] = {
        "ours": ours,
        "torch": lambda: theirs("highest"),
        "torch_as_ours": lambda: theirs(precision),
    }
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(options.turns + 1):
        for key, work in contenders.items():
            start = clock()
            work()
            best[key] = min(best[key], 1000 * (clock() - start))
    ratios = {
        "x_torch": best["torch"] / best["ours"],
        "x_torch_as_ours": best["torch_as_ours"] / best["ours"],
    }
    return best | ratios


def pulls(turns: int) -> dict[str, float]:
    """Pulls per second of `metatrain learner=rl2 tasks=bandit` as configured."""
    training = assemble(compose("metatrain", ["device=cpu"]).config)
    training.advance()
    rates = []
    for _ in range(2 * turns):
        before = training.step
        start = time.perf_counter(), time.process_time()
        for _ in range(3):
            training.advance()
        done = training.step - before
        rates.append(
            (done / (time.perf_counter() - start[0]), done / (time.process_time() - start[1]))
        )
    wall, cpu = np.array(rates).T
    return {"ours": float(wall.max()), "median": float(np.median(wall)), "cpu": float(cpu.max())}
