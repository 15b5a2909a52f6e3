"""The run that another was made from: known by what it holds, and found where it lies by now.

A config names it by a path as somebody typed it, from some folder. Folders move, so `run.json`
notes what that run was known by, and the way there from the run that was made from it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from logbook import files, progress
from logbook.errors import UserError

_ID, _AT = "source", "source_at"  # keys of run.json


def holds(folder: Path) -> str | None:
    """What a run or a folder of saved proposals is known by, wherever it lies; None for neither."""
    begun = files.readable_json(folder / "run.json").get("identity")
    if isinstance(begun, str):
        return begun
    from logbook import checkpoint  # slow, and seldom asked

    try:
        saved = checkpoint.listed(folder.resolve())  # which may be a link
        return checkpoint.digest(saved[0]) if saved else None
    except (UserError, OSError, ValueError):
        return None


def located(stored: str | None, run: Path) -> str | None:
    """The path `stored` in the run in `run`, as it leads to what it led to then.

    As it stands, then as the way from `run`, then from the folders that `run` lies in. What is
    found must hold what it held then, where that was noted. `stored` itself if nothing is found.
    """
    if stored is None:
        return None
    noted = _noted(run)
    for place in _places(stored, run):
        known = holds(place)
        if known is not None and noted in (None, known):
            return str(place)
    return stored


def beside(stored: str, path: Path) -> Path:
    """A path stored in the file `path`: as it stands, or from a folder that `path` lies in."""
    places = (Path(stored), *(a / stored for a in path.resolve().parents))
    return next((p for p in places if p.exists()), Path(stored))


def known(config: Mapping[str, Any], run: Path) -> str:
    """What tells the source of the run in `run` from other sources; empty if it has none."""
    if not config.get("from"):
        return ""
    place = Path(located(str(config["from"]), run) or "")
    return _noted(run) or holds(place) or str(place.resolve())


def same(old: Mapping[str, Any], now: Mapping[str, Any], run: Path) -> bool:
    """Whether the config `now` goes on from what the run in `run`, whose config is `old`, does."""
    before, after = old.get("from"), now.get("from")
    if not before or not after:
        return bool(before == after)
    there, here = Path(located(str(before), run) or ""), Path(str(after))
    held, holds_now = _noted(run) or holds(there), holds(here)
    if holds_now is None:
        return there.resolve() == here.resolve() or Path(str(before)).resolve() == here.resolve()
    if held is None:
        progress.warn(f"{run} is too old to say what from={before} held: going on with from={here}")
    return held in (None, holds_now)


def note(run: Path, told: Mapping[str, Any], config: Mapping[str, Any], known: bool) -> None:
    """Write `run.json`: what the run is, beside what its source held and where that lies by now.

    What it says of a run that is `known` stays.
    """
    before = files.read_json(run / "run.json") if known else {}
    whole = {**told, **before}
    place = Path(str(config["from"])) if config.get("from") else None
    found = holds(place) if place is not None else None
    if place is not None and found is not None:
        whole |= {_ID: found, _AT: os.path.relpath(place.resolve(), run.resolve())}
    if whole != before:
        files.replace(run / "run.json", files.pretty(whole))


def name_after(folder: str | Path) -> str:
    """A name for what is made from the run in `folder`: diayn-cheetah-base-0."""
    parts = [p for p in Path(folder or "base").parts if p not in ("/", ".", "..", "runs")]
    return re.sub(r"[^\w.,=+@-]", "_", "-".join(parts[-3:]))[:100] or "base"


def _noted(run: Path) -> str | None:
    noted = files.readable_json(run / "run.json").get(_ID)
    return noted if isinstance(noted, str) else None


def _places(stored: str, run: Path) -> Iterator[Path]:
    """Where the source of `run` may lie."""
    yield Path(stored)
    at, home = files.readable_json(run / "run.json").get(_AT), run.resolve()
    if isinstance(at, str):
        yield _near(Path(os.path.normpath(home / at)))
    if not os.path.isabs(stored):
        yield from (_near(above / stored) for above in home.parents)


def _near(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
