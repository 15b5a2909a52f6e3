"""Several curves with bands of uncertainty in one SVG, named at their ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from logbook.charts import nice, short
from logbook.markup import escape

WIDTH, HEIGHT = 860, 340
LEFT, RIGHT, TOP, BOTTOM = 60, 170, 14, 34
DASH = '"6 4"'
APART = 14  # pixels between the names of curves


@dataclass(frozen=True)
class Line:
    """A curve: `half` is half the height of its band."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    half: Sequence[float]
    colour: str
    width: float
    dashed: bool = False


def lines(curves: Sequence[Line], x_name: str, y_name: str) -> str:
    """The curves as SVG, the last one on top; a curve of one point is drawn as a level."""
    curves = [c for c in curves if len(c.x)]
    if not curves:
        return ""
    low, high = nice(
        min(y - h for c in curves for y, h in zip(c.y, c.half, strict=True)),
        max(y + h for c in curves for y, h in zip(c.y, c.half, strict=True)),
    )
    first, last = min(c.x[0] for c in curves), max(c.x[-1] for c in curves)
    span = max(last - first, 1e-9)

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * (x - first) / span
        up = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - low) / (high - low)
        return round(across, 1), round(up, 1)

    parts = []
    for i in range(5):
        value = low + (high - low) * i / 4
        _, y = at(first, value)
        parts.append(
            f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#e8ebef"/>'
            f'<text x="{LEFT - 7}" y="{y + 4}" text-anchor="end">{escape(short(value))}</text>'
        )
    for x in {first, last, *([round((first + last) / 2)] if last - first > 2 else [])}:
        parts.append(
            f'<text x="{at(x, low)[0]}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">'
            f"{escape(short(x))}</text>"
        )
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 3}" text-anchor="middle">'
        f'{escape(x_name)}</text><text x="12" y="{HEIGHT / 2}" text-anchor="middle" '
        f'transform="rotate(-90 12 {HEIGHT / 2})">{escape(y_name)}</text>'
    )
    for c in curves:
        points = list(zip(c.x, c.y, c.half, strict=True))
        if len(points) == 1:
            points = [(first, c.y[0], c.half[0]), (last, c.y[0], c.half[0])]
        above = [at(x, y + half) for x, y, half in points]
        below = [at(x, y - half) for x, y, half in points]
        band = " ".join(f"{across},{up}" for across, up in above + below[::-1])
        path = " ".join(f"{across},{up}" for across, up in (at(x, y) for x, y, _ in points))
        parts.append(
            f'<polygon points="{band}" fill="{c.colour}" opacity="0.13"/><polyline '
            f'points="{path}" fill="none" stroke="{c.colour}" stroke-width="{c.width}" '
            f'stroke-linejoin="round"{" stroke-dasharray=" + DASH if c.dashed else ""}/>'
        )
    parts += _names(curves, [at(c.x[-1], c.y[-1])[1] for c in curves])
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(y_name)} by {escape(x_name)}"><g font-size="12" fill="#5d6876">'
        f"{''.join(parts)}</g></svg>"
    )


def _names(curves: Sequence[Line], heights: Sequence[float]) -> list[str]:
    """The names beside the ends of the curves, pushed apart where they would overlap."""
    order = sorted(range(len(curves)), key=lambda i: heights[i])
    places: list[float] = []
    for i in order:
        places.append(max(heights[i], places[-1] + APART if places else TOP))
    spill = places[-1] - (HEIGHT - BOTTOM)
    if spill > 0:
        limit: float = HEIGHT - BOTTOM
        for k in range(len(places) - 1, -1, -1):
            places[k] = min(places[k], limit)
            limit = places[k] - APART
    found = []
    for i, y in zip(order, places, strict=True):
        c = curves[i]
        weight = ' font-weight="700"' if c.width > 2 else ""
        name = f"{c.name.replace('_', ' ')} {short(c.y[-1])}"
        found.append(
            f'<text x="{WIDTH - RIGHT + 8}" y="{y + 4}" fill="{c.colour}"{weight}>'
            f"{escape(name)}</text>"
        )
    return found
