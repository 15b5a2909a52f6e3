"""The report of stage 3, report.html: return against env steps, what was chosen, the film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from logbook import files
from logbook.charts import charts, read_curves
from logbook.lines import Line, lines
from logbook.markup import document, escape, facts, file_list, next_command, tile

FIRST = ("evaluate/return", "rollout/ep_rew_mean")
PALETTE = ("#2f6fb3", "#b0573f", "#3a9188", "#c98a1b", "#9a6fb0", "#6b7f2a", "#a8487a")
Numbers = Mapping[str, Any]


def write_report(folder: Path, summary: Numbers, about: Mapping[str, Any]) -> None:
    """Write `folder`/report.html from the numbers of summary.json and metrics.jsonl."""
    numbers = summary["finetune"]
    parts = [
        f"<h1>{escape(about['title'])}</h1>",
        facts(about),
        f"<p class=soft>Reward: <code>{escape(numbers['reward'])}</code></p>",
        _tiles(numbers),
        "<h2>Return against env steps</h2>",
        f'<div class="box">{curves({numbers["strategy"]: numbers})}{NOTE}</div>',
        _choice(numbers),
        _film(summary),
        "<h2>Training</h2>",
        charts(read_curves(folder / "metrics.jsonl"), FIRST)
        or "<p class=soft>No rows were logged.</p>",
        file_list(folder),
        next_command(about),
    ]
    files.replace(folder / "report.html", document(str(about["title"]), "\n".join(parts)))


NOTE = (
    '<p class="soft">Mean return of whole episodes without noise, with the 95 % interval over '
    "episodes. Every env step that was learned from or spent on choosing a skill is counted; the "
    "episodes of these looks are not.</p>"
)


def curves(members: Mapping[str, Numbers]) -> str:
    """Return against env steps of one or several strategies; a tick where the skill was chosen."""
    drawn = []
    for k, (name, numbers) in enumerate(members.items()):
        rows = numbers["curve"]
        if rows:
            x, y, half = ([row[i] for row in rows] for i in range(3))
            drawn.append(Line(name, x, y, half, PALETTE[k % len(PALETTE)], 2.0))
    return lines(drawn, "env steps", "return")


def table(members: Mapping[str, Numbers], at: Sequence[int]) -> str:
    """Returns of the strategies at some env steps, and at the end."""
    heads = ("strategy", *(f"at {step:,}" for step in at), "at the end", "success", "choosing")
    body = ""
    for name, numbers in members.items():
        final = numbers["final"]
        cells = [
            *(_shown(at_step(numbers["curve"], step)) for step in at),
            f"{final['mean']:,.4g} ± {final['95']:.2g}",
            f"{100 * final['success']:.0f} %",
            f"{numbers['steps_choosing']:,} steps",
        ]
        told = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        body += f"<tr><td>{escape(name)}</td>{told}</tr>"
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    return f'<div class="box wide"><table class="skills"><tr>{head}</tr>{body}</table></div>'


def at_step(curve: Sequence[Sequence[float]], step: int) -> float | None:
    """The mean return at the first look at or after `step`, or None."""
    return next((row[1] for row in curve if row[0] >= step), None)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}"


def _tiles(numbers: Numbers) -> str:
    final = numbers["final"]
    made = [
        tile(
            f"{final['mean']:,.4g}",
            f"± {final['95']:.2g}",
            "Return at the end",
            f"Mean over {final['episodes']} whole episodes of the policy without noise.",
        )
    ]
    if numbers["curve"]:
        first = numbers["curve"][0]
        made.append(
            tile(
                f"{first[1]:,.4g}",
                f"± {first[2]:.2g}",
                "Before learning",
                f"After {first[0]:,} env steps: what was brought along is worth this much.",
            )
        )
    if numbers["steps_choosing"]:
        made.append(
            tile(
                f"{numbers['steps_choosing']:,}",
                "env steps",
                "Choosing",
                f"Skill {numbers['chosen_skill']} won by {numbers['rule']}; counted on the axis.",
            )
        )
    if "shots" in numbers:
        undone = numbers.get("undone")
        back = f" Steps taken back: {undone}." if undone else ""
        made.append(
            tile(
                f"{numbers['shots']:,}",
                "rounds",
                "Adapting",
                f"What {numbers['learner']} took steps on, in {numbers['steps_adapting']:,} env "
                f"steps.{back}",
            )
        )
    if final["success"]:
        share = float(final["success"])
        made.append(tile(f"{100 * share:.0f} %", "", "Solved", "Episodes that met success.", share))
    return f'<div class="tiles">{"".join(made)}</div>'


def _choice(numbers: Numbers) -> str:
    scores = numbers.get("scores")
    if not scores or len(scores) < 2:
        return ""
    known = [s for s in scores if s is not None]
    low, high = min(known), max(known)
    rows = ""
    for k, score in enumerate(scores):
        share = 0.0 if score is None else 100 * (score - low) / max(high - low, 1e-12)
        mark = " (chosen)" if k == numbers["chosen_skill"] else ""
        value = "not tried" if score is None else f"{score:.4g}"
        rows += (
            f"<tr><td>skill {k}{mark}</td><td>{value}</td><td class=left>"
            f'<div class="bar"><i style="width:{share:.1f}%"></i></div></td></tr>'
        )
    what = "correlation with the task" if numbers["rule"] == "regression" else "reward a step"
    return (
        f"<h2>Choosing a skill</h2>"
        f'<div class="box wide"><table class="skills"><tr><th>skill</th><th>{what}</th>'
        f'<th class="left"></th></tr>{rows}</table></div>'
    )


def _film(summary: Numbers) -> str:
    if summary.get("video", "off") == "off":
        return f"<p class=soft>No video: {escape(summary.get('why', ''))}</p>"
    source = escape(summary["video"])
    return (
        '<h2>What it does</h2><div class="box" style="max-width:520px">'
        f'<video src="{source}" controls loop muted preload="metadata"></video></div>'
    )
