"""Sizes that no machine of this memory holds: refused before anything is built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from logbook.errors import Exit, UserError

_COUNT = 10**9  # the most that anything in a node can sensibly count; steps may be more
_WORLD = 1000  # bytes that one of many worlds or rollouts takes at the very least
_ROWS = {  # what is multiplied with what: rows of one batch, numbers of one task
    "agent": ("batch_size",),
    "strategy": ("batch_size",),
    "skill": ("shown",),
    "learner": ("meta_batch", "width"),
    "tasks": "arms pulls states actions points components episodes episode_steps".split(),
}
_COMMON = ("num_envs", "evaluate.reps", "evaluate.tasks", "evaluate.episodes", "evaluate.horizon")


def memory() -> int:
    """Bytes that this process may have: the machine's, or its container's."""
    import psutil

    least = int(psutil.virtual_memory().total)
    try:
        told = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        return min(least, int(told))
    except (OSError, ValueError):  # "max", or there is no such thing here
        return least


def fit(config: Mapping[str, Any]) -> None:
    """Refuse a checked config whose sizes are beyond counting (code 2) or beyond memory (code 4).

    The estimate is low: networks with their gradients, one batch in them, the numbers of tasks.
    """
    for key in _COMMON:
        group, _, name = key.rpartition(".")
        value = (config.get(group) or {}).get(name) if group else config.get(name)
        if isinstance(value, int):
            _hold(key, value, value * _WORLD)
    for group, node in config.items():
        if group in _ROWS and isinstance(node, Mapping):
            _fit(group, group, node)


def _fit(group: str, where: str, node: Mapping[str, Any]) -> None:
    widths, rows, largest = 0, 1, ("", 1)
    for key, value in node.items():
        if isinstance(value, Mapping):
            _fit("agent", f"{where}.{key}", value)
            continue
        listed = value if isinstance(value, list) else [value]
        sizes = [int(n) for n in listed if type(n) in (int, float) and abs(n) < 1e300]
        if sizes and not key.endswith("_steps") and max(sizes) > _COUNT and _whole(listed):
            raise UserError(f"{where}.{key}={value}: want at most {_COUNT:,}")
        if key.endswith("hidden"):
            _hold(f"{where}.{key}", value, 16 * sum(a * b for a, b in pairwise([8, *sizes, 1])))
            widths += sum(sizes)
        elif key in _ROWS[group] and sizes:
            rows *= max(1, sizes[0])
            largest = max(largest, (key, sizes[0]), key=lambda pair: pair[1])
    _hold(f"{where}.{largest[0]}", largest[1], rows * 4 * max(1, widths))


def _whole(listed: list[Any]) -> bool:
    return all(isinstance(n, int) for n in listed)


def _hold(where: str, value: Any, wanted: float) -> None:
    there = memory()
    if wanted > there:
        want = f"{wanted / 2**30:,.1f}" if math.isfinite(wanted) else "endless"
        raise UserError(
            f"{where}={value} wants at least {want} GiB of memory, and this machine has "
            f"{there / 2**30:.1f}: take less",
            Exit.CAPABILITY,
        )
