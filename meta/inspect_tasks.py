"""The command `inspect-tasks RUN`: what the tasks are that a run's skills propose."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from logbook import checkpoint, files, marks, progress
from logbook.attempt import attempt
from logbook.build import build, check_node, lookup
from logbook.cli import guard, outlet, takes_leave, takes_out
from logbook.compose import compose
from logbook.config import load_config
from logbook.errors import Exit, UserError
from logbook.gl import check_setting
from logbook.heritage import runs_of
from logbook.seeds import seed_for
from logbook.words import folder as typed_folder

if TYPE_CHECKING:
    from meta.proposals import Proposer
    from meta.task_views import Map

STEPS, REPS = 200, 3  # of a policy that is watched
FITTED = "fitted"  # nobody proposed these tasks: they follow the learner


def main() -> NoReturn:
    """Read the command line, look, exit with a code (2: no run that proposes tasks)."""
    guard(_main)


def _main() -> int:
    parser = argparse.ArgumentParser(
        prog="inspect-tasks",
        description="Make RUN/tasks.html: what the tasks are that the skills of RUN propose.",
        epilog="For example: inspect-tasks RUN --against cheetah_direction",
    )
    parser.add_argument(
        "run",
        type=typed_folder,
        metavar="RUN",
        help="a run of metatrain (its saved proposals) or of pretrain (proposed afresh)",
    )
    parser.add_argument("--against", metavar="FAMILY", help="a hand-made family to compare with")
    parser.add_argument("--config-dir", action="append", metavar="FOLDER", help="yaml of your own")
    parser.add_argument("--kind", choices=["skills", "random"], help="of a pretrain run (skills)")
    parser.add_argument("--steps", type=_count, help=f"length of an episode ({STEPS} at most)")
    parser.add_argument("--reps", type=_count, default=REPS, help="episodes of each policy")
    takes_out(parser)
    takes_leave(parser)
    flags = parser.parse_args()
    return inspect(
        flags.run,
        against=flags.against,
        config_dirs=flags.config_dir,
        kind=flags.kind,
        steps=flags.steps,
        reps=flags.reps,
        out=flags.out,
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: want a whole number of at least 1")
    return int(text)


def inspect(
    folder: Path,
    *,
    against: str | None = None,
    config_dirs: list[str] | None = None,
    kind: str | None = None,
    steps: int | None = None,
    reps: int = REPS,
    out: Path | None = None,
) -> int:
    """Write `folder`/tasks.html, tasks.json and tasks/*.png; returns the exit code.

    They are written to `out` if that is given: then nothing in `folder` changes.
    Raises UserError: code 2 if the run proposes no tasks, 5 if it cannot be trusted.
    """
    config, stage, kind = _record(folder, kind)
    if against is not None:
        against_node = _family(against, config_dirs)
    files.check_run_folder(folder)
    check_setting()
    to = outlet(folder, out)
    if kind == FITTED:
        from meta.fitted_tasks import inspect_fitted

        if against is not None:
            raise UserError(f"--against {against}: these tasks follow the learner, leave it out")
        return inspect_fitted(folder, config, to)
    import numpy as np
    import torch

    from logbook.heritage import pretrained
    from meta.proposals import load, proposer
    from meta.task_numbers import SAME, measured, overlap
    from meta.task_pictures import draw_tasks, extremes
    from meta.task_views import reward_map, rewards, watch

    seed = int(config["seed"])
    origin = folder if stage == "pretrain" else Path(str(config["from"]))
    if stage == "pretrain":
        found = proposer(folder, kind, seed_for(seed, "proposals"))
    else:
        found = load(folder / "proposals")
    there = (origin / "config.yaml").is_file()
    source = pretrained(origin, torch.device("cpu")) if there else None
    if source is None:
        progress.warn(f"{origin} is not here: the tasks are judged on random policies alone")
    own_steps = config.get("tasks", {}).get("episode_steps") or found.spec.max_episode_steps
    steps = min(int(own_steps), STEPS) if steps is None else min(steps, int(own_steps))
    seen = watch(found, source, steps=steps, reps=reps, seed=seed_for(seed, "inspect-tasks"))
    paid = rewards(found, seen)
    own = _own_skills(found, source, kind)
    numbers = measured(found, seen, paid, own)
    numbers |= {"kind": kind, "steps": len(seen.alive), "env": found.env["name"]}
    numbers["against"] = None
    if against is not None:
        family_seed = seed_for(seed, "family")
        family = build("tasks", against_node, num_envs=1, seed=family_seed)
        try:
            numbers["against"] = overlap(family, seen, paid, family_seed)
        except ValueError as e:
            raise UserError(f"--against {against}: {e}; choose a family of this world") from None
        if numbers["against"]["among_r"] > SAME:
            numbers["alarms"].append(
                f"where these policies go, the tasks of {against} pay for much the same "
                f"(correlation {numbers['against']['among_r']:.2f}): the overlap says little"
            )
    drawn = reward_map(found, seen, paid)
    numbers["map"] = {"axes": list(drawn.axes), "exact": drawn.exact, "told": _told(drawn)}
    place = files.subfolder(to / "tasks")
    made: list[str] = []
    why = attempt(lambda: made.extend(draw_tasks(place, seen, paid, extremes(paid), drawn)))
    if why:
        progress.say(f"no pictures of tasks: {why}")
    for old in place.glob("task_*.png"):
        if old.name not in made:
            files.remove(old)
    pictures = [f"tasks/{name}" for name in made]
    from meta.task_page import write_page

    write_page(to / "tasks.html", numbers, pictures, about(folder, config, stage, numbers))
    kept = {**numbers, "values": {"at": [a.tolist() for a in drawn.at]}}
    kept["values"]["reward"] = np.where(np.isfinite(drawn.values), drawn.values, 0.0).round(4)
    kept["values"]["reward"] = kept["values"]["reward"].tolist()
    files.replace(to / "tasks.json", files.pretty(kept))
    tell(to, numbers)
    return 0


def _record(folder: Path, kind: str | None) -> tuple[dict[str, Any], str, str]:
    """The run's config, its stage, and who proposes. Raises UserError for other runs."""
    runs = ", ".join([*runs_of("metatrain"), *runs_of("pretrain")][:4])
    there = f"; runs here: {runs}" if runs else "; make one with pretrain first"
    if not marks.is_run(folder):
        raise UserError(f"{folder} is not a run: it has no config.yaml{there}")
    stage = marks.stage_of(folder, "pretrain")
    if stage not in ("pretrain", "metatrain"):
        raise UserError(f"{folder} is a {stage[:40]} run, which proposes no tasks{there}")
    config = load_config(folder / "config.yaml", stage)
    if stage == "pretrain":
        if not checkpoint.listed(folder / "checkpoints"):
            raise UserError(
                f"{folder} has no checkpoint yet: train it first, with: "
                f"{progress.paste('resume', folder)}",
                Exit.CHECKPOINT,
            )
        return config, stage, kind or "skills"
    name = config["tasks"]["name"]
    family = lookup("tasks", name)
    if hasattr(family, "rewards_at") and kind is None:
        return config, stage, FITTED
    own = getattr(family, "kind", None)
    if own is None or config["from"] is None:
        raise UserError(
            f"{folder} trains on tasks={name}, which are made by hand: nothing is proposed; "
            "inspect a run of tasks=skills, or a pretrain run"
        )
    if kind not in (None, own):
        raise UserError(f"--kind {kind}: {folder} was trained on tasks={name}, leave --kind out")
    if not checkpoint.listed(folder / "proposals"):
        raise UserError(
            f"{folder} has saved no proposals yet, a run does when it ends: finish it with: "
            f"{progress.paste('resume', folder)}",
            Exit.CHECKPOINT,
        )
    return config, stage, str(own)


def _family(name: str, config_dirs: list[str] | None) -> dict[str, Any]:
    """The node of a hand-made family, from its yaml. Raises UserError for an unknown one."""
    config = compose("metatrain", [f"tasks={name}", "learner=scratch"], config_dirs).config
    return check_node("tasks", config["tasks"])


def _own_skills(found: Proposer, source: Any, kind: str) -> list[int | None]:
    """Which skill proposed each task; None where an untrained judge did, or nobody knows."""
    if source is None or kind == "random":
        return [None] * found.count
    every = source.skill.all_z()
    own: list[int | None] = []
    for z, of in zip(found.z, found.of, strict=True):
        same = (every == z).all(1).nonzero() if every.shape[1] == len(z) else []
        own.append(int(same[0]) if len(same) and int(of) == 0 else None)
    return own


def _told(drawn: Map) -> str:
    over = " and ".join(drawn.axes)
    colours = "Blue is paid, red costs." if len(drawn.axes) == 2 else "Faint: the other tasks."
    if drawn.exact:
        return f"Rewards over {over}: what a step from the start to each place pays. {colours}"
    return f"Mean rewards over {over}, where anybody has been. {colours}"


def about(
    folder: Path, config: Mapping[str, Any], stage: str, numbers: Mapping[str, Any]
) -> dict[str, Any]:
    """What the page says of the run itself."""
    kind = "skills" if numbers["kind"] == "skills" else "random_discriminator"
    words = "learner=maml", ("from", folder), f"tasks={kind}"
    family = numbers["against"]["family"] if numbers["against"] else None
    following = (
        progress.paste("metatrain", *words)
        if stage == "pretrain"
        else progress.paste("evaluate", folder, f"tasks={family or config['tasks']['name']}")
    )
    return {
        "title": f"Tasks that {folder} proposes" if len(str(folder)) < 50 else "Proposed tasks",
        "next": following,
        "json": "tasks.json",
        "env": numbers["env"],
        "proposed by": "its skills" if numbers["kind"] == "skills" else numbers["kind"],
        "from": config.get("from"),
        "seed": config["seed"],
        **_beside(config.get("tasks") or {}),
    }


def _beside(node: Mapping[str, Any]) -> dict[str, str]:
    """What the learner was paid beside the proposals, which the page does not draw."""
    alive, effort = node.get("alive", 0.0), node.get("effort", 0.0)
    if not alive and not effort:
        return {}
    return {"paid beside": f"{alive:g} for a step survived, less {effort:g} |act|²"}


def tell(folder: Path, numbers: Mapping[str, Any]) -> None:
    """The headline numbers on the screen."""
    count = numbers["count"]
    told: list[tuple[str, Any]] = [
        ("tasks", f"{count}, {len(numbers['dropped'])} near-duplicates dropped"),
        ("effectively different", f"{numbers['diversity']['effective']:.1f} of {count}"),
        ("within reach", f"{numbers['difficulty']['solved']} of {count}"),
    ]
    if numbers["difficulty"]["own_best"] is not None:
        told.append(("own skill does best", f"{numbers['difficulty']['own_best']} of {count}"))
    if numbers["against"] is not None:
        overlap = numbers["against"]
        told.append((f"overlap with {overlap['family']}", f"r = {overlap['mean_best_r']:+.2f}"))
    progress.table(told)
    for line in numbers["alarms"]:
        progress.say(f"  look closer: {line}")
    progress.say(f"look at {folder / 'tasks.html'}")


if __name__ == "__main__":
    main()
