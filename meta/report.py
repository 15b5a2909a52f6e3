"""The report of stage 2, report.html and adaptation.png: how the learner adapts, and others do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from logbook import files, origin, progress
from logbook.attempt import attempt
from logbook.charts import charts, read_curves
from logbook.config import read_yaml
from logbook.curve_picture import Panel, draw
from logbook.errors import UserError
from logbook.lines import Line, lines
from logbook.markup import document, escape, facts, file_list, next_command, tile
from meta.evaluate import Scores
from rl.types import Batch

FIRST = ("meta/return", "meta/first_episode", "meta/last_episode")
PALETTE = ("#9a6fb0", "#c98a1b", "#3a9188", "#b0573f", "#6b7f2a", "#7a7f88", "#4b5fa8", "#a8487a")
CELL = 11  # pixels of one act in the picture of trials


def write_report(
    folder: Path, summary: Mapping[str, Any], scores: Mapping[str, Scores], about: Mapping[str, Any]
) -> None:
    """Write report.html and adaptation.png from the numbers of summary.json and their trials.

    Finished runs of other learners that stand beside `folder` are drawn in too, where they were
    scored on the same tasks for as many episodes.
    """
    meta = summary["meta"]
    drawn = adaptation(meta, siblings(folder, meta))
    axes = "episode of the task", "return"
    parts = [
        f"<h1>{escape(about['title'])}</h1>",
        facts(about),
        _tiles(meta),
        "<h2>Adapting to a task never met</h2>",
        f'<div class="box">{lines(drawn, *axes)}</div>',
        _table(meta),
        _trials(scores["learner"].trials),
        "<h2>Training</h2>",
        charts(read_curves(folder / "metrics.jsonl"), FIRST)
        or "<p class=soft>No rows were logged.</p>",
        file_list(folder),
        next_command(about),
    ]
    panel = Panel(str(about["title"]), *axes, drawn)
    why = attempt(lambda: draw(folder / "adaptation.png", [panel]))
    if why:
        progress.say(f"no adaptation.png: {why}")
    files.replace(folder / "report.html", document(str(about["title"]), "\n".join(parts)))


def adaptation(meta: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """Mean return by episode with 95 % bands, the learner over all that it is compared with.

    Learners are drawn through, and what is known of the family is dashed.
    """
    drawn = [line("learner", meta, "#2f6fb3", 2.4)]
    rest = [(name, numbers, False) for name, numbers in others.items()]
    rest += [(name, numbers, name != "untrained") for name, numbers in meta["baselines"].items()]
    for k, (name, numbers, known) in enumerate(rest):
        drawn.append(line(name, numbers, PALETTE[k % len(PALETTE)], 1.3, known))
    return drawn[::-1]


def line(
    name: str, numbers: Mapping[str, Any], colour: str, width: float, dashed: bool = False
) -> Line:
    """The curve of one learner or policy, by episode."""
    values, half = numbers["returns_by_shot"], numbers["returns_by_shot_95"]
    return Line(name, list(range(1, len(values) + 1)), values, half, colour, width, dashed)


def siblings(folder: Path, meta: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The numbers of other learners' runs of the same tasks, name and seed, by learner.

    They lie in runs/<learner>-<tasks>/<name>/<seed>. Tasks are the same if their parameters are.
    One whose numbers cannot be used is left out with a line.
    """
    folder = folder.resolve()
    here = Path(folder.parent.name) / folder.name
    own = _about(folder)
    if own is None or not folder.parents[1].name.startswith(f"{meta['learner']}-"):
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for other in sorted(folder.parents[2].glob(f"*-*/{here}")):
        if other == folder or _about(other) != own:
            continue
        try:
            numbers = files.read_json(other / "summary.json").get("meta")
        except UserError as reason:
            progress.warn(f"left out of the report: {reason}")
            continue
        if numbers is None:  # it has not come to its end
            continue
        if not _is_a_curve(numbers):
            progress.warn(f"left out of the report: {other / 'summary.json'} has no such numbers")
            continue
        like = len(numbers["returns_by_shot"]) == len(meta["returns_by_shot"])
        if like and numbers["learner"] != meta["learner"]:
            found[f"{numbers['learner'][:40]} (its run)"] = numbers
    return found


def _is_a_curve(numbers: Any) -> bool:
    """Whether a neighbour says who learned, and returns by episode with their intervals."""
    if not isinstance(numbers, Mapping) or not isinstance(numbers.get("learner"), str):
        return False
    values, half = numbers.get("returns_by_shot"), numbers.get("returns_by_shot_95")
    if not (isinstance(values, list) and values and isinstance(half, list) and half):
        return False
    plain = (type(y) in (int, float) and abs(y) < 1e300 for y in [*values, *half])
    return len(values) == len(half) and all(plain)


