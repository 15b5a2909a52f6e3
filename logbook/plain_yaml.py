"""Yaml that may come from anybody, as plain data: no objects, no aliases, no surprise in size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from logbook import files
from logbook.errors import Exit, UserError

NAME = re.compile(r"\w[\w.+-]{0,99}")
"""What a choice may be called."""
MAX_BYTES = 256 * 1024
_MAX_DEPTH = 12
_MAX_NODES = 10_000
_MAX_NUMBER = 60  # characters
_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in "str int float bool null map seq".split()}


class BadYaml(ValueError):
    """What is wrong with a text, and in which line."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(f"line {line}: {reason}" if line else reason)


class _Loader(yaml.SafeLoader):  # type: ignore[misc, unused-ignore]
    """Plain data; 1e-3 is a number."""


_Loader.add_implicit_resolver(  # type: ignore[no-untyped-call, unused-ignore]
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def read_yaml(path: Path) -> Any:
    """The plain data in a yaml file that may come from anybody.

    Raises `UserError` (code 5) for one that is too large, too deep, repeats itself or is broken.
    """
    try:
        return parse(files.read_text(path, MAX_BYTES))[0]
    except (OSError, BadYaml) as e:
        reason = e.strerror if isinstance(e, OSError) else str(e)
        raise UserError(f"{path} cannot be read as a config: {reason}", Exit.CHECKPOINT) from e


def read_own(path: Path) -> str:
    """The text of a person's own file, which may be a link to one. Raises UserError (code 2)."""
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder, want a file")
        return files.read_text(path.resolve(strict=True), MAX_BYTES)
    except UserError as e:
        told = str(e)
        raise UserError(told if told.startswith(str(path)) else f"{path}: {told}") from None
    except (OSError, RuntimeError) as e:  # RuntimeError: links in a circle
        reason = getattr(e, "strerror", None) or "its links lead in a circle"
        raise UserError(f"{path} cannot be read: {reason}") from None


def choices_in(folder: Path) -> Iterator[Path]:
    """The yaml files in a group's folder whose names can be typed."""
    return (p for p in folder.glob("*.yaml") if NAME.fullmatch(p.stem))


def parse(text: str) -> tuple[Any, dict[str, int]]:
    """The data of a text, and the line of every key in it: {"agent.lr": 3}. Raises BadYaml."""
    try:
        _measure(text)
        loader = _Loader(text)
        lines: dict[str, int] = {}
        node = loader.get_single_node()
        if node is None:
            return None, {}
        _look("", node, lines)
        return loader.construct_document(node), lines  # type: ignore[no-untyped-call, unused-ignore]
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        reason = (e.problem or e.context or "it is no yaml").splitlines()[0]
        if "'\\t'" in reason:
            reason = "it has a tab; indent with blanks"
        raise BadYaml(reason, mark.line + 1 if mark else None) from None
    except yaml.reader.ReaderError as e:
        character = e.character if isinstance(e.character, int) else ord(e.character[:1] or "?")
        line = text.count("\n", 0, e.position) + 1
        raise BadYaml(f"the character {character:#04x} stands there", line) from None
    except (yaml.YAMLError, RecursionError, ValueError) as e:
        if isinstance(e, BadYaml):
            raise
        raise BadYaml((str(e) or "it is no yaml").splitlines()[0]) from None


def _measure(text: str) -> None:
    """Refuse what would grow when it is built, before it is built."""
    depth = count = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        count += 1
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise BadYaml("it has an anchor or alias", line)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH or count > _MAX_NODES:
            raise BadYaml("it is too deep or too long", line)


def _look(where: str, node: Any, lines: dict[str, int]) -> None:
    """Refuse odd keys and values, with their lines; note the lines of the others."""
    line = node.start_mark.line + 1
    lines[where] = line
    if node.tag not in _PLAIN:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")[:40].replace("timestamp", "date")
        raise BadYaml(f"{where or 'it'} is a {kind}; want a number, word or list", line)
    if isinstance(node, yaml.ScalarNode):
        if node.tag.endswith((":int", ":float")) and len(node.value) > _MAX_NUMBER:
            raise BadYaml(f"{where} is a number of {len(node.value)} digits", line)
    elif isinstance(node, yaml.SequenceNode):
        for i, inner in enumerate(node.value):
            _look(f"{where}.{i}", inner, lines)
    else:
        seen = set()
        for key, inner in node.value:
            at = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or not key.tag.endswith(":str"):
                raise BadYaml(f"it has a key that is no plain word: {str(key.value)[:40]}", at)
            if key.value in seen:
                raise BadYaml(f"the key {key.value} stands there twice", at)
            seen.add(key.value)
            _look(f"{where}.{key.value}" if where else key.value, inner, lines)
            lines[f"{where}.{key.value}" if where else key.value] = at
