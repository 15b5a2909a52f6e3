"""Which way of multiplying float32 matrices is fast on this processor, and still exact.

PyTorch's "medium" precision allows bfloat16 but on some processors only means another library,
which may be twice as fast at the accuracy of float32. That is found out by trying.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

EXACT = 2e-6  # of the largest element; float32 reaches about 3e-7 at this size, bfloat16 3e-3
GAIN = 1.25  # well beyond the noise of the clock: the choice must be the same at every start
_SIZE = 256


def choose_matmul() -> str:
    """Set and return the fastest exact precision on the CPU, "highest" or "medium"; about 10 ms.

    On a GPU "highest" is kept by not calling this.
    """
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, _SIZE, _SIZE, generator=generator) for _ in range(2))
    usual, _ = _try("highest", a, b)
    other, error = _try("medium", a, b)
    best = "medium" if error < EXACT and usual > GAIN * other else "highest"
    torch.set_float32_matmul_precision(best)
    return best


def _try(precision: str, a: Tensor, b: Tensor) -> tuple[float, float]:
    """Seconds a product takes at its best, and its largest error relative to the largest."""
    torch.set_float32_matmul_precision(precision)
    want = a.double() @ b.double()
    error = float((a @ b - want).abs().max() / want.abs().max())
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        torch.bmm(a, b)
        best = min(best, time.perf_counter() - start)
    return best, error
