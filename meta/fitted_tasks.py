"""What tasks are that were fitted to a learner's own states: `inspect-tasks` of a run of CARML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logbook import files, progress
from logbook.attempt import attempt
from logbook.build import build
from logbook.charts import chart, read_curves
from logbook.heritage import newest_state
from logbook.markup import document, escape, facts, next_command
from logbook.versions import fitting

CELLS = 60  # of a map, along each axis


def inspect_fitted(folder: Path, config: Mapping[str, Any], to: Path) -> int:
    """Write `to`/tasks.html, tasks.json and tasks/fitted.png from the run's newest checkpoint.

    Returns the exit code. Raises UserError (5) if no checkpoint can be trusted.
    """
    state = newest_state(folder, "metatrain")
    family = build("tasks", config["tasks"], num_envs=1, seed=int(config["seed"]))
    with fitting(str(folder), "train it again"):
        family.take(state["family"]["world"]["lessons"])
        step = int(state["step"])
    fit = family.lessons()
    low, high = (np.quantile(fit["states"], q, axis=0) for q in (0.01, 0.99))
    middle, half = (low + high) / 2, 0.6 * (high - low).max() + 0.05
    x, y = np.linspace(middle - half, middle + half, CELLS).T
    maps = family.rewards_at(np.stack(np.meshgrid(x, y), -1))  # [y, x, K]
    picture = files.subfolder(to / "tasks") / "fitted.png"
    limit = float(np.quantile(np.abs(family.rewards_at(fit["states"])), 0.95))
    why = attempt(lambda: _draw(picture, x, y, maps, limit, fit))
    if why:
        progress.say(f"no fitted.png: {why}")
        files.remove(picture)  # an older one shows other tasks
    rows = [
        {"share": float(s), "middle": m.tolist(), "spread": d.tolist()}
        for s, m, d in zip(fit["share"], fit["middle"], fit["spread"], strict=True)
    ]
    entropy = read_curves(folder / "metrics.jsonl").get("tasks/entropy", [])
    numbers = {"step": step, "updates": int(fit["updates"]), "components": rows}
    numbers["entropy"] = [list(point) for point in entropy]
    files.replace(to / "tasks.json", files.pretty(numbers))
    about = {
        "title": "Fitted tasks",
        "env steps": f"{step:,}",
        "updates": fit["updates"],
        "next": progress.paste("evaluate", folder, "tasks=point_goal"),
    }
    files.replace(to / "tasks.html", document("Fitted tasks", _page(about, rows, entropy, not why)))
    effective = float(np.exp(-(fit["share"] * np.log(np.maximum(fit["share"], 1e-12))).sum()))
    told: list[tuple[str, Any]] = [("components", f"{len(rows)}, effectively {effective:.1f}")]
    if entropy:
        told.append(("entropy of states", f"{entropy[0][1]:.2f} to {entropy[-1][1]:.2f} nats"))
    progress.table(told)
    progress.say(f"look at {to / 'tasks.html'}")
    return 0


def _page(
    about: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    entropy: Sequence[tuple[float, float]],
    drawn: bool,
) -> str:
    body = "".join(
        f"<tr><td>{k}</td><td>{row['share']:.3f}</td><td>{row['middle'][0]:+.2f}, "
        f"{row['middle'][1]:+.2f}</td><td>{row['spread'][0]:.2f}, {row['spread'][1]:.2f}</td></tr>"
        for k, row in enumerate(rows)
    )
    heads = "<tr><th>task</th><th>share</th><th>middle, m</th><th>spread, m</th></tr>"
    curve = f'<h2>Entropy of where it goes, nats</h2><div class="box">{chart("entropy", entropy)}'
    picture = (
        "<h2>What each task pays, and where</h2>"
        '<div class="box"><img src="tasks/fitted.png" alt="reward over the plane, by task"></div>'
        "<p class=soft>Blue is paid, red costs; dots are states of the learner that the tasks were "
        "fitted to, the ellipse is one spread of the component.</p>"
    )
    return (
        f"<h1>{escape(about['title'])}</h1>{facts(about)}{picture if drawn else ''}"
        f"{curve + '</div>' if entropy else ''}"
        f'<div class="box wide"><table class="skills">{heads}{body}</table></div>'
        f"{next_command(about)}"
    )


def _draw(path: Path, x: Any, y: Any, maps: Any, limit: float, fit: Mapping[str, Any]) -> None:
    """A map of every component's reward [y, x, K], full colours from `limit` on."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Ellipse

    count, some = maps.shape[-1], fit["states"][:: max(1, len(fit["states"]) // 300)]
    across = min(4, count)
    down = -(-count // across)
    figure = Figure(figsize=(2.7 * across, 2.7 * down), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for k in range(count):
        panel = figure.add_subplot(down, across, k + 1)
        panel.pcolormesh(x, y, maps[..., k], cmap="RdBu", vmin=-limit, vmax=limit, rasterized=True)
        panel.plot(*some.T, ".", color="#1f2733", markersize=1.2, alpha=0.5)
        width, height = 2 * fit["spread"][k]
        panel.add_patch(Ellipse(fit["middle"][k], width, height, fill=False, color="#1f2733"))
        panel.set_title(f"task {k}, share {fit['share'][k]:.2f}", fontsize=9, loc="left")
        panel.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal")
        panel.tick_params(labelsize=7)
    with files.draft(path) as file:
        figure.savefig(file, format="png")
