"""The best that a learner lived with so far, by what its rounds earned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rl.types import State


class Best:
    """A memory, and the returns of all rounds that were lived with it.

    A round falls behind if it earns `undo` standard errors (of the difference of the means) less.
    """

    def __init__(self, start: Any, undo: float) -> None:
        self.memory = start
        self.undone = 0
        self._undo = undo
        self._returns = torch.zeros(0)
        self._here = False  # whether the next round is lived with it

    def hear(self, memory: Any, returns: Tensor, broken: bool) -> bool:
        """Take in a round [N] of `memory`; whether to go back, for it fell behind.

        A `broken` one, in which physics diverged, does: the steps that it lacks pay nothing, which
        may be more than honest ones earn.
        """
        if self._here:
            if not broken:
                self._returns = torch.cat([self._returns, returns])
            return False
        if not len(self._returns):
            better, fell = not broken, False
        else:
            gain = float(returns.mean() - self._returns.mean())
            error = float(sum(x.var() / len(x) for x in (returns, self._returns))) ** 0.5
            better, fell = gain > 0 and not broken, gain < -self._undo * error or broken
        if better:
            self.memory, self._returns = memory, returns
        self.undone += fell
        self._here = better or fell
        return fell

    def leave(self) -> None:
        """A step was taken from it, or from another memory."""
        self._here = False

    def state_dict(self) -> State:
        """All but the memory."""
        return {"returns": self._returns, "here": self._here, "undone": self.undone}

    def load_state_dict(self, state: State) -> None:
        """Undo `state_dict`."""
        self._returns = state["returns"]
        self._here, self.undone = bool(state["here"]), int(state["undone"])
