"""Curves with bands of uncertainty as a picture, PNG: one panel, or a sheet of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from logbook import files
from logbook.comparison_picture import FAINT, INK, PAPER
from logbook.lines import Line


@dataclass(frozen=True)
class Panel:
    """A title, what the axes are, and the curves, the last one on top."""

    title: str
    x_name: str
    y_name: str
    curves: Sequence[Line]


def draw(path: Path, panels: Sequence[Panel], across: int = 2) -> None:
    """Write a PNG of the panels, row by row; curves of one name share a line of the legend."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if not panels:
        raise ValueError(f"{path.name}: there is nothing to draw")
    across = min(across, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(6.4 * across, 3.2 * down), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for k, panel in enumerate(panels):
        axes = figure.add_subplot(down, across, k + 1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FAINT)
        axes.tick_params(colors=INK, labelsize=9)
        axes.grid(color="#eceff3", linewidth=0.8)
        axes.set_axisbelow(True)
        named = {}
        for c in panel.curves:
            low, high = ([y + s * h for y, h in zip(c.y, c.half, strict=True)] for s in (-1, 1))
            dash = "--" if c.dashed else "-"
            axes.fill_between(c.x, low, high, color=c.colour, alpha=0.14, linewidth=0)
            (named[c.name],) = axes.plot(c.x, c.y, dash, color=c.colour, linewidth=c.width)
        if all(x == round(x) for c in panel.curves for x in c.x):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(
            list(named.values())[::-1],
            [name.replace("_", " ") for name in named][::-1],
            frameon=False,
            fontsize=8.5,
            labelcolor=INK,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.02),
        )
        axes.set_title(panel.title, color=INK, fontsize=10.5, loc="left")
        axes.set_xlabel(panel.x_name, color=INK, fontsize=9)
        axes.set_ylabel(panel.y_name, color=INK, fontsize=9)
    with files.draft(path) as file:
        figure.savefig(file, format="png", facecolor=PAPER)
