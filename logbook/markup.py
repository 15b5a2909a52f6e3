"""What the pages of all runs share: looks, facts, tiles, alarms, the next command."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from logbook import progress

STYLE = """
:root { --ink: #1f2733; --soft: #5d6876; --line: #e3e7ec; --card: #fff; --ground: #f5f6f8;
  --good: #1d7a4c; --bad: #b3362b; --warn: #fff4e0; --warnline: #e6a23c; --accent: #2f6fb3; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 24px 60px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin: 36px 0 10px; }
p { margin: 6px 0; } .soft { color: var(--soft); } small { color: var(--soft); }
a { color: var(--accent); }
code { font: 13px/1.5 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; }
pre { background: #1f2733; color: #e8edf3; padding: 12px 16px; border-radius: 8px; overflow-x: auto;
  margin: 8px 0; } pre code { color: inherit; }
.facts { color: var(--soft); } .facts b { color: var(--ink); font-weight: 600; }
.facts span { margin-right: 18px; white-space: nowrap; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 14px;
  margin: 20px 0; }
.tile, .card, .box { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 14px 16px; } .tile .n { font-size: 27px; font-weight: 650; line-height: 1.15; }
.tile .n small { font-size: 15px; font-weight: 400; } .tile .t { font-weight: 600; }
.tile p { color: var(--soft); font-size: 13.5px; margin: 4px 0 0; }
.bar { height: 6px; border-radius: 3px; background: var(--line); margin: 8px 0 6px;
  position: relative; }
.bar i { display: block; height: 6px; border-radius: 3px; background: var(--accent); }
.bar u { position: absolute; top: -3px; width: 2px; height: 12px; background: var(--ink); }
.alarms { background: var(--warn); border: 1px solid var(--warnline); border-radius: 10px;
  padding: 12px 18px; margin: 18px 0; } .alarms ul { margin: 4px 0; padding-left: 20px; }
.fine { background: #eaf6ef; border-color: #9ccfb2; }
.box { padding: 12px; } .box img, .box video { width: 100%; display: block; border-radius: 6px; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 0 18px;
  align-items: start; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(205px, 1fr)); gap: 12px; }
.card { overflow: hidden; } .card video { width: 100%; display: block; background: var(--line); }
.card div { padding: 6px 10px 9px; font-size: 13px; }
.card.flag { border-color: var(--warnline); }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table.skills { width: 100%; }
table.skills th { text-align: right; font-weight: 600; color: var(--soft);
  border-bottom: 1px solid var(--line); padding: 6px 10px; white-space: nowrap; }
table.skills td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line); }
table.skills th:first-child, table.skills td:first-child, table.skills td.left,
table.skills th.left {
  text-align: left; }
table.skills td.left { min-width: 200px; }
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 5px; margin-right: 7px; }
table.confusion { width: 100%; table-layout: fixed; }
table.confusion td { height: 26px; overflow: hidden; text-align: center;
  font-size: 11px;  padding: 0; border: 1px solid #fff; }
table.confusion th:first-child { width: 30px; }
table.confusion th { font-size: 11px; font-weight: 600; padding: 0 5px; color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 12px; }
.chart { width: 100%; height: auto; display: block; }
"""


def escape(value: Any) -> str:
    """Text that means nothing to a browser."""
    return html.escape(str(value), quote=True)


def document(title: str, body: str) -> bytes:
    """A whole page; it loads nothing from anywhere else."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    ).encode()


def facts(about: Mapping[str, Any]) -> str:
    """A line of small facts; `title` and `next` are shown elsewhere."""
    shown = {k: v for k, v in about.items() if k not in ("title", "next") and v is not None}
    spans = "".join(f"<span>{escape(k)} <b>{escape(v)}</b></span>" for k, v in shown.items())
    return f'<p class="facts">{spans}</p>'


def next_command(about: Mapping[str, Any]) -> str:
    """The command to paste after reading."""
    if not about.get("next"):
        return ""
    return f"<h2>Next</h2><pre><code>{escape(about['next'])}</code></pre>"


def alarm_box(alarms: Sequence[str]) -> str:
    """What should worry the reader, or that nothing does."""
    if not alarms:
        return '<div class="alarms fine">No alarms.</div>'
    lines = "".join(f"<li>{escape(line)}</li>" for line in alarms[:12])
    more = f"<li>and {len(alarms) - 12} more</li>" if len(alarms) > 12 else ""
    return f'<div class="alarms"><b>Look closer</b><ul>{lines}{more}</ul></div>'


def tile(
    number: str,
    beside: str,
    title: str,
    text: str,
    share: float | None = None,
    mark: float | None = None,
) -> str:
    """A headline number with what it means; `share` of 1 as a bar, with a `mark` to compare."""
    bar = ""
    if share is not None:
        tick = f'<u style="left:{100 * mark:.1f}%"></u>' if mark is not None else ""
        bar = f'<div class="bar"><i style="width:{100 * min(share, 1):.1f}%"></i>{tick}</div>'
    return (
        f'<div class="tile"><div class="t">{escape(title)}</div><div class="n">{escape(number)} '
        f"<small>{escape(beside)}</small></div>{bar}<p>{escape(text)}</p></div>"
    )


def file_list(folder: Path, page_in: Path | None = None) -> str:
    """Links to the raw files of a run from a page in `page_in`, and how to see its curves live.

    None: the page lies in the run's own folder.
    """
    page_in = page_in or folder
    way = f"{quote(os.path.relpath(folder.resolve(), page_in.resolve()))}/"
    way = "" if way == "./" else way
    names = ("summary.json", "metrics.jsonl", "config.yaml", "overrides.txt", "versions.json")
    there = [f'<a href="{way}{name}">{name}</a>' for name in names]  # the first is written last
    line = progress.paste("tensorboard", "--logdir", folder, "--host", "127.0.0.1")
    return (
        f"<h2>Files</h2><p>{' &middot; '.join(there)}</p><p class=soft>The same curves, live:</p>"
        f"<pre><code>{escape(line)}</code></pre>"
    )
