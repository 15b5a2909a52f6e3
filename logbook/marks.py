"""What a run folder says of itself in its small files: its stage, how far it is, under what."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from logbook import files
from logbook.checkpoint import CheckpointError
from logbook.errors import Exit, UserError
from logbook.record import now

_MOST = 2**53  # env steps: beyond this a number of JSON is not exact
_SESSIONS = 999


@dataclass(frozen=True)
class Status:
    """How far a run is: its state (running, stopped, failed, finished; empty if it never began)."""

    state: str = ""
    step: int = 0
    steps: int = 0


@dataclass(frozen=True)
class Notes:
    """What a checkpoint holds of its run: bytes of metrics.jsonl, seconds spent, if it is exact."""

    metrics: int = 0
    elapsed: float = 0.0
    exact: bool = True


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


def is_run(folder: Path) -> bool:
    """Whether a config.yaml lies there; what reads it says what is wrong with it."""
    return os.path.lexists(folder / "config.yaml")


def set_status(folder: Path, status: Status) -> None:
    """Write status.json. Raises OSError."""
    text = files.pretty({**asdict(status), "time": now()})
    files.replace(folder / "status.json", text)


def notes_of(folder: Path, notes: Mapping[str, Any]) -> Notes:
    """The notes of the checkpoint in `folder`. Raises CheckpointError where they make no sense."""
    found = Notes(**{key: notes.get(key, usual) for key, usual in asdict(Notes()).items()})
    fine = type(found.metrics) is int and 0 <= found.metrics <= _MOST and type(found.exact) is bool
    if not fine or type(found.elapsed) not in (int, float) or not 0 <= found.elapsed <= _MOST:
        raise CheckpointError(folder / "manifest.json", "its notes make no sense")
    return found


def sessions_of(folder: Path) -> list[dict[str, Any]]:
    """The sessions of versions.json, oldest first. Raises UserError (code 5)."""
    path = folder / "versions.json"
    sessions: list[Any] = _entry(path, files.read_json(path), "sessions", [])
    if not all(isinstance(s, dict) and isinstance(s.get("versions"), dict) for s in sessions):
        raise _damaged(path, "its sessions are no objects with versions")
    return sessions


def add_session(
    folder: Path, step: int, changes: Sequence[str], versions: Mapping[str, str]
) -> None:
    """Note in versions.json that the run goes on from `step`, and under what. Raises OSError."""
    session = {"time": now(), "host": socket.gethostname(), "from_step": step}
    session |= {"changes": list(changes), "versions": dict(versions)}
    sessions = [*sessions_of(folder)[-_SESSIONS:], session]
    files.replace(folder / "versions.json", files.pretty({"sessions": sessions}))


def _entry(path: Path, found: dict[str, Any], key: str, default: Any) -> Any:
    value = found.get(key, default)
    if type(value) is not type(default):
        raise _damaged(path, f"{key} is a {type(value).__name__}, no {type(default).__name__}")
    if isinstance(value, int) and not 0 <= value <= _MOST:
        raise _damaged(path, f"{key} is {value}")
    return value


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path} is damaged: {why}; put back a copy, or delete it", Exit.CHECKPOINT)
