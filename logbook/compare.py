"""The command `compare RUN...`: methods held against each other, over seeds and tasks."""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from logbook import files, progress, stats
from logbook.attempt import attempt
from logbook.cli import guard, writable
from logbook.comparison import compared, curve, kind_of
from logbook.comparison_picture import draw, pairs
from logbook.outcomes import (
    STAGES,
    Outcome,
    choose_metrics,
    differing,
    gather,
    numbers,
    reference,
)
from logbook.words import folder as typed_folder

X_NAMES = {"metatrain": "episode of the task", "finetune": "env steps"}


def main() -> NoReturn:
    """Read the command line, compare, exit with a code (2: these do not compare)."""
    guard(_main)


def _main() -> int:
    parser = argparse.ArgumentParser(
        prog="compare",
        description="Compare the finished runs of several methods over seeds and tasks: robust "
        "means with intervals, who beats whom, performance profiles and curves.",
        epilog="For example: compare runs/maml-skills runs/scratch-skills, or "
        "compare runs --stage finetune --metric finetune.final --out runs/compared.",
    )
    parser.add_argument(
        "runs",
        type=typed_folder,
        nargs="+",
        metavar="RUN",
        help="a run's folder, a folder with runs below it, or a file of evaluate --json",
    )
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="KEY",
        help="a dotted key of summary.json, such as meta.returns_by_shot.-1; may be repeated",
    )
    parser.add_argument("--stage", choices=list(STAGES), help="of mixed runs, those of this stage")
    parser.add_argument("--finished", action="store_true", help="leave out unfinished runs")
    parser.add_argument("--out", type=typed_folder, default=Path("compare"), metavar="FOLDER")
    parser.add_argument("--list", action="store_true", help="show the metrics there are and stop")
    flags = parser.parse_args()
    return compare(
        flags.runs,
        flags.metric,
        stage=flags.stage,
        finished=flags.finished,
        to=flags.out,
        only_list=flags.list,
    )


def compare(
    places: Sequence[Path],
    metrics: Sequence[str] = (),
    *,
    stage: str | None = None,
    finished: bool = False,
    to: Path = Path("compare"),
    only_list: bool = False,
) -> int:
    """Write `to`/compare.json and compare.png, and tell the numbers; returns the exit code.

    Raises UserError (code 2) for what is no run, unfinished, of mixed stages, or lacks the metric.
    """
    outcomes = gather(places, stage, finished=finished)
    if only_list:
        keys = [numbers(o.summary) for o in outcomes]
        shared = [key for key in keys[0] if all(key in other for other in keys)]
        progress.table([(key, keys[0][key]) for key in shared])
        return 0
    chosen = choose_metrics(outcomes, metrics)
    writable(to)
    for line in caveats(outcomes):
        progress.warn(line)
    found = {metric: _compared(outcomes, metric) for metric in chosen}
    curves = _curves(outcomes)
    to.mkdir(parents=True, exist_ok=True)
    of = outcomes[0].stage
    runs = [
        {"folder": str(o.folder), "method": o.method, "task": o.task, "seed": o.seed}
        for o in outcomes
    ]
    whole = {"stage": of, "runs": runs, "metrics": found, "curves": curves}
    files.replace(to / "compare.json", files.pretty(whole))
    why = attempt(lambda: draw(to / "compare.png", found, curves, X_NAMES.get(of, "")))
    for metric, numbers_ in found.items():
        tell(metric, numbers_)
    look = f"no picture: {why}" if why else f"look at {to / 'compare.png'}"
    progress.say(f"{look}; all numbers: {to / 'compare.json'}")
    return 0


def _compared(outcomes: Sequence[Outcome], metric: str) -> dict[str, Any]:
    scores: dict[str, dict[str, list[float]]] = {}
    known: dict[str, set[tuple[float | None, float | None]]] = defaultdict(set)
    for o in outcomes:
        value = o.score(metric)
        assert value is not None  # choose_metrics saw to it
        scores.setdefault(o.method, {}).setdefault(o.task, []).append(value)
        known[o.task].add(reference(o, metric))
    references = {}
    for task, held in known.items():
        (low, high), *others = held
        if low is not None and high is not None and low != high and not others:
            references[task] = (low, high)
    found = compared(scores, references)
    told = {task: list(next(iter(pairs))) for task, pairs in known.items() if len(pairs) == 1}
    found["references"] = {
        t: dict(zip(("random", "expert"), r, strict=True)) for t, r in told.items()
    }
    return found


