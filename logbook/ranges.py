"""What the numbers in a node may be: rates, shares and counts, refused before torch is loaded.

Keys mean the same in all of our nodes, so they are known by their last name; where one does not,
its group stands before it. A plug-in's keys are its own: its constructor judges them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from logbook.build import signature
from logbook.errors import UserError


@dataclass(frozen=True)
class _Range:
    example: str
    low: float = 0.0
    high: float = math.inf
    above: bool = False  # `low` itself is too little

    def holds(self, value: float) -> bool:
        fits = value > self.low if self.above else value >= self.low
        return fits and value <= self.high and math.isfinite(value)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {self.low:g}" if self.above else f"{self.low:g} or more"
        low = f"above {self.low:g}, up" if self.above else f"{self.low:g}"
        return f"{low} to {self.high:g}"


_LIMITS = {
    "lr": _Range("1e-3", above=True),
    "learner.lr": _Range("1e-3"),  # 0 is a learner that does not learn, to compare with
    "lr_end": _Range("0"),
    "inner_lr": _Range("0.1"),
    "later": _Range("0.5"),
    "gamma": _Range("0.99", high=1.0),
    "lam": _Range("0.95", high=1.0),
    "skill.lam": _Range("30", above=True),  # METRA's multiplier, not a trace
    "lam_lr": _Range("1e-3", above=True),
    "slack": _Range("1e-3"),
    "reward_scale": _Range("10", above=True),
    "tau": _Range("0.01", high=1.0, above=True),
    "clip": _Range("0.2", above=True),
    "alpha": _Range("0.1", above=True),
    "entropy": _Range("0.01"),
    "entropy_end": _Range("0"),
    "value_coef": _Range("0.5"),
    "kl_coef": _Range("5e-4"),
    "max_grad_norm": _Range("0.5", above=True),
    "max_kl": _Range("0.01", above=True),
    "damping": _Range("1e-5"),
    "std": _Range("1", above=True),
    "grow": _Range("0.1", high=1.0),
    "memory_steps": _Range("100", low=1, high=1e6),
    "predict_reward": _Range("1"),
    "hidden": _Range("64", low=1),
    "batch_size": _Range("256", low=1),
    "replay_size": _Range("100000", low=1),
    "horizon": _Range("64", low=1),
    "epochs": _Range("4", low=1),
    "minibatches": _Range("4", low=1),
    "skill.num_skills": _Range("16", low=2),
    "skill.dim": _Range("2", low=2),
    "skill.shown": _Range("16", low=1),
    "skill.features": _Range("64", low=1),
    "env.max_episode_steps": _Range("1000", low=1),
}
_GROUPS = ("agent", "skill", "learner", "strategy")  # worlds and tasks name theirs as they like


def in_range(group: str, node: Mapping[str, Any]) -> None:
    """Hold the numbers of a checked node, also of nodes in it, against their limits.

    Raises `UserError` that names the whole key, the limit and a value that works.
    """
    if group in (*_GROUPS, "env") and signature(group, node["name"]) is not None:
        _look(group, group, node)


def _look(group: str, where: str, node: Mapping[str, Any]) -> None:
    for key, value in node.items():
        full = f"{where}.{key}"
        if isinstance(value, Mapping):
            if key != "kwargs":  # those are the environment's own
                _look(group, full, value)
            continue
        limit = _LIMITS.get(f"{group}.{key}", _LIMITS.get(key) if group in _GROUPS else None)
        if limit is None:
            continue
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, str):  # in a node within a node, which is converted when built
                with contextlib.suppress(ValueError):
                    number = float(number)
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if not limit.holds(number):
                listed = isinstance(value, list)
                shown = str(value).replace(" ", "") if listed else f"{number:g}"
                example = f"[{limit.example}]" if listed else limit.example
                raise UserError(f"{full}={shown}: want {limit}, for example {full}={example}")
