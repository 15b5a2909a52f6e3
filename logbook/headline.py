"""How well a finished run did, first: what its table and summary.json begin with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logbook import files
from logbook.identity import flat

Summary = Mapping[str, Any]


def headline(summary: Summary, folder: Path) -> dict[str, Any]:
    """Return and success of fine-tuning, against scratch where such a run stands beside it."""
    final = _node(summary, "finetune", "final")
    if final:
        found = {"return": final["mean"], "return_95": final["95"], "success": final["success"]}
        scratch = _scratch(summary, folder)
        return found if scratch is None else {**found, "return_of_scratch": scratch}
    meta = _node(summary, "meta")
    if meta:
        shots = meta["returns_by_shot"]
        found = {"return": meta["returns_total"], "return_95": meta["returns_total_95"]}
        return {**found, "first_episode": shots[0], "last_episode": shots[-1]}
    return {}


def rows(summary: Summary) -> list[tuple[str, Any]]:
    """What a stranger reads at the end of a run: the headline, then all other single numbers."""
    told = flat({k: v for k, v in summary.items() if k not in _HEADS})
    heads: list[tuple[str, Any]] = []
    for key, name in _HEADS.items():
        if key in summary:
            value = summary[key]
            half = summary.get(f"{key}_95")
            shown = f"{100 * value:.0f} %" if key == "success" else f"{value:,.4g}"
            heads.append((name, shown if half is None else f"{shown} ± {half:.2g}"))
    hidden = ("return_95", "finetune.strategy", "finetune.task", "meta.returns_total_95")
    rest = [
        (key, value)
        for key, value in told.items()
        if key.count(".") < 2 and not isinstance(value, list | dict) and key not in hidden
    ]
    return [*heads, *rest]


_HEADS = {
    "return": "return",
    "success": "success",
    "return_of_scratch": "return of scratch",
    "first_episode": "first episode",
    "last_episode": "last episode",
}


def _scratch(summary: Summary, folder: Path) -> float | None:
    """What the run of strategy=scratch on the same task, with this name and seed, came to."""
    own, here = _node(summary, "finetune"), folder.resolve()
    strategy = own.get("strategy")
    top = here.parents[1].name if len(here.parents) > 2 else ""
    if strategy == "scratch":
        return None
    places = [here.parent / "scratch"]  # strategy=all
    if top.startswith(f"{strategy}-"):
        same = top.removeprefix(f"{strategy}-")
        places.append(here.parents[2] / f"scratch-{same}" / here.parent.name / here.name)
    for place in places:
        other = files.readable_json(place / "summary.json")
        known = _node(other, "finetune")
        alike = all(known.get(key) == own.get(key) for key in ("task", "reward"))
        mean = _node(known, "final").get("mean")
        if alike and other.get("steps") == summary.get("steps") and isinstance(mean, int | float):
            return float(mean)
    return None


def _node(node: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return dict(node) if isinstance(node, Mapping) else {}
