"""What all tests share: one thread a process, and one choice of what draws."""

from __future__ import annotations

import os

from logbook.gl import choose

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # read when numpy and torch load, so before any test module

choose()  # sets MUJOCO_GL, read when mujoco loads; a process can't change its mind afterwards
