"""What the numbers of a constructor may be: `lr: Rate`, `Annotated[float, Above(0)]`.

A config's values are held against them before anything is imported (logbook/signature.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class AtLeast:
    """Numbers from `low` on, up to `high`; `example` is one that works, as one types it."""

    low: float
    example: str = ""
    high: float | None = None

    def holds(self, value: float) -> bool:
        """Whether a number lies in the range."""
        return self._enough(value) and (self.high is None or value <= self.high)

    def _enough(self, value: float) -> bool:
        return value >= self.low

    def __str__(self) -> str:
        if self.high is None:
            return f"{self.low:g} or more"
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Above(AtLeast):
    """Numbers above `low`, which itself is too little."""

    def _enough(self, value: float) -> bool:
        return math.isfinite(value) and value > self.low

    def __str__(self) -> str:
        more = "" if self.high is None else f", up to {self.high:g}"
        return f"above {self.low:g}{more}"


Rate = Annotated[float, Above(0, "1e-3")]
"""A learning rate."""

Share = Annotated[float, AtLeast(0, "0.99", 1)]
"""A discount, a trace's decay, a part of a whole."""

Positive = Annotated[float, Above(0, "0.1")]
"""A scale."""

Weight = Annotated[float, AtLeast(0, "0.01")]
"""A coefficient; 0 leaves its term out."""

Count = Annotated[int, AtLeast(1, "64")]
"""How many there are, where there must be one."""
