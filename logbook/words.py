"""Words of a command line that hold paths and formulas: read as typed, printed to be pasted.

Hydra has a grammar of its own, in which commas, brackets, quotes, equals signs, blanks and letters
beyond ASCII mean something or are refused. A path means itself, so its key takes what stands there.
"""

from __future__ import annotations

import os
import re
import shlex
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logbook.errors import UserError

PATHS = ("from", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
"""Keys whose values are paths."""
FORMULAS = ("task.reward", "task.success")
"""Keys whose values have brackets, commas and blanks of their own."""

_STRING = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_ONE = re.compile(_STRING)
_QUOTED = re.compile(rf"\s*{_STRING}(\s*,\s*{_STRING})*\s*")
_SWEEP = re.compile(r"(choice|range|interval|glob|sort|shuffle|str|extend_list)\s*\(.*\)")
_PLAIN = re.compile(r"[A-Za-z_][\w./+-]*", re.ASCII)
_TAKEN = ("null", "true", "false", "inf", "nan")  # words that Hydra reads as something else


def typed(text: str, many: bool = False) -> str:
    """An override as Hydra's grammar wants it, from one as a person types it.

    Only the values of `PATHS` and `FORMULAS` change: they are quoted, where they are not. With
    `many`, commas between paths stand between runs. Raises UserError for what is no path.
    """
    key, equals, value = text.partition("=")
    name = key.lstrip("+")
    if not equals or not value.strip() or value.strip().lower() == "null":
        return text
    if name in FORMULAS:
        return text if value.lstrip()[0] in "'\"" else f"{key}={quoted(value)}"
    if name not in PATHS or _QUOTED.fullmatch(value):
        return text
    if not many:
        return f"{key}={_path(key, value)}"
    if _SWEEP.fullmatch(value):
        return text
    return f"{key}={','.join(_path(key, part) for part in _parted(value))}"


def quoted(text: str) -> str:
    """A string of Hydra's grammar that means just this text."""
    doubled = re.sub(r"(\\+)(?='|\Z)", r"\1\1", text)  # only there does a backslash escape
    escaped = doubled.replace("'", "\\'")
    return f"'{escaped}'"


def folder(text: str) -> Path:
    """A path as a person types it, also behind an equals sign, where shells leave `~` alone.

    Raises UserError for one that could be neither printed nor typed again.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"the path {ascii(text)} is not UTF-8: rename it") from None
    odd = next((c for c in text if unicodedata.category(c) in ("Cc", "Zl", "Zp")), None)
    if odd is not None:
        raise UserError(
            f"the path {ascii(text)} holds {ascii(odd)}: rename it, no line can hold it"
        )
    if text.startswith("~") and not os.path.lexists(text):
        return Path(os.path.expanduser(text))
    return Path(text)


def pasted(*words: object) -> str:
    """Words as a shell takes them: paths, pairs of key and value, or plain words."""
    return shlex.join(_word(word) for word in words)


def given(key: str, value: Any) -> str:
    """KEY=VALUE as a person may type it again, before the shell's own quotes."""
    if key in PATHS and value is not None:
        text = _shown(str(value))
        return f"{key}={quoted(text) if _QUOTED.fullmatch(text) else text}"
    if key in FORMULAS and isinstance(value, str):
        return f"{key}={' '.join(value.split())}"
    return f"{key}={_value(value)}"


def _word(word: object) -> str:
    if isinstance(word, Path):
        return _shown(str(word))
    if isinstance(word, tuple):
        return given(*word)
    return str(word)


def _shown(path: str) -> str:
    """A path that neither begins like a flag or a home nor reads as nothing."""
    odd = path.startswith(("-", "~")) or path != path.strip() or path.lower() == "null"
    return f"./{path}" if odd else path


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _TAKEN
        return value if plain else quoted(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_value(v) for v in value) + "]"
    return str(value)


def _path(key: str, text: str) -> str:
    """A path in Hydra's grammar. `${...}` keeps its meaning unless there is a file of that name."""
    if _QUOTED.fullmatch(text):
        return text
    try:
        found = str(folder(text))
    except UserError as e:
        raise UserError(f"{key}: {e}") from None
    if "${" in found and os.path.lexists(found):
        found = re.sub(r"(\\*)\$\{", r"\1\1\\${", found)
    return quoted(found)


def _parted(value: str) -> list[str]:
    """The paths between commas; commas within a path that is there belong to it."""
    found: list[str] = []
    pieces = value.split(",")
    while pieces:
        longer = [",".join(pieces[:n]) for n in range(len(pieces), 1, -1)]
        whole = next((p for p in longer if os.path.lexists(p) or _ONE.fullmatch(p)), pieces[0])
        found.append(whole)
        pieces = pieces[whole.count(",") + 1 :]
    return found
