"""What all tests share: one thread a process, one choice of what draws, a process a processor."""

from __future__ import annotations

import os
import signal
import sys
import tempfile

import psutil
import pytest

from logbook import leave
from logbook.gl import choose

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # read when numpy and torch load, so before any test module

choose()  # sets MUJOCO_GL, read when mujoco loads; a process can't change its mind afterwards

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup, too, a test may send it

_state = tempfile.TemporaryDirectory(prefix="autotelic-state-")
os.environ["AUTOTELIC_STATE"] = _state.name  # what tests are given leave to is not the person's


@pytest.fixture(autouse=True)
def _no_leave():
    """No test has the leave to import that another gave."""
    yield
    leave.forget()


@pytest.fixture(autouse=True)
def _same_products():
    """No test multiplies matrices the way that a stage run by another chose."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_float32_matmul_precision() != "highest":
        torch.set_float32_matmul_precision("highest")


_ROOM = 3 * 2**30  # bytes of memory for a process of tests and those that it starts


@pytest.hookimpl(tryfirst=True)  # pytest-xdist makes its plans in the same hook
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Spread the suite over processes, unless some files are named, or -n says how many.

    Each takes a run of neighbours, so that what the tests of a file share is made once, and then
    half of what another has left. Without pytest-xdist there is one process.
    """
    option = config.option
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS
    looking = option.usepdb or option.capture == "no" or option.collectonly
    if not whole or looking or hasattr(config, "workerinput"):
        return
    if getattr(option, "numprocesses", 0) is None and option.dist == "no":
        usable = len(os.sched_getaffinity(0))
        roomy = int(psutil.virtual_memory().available // _ROOM)
        option.numprocesses = max(1, min(usable, roomy, 8))
        option.dist = "worksteal"
