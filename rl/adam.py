"""Adam (Kingma & Ba 2014, arXiv 1412.6980) over one vector.

The same numbers as torch.optim.Adam with `fused=True`, whose kernel it calls; but one call for all
parameters, and without the two seconds that torch's first optimiser spends on loading a compiler.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from rl.types import State


class Adam:
    """Moves parameters along `grad` [P].

    The parameters become views into `flat` [P] and their `.grad` views into `grad`, for autograd to
    add to or a hand-written pass to write. So their module must be on its device already.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, eps: float = 1e-8) -> None:
        self.lr, self._eps = lr, eps
        params = list(params)
        self.flat = torch.cat([p.detach().flatten() for p in params])
        self.grad = torch.zeros_like(self.flat)
        self._mean, self._square = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        self._count = self.flat.new_zeros(())  # steps taken; a tensor, as the kernel wants it
        start = 0
        for p in params:
            stop = start + p.numel()
            p.data = self.flat[start:stop].view_as(p)
            p.grad = self.grad[start:stop].view_as(p)
            start = stop

    def zero_grad(self) -> None:
        """Forget the gradient: autograd adds to what is there."""
        self.grad.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """One step downhill."""
        self._count += 1
        torch._fused_adam_(
            [self.flat],
            [self.grad],
            [self._mean],
            [self._square],
            [],
            [self._count],
            lr=self.lr,
            beta1=0.9,
            beta2=0.999,
            weight_decay=0.0,
            eps=self._eps,
            amsgrad=False,
            maximize=False,
        )

    def state_dict(self) -> State:
        """The moments and the count; the parameters are saved by their owners."""
        return {"mean": self._mean, "square": self._square, "count": self._count}

    def load_state_dict(self, state: State) -> None:
        """Undo `state_dict`."""
        self._mean.copy_(state["mean"])
        self._square.copy_(state["square"])
        self._count.copy_(state["count"])
