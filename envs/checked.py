"""What somebody's environment says, held against its spaces: one line where it differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from envs.base import Array, WorldError

_WANTED = {
    "reset": "want reset(*, seed=None, options=None) -> obs, info",
    "step": "want step(act) -> obs, reward, terminated, truncated, info",
}


def ask(label: str, what: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What `function`, the environment's `what`, returns; WorldError if it raises or exits."""
    try:
        return function(*args, **kwargs)
    except (Exception, SystemExit) as error:
        if getattr(error, "one_line", False):  # not its own: a signal asked for the end
            raise
        hint = f"; {_WANTED[what]}" if what in _WANTED and _old_api(error) else ""
        raise WorldError(f"{label}: its {what} raised {reason(error)}{hint}") from error


def reason(error: BaseException) -> str:
    """The kind of an error and what it says, in one line."""
    said = " ".join(str(error).partition(" was raised from the environment creator")[0].split())
    return f"{type(error).__name__}: {said[:300]}" if said else type(error).__name__


def begun(label: str, said: Any) -> tuple[Any, Mapping[str, Any]]:
    """Observation and info of a reset."""
    if not (isinstance(said, tuple) and len(said) == 2 and isinstance(said[1], Mapping)):
        raise WorldError(f"{label}: its reset returned {_kind(said)}; {_WANTED['reset']}")
    return said


def stepped(label: str, said: Any) -> tuple[Any, float, bool, bool, Mapping[str, Any]]:
    """Observation, reward, terminated, truncated and info of a step."""
    if not (isinstance(said, tuple) and len(said) == 5 and isinstance(said[4], Mapping)):
        raise WorldError(f"{label}: its step returned {_kind(said)}; {_WANTED['step']}")
    obs, rew, terminated, truncated, info = said
    where = f"{label}: its step's"
    paid = number(f"{where} reward", rew)
    ends = number(f"{where} terminated", terminated), number(f"{where} truncated", truncated)
    return obs, paid, bool(ends[0]), bool(ends[1]), info


def number(what: str, value: Any) -> float:
    """One number, as which an array of size 1 passes too."""
    found = _array(value)
    if found is None or found.size != 1:
        raise WorldError(f"{what} is {_kind(value)}; want one number")
    return float(found.reshape(()))


def flat(label: str, space: spaces.Space[Any], obs: Any, when: str) -> Array:
    """An observation of `space` in one row [O]; WorldError if it is not of that kind and shape."""
    wrong = _misfit(space, obs, "obs")
    if wrong:
        raise WorldError(f"{label}: {when} {wrong}")
    if isinstance(space, spaces.Box):
        return np.asarray(obs).ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        row = spaces.utils.flatten(space, obs)
    assert isinstance(row, np.ndarray)
    return row


def remarks(label: str, space: spaces.Space[Any], row: Array) -> Iterator[str]:
    """What to know of observations that are taken, and yet may not be what was meant."""
    parts = [space]
    while parts:
        part = parts.pop()
        if isinstance(part, spaces.Dict | spaces.Tuple):
            parts += part.values() if isinstance(part, spaces.Dict) else part.spaces
        elif isinstance(part, spaces.Box) and len(part.shape) >= 2 and part.dtype == np.uint8:
            yield (
                f"{label}: images of shape {part.shape} become {np.prod(part.shape):,} numbers in "
                "a row, as observed, for networks without convolutions"
            )
    with np.errstate(over="ignore"):
        steps = np.spacing(np.abs(row).astype(np.float32))
    for k in np.flatnonzero(np.isfinite(steps) & (steps > 1))[:1]:
        yield (
            f"{label}: obs[{k}] is {row[k]:.6g}, where float32 tells steps of {steps[k]:g} apart: "
            "count from nearer by"
        )


def _misfit(space: spaces.Space[Any], obs: Any, where: str) -> str:
    """How an observation differs from its space; empty if it does not."""
    if isinstance(space, spaces.Dict):
        if not isinstance(obs, Mapping):
            return f"{where} is {_kind(obs)}, its space wants a dict of {', '.join(space)}"
        missing = [key for key in space if key not in obs]
        if missing:
            return f"{where} has no {missing[0]!r}, which its space has"
        inner = (_misfit(part, obs[key], f"{where}[{key!r}]") for key, part in space.items())
        return next(filter(None, inner), "")
    if isinstance(space, spaces.Tuple):
        if not isinstance(obs, tuple | list) or len(obs) != len(space):
            return f"{where} is {_kind(obs)}, its space wants a tuple of {len(space)}"
        pairs = enumerate(zip(space, obs, strict=True))
        return next(filter(None, (_misfit(part, o, f"{where}[{k}]") for k, (part, o) in pairs)), "")
    found = _array(obs)
    if found is None:
        return f"{where} is {_kind(obs)}, its space wants numbers of shape {space.shape}"
    if isinstance(space, spaces.Discrete):
        low, high = int(space.start), int(space.start + space.n) - 1
        if found.size != 1 or found.dtype.kind == "f" or not low <= int(found.reshape(())) <= high:
            return f"{where} is {_kind(obs)}, its space wants a whole number from {low} to {high}"
    elif found.shape != space.shape:
        return f"{where} has shape {found.shape}, its space has {space.shape}"
    elif isinstance(space, spaces.MultiDiscrete):
        steps = found - space.start
        if found.dtype.kind == "f" or (steps < 0).any() or (steps >= space.nvec).any():
            return f"{where} is {_kind(obs)}, which is not in its space {space}"
    return ""


def _array(value: Any) -> Array | None:
    """A value as an array of numbers; None if it is none."""
    if isinstance(value, np.ndarray):
        return value if value.dtype.kind in "biuf" else None
    try:
        found = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # ragged lists, tensors that live on a GPU
        return None
    return found if found.dtype.kind in "biuf" else None


def _kind(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"a {type(value).__name__}"


def _old_api(error: BaseException) -> bool:
    """Whether an error is one that signatures and results of Gym before 0.26 lead to."""
    said = str(error)
    return (isinstance(error, TypeError) and "argument" in said) or (
        isinstance(error, TypeError | ValueError) and "unpack" in said
    )