def _about(folder: Path) -> Any:
    """What a run was scored on, by its config; None if that cannot be read."""
    try:
        config = read_yaml(folder / "config.yaml")
        return config["tasks"], origin.known(config, folder), config["evaluate"]["tasks"]
    except (UserError, KeyError, TypeError):
        return None


def tested(meta: Mapping[str, Any]) -> str:
    """What the means are over: so many held-out tasks, or trials of a few."""
    count, different = meta["tasks_held_out"], meta.get("tasks_different")
    if meta.get("intervals_of") == "episodes":
        return f"{count} trials of {different} tasks, every task counting alike"
    return f"{count} held-out tasks"


def _tiles(meta: Mapping[str, Any]) -> str:
    by_shot, half = meta["returns_by_shot"], meta["returns_by_shot_95"]
    rivals = {k: v["returns_total"] for k, v in meta["baselines"].items() if k != "untrained"}
    made = [
        tile(
            f"{meta['returns_total']:,.4g}",
            f"± {meta['returns_total_95']:.2g}",
            "Return of a trial",
            f"All {len(by_shot)} episodes of a task together, mean over {tested(meta)}.",
        ),
        tile(
            f"{by_shot[-1]:,.4g}",
            f"± {half[-1]:.2g}",
            "Last episode",
            f"After {len(by_shot) - 1} episodes in the task; the first gave {by_shot[0]:,.4g}.",
        ),
    ]
    if rivals:
        best = max(rivals, key=lambda name: rivals[name])
        made.append(
            tile(
                f"{rivals[best]:,.4g}",
                escape(best.replace("_", " ")),
                "Best known policy",
                "The most that a policy with a known answer earned on the same tasks.",
            )
        )
    return f'<div class="tiles">{"".join(made)}</div>'


def _table(meta: Mapping[str, Any]) -> str:
    rows = [("learner", meta), *meta["baselines"].items()]
    body = ""
    for name, numbers in rows:
        shots = numbers["returns_by_shot"]
        cells = (
            f"{numbers['returns_total']:,.4g} ± {numbers['returns_total_95']:.2g}",
            f"{shots[0]:,.4g}",
            f"{shots[len(shots) // 2]:,.4g}",
            f"{shots[-1]:,.4g}",
        )
        told = "".join(f"<td>{cell}</td>" for cell in cells)
        body += f"<tr><td>{escape(name.replace('_', ' '))}</td>{told}</tr>"
    heads = ("policy", "whole trial", "first episode", "middle", "last")
    head = "".join(f"<th>{h}</th>" for h in heads)
    return (
        f'<div class="box wide"><table class="skills"><tr>{head}</tr>{body}</table>'
        f"<p class=soft>Means over {tested(meta)}, with 95 % intervals of the mean: what other "
        f"{meta.get('intervals_of', 'tasks')} would change.</p></div>"
    )


def _trials(rounds: Sequence[Batch]) -> str:
    """For discrete acts: what was done in each step of a few trials, best reward darkest."""
    batch = rounds[0]
    acts = batch.act.argmax(-1) if batch.act.shape[-1] > 1 else None
    discrete = acts is not None and bool((batch.act.sum(-1) == 1).all() & (batch.act >= 0).all())
    if acts is None or not discrete or len(rounds) > 1:
        return ""
    steps, num = min(len(acts), 100), min(acts.shape[1], 24)
    count = batch.act.shape[-1]
    squares = ""
    for t in range(steps):
        for n in range(num):
            if not bool(batch.extras["valid"][t, n]):
                continue
            hue = round(360 * int(acts[t, n]) / count)
            light = 42 if float(batch.rew[t, n]) > 0 else 78
            squares += (
                f'<rect x="{t * CELL}" y="{n * CELL}" width="{CELL - 1}" height="{CELL - 1}" '
                f'fill="hsl({hue},55%,{light}%)"/>'
            )
    return (
        '<h2>What it does</h2><div class="box">'
        f'<svg viewBox="0 0 {steps * CELL} {num * CELL}" style="width:100%;max-height:420px" '
        f'role="img" aria-label="acts over time">{squares}</svg><p class="soft">One row a task, '
        "one square a step: the colour is the act, dark where it was rewarded. A learner that "
        "learns explores on the left and settles on one colour to the right.</p></div>"
    )
