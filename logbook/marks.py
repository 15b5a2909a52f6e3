"""What a run folder says of itself in its small files: its stage, how far it is, under what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logbook import files
from logbook.errors import Exit, UserError

_MOST = 2**53  # env steps: beyond this a number of JSON is not exact


@dataclass(frozen=True)
class Status:
    """How far a run is: its state (running, stopped, failed, finished; empty if it never began)."""

    state: str = ""
    step: int = 0
    steps: int = 0


def stage_of(folder: Path, default: str = "") -> str:
    """The stage that run.json names, `default` where it is silent. Raises UserError (code 5)."""
    path = folder / "run.json"
    return str(_entry(path, files.read_json(path), "stage", default))[:40]


def status_of(folder: Path) -> Status:
    """What status.json says. Raises UserError (code 5) where it makes no sense."""
    path = folder / "status.json"
    found, usual = files.read_json(path), Status()
    entries = {k: _entry(path, found, k, getattr(usual, k)) for k in ("state", "step", "steps")}
    return Status(**entries)


def sessions_of(folder: Path) -> list[dict[str, Any]]:
    """The sessions of versions.json, oldest first. Raises UserError (code 5)."""
    path = folder / "versions.json"
    sessions: list[Any] = _entry(path, files.read_json(path), "sessions", [])
    if not all(isinstance(s, dict) and isinstance(s.get("versions"), dict) for s in sessions):
        raise _damaged(path, "its sessions are no objects with versions")
    return sessions


def _entry(path: Path, found: dict[str, Any], key: str, default: Any) -> Any:
    value = found.get(key, default)
    if type(value) is not type(default):
        raise _damaged(path, f"{key} is a {type(value).__name__}, no {type(default).__name__}")
    if isinstance(value, int) and not 0 <= value <= _MOST:
        raise _damaged(path, f"{key} is {value}")
    return value


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path} is damaged: {why}; put back a copy, or delete it", Exit.CHECKPOINT)
