"""What a run's numbers depend on besides its config: recorded, and compared when it goes on."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from logbook.build import GROUPS, ROOT
from logbook.errors import Exit, UserError

AGAIN = "begin it again in another folder"
_PACKAGES = ("torch", "numpy", "mujoco", "gymnasium", "dm-control", "safetensors", "autotelic")


def snapshot() -> dict[str, str]:
    """Versions, processor, threads and device kind of this process, as far as it has loaded them.

    Exact resume is promised between two equal snapshots.
    """
    found = {"python": platform.python_version(), "processor": _processor()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "absent"
    found["code"] = code()
    torch = sys.modules.get("torch")
    if torch is not None:
        found["vector instructions"] = torch.backends.cpu.get_cpu_capability()
        found["torch threads"] = str(torch.get_num_threads())
        cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
        found["device"] = torch.cuda.get_device_name() if cuda else "cpu"
    return found


def code() -> str:
    """A digest of the sources of our worlds, agents and skills, which may change under a run."""
    digest = hashlib.sha256()
    for package in sorted({group.package for group in GROUPS.values()}):
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Lines such as `mujoco 3.16 -> 3.17`, one for each key of both that differs."""
    return [f"{k} {before[k]} -> {v}" for k, v in now.items() if k in before and before[k] != v]


@contextmanager
def fitting(place: str, cure: str) -> Iterator[None]:
    """State that another version of this package wrote and that does not fit is a UserError."""
    try:
        yield
    except (UserError, MemoryError, OSError):
        raise
    except Exception as e:  # of any type: whoever wrote the state may have put anything there
        if getattr(e, "one_line", False):  # a world that cannot go on, whatever the state
            raise
        why = f"{type(e).__name__}: {' '.join(str(e).split())[:120]}"
        told = f"{place}: its checkpoint was written by another version of this package ({why})"
        raise UserError(f"{told}; {cure}", Exit.CHECKPOINT) from None


def alike(state: Any, like: Any, where: str = "") -> None:
    """Hold a saved state against one of the same training: arrays where arrays are, of their type.

    Lengths may differ, since replays and records grow. Raises ValueError that names the place.
    """
    if isinstance(like, Mapping) and isinstance(state, Mapping):
        for key in like:
            if key in state:
                alike(state[key], like[key], f"{where}.{key}" if where else str(key))
    elif hasattr(like, "dtype") and hasattr(like, "shape"):
        if type(state) is not type(like):
            raise ValueError(f"{where} is a {type(state).__name__}, no {type(like).__name__}")
        if state.dtype != like.dtype or len(state.shape) != len(like.shape):
            raise ValueError(
                f"{where} is {state.dtype} {list(state.shape)}, not {like.dtype} {list(like.shape)}"
            )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
