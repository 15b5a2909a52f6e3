"""The command `resume RUN`: go on with a run that was stopped; its folder says everything."""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path
from typing import NoReturn

from logbook import files, marks
from logbook.build import nearest
from logbook.cli import guard, perform, takes_leave
from logbook.config import load_config
from logbook.errors import UserError
from logbook.words import folder as typed_folder

_STAGES = {
    "pretrain": "pretrain.stage:pretrain_stage",
    "metatrain": "meta.stage:metatrain_stage",
    "finetune": "finetune.stage:finetune_stage",
}
"""Which function goes on with a run of which command: ours, never a name from the folder."""


def main() -> NoReturn:
    """Read the command line, go on with the run, exit with its code."""
    guard(_main)


def _main() -> int:
    parser = argparse.ArgumentParser(
        prog="resume", description="Go on with an unfinished run, exactly where it was saved."
    )
    parser.add_argument("run", type=typed_folder, metavar="RUN", help="the run's folder")
    takes_leave(parser)
    flags = parser.parse_args()
    return resume(flags.run)


def resume(folder: Path) -> int:
    """Go on with the run in `folder`; returns the exit code."""
    if not marks.is_run(folder):
        raise UserError(f"{folder} is not a run: it has no config.yaml{hint(folder)}")
    command = marks.stage_of(folder, "pretrain")
    if command not in _STAGES:
        known = ", ".join(_STAGES)
        raise UserError(f"{folder}/run.json names the stage {command[:40]!r}; known: {known}")
    config = load_config(folder / "config.yaml", command)
    module, _, function = _STAGES[command].partition(":")
    stage = getattr(importlib.import_module(module), function)
    overrides = folder / "overrides.txt"
    typed = tuple(files.read_text(overrides).splitlines()) if os.path.lexists(overrides) else ()
    return perform(stage, config, folder, typed)


def hint(folder: Path) -> str:
    """The run that was meant by a folder that is none, or those there are."""
    runs = [str(path.parent) for path in sorted(Path("runs").glob("*/*/*/config.yaml"))]
    meant = nearest(str(folder).rstrip("/"), runs)
    if meant:
        return f"; did you mean {meant}?"
    return f"; runs here: {', '.join(runs[:6])}" if runs else ""


if __name__ == "__main__":
    main()
