"""What a whole config may hold: its keys, their types, and the configs that strangers hand us.

A config is plain data: a dict of numbers, words and lists. The yaml of the command
(`configs/pretrain.yaml`) says which common keys there are and, by their defaults, of which type;
the nodes of the groups are held against their constructors (logbook/build.py).
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from logbook import leave
from logbook.build import GROUPS, ROOT, check_node, nearest, typed
from logbook.errors import Exit, UserError
from logbook.plain_yaml import read_yaml as read_yaml
from logbook.sizes import fit
from logbook.when import ASIDE

CONFIGS = ROOT / "configs"

_LIMITS: dict[str, tuple[float, float]] = {
    "steps": (1, 1e15),
    "num_envs": (1, 1e6),
    "seed": (0, 2**32 - 1),
    "checkpoint_every": (1, 1e15),
    "log_every": (1, 1e15),
    "episode_steps": (1, 1e15),
    "skill_steps": (1, 1e15),
    "evaluate.steps": (1, 1e9),
    "evaluate.reps": (1, 1e6),
    "evaluate.tasks": (1, 1e6),
    "evaluate.horizon": (1, 1e6),
    "evaluate.every": (1, 1e15),
    "evaluate.episodes": (1, 1e5),
    "burn_in": (0, 1e6),
    "horizon": (1, 1e6),
}
_NULLABLE = {"episode_steps"}  # besides the keys whose default is null
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_NAME = re.compile(r"[\w.,=+@-]{1,120}")


def template(command: str) -> dict[str, Any]:
    """The common keys of a command with their defaults, from `configs/COMMAND.yaml`."""
    raw = read_yaml(CONFIGS / f"{command}.yaml")
    nodes = {k for k in GROUPS if raw.get(k) == {}}
    return {k: v for k, v in raw.items() if k not in {"defaults", "hydra", *nodes}}


def node_of(group: str, name: str) -> dict[str, Any]:
    """The node of a choice of ours, with what its file takes in, and before any `when`."""
    raw = read_yaml(CONFIGS / group / f"{name}.yaml")
    whole: dict[str, Any] = {}
    for base in raw.get("defaults", ["_self_"]):
        whole |= raw if base == "_self_" else node_of(group, base)
    return {k: v for k, v in whole.items() if k not in ("defaults", *ASIDE)}


@functools.cache
def selectable(command: str) -> dict[str, str | None]:
    """The groups that a command chooses from, presets among them, and their default choices."""
    raw = read_yaml(CONFIGS / f"{command}.yaml")
    entries = [entry for entry in raw["defaults"] if isinstance(entry, Mapping)]
    return {k: v for entry in entries for k, v in entry.items() if " " not in k}


def groups(command: str) -> list[str]:
    """The groups whose choice a command's config holds as a node, such as skill and env."""
    return [k for k in selectable(command) if k in GROUPS] + inherited(command)


@functools.cache
def inherited(command: str) -> list[str]:
    """The groups that a command takes from an earlier run: its yaml leaves them empty."""
    raw = read_yaml(CONFIGS / f"{command}.yaml")
    return [k for k in GROUPS if raw.get(k) == {}]


def check(config: Mapping[str, Any], command: str) -> dict[str, Any]:
    """The config with its values converted to their types; imports neither torch nor mujoco.

    Raises `UserError` that names the key, the nearest valid one and the remedy.
    """
    common, nodes = template(command), groups(command)
    _same_keys("", config, [*common, *nodes])
    checked: dict[str, Any] = {}
    for key, default in common.items():
        checked[key] = _common(key, config[key], default)
    if inherited(command):
        from logbook.heritage import inherit  # which reads the earlier run's config by this module

        config = inherit({**config, **checked}, command)
    for group in nodes:
        if group in inherited(command) and config[group] == {}:  # the earlier run has none
            checked[group] = {}
            continue
        _plain(group, config[group])  # what is saved must be read again
        checked[group] = check_node(group, config[group])
        _counts(group, checked[group])
    fit(checked)
    return checked


def load_config(path: Path, command: str) -> dict[str, Any]:
    """A saved `config.yaml` as data: nothing in it is resolved, imported or run.

    Names are looked up among ours and the installed entry points only; keys and types must be
    those of today's constructors, but for those that configs/older.yaml fills in. An environment
    of its author's choice wants leave (logbook/leave.py), which no config gives itself.
    Raises `UserError` (code 5).
    """
    raw = read_yaml(path)
    if not isinstance(raw, Mapping):
        raise UserError(f"{path} is not a config: want keys and values", Exit.CHECKPOINT)
    try:
        _plain("", raw)
        checked = check(filled(raw), command)
    except UserError as e:
        raise UserError(f"{path}: {e}", Exit.CHECKPOINT) from None
    from logbook.identity import digest  # which reads configs by this module
    from logbook.origin import located

    leave.admit(path, checked.get("env", {}), digest(raw, command))
    if "from" in checked:
        checked["from"] = located(checked["from"], path.parent)
    return checked


