"""The command `evaluate RUN [tasks=...]`: a trained learner on tasks that it was not trained on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from logbook import files, leave, marks, progress
from logbook.cli import guard, takes_leave, writable
from logbook.compose import compose
from logbook.config import check, load_config
from logbook.errors import UserError
from logbook.gl import check_setting
from logbook.overrides import assigned
from logbook.versions import fitting
from logbook.words import folder as path


def main() -> NoReturn:
    """Read the command line, evaluate, exit with a code (5: nothing there to evaluate)."""
    guard(_main)


def _main() -> int:
    parser = argparse.ArgumentParser(
        prog="evaluate",
        description="Let the learner of RUN, a metatrain run, adapt to held-out tasks.",
        epilog="For example: evaluate RUN tasks.pulls=100, or evaluate RUN tasks=bandit_dependent. "
        "Any key of metatrain's evaluate: evaluate.tasks=1000 evaluate.horizon=3.",
    )
    parser.add_argument("run", type=path, metavar="RUN", help="the run's folder")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="another family of the same shapes, other parameters, another seed",
    )
    parser.add_argument("--tasks", type=path, metavar="FOLDER", help="saved tasks to replay")
    parser.add_argument("--save", type=path, metavar="FOLDER", help="save the tasks here")
    parser.add_argument("--list", type=int, metavar="N", default=0, help="show the first N tasks")
    parser.add_argument("--json", type=path, metavar="FILE", help="write the numbers here")
    parser.add_argument("--config-dir", action="append", metavar="FOLDER", help="yaml of your own")
    takes_leave(parser)
    flags = parser.parse_intermixed_args()
    return assess(
        flags.run,
        flags.overrides,
        config_dirs=flags.config_dir,
        replay=flags.tasks,
        save=flags.save,
        listed=flags.list,
        to=flags.json,
    )


def assess(
    folder: Path,
    overrides: list[str],
    *,
    config_dirs: list[str] | None = None,
    replay: Path | None = None,
    save: Path | None = None,
    listed: int = 0,
    to: Path | None = None,
) -> int:
    """Evaluate the run in `folder` under `overrides`; returns the exit code.

    Raises UserError: code 2 if it is no run of `metatrain` or the family does not fit its learner,
    5 if it has no checkpoint that can be trusted.
    """
    if leave.asked(overrides):
        leave.give()
        overrides = [text for text in overrides if not leave.asked([text])]
    config = run_config(folder)
    check_setting()
    own, seed = config["tasks"], config["seed"]
    config = _with(config, overrides, config_dirs)
    if replay is not None:
        from meta.taskset import load_tasks

        config["tasks"], tasks = load_tasks(replay)
    else:
        tasks = None
    for place in (save, to.parent if to else None):
        if place is not None:
            writable(place)
    from meta.stage import at_home, examine, family_factory, lessons_of, restore
    from meta.taskset import save_tasks

    trained = at_home({**config, "tasks": own, "seed": seed}, folder)
    config = at_home(config, folder)
    learner, step = restore(folder, trained)
    make = family_factory(config)
    before, now = family_factory(trained)(1, 0), make(1, 0)
    _same_shapes(folder, before, now)
    if tasks is not None:
        with fitting(str(replay), "save them again, with evaluate RUN --save FOLDER"):
            now.enter(tasks[:1])
    fitted = lessons_of(folder) if now.lessons() and config["tasks"] == own else None
    if fitted:
        with fitting(str(folder), "train it again"):
            now.take(fitted)
    numbers, _, tasks = examine(config, learner, tasks, fitted)
    if save is not None:
        save_tasks(save, config["tasks"], tasks, f"held out, seed {config['seed']}")
    if to is not None:
        run = {"run": str(folder), "run_steps": step}
        files.replace(to, files.pretty({**run, "family": config["tasks"], **numbers}))
    if listed:
        show_tasks(now.task_names, now.task_units, tasks[:listed])
    tell(numbers["meta"])
    return 0


def run_config(folder: Path) -> dict[str, Any]:
    """The config of a metatrain run. Raises UserError for a folder that is none."""
    if not marks.is_run(folder):
        raise UserError(f"{folder} is not a run: it has no config.yaml")
    stage = marks.stage_of(folder, "metatrain")
    if stage != "metatrain":
        raise UserError(
            f"{folder} is a {stage[:40]} run, not one of metatrain: evaluate wants a learner; "
            f"to look at skills: {progress.paste('inspect-skills', folder)}"
        )
    return load_config(folder / "config.yaml", "metatrain")


def _with(
    config: dict[str, Any], overrides: list[str], config_dirs: list[str] | None
) -> dict[str, Any]:
    """The run's config with another family, or other keys of its own, and of evaluation.

    What is not changed stays as the run has it: its yaml may lie in a folder that is not here.
    """
    for text in overrides:
        if not text.startswith(("tasks=", "tasks.", "learner.", "evaluate.", "seed=", "device=")):
            key = text.partition("=")[0]
            raise UserError(
                f"{key}: evaluate takes tasks=, tasks.*, learner.*, evaluate.*, seed=, device="
            )
    changed = {**config, **{k: dict(config[k]) for k in ("tasks", "learner", "evaluate")}}
    pairs = [assigned(text) for text in overrides]
    chosen = [value for key, value in pairs if key == "tasks"]
    if chosen and chosen[-1] != config["tasks"]["name"]:
        words = ["learner=scratch", *(o for o in overrides if o.startswith(("tasks=", "tasks.")))]
        changed["tasks"] = compose("metatrain", words, config_dirs).config["tasks"]
        pairs = [(key, value) for key, value in pairs if not key.startswith("tasks.")]
    for key, value in pairs:
        group, dot, rest = key.partition(".")
        if rest == "name":
            raise UserError(f"{key}: evaluate takes {group} from the run; change its other keys")
        if dot:  # such as tasks.pulls, or the rate of a learner's steps
            changed[group][rest] = value
        elif key != "tasks":
            changed[key] = value
    return check(changed, "metatrain")


def _same_shapes(folder: Path, before: Any, now: Any) -> None:
    """Refuse a family whose observations or actions the learner cannot take."""
    for what in ("obs_dim", "act_dim", "discrete"):
        old, new = getattr(before.spec, what), getattr(now.spec, what)
        if old != new:
            raise UserError(
                f"tasks={now.name}: its {what} is {new}, the learner of {folder} was trained with "
                f"{old} ({before.name}); choose a family of the same shapes"
            )


def show_tasks(names: Any, units: Any, tasks: Any) -> None:
    """Tasks as a table, at most a dozen of their columns."""
    shown = [f"{n} [{u}]" if u else n for n, u in zip(names, units, strict=True)][:12]
    progress.say("  " + "  ".join(f"{s:>12}" for s in shown))
    for row in tasks:
        progress.say("  " + "  ".join(f"{value:>12.4g}" for value in row[:12]))


def tell(meta: dict[str, Any]) -> None:
    """The headline numbers on the screen, the learner first."""
    from meta.report import tested

    progress.say(f"{tested(meta)}; whole trial, first and last episode:")
    for name, numbers in [("learner", meta), *meta["baselines"].items()]:
        shots = numbers["returns_by_shot"]
        progress.say(
            f"  {name:<16}{numbers['returns_total']:>10.4g} ± {numbers['returns_total_95']:<8.2g}"
            f"{shots[0]:>10.4g}{shots[-1]:>10.4g}"
        )


if __name__ == "__main__":
    main()
