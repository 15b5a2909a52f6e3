"""A nested state as strict JSON beside named arrays.

JSON has no tuples, no integer keys, no NaN and no 128-bit integers that other readers keep, and
optimisers and generators have all four. So every JSON object here has exactly one key, its kind:

    {"dict": {...}}  {"items": [[key, value], ...]}  {"tuple": [...]}
    {"tensor": name}  {"array": name}  {"int": "123"}  {"float": "nan"}

Plain strings, small integers, finite floats, true, false, null and lists stand for themselves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_EXACT = 2**53  # integers beyond this are strings: other JSON readers would round them


class Encoder:
    """Turns values into JSON and collects their arrays and tensors under unique names."""

    def __init__(self) -> None:
        self.leaves: dict[str, Any] = {}

    def encode(self, value: Any, path: str) -> Any:
        """The JSON form of `value`; raises TypeError naming the path of what cannot be kept."""
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, np.generic):
            return self.encode(value.item(), path)
        if isinstance(value, int):
            return int(value) if abs(value) <= _EXACT else {"int": str(int(value))}
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, list):
            return [self.encode(v, f"{path}.{i}") for i, v in enumerate(value)]
        if isinstance(value, tuple):
            return {"tuple": [self.encode(v, f"{path}.{i}") for i, v in enumerate(value)]}
        if isinstance(value, Mapping):
            return self._mapping(value, path)
        if isinstance(value, np.ndarray):
            return {"array": self._keep(value, path)}
        if type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach"):
            return {"tensor": self._keep(value.detach(), path)}
        raise TypeError(
            f"{path} is a {type(value).__name__}: a checkpoint holds only tensors, arrays, "
            "numbers, strings, None, and lists, tuples and dicts of them"
        )

    def _mapping(self, value: Mapping[Any, Any], path: str) -> Any:
        if all(isinstance(k, str) for k in value):
            return {"dict": {k: self.encode(v, f"{path}.{k}") for k, v in value.items()}}
        for k in value:
            if isinstance(k, bool) or not isinstance(k, (str, int)):
                raise TypeError(f"{path} has the key {k!r}: keys are strings or integers")
        return {"items": [[k, self.encode(v, f"{path}.{k}")] for k, v in value.items()]}

    def _keep(self, leaf: Any, path: str) -> str:
        name, n = path, 1
        while name in self.leaves:  # {"a.b": x, "a": {"b": y}}
            n += 1
            name = f"{path}#{n}"
        self.leaves[name] = leaf
        return name


def decode(tree: Any, leaf: Callable[[str, str], Any]) -> Any:
    """Undo `Encoder.encode`; `leaf(kind, name)` fetches an array or tensor. Raises ValueError."""
    if isinstance(tree, list):
        return [decode(v, leaf) for v in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) != 1:
        raise ValueError(f"an object with {len(tree)} kinds")
    [(kind, value)] = tree.items()
    if kind == "dict" and isinstance(value, dict):
        return {k: decode(v, leaf) for k, v in value.items()}
    if kind == "items" and isinstance(value, list):
        return {k: decode(v, leaf) for k, v in value}
    if kind == "tuple" and isinstance(value, list):
        return tuple(decode(v, leaf) for v in value)
    if kind in ("tensor", "array") and isinstance(value, str):
        return leaf(kind, value)
    if kind == "int" and isinstance(value, str):
        return int(value)
    if kind == "float" and value in ("nan", "inf", "-inf"):
        return float(value)
    raise ValueError(f"an object of the unknown kind {kind!r}")


def dumps(value: Any) -> bytes:
    """Strict JSON, the same bytes for the same value."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
