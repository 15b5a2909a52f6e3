"""Pictures of proposed tasks: what each pays where, and the best and worst that was seen of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logbook import files
from meta.task_views import Map, Seen

Array = NDArray[Any]
INK, FAINT, PAPER, GROUND = "#1f2733", "#8b95a3", "#ffffff", "#eef0f3"
GOOD, BAD = "#12724a", "#a8322a"
SIZE = 3.3  # inches of a picture of one panel
PANEL = (2.5, 2.2)  # inches of one of two
WAYS = ("#e9edf2", "#c9d2dc")  # all that was seen: fill and lines


def draw_tasks(folder: Path, seen: Seen, paid: Array, best: Array, drawn: Map) -> list[str]:
    """A PNG for each task; their names. `paid` [K, T, P, R], `best` [K, 2, 2] from `extremes`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    finite = np.abs(drawn.values[np.isfinite(drawn.values)])
    top = float(np.quantile(finite, 0.98)) if len(finite) else 1.0
    floor = _floor(seen)
    together = drawn.exact and drawn.axes == floor
    names = []
    for k in range(len(paid)):
        wide = 1 if together else 2
        size = (SIZE, SIZE) if together else (2 * PANEL[0], PANEL[1])
        figure = Figure(figsize=size, dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        panels = [figure.add_subplot(1, wide, i + 1) for i in range(wide)]
        for panel in panels:
            panel.tick_params(colors=FAINT, labelsize=7, length=2)
            for side in panel.spines.values():
                side.set_color("#d5dae0")
        if len(drawn.axes) == 2:
            _plane(panels[0], seen, drawn, k, max(top, 1e-6))
        else:
            _line(panels[0], seen, drawn, k)
        if together:
            _paths(panels[0], seen, best[k], floor, backdrop=False)
            panels[0].set_xlim(drawn.at[0][0], drawn.at[0][-1])
            panels[0].set_ylim(drawn.at[1][0], drawn.at[1][-1])
        else:
            _paths(panels[1], seen, best[k], floor, backdrop=True)
        name = f"task_{k:02d}.png"
        with files.draft(folder / name) as file:
            figure.savefig(file, format="png", facecolor=PAPER)
        names.append(name)
    return names


def extremes(paid: Array) -> Array:
    """(policy, repetition) of the best and the worst episode of every task, [K, 2, 2]."""
    returns = paid.sum(1)
    flat = returns.reshape(len(returns), -1)
    each = np.stack([flat.argmax(1), flat.argmin(1)], 1)
    return np.stack(np.unravel_index(each, returns.shape[1:]), -1)


def _floor(seen: Seen) -> tuple[str, ...]:
    """Over what paths are drawn: the floor, x against time, or the first feat against time."""
    flat = tuple(name for name in seen.spec.plane if name in ("x", "y"))
    return flat or seen.spec.feat_names[:1]


def _unit(seen: Seen, name: str) -> str:
    return f"{name}, {seen.spec.feat_units[seen.spec.feat_names.index(name)]}".rstrip(", ")


def _labels(panel: Any, x: str, y: str) -> None:
    panel.set_xlabel(x, fontsize=7.5, color=INK, labelpad=2)
    panel.set_ylabel(y, fontsize=7.5, color=INK, labelpad=2)


def _plane(panel: Any, seen: Seen, drawn: Map, k: int, top: float) -> None:
    panel.set_facecolor(GROUND)
    x, y = drawn.at
    panel.pcolormesh(
        x, y, drawn.values[k].T, cmap="RdBu", vmin=-top, vmax=top, shading="nearest",
        rasterized=True,
    )  # fmt: skip
    if drawn.exact:
        panel.set_aspect("equal")
    _labels(panel, _unit(seen, drawn.axes[0]), _unit(seen, drawn.axes[1]))


def _line(panel: Any, seen: Seen, drawn: Map, k: int) -> None:
    """The reward over one feat: its mean and spread where anybody was, and those of all tasks."""
    at = drawn.at[0]
    for other in drawn.values:
        panel.plot(at, other, color=WAYS[1], linewidth=0.7)
    mean = drawn.values[k]
    if drawn.spread is not None:
        half = drawn.spread[k]
        panel.fill_between(at, mean - half, mean + half, color="#2f6fb3", alpha=0.18, linewidth=0)
    panel.plot(at, mean, color="#2f6fb3", linewidth=2.0)
    panel.axhline(0, color=FAINT, linewidth=0.6)
    panel.grid(color="#eceff3", linewidth=0.6)
    panel.set_axisbelow(True)
    low, high = np.nanquantile(drawn.values, [0.01, 0.99])
    margin = 0.15 * (high - low) + 0.1
    panel.set_ylim(low - margin, high + margin)
    _labels(panel, _unit(seen, drawn.axes[0]), "reward")


def _paths(panel: Any, seen: Seen, best: Array, floor: Sequence[str], backdrop: bool) -> None:
    """The best episode and the worst, before all that were seen."""
    if backdrop:
        for p in range(len(seen.names)):
            panel.plot(*_path(seen, p, 0, floor), color=WAYS[1], linewidth=0.7)
        panel.grid(color="#eceff3", linewidth=0.6)
        panel.set_axisbelow(True)
    for (p, r), tint, dash in ((best[1], BAD, (0, (3, 2))), (best[0], GOOD, "-")):
        x, y = _path(seen, int(p), int(r), floor)
        if not backdrop:
            panel.plot(x, y, color=PAPER, linewidth=3.2, alpha=0.8)
        panel.plot(x, y, color=tint, linewidth=1.7, linestyle=dash)
        panel.plot(x[-1], y[-1], "o", color=tint, markersize=5, markeredgecolor=PAPER)
    if len(floor) == 2:
        from matplotlib.patches import Rectangle

        for left, low, width, height in seen.walls:
            panel.add_patch(Rectangle((left, low), width, height, facecolor="#aeb7c2", linewidth=0))
        panel.set_aspect("equal", adjustable="box" if not backdrop else "datalim")
        if backdrop:
            _labels(panel, _unit(seen, floor[0]), _unit(seen, floor[1]))
    else:
        _labels(panel, "step", _unit(seen, floor[0]))


def _path(seen: Seen, p: int, r: int, floor: Sequence[str]) -> tuple[Array, Array]:
    """The way of one episode as x and y to be drawn."""
    lived = max(int(seen.alive[:, p, r].sum()), 1)
    ways = []
    for name in floor:
        i = seen.spec.feat_names.index(name)
        ways.append(np.append(seen.feat[0, p, r, i], seen.next_feat[:lived, p, r, i]))
    if len(ways) == 1:
        return np.arange(lived + 1), ways[0]
    return ways[0], ways[1]
