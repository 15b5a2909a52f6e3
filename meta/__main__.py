"""The command `metatrain`: learn to learn, on a family of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from logbook.build import build, signature
from logbook.cli import command


def main() -> NoReturn:
    """Read the command line, meta-train, exit with a code (0 done, 2 mistake, 75 run again)."""
    command("metatrain", _metatrain)


def _metatrain(config: dict[str, Any], run_dir: Path, overrides: tuple[str, ...]) -> None:
    # A family that cannot be built is told now: loading torch takes longer than building one.
    if config["from"] is None and "source" not in (
        signature("tasks", config["tasks"]["name"]) or {}
    ):
        build("tasks", config["tasks"], num_envs=1, seed=0)
    from meta.stage import metatrain_stage

    metatrain_stage(config, run_dir, overrides)


if __name__ == "__main__":
    main()
