"""The command `inspect-skills RUN`: roll the learned skills out again, measure, film, draw."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from logbook import checkpoint, files, marks, progress
from logbook.cli import guard, outlet, takes_leave, takes_out
from logbook.config import load_config
from logbook.errors import Exit, UserError
from logbook.gl import check_setting
from logbook.words import folder as typed_folder
from pretrain.resume import hint


def main() -> NoReturn:
    """Read the command line, make the atlas, exit with a code (5: nothing there to look at)."""
    guard(_main)


def _main() -> int:
    parser = argparse.ArgumentParser(
        prog="inspect-skills",
        description="Make RUN/index.html anew: videos, map and numbers of the learned skills.",
    )
    parser.add_argument("run", type=typed_folder, metavar="RUN", help="the run's folder")
    parser.add_argument("--steps", type=_count, help="length of a rollout (default: as configured)")
    parser.add_argument("--reps", type=_count, help="rollouts of each skill")
    parser.add_argument("--no-videos", action="store_true", help="only the map and the numbers")
    takes_out(parser)
    takes_leave(parser)
    flags = parser.parse_args()
    videos = not flags.no_videos
    return inspect(flags.run, steps=flags.steps, reps=flags.reps, videos=videos, out=flags.out)


def inspect(
    folder: Path,
    *,
    steps: int | None = None,
    reps: int | None = None,
    videos: bool = True,
    out: Path | None = None,
) -> int:
    """Make the atlas of the run in `folder` from its newest checkpoint; returns the exit code.

    It is written to `out` if that is given: then nothing in `folder` changes.
    Raises UserError: code 2 if it is no run, 5 if it has no checkpoint that can be trusted.
    """
    if not marks.is_run(folder):
        raise UserError(f"{folder} is not a run: it has no config.yaml{hint(folder)}")
    if not checkpoint.listed(folder / "checkpoints"):
        raise UserError(
            f"{folder} has no checkpoint yet: train it first, with: "
            f"{progress.paste('resume', folder)}",
            Exit.CHECKPOINT,
        )
    files.check_run_folder(folder)
    check_setting()
    to = outlet(folder, out)
    config = load_config(folder / "config.yaml", "pretrain")
    from pretrain.report import write_report
    from pretrain.stage import about, look, restore

    training = restore(folder, config)
    numbers = look(folder, config, training, steps=steps, reps=reps, videos=videos, to=to)
    summary = files.read_json(folder / "summary.json")
    if to != folder:
        files.replace(to / "summary.json", files.pretty(summary | numbers))  # the page leads there
    write_report(folder, summary | numbers, about(config, folder, training), to)
    tell(to, numbers)
    return 0


def tell(folder: Path, numbers: Mapping[str, Any]) -> None:
    """The headline numbers and where to look, on the screen."""
    skills, motion = numbers["skills"], numbers["motion"]
    told: list[tuple[str, Any]] = [("skills", skills["count"])]
    if skills["accuracy"] is not None:
        told.append(("accuracy", f"{skills['accuracy']:.0%} (chance {skills['chance']:.0%})"))
        bound, ceiling = skills["mi_nats"], skills["mi_ceiling_nats"]
        void = ", a bound that says nothing" if bound < 0 else ""
        told.append(("mutual information", f"{bound:.2f} of {ceiling:.2f} nats{void}"))
    if motion is not None:
        ways = (
            f"{motion['forward']} forward, {motion['backward']} backward, {motion['still']} still"
        )
        told.append(("motion", ways))
    if numbers["coverage"]["cells"] is not None:
        cells, random_cells = numbers["coverage"]["cells"], numbers["coverage"]["random_cells"]
        told.append(("cells visited", f"{cells} (random policy {random_cells})"))
    progress.table(told)
    for line in numbers["alarms"]:
        progress.say(f"  look closer: {line}")
    progress.say(f"look at {folder / 'index.html'}")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: want a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    main()
