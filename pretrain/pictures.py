"""Still pictures of skills: colours, labelled frames, the contact sheet, the map."""

from __future__ import annotations

import colorsys
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from logbook import files
from pretrain.evaluate import horizontal
from pretrain.rollouts import Rollouts

Array = NDArray[Any]
Picture = NDArray[np.uint8]

INK, FAINT, PAPER = "#1f2733", "#8b95a3", "#ffffff"


def colour(k: int, num: int) -> str:
    """Skill k's colour, #rrggbb: round the circle of hues, neighbours of unequal lightness."""
    hue = (k / max(num, 1) + 0.58) % 1.0
    light = (0.45, 0.36, 0.54)[k % 3]
    light -= 0.09 * math.exp(-(((hue - 0.17) / 0.09) ** 2))  # yellow is bright enough as it is
    red, green, blue = colorsys.hls_to_rgb(hue, light, 0.68)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


@functools.cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


CAPTION = 26  # pixels under a frame


def label(frame: Picture, tint: str, name: str, far: str, when: str, over: bool) -> Picture:
    """A frame [h, w, 3] with a caption under it, [h + CAPTION, w, 3]; paled if `over`."""
    picture = Image.fromarray(frame)
    if over:
        picture = Image.blend(picture, Image.new("RGB", picture.size, PAPER), 0.55)
    width, height = picture.size
    image = Image.new("RGB", (width, height + CAPTION), PAPER)
    image.paste(picture, (0, 0))
    pen, middle = ImageDraw.Draw(image), height + CAPTION // 2
    x = 8
    if name:
        pen.ellipse((x, middle - 5, x + 10, middle + 5), tint)
        pen.text((x + 15, middle), name, INK, _font(14), anchor="lm")
        x += 30 + int(pen.textlength(name, _font(14)))
    pen.text((x, middle), far, INK, _font(13), anchor="lm")
    pen.text((width - 8, middle), when, FAINT, _font(12), anchor="rm")
    pen.rectangle((0, 0, width - 1, height + CAPTION - 1), None, PAPER)
    return np.asarray(image, np.uint8)


def signed(value: float, digits: int = 1) -> str:
    """A few decimals and a sign, but never -0.0."""
    return f"{round(float(value), digits) + 0.0:+.{digits}f}"


