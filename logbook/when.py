"""What a choice's yaml says for other choices: `when: {CONDITION: {KEY: VALUE}}`, later wins.

And what it cannot do without: `needs: {GROUP: NAME}`.

A condition is terms joined by `and` and `or`; `and` binds closer. A term is GROUP=NAME or
GROUP=NAME|NAME (agent=sac, command=finetune), GROUP.KEY>=NUMBER (tasks.arms>=16), or what the
world or the family declares: `body` (it has joints), `falls` (it can fall over). A key is one of
the node that it stands in, or else one of the whole config (steps, agent: {lr: ...}).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from logbook.build import GROUPS, nearest
from logbook.errors import UserError
from logbook.leave import ARGUMENTS

WHEN, NEEDS = "when", "needs"
ASIDE = (WHEN, NEEDS)
"""Keys of a node in a file that are none of its hyper-parameters."""
DECLARED = ("body", "falls")
_TERM = re.compile(r"(\w+)=([\w.+|-]+)|([\w.]+)>=([\d.e+]+)|(\w+)")
_CHOSEN = (*GROUPS, "command")

Laid = tuple[Any, str]
"""A value that a condition sets, and the node and the condition that say so."""

Facts = Callable[[str], Any]
"""What holds of a config: the name chosen of a group, the value of a dotted key, a declaration."""


def terms(condition: str) -> list[list[str]]:
    """The terms of a condition: any of the lists, all of each. Raises ValueError."""
    found = [[term.strip() for term in part.split(" and ")] for part in condition.split(" or ")]
    for term in (t for part in found for t in part):
        match = _TERM.fullmatch(term)
        group, _, key, _, word = match.groups() if match else (None,) * 5
        name = group or (key or "").partition(".")[0] or word
        if not match or name not in (DECLARED if word else _CHOSEN):
            meant = nearest(str(name or term), [*_CHOSEN, *DECLARED])
            hint = f"; did you mean {meant}?" if meant else ""
            raise ValueError(
                f"when: {term[:60]!r} is no condition{hint} (GROUP=NAME, GROUP.KEY>=NUMBER, "
                f"{', '.join(DECLARED)}; joined by and, or)"
            )
    return found


def holds(condition: str, facts: Facts) -> bool:
    """Whether a condition holds. Raises ValueError for what is none."""
    return any(all(_holds(term, facts) for term in part) for part in terms(condition))


def _holds(term: str, facts: Facts) -> bool:
    group, names, key, least, word = _TERM.fullmatch(term).groups()  # type: ignore[union-attr]
    if group:
        return facts(group) in names.split("|")
    if word:
        return bool(facts(word))
    try:
        return float(facts(key)) >= float(least)
    except (TypeError, ValueError):  # there is no such key, or no number in it
        return False


def overlays(config: Mapping[str, Any], facts: Facts) -> dict[str, Laid]:
    """What the conditions that hold set: {dotted key: (value, "NODE, when CONDITION")}.

    Raises UserError that names the node and the condition for what cannot be set.
    """
    found: dict[str, Laid] = {}
    for where, node in _nodes(config, WHEN):
        for condition, values in _conditions(where, node[WHEN]):
            source = f"{where}, when {condition}"
            try:
                if not holds(condition, facts):
                    continue
            except ValueError as e:
                raise UserError(f"{where}: {e}") from None
            for key, value in values.items():
                if key == "name" or (key not in node and key not in config):
                    meant = nearest(key, [*node, *config])
                    hint = f"; did you mean {meant}?" if meant else ""
                    raise UserError(f"{source}: {key}: no such key to set{hint}")
                place = f"{where}.{key}" if key in node else key
                for inner, one in _leaves(place, value):
                    found[inner] = (one, source)
    return found


def without(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with no `when` and no `needs` in any node."""
    bare = {k: v for k, v in config.items() if k in GROUPS and isinstance(v, Mapping)}
    return {**config, **{k: _without(k, v) for k, v in bare.items()}}


def _without(where: str, node: Mapping[str, Any]) -> dict[str, Any]:
    if where in ARGUMENTS:  # these are the environment's own
        return dict(node)
    return {
        k: _without(f"{where}.{k}", v) if isinstance(v, Mapping) else v
        for k, v in node.items()
        if k not in ASIDE
    }


def followed(
    config: Mapping[str, Any], defaults: Mapping[str, Any], typed: Collection[str]
) -> list[str]:
    """The choices GROUP=NAME that nodes need and that nobody made: they replace the default.

    Raises UserError where another was typed, or set by a preset.
    """
    found = []
    for where, node in _nodes(config, NEEDS):
        if not isinstance(node[NEEDS], Mapping):
            raise UserError(f"{where}.needs: want {{GROUP: NAME}}")
        for group, name in node[NEEDS].items():
            if group not in GROUPS or not isinstance(name, str):
                raise UserError(f"{where}.needs: {group}: want GROUP: NAME, such as agent: sac")
            chosen = config.get(group, {}).get("name", name)
            if group not in defaults or chosen == name:
                continue
            if group in typed or chosen != defaults[group]:
                raise UserError(
                    f"{group}={chosen}: {where}={node['name']} needs {group}={name}; leave {group} "
                    f"out, or choose another {where.partition('.')[0]}"
                )
            found.append(f"{group}={name}")
    return found


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} as {"a": {"b": 1}}."""
    whole: dict[str, Any] = {}
    for key, value in flat.items():
        *path, last = key.split(".")
        node = whole
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return whole


def _nodes(config: Mapping[str, Any], said: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The nodes with such a key (`when`, `needs`), each with its dotted place."""
    stack = [(k, v) for k, v in reversed(list(config.items())) if k in GROUPS]
    while stack:
        where, node = stack.pop()
        if not isinstance(node, Mapping) or where in ARGUMENTS:
            continue
        if said in node:
            yield where, node
        stack += [(f"{where}.{k}", v) for k, v in node.items() if k not in ASIDE]


def _conditions(where: str, node: Any) -> list[tuple[str, Mapping[str, Any]]]:
    if not isinstance(node, Mapping) or not all(isinstance(v, Mapping) for v in node.values()):
        raise UserError(f"{where}.when: want {{CONDITION: {{KEY: VALUE}}}}")
    return list(node.items())


def _leaves(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping) or place in ARGUMENTS:
        if place in GROUPS:
            raise UserError(f"when: {place}: want keys below it; a choice is no setting")
        if place.endswith(".name"):
            raise UserError(f"when: {place}: a choice is no setting")
        yield place, value
        return
    for key, inner in value.items():
        yield from _leaves(f"{place}.{key}", inner)
