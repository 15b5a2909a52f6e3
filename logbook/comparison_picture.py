"""The picture of a comparison: intervals, performance profiles, and curves where runs have them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from logbook import files
from logbook.comparison import kind_of

Style = Mapping[str, tuple[str, str]]
"""The colour and the dash of each method."""

INK, FAINT, PAPER = "#1f2733", "#8b95a3", "#ffffff"
COLOURS = (
    "#2f6fb3", "#d9782d", "#3a9188", "#b0413e", "#7d5ba6", "#8a8f2a", "#c2578c", "#6b7280",
)  # fmt: skip
DASHES = ("-", "--", ":", "-.")


def draw(
    path: Path,
    metrics: Mapping[str, Mapping[str, Any]],
    curves: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    x_name: str,
) -> None:
    """Write a PNG: a row for each metric, and a panel for each task's curves.

    `metrics` is what `comparison.compared` found of each, `curves` {task: {method: `curve`}}.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    methods = list(
        dict.fromkeys(m for c in metrics.values() for t in c["tasks"].values() for m in t)
    )
    style = {
        m: (COLOURS[k % len(COLOURS)], DASHES[k // len(COLOURS) % len(DASHES)])
        for k, m in enumerate(methods)
    }
    panels: list[tuple[Any, ...]] = []
    for metric, found in metrics.items():
        for task, by_method in found["tasks"].items():
            title = f"{metric} on {task}: IQM, 95 % interval (Student's t)"
            panels.append((_intervals, title, by_method))
        if found["normalised"] and len(found["shared_tasks"]) > 1:
            kinds = dict.fromkeys(kind_of(numbers) for numbers in found["overall"].values())
            title = f"{metric}, all tasks: 0 is random, 1 the expert\n{'; '.join(kinds)}"
            panels.append((_intervals, title, found["overall"]))
        if found["profile"] is not None:
            panels.append((_profile, metric, found))
        if found["improvement"]:
            panels.append((_improvement, metric, found["improvement"]))
    for task, by_method in curves.items():
        title = f"{task}: return by {x_name}, IQM, 95 % interval (Student's t)"
        panels.append((_curves, title, by_method))
    across = min(len(panels), 2)
    down = -(-len(panels) // across)
    tall = min(max(2.6, 1.2 + 0.4 * sum(_wrapped(m).count("\n") + 1 for m in methods)), 7.0)
    figure = Figure(figsize=(6.4 * across, tall * down), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for k, (kind, *what) in enumerate(panels):
        panel = figure.add_subplot(down, across, k + 1)
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(FAINT)
        panel.tick_params(colors=INK, labelsize=9)
        panel.grid(color="#eceff3", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.use_sticky_edges = False
        kind(panel, *what, style)
        if kind is _curves:
            panel.set_xlabel(x_name, color=INK, fontsize=9)
    with files.draft(path) as file:
        figure.savefig(file, format="png", facecolor=PAPER)


def _wrapped(name: str) -> str:
    return textwrap.fill(name, 30)


def _title(panel: Any, text: str) -> None:
    panel.set_title(text, color=INK, fontsize=10.5, loc="left")


def _intervals(panel: Any, title: str, by_method: Mapping[str, Any], style: Style) -> None:
    """The IQM of each method, its interval, and where the runs lie."""
    for y, (method, numbers) in enumerate(by_method.items()):
        (value, low, high), tint = numbers["iqm"], style[method][0]
        panel.barh(y, high - low, 0.56, low, color=tint, alpha=0.28, linewidth=0)
        panel.plot([value, value], [y - 0.28, y + 0.28], color=tint, linewidth=2.6)
        scores = numbers.get("scores", [])
        panel.plot(scores, [y] * len(scores), "o", color=tint, markersize=3.5, alpha=0.75)
    panel.set_yticks(range(len(by_method)), [_wrapped(m) for m in by_method])
    panel.set_ylim(len(by_method) - 0.4, -0.6)
    panel.margins(x=0.06)
    panel.grid(axis="y", visible=False)
    _title(panel, title)


def _profile(panel: Any, metric: str, found: Mapping[str, Any], style: Style) -> None:
    at = found["profile"]["thresholds"]
    for method, share in found["profile"]["share"].items():
        tint, dash = style[method]
        panel.fill_between(at, share["low"], share["high"], color=tint, alpha=0.14, linewidth=0)
        panel.plot(at, share["value"], dash, color=tint, linewidth=1.8, label=method)
    panel.set_ylim(-0.03, 1.03)
    panel.margins(x=0.0)
    panel.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    _title(panel, "Performance profile: share of runs above a score")
    label = f"{metric}, 0 is random, 1 the expert" if found["normalised"] else metric
    panel.set_xlabel(f"{label} ({', '.join(found['shared_tasks'])})", color=INK, fontsize=9)


def _improvement(panel: Any, metric: str, found: Mapping[str, Any], style: Style) -> None:
    """Who beats whom, each pair once, the likelier winner first."""
    names: list[str] = []
    for x, y, (value, low, high) in pairs(found):
        k, tint = len(names), style[x][0]
        panel.plot([low, high], [k, k], color=tint, linewidth=7, alpha=0.3)
        panel.plot(value, k, "o", color=tint, markersize=5)
        names.append(_wrapped(f"{x} over {y}"))
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.set_xlim(-0.03, 1.03)
    panel.axvline(0.5, color=FAINT, linewidth=0.8)
    _title(panel, f"{metric}: probability of improvement")


def pairs(found: Mapping[str, Any]) -> list[tuple[str, str, list[float]]]:
    """(x, y, [probability, low, high]) of every pair once, x the likelier winner."""
    order = list(found)
    return [
        (x, y, numbers)
        for x, others in found.items()
        for y, numbers in others.items()
        if numbers[0] > 0.5 or (numbers[0] == 0.5 and order.index(x) < order.index(y))
    ]


def _curves(panel: Any, title: str, by_method: Mapping[str, Any], style: Style) -> None:
    for method, found in by_method.items():
        tint, dash = style[method]
        x = found["x"]
        panel.fill_between(x, found["low"], found["high"], color=tint, alpha=0.14, linewidth=0)
        look = {"marker": "o" if len(x) <= 12 else "", "markersize": 3.5, "linewidth": 1.8}
        panel.plot(x, found["value"], dash, color=tint, label=method, **look)
    if all(x == round(x) and x < 1000 for found in by_method.values() for x in found["x"]):
        panel.xaxis.get_major_locator().set_params(integer=True)
    panel.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    _title(panel, title)
