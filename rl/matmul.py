"""Which way of multiplying float32 matrices is fast on this processor, and still exact.

PyTorch's "medium" precision allows bfloat16 but on some processors only means another library,
at the accuracy of float32. On AMD's Zen 5 that library uses the 512-bit units which the usual one
leaves idle, and is about twice as fast (256 by 256, a server: 183-191 GFLOP/s for 92-97); on Zen 4,
whose units are half as wide, it gains 7 % there and loses more than half on 64 by 64. (Zen 5's
mobile parts have narrow units too and are not told apart: they are exact, and may be slower.) The
processor decides, not a clock: runs of one seed must be the same at every start, busy or not.
"""

from __future__ import annotations

from pathlib import Path

import torch

EXACT = 2e-6  # of the largest element; float32 reaches about 3e-7 at this size, bfloat16 3e-3
_SIZE = 256
_ZEN5 = 0x1A  # the least "cpu family" of AMD's with full-width 512-bit units


def choose_matmul() -> str:
    """Set and return the precision that is fast and exact on the CPU, "highest" or "medium".

    On a GPU "highest" is kept by not calling this.
    """
    best = "medium" if _wide() and _error("medium") < EXACT else "highest"
    torch.set_float32_matmul_precision(best)
    return best


def keep_matmul(saved: str) -> None:
    """Go on with the choice of a checkpoint; with "highest" where that would not be exact here."""
    exact = saved == "highest" or (not torch.cuda.is_initialized() and _error(saved) < EXACT)
    torch.set_float32_matmul_precision(saved if exact else "highest")


def _wide(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this is an AMD processor with full-width 512-bit units that may be used."""
    try:
        lines = [line.partition(":") for line in cpuinfo.read_text().splitlines()]
    except OSError:  # not Linux
        return False
    of_first: dict[str, str] = {}
    for key, _, value in lines:
        of_first.setdefault(key.strip(), value.strip())
    family = of_first.get("cpu family", "")
    return (
        of_first.get("vendor_id") == "AuthenticAMD"
        and family.isdigit()
        and int(family) >= _ZEN5
        and "avx512f" in of_first.get("flags", "").split()
    )


def _error(precision: str) -> float:
    """The largest error of a product, relative to its largest element."""
    torch.set_float32_matmul_precision(precision)
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, _SIZE, _SIZE, generator=generator) for _ in range(2))
    want = a.double() @ b.double()
    return float((a @ b - want).abs().max() / want.abs().max())
