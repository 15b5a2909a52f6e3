"""What all tests share: one thread per process, since the cores are for the tests side by side."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # read when numpy and torch load, so before any test module