def contact_sheet(
    stills: list[list[Picture]], path: Path, titles: list[str], tints: list[str]
) -> None:
    """A PNG: one row a skill (in two columns from 6 skills on), a few moments from left to right.

    `stills[k]` are equally many pictures of equal size.
    """
    across = 2 if len(stills) >= 6 else 1
    down = -(-len(stills) // across)
    height, width, _ = stills[0][0].shape
    w, h, gap, margin = round(width * 150 / height), 150, 4, 28
    row_w = margin + len(stills[0]) * (w + gap)
    sheet = Image.new("RGB", (across * (row_w + 2 * gap), down * (h + gap) + gap), PAPER)
    pen = ImageDraw.Draw(sheet)
    for k, row in enumerate(stills):
        x, y = (k // down) * (row_w + 2 * gap) + gap, (k % down) * (h + gap) + gap
        pen.rectangle((x, y, x + 4, y + h - 1), tints[k])
        pen.text((x + 15, y + h // 2), titles[k], INK, _font(13), anchor="mm")
        for i, still in enumerate(row):
            small = Image.fromarray(still).resize((w, h), Image.Resampling.LANCZOS)
            sheet.paste(small, (x + margin + i * (w + gap), y))
    save(sheet, path)


def save(image: Image.Image, path: Path) -> None:
    """Write a picture, whole or not at all; the ending says the format."""
    kind = Image.registered_extensions()[path.suffix.lower()]
    with files.draft(path) as file:
        image.save(file, kind, quality=88)


def trajectory_map(taken: Rollouts, path: Path) -> None:
    """A PNG of where each skill goes: over the floor, or along x against time.

    Worlds without a floor are drawn over the plane they name, else over their first feat.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    axes = horizontal(taken.spec)
    plane = taken.spec.plane if len(axes) != 1 else axes
    if len(plane) < 1:
        plane = taken.spec.feat_names[:1]
    flat = len(plane) == 2
    figure = Figure(figsize=(7.2, 7.2) if flat else (8.4, 6.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.add_subplot()
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(colors=FAINT, labelsize=9)
    for side in ("left", "bottom"):
        panel.spines[side].set_color(FAINT)
    panel.grid(color="#eceff3", linewidth=0.8)
    panel.set_axisbelow(True)
    draw = _over_plane if flat else _against_time
    draw(panel, taken, tuple(plane))
    with files.draft(path) as file:
        figure.savefig(file, format="png", facecolor=PAPER)


def _unit(taken: Rollouts, name: str) -> str:
    return f"{name} ({taken.spec.feat_units[taken.spec.feat_names.index(name)]})"


def _path(taken: Rollouts, name: str) -> Array:
    """[K, R, T + 1], NaN past the end of an episode."""
    path = np.concatenate([taken.begun(name)[..., None], taken.named(name)], 2).astype(np.float64)
    beyond = np.arange(path.shape[2]) > taken.lengths()[..., None]
    path[beyond] = np.nan
    return path


def _over_plane(panel: Any, taken: Rollouts, plane: tuple[str, ...]) -> None:
    from matplotlib.patches import Rectangle

    x, y = (_path(taken, name) for name in plane)
    end_x, end_y = (taken.named(name)[:, :, -1] for name in plane)
    thin = max(1, x.shape[2] // 250)
    for k in range(taken.count):
        tint = colour(k, taken.count)
        for r in range(min(x.shape[1], 12)):
            panel.plot(x[k, r, ::thin], y[k, r, ::thin], color=tint, alpha=0.35, linewidth=1.0)
        panel.scatter(
            end_x[k], end_y[k], s=16, color=tint, edgecolors="white", linewidths=0.5, zorder=3
        )
    for left, low, width, height in taken.walls:
        panel.add_patch(Rectangle((left, low), width, height, facecolor="#c9d0d8", linewidth=0))
    begun = [taken.begun(name).mean() for name in plane]
    panel.plot(*begun, marker="+", markersize=12, color=INK, zorder=4)
    for k in range(taken.count):
        panel.annotate(
            str(k),
            (np.median(end_x[k]), np.median(end_y[k])),
            color="white",
            fontsize=9,
            fontweight="bold",
            ha="center",
            va="center",
            zorder=5,
            bbox={
                "boxstyle": "round,pad=0.25",
                "facecolor": colour(k, taken.count),
                "linewidth": 0,
            },
        )
    panel.set_aspect("equal", adjustable="datalim")
    panel.set_xlabel(_unit(taken, plane[0]), color=INK)
    panel.set_ylabel(_unit(taken, plane[1]), color=INK)
    panel.set_title(
        "Where each skill goes: paths, and where they end", color=INK, fontsize=12, loc="left"
    )


def _against_time(panel: Any, taken: Rollouts, plane: tuple[str, ...]) -> None:
    steps = int(taken.lengths().max())
    path = _path(taken, plane[0])[:, :, : steps + 1]
    thin = max(1, steps // 500)
    time = np.arange(0, steps + 1, thin)
    for k in range(taken.count):
        tint = colour(k, taken.count)
        for r in range(min(path.shape[1], 6)):
            panel.plot(time, path[k, r, ::thin], color=tint, alpha=0.9 if r == 0 else 0.25,
                       linewidth=1.8 if r == 0 else 0.8)  # fmt: skip
    last = taken.lengths()[:, 0]
    ends = np.array([path[k, 0, last[k]] for k in range(taken.count)])
    low, high = panel.get_ylim()
    at = _apart(ends, (high - low) / 27)
    for k in range(taken.count):
        tint = colour(k, taken.count)
        panel.annotate(
            f"{k}",
            (last[k], ends[k]),
            (steps * 1.04, at[k]),
            color=tint,
            fontsize=9,
            fontweight="bold",
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": tint, "linewidth": 0.6, "alpha": 0.6},
        )
    panel.set_ylim(min(low, at.min()), max(high, at.max()))
    panel.set_xlim(0, steps * 1.03)
    panel.axhline(0, color=FAINT, linewidth=0.8)
    panel.set_xlabel("step", color=INK)
    panel.set_ylabel(_unit(taken, plane[0]), color=INK)
    panel.set_title(
        f"Where each skill goes: {plane[0]} over time, one colour a skill",
        color=INK,
        fontsize=12,
        loc="left",
    )


def _apart(values: Array, gap: float) -> Array:
    """The values moved as little as it takes for neighbours to be `gap` apart."""
    order = np.argsort(values, kind="stable")
    steps = np.arange(len(values)) * gap
    # Least squares under monotony, by pooling neighbours: the classic isotonic regression.
    pools: list[list[float]] = []
    for value in values[order] - steps:
        pools.append([float(value), 1.0])
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            mean, weight = pools.pop()
            total = pools[-1][1] + weight
            pools[-1][:] = [(pools[-1][0] * pools[-1][1] + mean * weight) / total, total]
    spread = np.concatenate([np.full(int(n), mean) for mean, n in pools]) + steps
    placed = np.empty(len(values))
    placed[order] = spread
    return placed
