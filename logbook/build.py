"""From a config node to an object: names, not paths.

A node `{name: diayn, num_skills: 16}` names a module of ours (`skills/diayn.py`) or an installed
entry point; the class is the single name in that module's `__all__`. Modules are loaded one at a
time and only when named, so a broken plug-in hurts nobody but its users.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from logbook import leave
from logbook.errors import Exit, UserError, no_memory
from logbook.signature import (
    SETTINGS,
    Misfit,
    OutOfRange,
    Signature,
    class_name,
    constant,
    convert,
    from_class,
    from_source,
    settings_class,
)

ROOT = Path(__file__).resolve().parent.parent
"""Where our packages lie."""


@dataclass(frozen=True)
class Group:
    """A kind of thing that a config can name."""

    package: str
    plugins: str
    context: frozenset[str] = frozenset()
    """Arguments that the program gives to this kind alone."""
    contract: str = ""
    """An argument so annotated is a node of this kind."""

    @property
    def folder(self) -> Path:
        """Where the package's files lie."""
        return ROOT / self.package.replace(".", "/")


GROUPS = {
    "skill": Group("skills", "autotelic.skills", contract="Skill"),
    "env": Group("envs", "autotelic.envs", contract="World"),
    "agent": Group("rl", "autotelic.agents", contract="Agent"),
    "tasks": Group("envs.tasks", "autotelic.tasks", frozenset({"source"})),
    "learner": Group(
        "meta",
        "autotelic.learners",
        frozenset("task_dim episodes burn_in horizon total_steps".split()),
    ),
    "task": Group("finetune.task", "autotelic.downstream"),
    "strategy": Group("finetune", "autotelic.strategies"),
}

CONTEXT = frozenset("world world_spec z_dim device seed generator num_envs render_mode".split())
"""Arguments that the program gives, not the config; a constructor takes those it asks for."""


def names(group: str) -> list[str]:
    """Every name that `lookup` would find, ours and the installed ones, sorted."""
    found = {p.name for p in entry_points(group=GROUPS[group].plugins)}
    for path in GROUPS[group].folder.glob("[!_]*.py"):
        if class_name(path) is not None:
            found.add(path.stem)
    return sorted(found)


def lookup(group: str, name: str) -> type[Any]:
    """The class of that name. Raises `UserError` for an unknown name or a broken plug-in."""
    path = _ours(group, name)
    if path is not None:
        module = importlib.import_module(f"{GROUPS[group].package}.{name}")
        return _single(module)
    point = _plugin(group, name)
    if point is None:
        raise UserError(f"{group}.name={name}: no such {group}{_choices(name, names(group))}")
    try:
        found = point.load()
        return found if isinstance(found, type) else _single(found)
    except Exception as e:  # a stranger's import can raise anything
        dist = point.dist
        package = f"{dist.name} {dist.version}" if dist else point.value
        raise UserError(
            f"{group}={name} comes with the package {package}, which cannot be loaded "
            f"({type(e).__name__}: {_first_line(e)}); update it, or choose another {group}",
            Exit.SETUP,
        ) from e


def signature(group: str, name: str, where: str = "") -> Signature | None:
    """What the class asks for, told without importing it; None if that needs an import."""
    path = _ours(group, name)
    if path is None:
        if _plugin(group, name) is None:
            place, choices = where or group, _choices(name, names(group))
            raise UserError(f"{place}.name={name}: no such {group}{choices}")
        return None
    return from_source(ROOT, f"{GROUPS[group].package}.{name}", class_name(path) or "")


def trait(group: str, name: str, key: str, default: Any) -> Any:
    """The plain value that a class gives to `key`, told without an import where it is ours.

    `default` is that of a class from elsewhere that does not declare the key.
    """
    path = _ours(group, name)
    if path is None:
        return getattr(lookup(group, name), key, default)
    module = f"{GROUPS[group].package}.{name}"
    return constant(ROOT, module, class_name(path) or "", key, default)


def hyper_parameters(group: str, asked: Signature) -> Signature:
    """What the config must give: all that the program does not."""
    given = CONTEXT | GROUPS[group].context | {"name"}
    return {k: p for k, p in asked.items() if k not in given}


def check_node(group: str, node: Any, where: str = "") -> dict[str, Any]:
    """The node with its values converted, and those of nodes in it, as far as without an import.

    Raises `UserError` that names the key, `where` the node stands, for an unknown name, key, type
    or a missing key.
    """
    where = where or group
    if not isinstance(node, Mapping) or not isinstance(node.get("name"), str):
        raise UserError(f"{where}: want a choice, {where}=NAME{_choices('', names(group))}")
    asked = signature(group, node["name"], where)
    return dict(node) if asked is None else _bind(group, node, asked, where)


@dataclass(frozen=True)
class Maker:
    """A node in a node that its owner builds, by a call with context arguments."""

    group: str
    node: Mapping[str, Any]
    where: str

    def __call__(self, **context: Any) -> Any:
        return build(self.group, self.node, self.where, **context)


