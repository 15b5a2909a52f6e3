"""Running mean and standard deviation of vectors, frozen after enough of them have been seen."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LIMIT = 10.0
"""Standard deviations up to which a normalised number is linear."""


class Normalizer(nn.Module):
    """Maps [..., D] to zero mean and unit standard deviation; beyond LIMIT of them, to a logarithm.

    Statistics grow until `steps` vectors were seen and then stay: a replayed transition keeps its
    meaning, and skills that wander off do not squeeze the rest together. What lies far outside of
    these early vectors, such as the speed of a body that has learned to run, still differs after
    normalising: y with |y| > LIMIT becomes sign(y) LIMIT (1 + log(|y| / LIMIT)), continuous with
    slope 1 at LIMIT. Statistics saved before that was so were learned with at +-LIMIT clipped
    vectors, and go on clipping. `floor` is added to the variance: with 1, large numbers are made
    small and one-hots stay nearly as they are. With 0 `steps` vectors pass as they are. A variance
    that float32 cannot hold is the largest that it can.
    """

    mean: Tensor
    var: Tensor
    count: Tensor
    clips: Tensor

    def __init__(self, width: int, steps: int, floor: float = 1e-6) -> None:
        super().__init__()
        self.steps, self.floor = steps, floor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("var", torch.ones(width))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("clips", torch.zeros((), dtype=torch.bool))
        self._clips = False  # mirrors `clips`, so that a pass needs no device read
        self._scale: Tensor | None = None  # 1 / spread, and -mean / spread: made on demand
        self._shift = torch.zeros(width)
        self._left = steps  # a mirror of the count that needs no device read

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Take [..., D] into account, unless frozen."""
        if self._left <= 0:
            return
        x = x.reshape(-1, x.shape[-1]).to(self.mean.device)
        n, total = len(x), self.steps - self._left + len(x)
        mean, var = self._after(x, self.mean, self.var, n / total)
        if not _finite(mean, var):  # squares of numbers above 1e19
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
        y = torch.addcmul(self._shift, x, self._scale)
        near = y.clamp(-LIMIT, LIMIT)
        if self._clips:
            return near
        far = (y - near).abs_().div_(LIMIT)  # 0 up to LIMIT, where nothing changes bit for bit
        far.clamp_(max=torch.finfo(far.dtype).max)  # finite, whatever y has come to
        return near + far.log1p_().mul_(LIMIT).copysign_(y)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object, **kwargs: object
    ) -> None:
        state_dict.setdefault(f"{prefix}clips", torch.ones((), dtype=torch.bool))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._clips = bool(self.clips)
        self._left = self.steps - int(self.count)
        self._scale = None

    def _apply(self, *args: object, **kwargs: object) -> Normalizer:
        self._scale = None  # the statistics move to another device
        return super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]


def _finite(*numbers: Tensor) -> bool:
    """Whether all are finite; what has no values, on the device "meta", passes."""
    return all(x.is_meta or bool(x.sum().isfinite()) for x in numbers)
