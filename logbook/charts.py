"""Training curves of a run, from metrics.jsonl to SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from logbook import metrics
from logbook.markup import escape

LEFT_OUT = ("time/total_timesteps", "time/time_elapsed", "train/n_updates")
POINTS = 400  # of a curve: more than its width in pixels can show
WIDTH, HEIGHT = 340, 150
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 10, 20  # margins of a chart


def read_curves(path: Path) -> dict[str, list[tuple[float, float]]]:
    """(env steps, value) of every tag, without rows in which it is missing or not finite."""
    curves: dict[str, list[tuple[float, float]]] = {}
    if not path.exists():
        return curves
    for row in metrics.rows(path):
        step = row.get("step")
        for tag, value in row.items():
            if tag != "step" and value is not None and step is not None and math.isfinite(value):
                curves.setdefault(tag, []).append((float(step), float(value)))
    return curves


def charts(curves: Mapping[str, Sequence[tuple[float, float]]], first: Sequence[str]) -> str:
    """A chart for every tag, those named `first` before the others."""
    first = [tag for tag in first if tag in curves]
    rest = sorted(tag for tag in curves if tag not in first and tag not in LEFT_OUT)
    drawn = "".join(f'<div class="box">{chart(tag, curves[tag])}</div>' for tag in [*first, *rest])
    return f'<div class="charts">{drawn}</div>' if drawn else ""


def chart(tag: str, points: Sequence[tuple[float, float]]) -> str:
    """One curve as SVG, with its last value; long ones are averaged over stretches."""
    shown = _thinned(points)
    low, high = nice(min(v for _, v in shown), max(v for _, v in shown))
    begin, end = 0.0, max(shown[-1][0], 1.0)

    def at(step: float, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * (step - begin) / (end - begin)
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)
        return round(x, 1), round(y, 1)

    lines = ""
    for i in range(3):
        value = low + (high - low) * i / 2
        x, y = at(begin, value)
        lines += (
            f'<line x1="{x}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#e8ebef"/>'
            f'<text x="{x - 5}" y="{y + 3.5}" text-anchor="end">{escape(short(value))}</text>'
        )
    path = " ".join(f"{x},{y}" for x, y in (at(*p) for p in shown))
    x, y = at(*shown[-1])
    return (
        f'<div class="t">{escape(tag)} <small>last {escape(short(points[-1][1]))}</small></div>'
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(tag)}">'
        f'<g font-size="10" fill="#7a8593">{lines}'
        f'<text x="{LEFT}" y="{HEIGHT - 5}">0</text><text x="{WIDTH - RIGHT}" y="{HEIGHT - 5}" '
        f'text-anchor="end">{escape(short(end))} env steps</text></g>'
        f'<polyline points="{path}" fill="none" stroke="#2f6fb3" stroke-width="1.6" '
        f'stroke-linejoin="round"/><circle cx="{x}" cy="{y}" r="2.6" fill="#2f6fb3"/></svg>'
    )


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    size = -(-len(points) // POINTS)
    stretches = [points[i : i + size] for i in range(0, len(points), size)]
    return [(s[-1][0], sum(v for _, v in s) / len(s)) for s in stretches]


def nice(low: float, high: float) -> tuple[float, float]:
    """A range that holds both, ends on round numbers, and has 0 in it if 0 is near."""
    if low > 0 and low < 0.5 * high:
        low = 0.0
    if high < 0 and high > 0.5 * low:
        high = 0.0
    if high - low < 1e-12 * max(abs(low), abs(high), 1e-12):
        low, high = low - max(abs(low), 1e-3) * 0.5, high + max(abs(high), 1e-3) * 0.5
    step = 10.0 ** math.floor(math.log10(high - low)) / 2
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def short(value: float) -> str:
    """A number in few characters: 1.23M, 45.6k, 6,250, 0.789."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.3g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
