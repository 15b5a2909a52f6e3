"""What a constructor asks for, and whether a value from yaml fits.

Annotations are read as text, never evaluated, so a class can be checked from its source file
without importing it: a mistake is told before torch is loaded.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?")
_LISTS = {"list", "List", "Sequence", "tuple", "Tuple", "Iterable"}


@dataclass(frozen=True)
class Parameter:
    """One keyword argument: `annotation` is source text, empty if there is none."""

    name: str
    annotation: str
    required: bool


Signature = dict[str, Parameter]


class Misfit(Exception):
    """A value does not fit; the text says what is wanted, with an example."""

    def __init__(self, wanted: str, example: str, choices: tuple[str, ...] = ()) -> None:
        super().__init__(wanted)
        self.wanted, self.example, self.choices = wanted, example, choices


def from_class(cls: Any) -> Signature:
    """The keyword arguments of a class that has been imported."""
    found = {}
    for p in inspect.signature(cls).parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        text = p.annotation if isinstance(p.annotation, str) else ""
        if not text and p.annotation is not p.empty:
            text = inspect.formatannotation(p.annotation)
        found[p.name] = Parameter(p.name, text, p.default is p.empty)
    return found


def class_name(path: Path) -> str | None:
    """The one name in the `__all__` of a module's source, or None."""
    for node in _module(path).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            names = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            return names[0] if len(names) == 1 else None
    return None


def constant(root: Path, module: str, name: str, key: str, default: Any) -> Any:
    """The plain value that class `name` in `module`, or a base of it below `root`, gives `key`."""
    for cls in _bases(root, module, name):
        for node in cls.body:
            match node:
                case ast.Assign(targets=[ast.Name(id=found)], value=ast.Constant(value=value)):
                    pass
                case ast.AnnAssign(target=ast.Name(id=found), value=ast.Constant(value=value)):
                    pass
                case _:
                    continue
            if found == key:
                return value
    return default


def from_source(root: Path, module: str, name: str) -> Signature | None:
    """The keyword arguments of class `name` in `module` below `root`, without importing it.

    None where the source does not tell: no constructor of its own and none in a base class that
    comes from below `root`, or one that takes `**anything`.
    """
    for cls in _bases(root, module, name):
        for node in cls.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return None if node.args.kwarg else _arguments(node.args)
    return None


def _bases(root: Path, module: str, name: str) -> Iterator[ast.ClassDef]:
    """The class, then its bases as far as their source lies below `root`, nearest first."""
    path = root.joinpath(*module.split(".")).with_suffix(".py")
    if not path.is_file():
        return
    for node in _module(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            yield node
            for base in node.bases:
                base = base.value if isinstance(base, ast.Subscript) else base
                if isinstance(base, ast.Name):
                    yield from _bases(root, module, base.id)
            return
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    yield from _bases(root, node.module, alias.name)
                    return


def convert(value: Any, annotation: str) -> Any:
    """`value` as the annotation wants it: 1 and '1e-3' become floats, 1e6 becomes an int.

    Understands int, float, bool, str, None, Literal, lists, dicts and unions of them; anything else
    is let through. Raises `Misfit`.
    """
    if not annotation:
        return value
    node = ast.parse(annotation, mode="eval").body
    return _convert(value, node)


@functools.cache
def _module(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _arguments(args: ast.arguments) -> Signature:
    plain = [*args.posonlyargs, *args.args][1:]
    bare = len(plain) - len(args.defaults)
    pairs = [(a, i < bare) for i, a in enumerate(plain)]
    pairs += [(a, d is None) for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    return {
        a.arg: Parameter(a.arg, ast.unparse(a.annotation) if a.annotation else "", required)
        for a, required in pairs
    }


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _convert(value: Any, node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp):
        return _union(value, [node.left, node.right])
    if isinstance(node, ast.Constant) and isinstance(node.value, str):  # a quoted annotation
        return _convert(value, ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.Constant) and node.value is None:
        if value is not None:
            raise Misfit("null", "null")
        return None
    if isinstance(node, ast.Subscript):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        name = _name(node.value)
        if name == "Literal":
            return _literal(value, [ast.literal_eval(n) for n in inner])
        if name in ("Optional", "Union"):
            return _union(value, [*inner, ast.Constant(None)] if name == "Optional" else inner)
        if name in _LISTS:
            return _list(value, inner[0])
        return _scalar(value, name)
    return _scalar(value, _name(node))


def _union(value: Any, nodes: list[ast.expr]) -> Any:
    misfits: list[Misfit] = []
    for converting in (False, True):
        for node in nodes:
            try:
                found = _convert(value, node)
            except Misfit as e:
                misfits.append(e)
            else:
                if converting or type(found) is type(value):
                    return found
    misfits = misfits[: len(nodes)]
    choices = tuple(c for m in misfits for c in m.choices)
    raise Misfit(" or ".join(m.wanted for m in misfits), misfits[0].example, choices)


def _literal(value: Any, allowed: list[Any]) -> Any:
    for choice in allowed:
        if choice == value and type(choice) is type(value):
            return value
    texts = tuple(str(c) for c in allowed)
    wanted = texts[0] if len(texts) == 1 else "one of " + ", ".join(texts)
    raise Misfit(wanted, texts[0], texts)


def _list(value: Any, node: ast.expr) -> Any:
    try:
        if not isinstance(value, list | tuple):
            raise Misfit("", "")
        return [_convert(v, node) for v in value]
    except Misfit:
        name = _name(node)
        example, of = {
            "int": ("[256,256]", " of whole numbers"),
            "float": ("[0.5,1.0]", " of numbers"),
            "str": ("[a,b]", " of words"),
        }.get(name, ("[]", ""))
        raise Misfit(f"a list{of}", f"'{example}'") from None


def _scalar(value: Any, name: str) -> Any:
    if isinstance(value, int) and value.bit_length() > 63 and name in ("int", "float", "str"):
        raise Misfit("a number of at most 63 bits", "8")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, str) and name in ("int", "float") and _NUMBER.fullmatch(value.strip()):
        value, number = float(value), True
    if name == "int":
        if number and math.isfinite(value) and value == int(value):
            return int(value)
        raise Misfit("a whole number", "8")
    if name == "float":
        if number and math.isfinite(value):
            return float(value)
        raise Misfit("a number", "0.5")
    if name == "bool":
        if isinstance(value, bool):
            return value
        raise Misfit("true or false", "true", ("true", "false"))
    if name == "str":
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise Misfit("a word", "'\"some words\"'")
    if name in ("dict", "Dict", "Mapping"):
        if isinstance(value, dict):
            return value
        raise Misfit("a group of keys", "'{}'")
    return value
