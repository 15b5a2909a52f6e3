"""The command `pretrain`: learn skills without reward."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NoReturn

from logbook.build import build
from logbook.cli import command


def main() -> NoReturn:
    """Read the command line, train, and exit with a code (0 done, 2 mistake, 75 run again)."""
    command("pretrain", _pretrain)


def _pretrain(config: dict[str, Any], run_dir: Path, overrides: tuple[str, ...]) -> None:
    # A world that cannot be built is told now: loading torch takes longer than building one.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the world of the run itself will say them
        build("env", config["env"], num_envs=1).close()
    from pretrain.stage import pretrain_stage

    pretrain_stage(config, run_dir, overrides)


if __name__ == "__main__":
    main()