def build(group: str, node: Mapping[str, Any], where: str = "", /, **context: Any) -> Any:
    """The object that the node describes; it is given those context arguments that it asks for.

    Nodes in it are built first. A `ValueError` of the constructor (a combination that cannot be)
    becomes a `UserError`. `where` is the node's place in a config, if not that of its group.
    """
    strange = set(context) - CONTEXT - GROUPS[group].context
    if strange:
        raise TypeError(f"not context arguments: {sorted(strange)}; add them to build.CONTEXT")
    where = where or group
    if not isinstance(node.get("name"), str):
        check_node(group, node, where)
    cls = lookup(group, node["name"])
    asked = from_class(cls)
    values = _bind(group, node, asked, where)
    values.pop("name")
    if group == "env":
        leave.require(node)
        if "allow_import" in values:
            values["allow_import"] = leave.granted(node)
    for key, value in values.items():
        values[key] = _made(f"{where}.{key}", value, asked[key].annotation, context)
    values |= {k: v for k, v in context.items() if k in asked}
    try:
        if shared := {k: values.pop(k) for k in list(values) if asked[k].shared}:
            values[SETTINGS] = settings_class(cls)(**shared)
        return cls(**values)
    except (MemoryError, RuntimeError, ValueError) as e:
        if no_memory(e):
            raise UserError(
                f"{where}={node['name']} does not fit into memory: make it smaller (widths, "
                "replay_size, num_envs)",
                Exit.CAPABILITY,
            ) from e
        if not isinstance(e, ValueError):
            raise
        line = _first_line(e)
        told = line.startswith(f"{where}.")
        raise UserError(line if told else f"{where}={node['name']}: {line}") from e


def _made(where: str, value: Any, annotation: str, context: Mapping[str, Any]) -> Any:
    """A value, or what is built of it where it is a node, or a dict of nodes."""
    form, group = _part(annotation)
    if not group or value is None:
        return value
    if form == "maker":
        return Maker(group, value, where)
    given = {k: v for k, v in context.items() if k in CONTEXT}
    if form == "each":
        return {k: build(group, node, f"{where}.{k}", **given) for k, node in value.items()}
    return build(group, value, where, **given)


_PART = re.compile(r"(?:(\w+)|dict\[str, (\w+)\]|Callable\[\.\.\., (\w+)\])(?: \| None)?")


def _part(annotation: str) -> tuple[str, str]:
    """How an argument takes nodes (one, each of a dict, maker) and of which group; or empty."""
    if match := _PART.fullmatch(annotation):
        contracts = {g.contract: name for name, g in GROUPS.items() if g.contract}
        for form, word in zip(("one", "each", "maker"), match.groups(), strict=True):
            if word in contracts:
                return form, contracts[word]
    return "", ""


def nearest(word: str, choices: list[str]) -> str | None:
    """The choice that was probably meant."""
    match = get_close_matches(word, choices, 1, 0.6)
    return match[0] if match else None


def _ours(group: str, name: str) -> Path | None:
    path = GROUPS[group].folder / f"{name}.py"
    fits = name.isidentifier() and not name.startswith("_") and path.is_file()
    return path if fits and class_name(path) is not None else None


def _plugin(group: str, name: str) -> EntryPoint | None:
    return next(iter(entry_points(group=GROUPS[group].plugins, name=name)), None)


def _single(module: Any) -> type[Any]:
    if len(module.__all__) != 1:
        raise TypeError(f"{module.__name__}.__all__ must name the one class to build")
    found: type[Any] = getattr(module, module.__all__[0])
    return found


def _bind(group: str, node: Mapping[str, Any], asked: Signature, where: str) -> dict[str, Any]:
    wanted = hyper_parameters(group, asked)
    name = node["name"]
    for key in node:
        if key != "name" and key not in wanted:
            raise UserError(f"{where}.{key}: {name} has no such key{_keys(where, key, wanted)}")
    missing = [k for k, p in wanted.items() if p.required and k not in node]
    if missing:
        choose = f"choose {group}={name}, whose yaml has it, or " if where == group else ""
        raise UserError(
            f"{where}.{missing[0]}: missing, and {name} needs it: {choose}"
            f"add +{where}.{missing[0]}=VALUE"
        )
    values = {"name": name}
    for key, value in node.items():
        if key != "name":
            values[key] = _checked(f"{where}.{key}", value, wanted[key].annotation)
    return values


def _checked(where: str, value: Any, annotation: str) -> Any:
    form, group = _part(annotation)
    if not group or (value is None and annotation.endswith("None")):
        return typed(where, value, annotation)
    if form != "each":
        return check_node(group, value, where)
    if not isinstance(value, Mapping):
        raise UserError(f"{where}={_shown(value)}: want keys, and a node below each of them")
    return {k: check_node(group, inner, f"{where}.{k}") for k, inner in value.items()}


def typed(where: str, value: Any, annotation: str, example: Any = None) -> Any:
    """`value` as the annotation wants it, or a `UserError` that names the key `where`."""
    try:
        return convert(value, annotation)
    except OutOfRange as e:
        number = isinstance(value, int | float)
        told = f"{value:g}" if number else str(value).replace(" ", "")
        line = f"{where}={told}: want {e.wanted}, for example {where}={e.example}"
        raise UserError(line) from None
    except Misfit as e:
        meant = nearest(str(value), list(e.choices))
        better = meant or (e.example if example is None else _shown(example))
        line = f"{where}={_shown(value)}: want {e.wanted}, for example {where}={better}"
        raise UserError(line) from None


def _shown(value: Any) -> str:
    """A value as one types it."""
    if value is None:
        return "null"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _keys(where: str, key: str, wanted: Signature) -> str:
    meant = nearest(key, list(wanted))
    if meant:
        return f"; did you mean {where}.{meant}?"
    if not wanted:
        return "; it has none at all"
    return "; it has " + ", ".join(f"{where}.{k}" for k in wanted)


def _choices(word: str, known: list[str]) -> str:
    meant = nearest(word, known)
    hint = f"; did you mean {meant}?" if meant else ""
    return f"{hint} (choices: {', '.join(known)})" if known else hint


def _first_line(e: BaseException) -> str:
    return (str(e) or type(e).__name__).strip().splitlines()[0]
