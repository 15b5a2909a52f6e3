"""The report of a run, report.html: its numbers, and its training curves from metrics.jsonl."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logbook import files
from logbook.charts import charts, read_curves
from logbook.markup import alarm_box, document, escape, facts, file_list, next_command
from pretrain.markup import tiles

FIRST = (  # the curves that a reader wants first; the others follow under their prefix
    "skill/intrinsic_reward_mean",
    "skill/discriminator_acc",
    "skill/mi_lower_bound",
    "rollout/ep_rew_mean",
    "rollout/ep_len_mean",
    "time/fps",
)


def write_report(
    folder: Path, summary: Mapping[str, Any], about: Mapping[str, Any], to: Path | None = None
) -> None:
    """Write report.html from the metrics.jsonl of `folder` and the numbers of summary.json.

    It stands in `to`, beside index.html; None: in `folder`.

    `about` holds `title`, `next` and facts to show, as for `make_atlas`.
    """
    to = to or folder
    title = str(about.get("title", "Report"))
    curves = read_curves(folder / "metrics.jsonl")
    parts = [
        f"<h1>{escape(title)}</h1>",
        facts(about),
        _links(to, summary),
        alarm_box(summary["alarms"]) if "alarms" in summary else "",
        tiles(summary) if "skills" in summary else "",
        "<h2>Training</h2>",
        charts(curves, FIRST) or "<p class=soft>No rows were logged.</p>",
        file_list(folder, to),
        next_command(about),
    ]
    files.replace(to / "report.html", document(title, "\n".join(parts)))


def _links(folder: Path, summary: Mapping[str, Any]) -> str:
    if not (folder / "index.html").exists():
        return ""
    sheet = ""
    if summary.get("videos", "off") != "off" and (folder / "videos/contact.png").exists():
        sheet = '<a href="index.html"><img src="videos/contact.png" alt="The skills"></a>'
    why = f" No videos: {escape(summary['why'])}" if summary.get("why") else ""
    return (
        '<h2>The skills</h2><div class="box"><p><a href="index.html">Look at every skill</a>: '
        f"videos, map and confusion matrix.{why}</p>{sheet}</div>"
    )