def _curves(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """{task: {method: curve}} of the methods whose runs all have one."""
    points: dict[str, dict[str, list[Any]]] = {}
    for o in outcomes:
        points.setdefault(o.task, {}).setdefault(o.method, []).append(o.curve())
    found: dict[str, dict[str, Any]] = {}
    for task, by_method in points.items():
        for method, runs in by_method.items():
            joined = curve(runs)
            if len(joined["x"]) > 1:
                found.setdefault(task, {})[method] = joined
    return found


def caveats(outcomes: Sequence[Outcome]) -> list[str]:
    """What a reader of the comparison should know: runs that are not quite alike."""
    lines = []
    seeds = Counter((o.method, o.task, o.seed) for o in outcomes)
    for (method, task, seed), count in seeds.items():
        if count > 1:
            lines.append(f"{method} on {task}: {count} runs have seed {seed}, all of them count")
    tasks = {o.task: [p for p in outcomes if p.task == o.task] for o in outcomes}
    for task, runs in tasks.items():
        for prefix in (f"{STAGES[runs[0].stage][1]}.", "env.", "evaluate.", "steps"):
            for key in differing(runs, prefix):
                values = ", ".join(sorted({str(o.config.get(key)) for o in runs}))
                lines.append(f"{task}: its runs differ in {key} ({values})")
    methods = list(dict.fromkeys(o.method for o in outcomes))
    shared = {t for t, runs in tasks.items() if len({o.method for o in runs}) == len(methods)}
    few: list[str] = []
    for method in methods:
        counts = Counter(o.task for o in outcomes if o.method == method)
        if len({n for t, n in counts.items() if t in shared}) > 1:
            told = ", ".join(f"{n} on {t}" for t, n in counts.items())
            lines.append(f"{method} has {told}: across tasks equally many of each count")
        if min(counts.values()) < 3:
            few.append(method)
    if few:
        lines.append(f"fewer than 3 runs on a task, so that intervals say little: {', '.join(few)}")
    if len(shared) >= stats.MANY:
        least = min(Counter((o.method, o.task) for o in outcomes if o.task in shared).values())
        share = 100 * stats.covers(least, len(shared))
        if least < 10:
            lines.append(
                f"{least} runs a task: over {len(shared)} tasks a 95 % interval is a bootstrap's, "
                f"which holds the truth {share:.0f} % of the time; 10 runs are better"
            )
    return list(dict.fromkeys(lines))


def tell(metric: str, found: Mapping[str, Any]) -> None:
    """One metric on the screen: tasks as columns, all tasks together, who beats whom."""
    methods = list(dict.fromkeys(m for by_method in found["tasks"].values() for m in by_method))
    every = [numbers_ for by_method in found["tasks"].values() for numbers_ in by_method.values()]
    progress.say(f"\n{metric}: IQM with 95 % interval ({_kinds(every)})")
    rows = [["", *found["tasks"], "runs"]]
    for method in methods:
        cells = [found["tasks"][t].get(method) for t in found["tasks"]]
        counts = {str(c["runs"]) for c in cells if c}
        shown = [_cell(c, "iqm") if c else "-" for c in cells]
        rows.append([method, *shown, "/".join(sorted(counts))])
    _aligned(rows)
    overall = found["overall"]
    if overall is not None:
        of = ", ".join(found["shared_tasks"])
        scale = "0 is random, 1 the expert" if found["normalised"] else "raw scores"
        progress.say(f"over {of}, {scale} ({_kinds(list(overall.values()))})")
        names = [n for n, value in next(iter(overall.values())).items() if isinstance(value, list)]
        heads = [n.replace("_", " ") for n in names]
        heads = ["IQM" if n == "iqm" else n for n in heads]
        _aligned([["", *heads], *([m, *(_cell(a, n) for n in names)] for m, a in overall.items())])
    elif len(found["shared_tasks"]) > 1:
        lack = [
            t
            for t in found["shared_tasks"]
            if None in found["references"].get(t, {"": None}).values()
        ]
        progress.say(
            f"not averaged over tasks: no reference scores for {', '.join(lack)} at these settings"
        )
    for x, y, (value, low, high) in pairs(found["improvement"]):
        progress.say(f"  P({x} > {y}) = {value:.2f} [{low:.2f}, {high:.2f}]")


def _kinds(found: Sequence[Mapping[str, Any]]) -> str:
    """How intervals were made, each way once: methods may have unequally many runs."""
    return "; ".join(dict.fromkeys(kind_of(numbers_) for numbers_ in found))


def _cell(found: Mapping[str, Any], name: str) -> str:
    value, low, high = found[name]
    return f"{value:.4g} [{low:.4g}, {high:.4g}]" if found["runs"] > 1 else f"{value:.4g}"


def _aligned(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for first, *rest in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        progress.say(("  " + f"{first:<{widths[0]}}  " + "  ".join(cells)).rstrip())


if __name__ == "__main__":
    main()