def filled(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A saved config with the keys that it is too old to have (configs/older.yaml)."""
    whole = dict(raw)
    for group, by_name in read_yaml(CONFIGS / "older.yaml").items():
        node = raw.get(group)
        if isinstance(node, Mapping) and isinstance(node.get("name"), str):
            late = (keys for names, keys in by_name.items() if node["name"] in names.split("|"))
            whole[group] = {**next(late, {}), **node}
    return whole


def _plain(where: str, value: Any) -> None:
    """Refuse what plain data does not need: interpolations, odd keys, dates, endless numbers."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str) or "${" in key:
                raise UserError(f"{where or 'config'} has the key {key!r}; want plain words")
            _plain(f"{where}.{key}" if where else key, inner)
    elif isinstance(value, list):
        for inner in value:
            _plain(where, inner)
    elif isinstance(value, str) and "${" in value and where != "from":  # which may be so named
        raise UserError(f"{where}={value!r} is an interpolation; a saved config holds values only")
    elif not isinstance(value, str | int | float | None):
        raise UserError(f"{where} is a {type(value).__name__}; want a number, word or list")
    elif isinstance(value, int) and abs(value) > 2**63:
        raise UserError(f"{where} is a number of {value.bit_length()} bits; at most 63 make sense")


def _same_keys(where: str, config: Mapping[str, Any], wanted: list[str]) -> None:
    prefix = f"{where}." if where else ""
    for key in config:
        if key not in wanted:
            meant = nearest(str(key), wanted)
            hint = f"did you mean {prefix}{meant}?" if meant else "keys: " + ", ".join(wanted)
            raise UserError(f"{prefix}{key}: no such key; {hint}")
    for key in wanted:
        if key not in config:
            raise UserError(f"{prefix}{key}: missing; give {prefix}{key}=VALUE")


def _common(where: str, value: Any, default: Any) -> Any:
    if isinstance(default, Mapping):
        if not isinstance(value, Mapping):
            raise UserError(f"{where}={value}: want keys below it, such as {where}.KEY=VALUE")
        _same_keys(where, value, list(default))
        return {k: _common(f"{where}.{k}", value[k], default[k]) for k in default}
    special: dict[str, Callable[[str, Any], Any]] = {
        "device": _device,
        "name": _name,
        "from": _folder,
    }
    if where in special:
        return special[where](where, value)
    kinds = {bool: "bool", int: "int", float: "float", str: "str", list: "list"}
    annotation = kinds.get(type(default), "")
    if default is None or where in _NULLABLE:
        annotation = "int | None"
    found = typed(where, value, annotation, default)
    low, high = _LIMITS.get(where, (0 if isinstance(default, int) else -math.inf, math.inf))
    if isinstance(found, int | float) and not isinstance(found, bool) and not low <= found <= high:
        side, limit = ("at least", low) if found < low else ("at most", high)
        better = f"{limit:g}" if default is None else default
        raise UserError(f"{where}={found}: want {side} {limit:g}, for example {where}={better}")
    return found


def _counts(group: str, node: Mapping[str, Any]) -> None:
    """Whole numbers in a node count something: refuse negative ones before torch is loaded."""
    for key, value in node.items():
        if isinstance(value, Mapping) and key != "kwargs":  # those are the environment's own
            _counts(f"{group}.{key}", value)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int) and not isinstance(number, bool) and number < 0:
                raise UserError(f"{group}.{key}={value}: want 0 or more")


def _device(where: str, value: Any) -> str:
    if not isinstance(value, str) or not _DEVICE.fullmatch(value):
        meant = nearest(str(value), ["auto", "cpu", "cuda"]) or "auto"
        raise UserError(f"{where}={value}: want auto, cpu, cuda or cuda:N; try {where}={meant}")
    return value


def _folder(where: str, value: Any) -> str | None:
    return None if value is None else str(typed(where, value, "str"))


def _name(where: str, value: Any) -> str:
    text = typed(where, value, "str")
    if not _NAME.fullmatch(text) or text.startswith("."):
        raise UserError(
            f"{where}={text}: it names a folder; want letters, digits and any of . , = + @ _ -"
        )
    return str(text)
