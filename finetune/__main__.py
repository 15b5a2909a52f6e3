"""The command `finetune`: learn a task that has a reward, going on from skills."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NoReturn

from logbook.build import build
from logbook.cli import command


def main() -> NoReturn:
    """Read the command line, learn, and exit with a code (0 done, 2 mistake, 75 run again)."""
    command("finetune", _finetune)


def _finetune(config: dict[str, Any], run_dir: Path, overrides: tuple[str, ...]) -> None:
    # A task that does not fit the world is told now: loading torch takes longer than building one.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the world of the run itself will say them
        world = build("env", config["env"], num_envs=1)
        build("task", config["task"], world=world.world_spec)
        world.close()
    from finetune.stage import finetune_stage

    finetune_stage(config, run_dir, overrides)


if __name__ == "__main__":
    main()
