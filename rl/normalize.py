"""Running mean and spread of vectors, frozen after enough of them have been seen."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Normalizer(nn.Module):
    """Maps [..., D] to zero mean and unit spread, clipped to +-10.

    Statistics grow until `steps` vectors were seen and then stay: a replayed transition keeps its
    meaning, and skills that wander off do not squeeze the rest together. `floor` is added to the
    variance: with 1, large numbers are made small and one-hots are left in peace. With 0 `steps`
    vectors pass as they are. A spread that float32 cannot hold is the largest that it can.
    """

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, width: int, steps: int, floor: float = 1e-6) -> None:
        super().__init__()
        self.steps, self.floor = steps, floor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("var", torch.ones(width))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self._scale: Tensor | None = None  # 1 / spread, and -mean / spread: made on demand
        self._shift = torch.zeros(width)
        self._left = steps  # a mirror of the count that needs no device read

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Take [..., D] into account, unless frozen."""
        if self._left <= 0:
            return
        x = x.reshape(-1, x.shape[-1])
        n, total = len(x), self.steps - self._left + len(x)
        mean, var = self._after(x, self.mean, self.var, n / total)
        if not bool((mean.sum() + var.sum()).isfinite()):  # squares of numbers above 1e19
            mean, var = self._after(x.double(), self.mean.double(), self.var.double(), n / total)
        self.mean.copy_(mean)
        self.var.copy_(var.clamp(max=torch.finfo(self.var.dtype).max))
        self.count.fill_(total)
        self._left -= n
        self._scale = None

    @staticmethod
    def _after(x: Tensor, mean: Tensor, var: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Mean and variance when x [n, D] has been seen too, a share `weight` of all."""
        delta, spread = x.mean(0) - mean, x.var(0, unbiased=False)
        known = var * (1 - weight) + (spread * weight + delta.square() * weight * (1 - weight))
        return mean + delta * weight, spread if weight == 1 else known

    def forward(self, x: Tensor) -> Tensor:
        """Normalised [..., D]."""
        if not self.steps:
            return x
        if self._scale is None:
            self._scale = (self.var + self.floor).rsqrt()
            self._shift = -self.mean * self._scale
        return torch.addcmul(self._shift, x, self._scale).clamp_(-10, 10)

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._left = self.steps - int(self.count)
        self._scale = None

    def _apply(self, *args: object, **kwargs: object) -> Normalizer:
        self._scale = None  # the statistics move to another device
        return super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
