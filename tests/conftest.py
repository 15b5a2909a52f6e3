"""What all tests share: one thread a process, and one choice of what draws."""

from __future__ import annotations

import os
import tempfile

import pytest

from logbook import leave
from logbook.gl import choose

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # read when numpy and torch load, so before any test module

choose()  # sets MUJOCO_GL, read when mujoco loads; a process can't change its mind afterwards

_state = tempfile.TemporaryDirectory(prefix="autotelic-state-")
os.environ["AUTOTELIC_STATE"] = _state.name  # what tests are given leave to is not the person's


@pytest.fixture(autouse=True)
def _no_leave():
    """No test has the leave to import that another gave."""
    yield
    leave.forget()
