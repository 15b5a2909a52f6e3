"""Several runs from one command line: every job is checked first, then Hydra launches them."""

from __future__ import annotations

import os
import sys
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from logbook import leave
from logbook.cli import Stage, perform
from logbook.compose import as_hydra, plain, search_path, settled, sweep
from logbook.config import CONFIGS, check
from logbook.errors import Exit, UserError


class JobFailed(Exception):
    """A run of a sweep ended badly; it has been told already. Holds the exit code."""


def run_all(command: str, stage: Stage, overrides: list[str], config_dirs: list[str] | None) -> int:
    """The runs of `-m`; returns 0 or the code of the first that failed."""
    jobs = sweep(command, overrides, config_dirs)
    typed = leave.typed()
    codes: list[int] = []
    home = os.getpid()

    def task(config: DictConfig) -> None:
        node = HydraConfig.get()
        what = f"run {int(node.job.num) + 1} of {len(jobs)} ({' '.join(node.overrides.task)})"
        shown = jobs[int(node.job.num)].run_dir
        sys.stdout.write(f"{what}: {shown}\n")
        sys.stdout.flush()
        overrides = tuple(str(o) for o in node.overrides.task)
        if typed:  # again, for a launcher with processes of its own
            leave.give()
        ours = settled(check(plain(config), command), overrides)
        code = perform(stage, ours, shown, overrides, what)
        if code == Exit.AGAIN:
            raise SystemExit(int(code))  # asked to stop: start no further run
        codes.append(code)
        if code and os.getpid() != home:  # a launcher with processes of its own
            raise JobFailed(code)

    try:
        asked = as_hydra(command, overrides, many=True)
        asked.append("hydra.sweep.subdir=.")  # each run makes its own folder
        hand_over(command, ["-m", *search_path(config_dirs), *asked], task)
    except JobFailed as e:
        return int(e.args[0])
    return next((code for code in codes if code), 0)


def hand_over(command: str, argv: list[str], task: Any = None) -> None:
    """Let Hydra's own command line do it; its errors come back as exceptions."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    before, sys.argv = sys.argv, [command, *argv]
    main = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=command)
    try:
        main(task or _nothing)()
    except hydra.errors.HydraException as e:
        raise UserError(str(e).strip().splitlines()[0]) from None
    finally:
        sys.argv = before


def _nothing(config: DictConfig) -> None:
    """A task for flags that only show something."""
