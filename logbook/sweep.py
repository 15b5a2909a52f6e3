"""Several runs from one command line: every job is checked first, then Hydra launches them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from logbook import leave
from logbook.cli import Stage, perform
from logbook.compose import as_hydra, compose, read, sweep
from logbook.config import CONFIGS
from logbook.errors import Exit, UserError
from logbook.own_files import search_path


class JobFailed(Exception):
    """A run of a sweep ended badly; it has been told already. Holds the exit code."""


def run_all(command: str, stage: Stage, overrides: list[str], config_dirs: list[str] | None) -> int:
    """The runs of `-m`; returns 0 or the code of the first that failed."""
    jobs = sweep(command, overrides, config_dirs)
    known = {_ours(job.overrides): job for job in jobs}  # Hydra may take them in another order
    has_leave = leave.typed()
    codes: list[int] = []
    home = os.getpid()

    def task(config: DictConfig) -> None:
        node = HydraConfig.get()
        what = f"run {int(node.job.num) + 1} of {len(jobs)} ({' '.join(node.overrides.task)})"
        overrides = tuple(str(o) for o in node.overrides.task)
        job = known.get(overrides, jobs[int(node.job.num)])
        shown, ours = job.run_dir, job.config
        sys.stdout.write(f"{what}: {shown}\n")
        sys.stdout.flush()
        if os.getpid() != home:  # a launcher's own process: leave is given in each
            if has_leave:
                leave.give()
            ours = compose(command, list(overrides), config_dirs).config
        code = perform(stage, ours, shown, overrides, what)
        if not shown.exists():
            _leave_nothing(Path(node.sweep.dir))
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


def show(command: str, flags: list[str], words: list[str], config_dirs: list[str] | None) -> None:
    """What Hydra's own flags show; completion takes words that are not ours."""
    if "--hydra-help" not in flags and not {"--shell-completion", "-sc"} & set(flags):
        read(command, words)
        words = as_hydra(command, words, many=True)
    hand_over(command, [*flags, *search_path(config_dirs), *words])


def _ours(overrides: tuple[str, ...]) -> tuple[str, ...]:
    """Those that are not for Hydra itself."""
    return tuple(o for o in overrides if not o.lstrip("+~").startswith(("hydra.", "hydra/")))


def _leave_nothing(top: Path) -> None:
    """Take away what Hydra made for a run that was refused: its list of runs, an empty folder."""
    with suppress(OSError):
        if {p.name for p in top.iterdir()} - {"multirun.yaml"}:
            return  # other runs of the sweep lie there
        (top / "multirun.yaml").unlink(missing_ok=True)
        top.rmdir()


def hand_over(command: str, argv: list[str], task: Any = None) -> None:
    """Let Hydra's own command line do it; what it cannot do comes back as one line."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    before, sys.argv = sys.argv, [command, *argv]
    main = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=command)
    try:
        main(task or _nothing)()
    except (UserError, JobFailed):
        raise
    except Exception as e:  # runs tell their own faults: it is a launcher, or what was typed for it
        lines = str(e.__cause__ or e).strip().splitlines() or [type(e).__name__]
        raise UserError(f"Hydra: {lines[0][:300]}") from e
    finally:
        GlobalHydra.instance().clear()
        sys.argv = before


def _nothing(config: DictConfig) -> None:
    """A task for flags that only show something."""
