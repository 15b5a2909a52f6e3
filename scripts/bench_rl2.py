"""RL²: pulls per second end to end on bandits, and back-propagation through time against torch's.

A GRU runs a sequence forwards and backwards, beside nn.GRU as it comes and with the precision of
products that our commands choose. A pull is acted, paid and learned from: by RL² as it
is, and by the same with nn.GRU for its cell. All take turns, so that a busy machine troubles all
alike; "cpu" rates count the time that the process had.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from logbook.compose import compose
from meta.rl2 import RL2
from meta.stage import assemble
from rl.matmul import choose_matmul
from rl.recurrent import GRU, Cell, Trace


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this section."""
    parser.add_argument("--seconds", type=float, default=10.0, help="of turns for each row")
    parser.add_argument("--steps", type=int, default=100, help="length of a sequence")
    parser.add_argument("--batch", type=int, default=256, help="sequences")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--inputs", type=int, default=16)
    parser.add_argument(
        "--threads", type=int, nargs="*", default=fitting(), help="by default as cores are free"
    )


def fitting() -> list[int]:
    """One thread, and as many as there are cores if no one else uses them.

    Threads that must wait for each other are slow past all measure where they share their cores.
    """
    cores = os.cpu_count() or 1
    return [1, cores] if 1 < cores and os.getloadavg()[0] < 0.5 else [1]


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The cell first, then whole learning."""
    usual = torch.get_num_threads(), torch.get_float32_matmul_precision()
    precision = choose_matmul()
    rows: list[dict[str, Any]] = []
    try:
        for threads in options.threads:
            torch.set_num_threads(threads)
            what = {"what": "GRU, ms there and back", "threads": threads}
            rows.append(what | through_time(options, precision))
            what = {"what": "bandit 5 x 10, pulls/s", "threads": threads}
            rows.append(what | pulls(options.seconds))
    finally:
        torch.set_num_threads(usual[0])
        torch.set_float32_matmul_precision(usual[1])
    notes = [
        f"{options.batch} sequences of {options.steps} steps, {options.hidden} units; torch as it "
        f"comes, with precision 'highest', and with ours, {precision!r}",
        "cpu: pulls per second of processor time, which counts all threads",
    ]
    return {"rows": rows, "notes": notes}


def through_time(options: argparse.Namespace, precision: str) -> dict[str, Any]:
    """Milliseconds of ours and of torch's cell, in turns, at their best."""
    shape = options.steps, options.batch, options.inputs
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    cell = GRU(options.inputs, options.hidden, torch.Generator().manual_seed(0))
    peer = nn.GRU(options.inputs, options.hidden)
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

    contenders: dict[str, Callable[[], Any]] = {"ours": ours, "torch": lambda: theirs("highest")}
    if precision != "highest":
        contenders["torch_as_ours"] = lambda: theirs(precision)
    took = in_turns(contenders, options.seconds)
    clock = 1 if torch.get_num_threads() == 1 else 0  # waiting for a core is nobody's fault
    best = {key: 1000 * min(t[clock] for t in times) for key, times in took.items()}
    best.setdefault("torch_as_ours", best["torch"])
    return {
        **best,
        "x torch": best["torch"] / best["ours"],
        "x torch_as_ours": best["torch_as_ours"] / best["ours"],
        "median": 1000 * median(t[clock] for t in took["ours"]),
        "cpu": None,
    }


def in_turns(
    contenders: dict[str, Callable[[], Any]], seconds: float
) -> dict[str, list[tuple[float, float]]]:
    """Seconds on the wall and of the processor, turn by turn, after one to warm up."""
    took: dict[str, list[tuple[float, float]]] = {key: [] for key in contenders}
    end = time.perf_counter() + seconds
    warm = False
    while not warm or not took["ours"] or time.perf_counter() < end:
        for key, work in contenders.items():
            start = time.perf_counter(), time.process_time()
            work()
            if warm:
                wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
                took[key].append((wall, cpu))
        warm = True
    return took


def pulls(seconds: float) -> dict[str, Any]:
    """Pulls per second of `metatrain learner=rl2 tasks=bandit` as configured."""
    ours, peer = (assemble(compose("metatrain", ["device=cpu"]).config) for _ in range(2))
    assert isinstance(peer.learner, RL2)
    autograd(peer.learner.cell)
    took = in_turns({"ours": ours.advance, "torch": peer.advance}, seconds)
    each = ours.step // ours.updates
    wall, cpu = (
        {key: each / min(t[clock] for t in times) for key, times in took.items()}
        for clock in (0, 1)
    )
    rates = wall if torch.get_num_threads() > 1 else cpu
    return {
        "ours": wall["ours"],
        "torch": wall["torch"],
        "torch_as_ours": None,
        "x torch": rates["ours"] / rates["torch"],
        "x torch_as_ours": None,
        "median": each / median(t[0] for t in took["ours"]),
        "cpu": cpu["ours"],
    }


def autograd(cell: Cell) -> None:
    """Let torch's own GRU go through time in a cell's place; for the clock only, it learns not."""
    peer = nn.GRU(cell.n_in, cell.width)

    def trace(x: Tensor) -> Trace:
        with torch.enable_grad():
            out, _ = peer(x)
        return Trace(out.detach(), (out,))

    def pull(trace: Trace, grad: Tensor, into: Tensor) -> None:
        peer.zero_grad()
        trace.saved[0].backward(grad)
        into.zero_()

    cell.trace, cell.pull = trace, pull  # type: ignore[method-assign]
