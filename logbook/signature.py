"""What a constructor asks for, and whether a value from yaml fits.

Annotations are read as text, never evaluated, so a class can be checked from its source file
without importing it: a mistake is told before torch is loaded.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rl import ranges

_NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?")
_LISTS = {"list", "List", "Sequence", "tuple", "Tuple", "Iterable"}


@dataclass(frozen=True)
class Parameter:
    """One key of a node: `annotation` is source text, empty if there is none."""

    name: str
    annotation: str
    required: bool
    shared: bool = False  # a field of the dataclass that the constructor takes as `settings`


Signature = dict[str, Parameter]
SETTINGS = "settings"
"""The argument of a constructor whose dataclass holds what a config must give."""


class Misfit(Exception):
    """A value does not fit; the text says what is wanted, with an example."""

    def __init__(self, wanted: str, example: str, choices: tuple[str, ...] = ()) -> None:
        super().__init__(wanted)
        self.wanted, self.example, self.choices = wanted, example, choices


class OutOfRange(Misfit):
    """A number of the right type that is too small or too large."""


def from_class(cls: Any) -> Signature:
    """What a class that has been imported asks for; `settings` is spread into its fields."""
    found = {}
    for p in inspect.signature(cls).parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        if p.name == SETTINGS and (kind := settings_class(cls)) is not None:
            for f in dataclasses.fields(kind):
                bare = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
                found[f.name] = Parameter(f.name, _text(f.type), bare, True)
            continue
        text = "" if p.annotation is p.empty else _text(p.annotation)
        found[p.name] = Parameter(p.name, text, p.default is p.empty)
    return found


def settings_class(cls: Any) -> Any:
    """The dataclass of `settings`: by the class that says so, else by the constructor, or None."""
    said = [(c, vars(c).get("__annotations__", {}).get(SETTINGS)) for c in cls.__mro__]
    start = cls.__init__
    said.append((start, start.__annotations__.get(SETTINGS)))
    for place, kind in said:
        if isinstance(kind, str):
            kind = vars(sys.modules[place.__module__]).get(kind)
        if kind is not None:
            return kind if dataclasses.is_dataclass(kind) else None
    return None


def _text(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


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
    for _, cls in _bases(root, module, name):
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
    """What class `name` in `module` below `root` asks for, without importing it.

    `settings` is spread into the fields of its dataclass. None where the source does not tell: no
    constructor of its own and none in a base class that comes from below `root`, or one that takes
    `**anything`.
    """
    said: list[tuple[str, str]] = []  # where the type of `settings` is named, and what it is
    for place, cls in _bases(root, module, name):
        said += [(place, text) for key, text, _ in _declared(cls) if key == SETTINGS]
        for node in cls.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                asked = _arguments(node.args)
                return None if node.args.kwarg else _spread(root, place, asked, said)
    return None


def _spread(
    root: Path, module: str, asked: Signature, said: list[tuple[str, str]]
) -> Signature | None:
    """A constructor's arguments with the fields of its settings in the place of `settings`."""
    if SETTINGS not in asked:
        return asked
    place, kind = [*said, (module, asked[SETTINGS].annotation)][0]
    fields: Signature = {}
    for _, cls in reversed(list(_bases(root, place, kind))):
        for key, text, bare in _declared(cls):
            fields[key] = Parameter(key, text, bare, True)
    found: Signature = {}
    for key, parameter in asked.items():
        found |= fields if key == SETTINGS else {key: parameter}
    return found if fields else None


def _declared(cls: ast.ClassDef) -> Iterator[tuple[str, str, bool]]:
    """The annotated names of a class: name, annotation, whether it has no value."""
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = ast.unparse(node.annotation)
            if not text.startswith("ClassVar"):
                yield node.target.id, text, node.value is None


def _bases(root: Path, module: str, name: str) -> Iterator[tuple[str, ast.ClassDef]]:
    """The class, then its bases as far as their source lies below `root`, nearest first.

    Each with the module that it stands in.
    """
    path = root.joinpath(*module.split(".")).with_suffix(".py")
    if not path.is_file():
        return
    for node in _module(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            yield module, node
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

    Understands int, float, bool, str, None, Literal, lists, dicts and unions of them, and ranges
    (rl/ranges.py); anything else is let through. Raises `Misfit`.
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
        if name == "Annotated":
            found = [limit for said in inner[1:] if (limit := _range(said)) is not None]
            return _within(_convert(value, inner[0]), found)
        return _scalar(value, name)
    limits = get_args(getattr(ranges, _name(node), None))[1:]
    return _within(_scalar(value, _kind(node)), limits)


def _kind(node: ast.expr) -> str:
    """The name of a type; of a range such as Rate, that of its numbers."""
    kind = get_args(getattr(ranges, _name(node), None))
    return kind[0].__name__ if kind else _name(node)


def _range(node: ast.expr) -> ranges.AtLeast | None:
    """What `Above(0)` says in source; None for anything that is no range."""
    kinds = {"Above": ranges.Above, "AtLeast": ranges.AtLeast}
    if not isinstance(node, ast.Call) or _name(node.func) not in kinds:
        return None
    named = {k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg}
    return kinds[_name(node.func)](*map(ast.literal_eval, node.args), **named)


def _within(value: Any, limits: Sequence[ranges.AtLeast]) -> Any:
    for limit in limits:
        if not limit.holds(value):
            raise OutOfRange(str(limit), limit.example or f"{limit.low:g}")
    return value


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
    kind = next((type(m) for m in misfits if isinstance(m, OutOfRange)), Misfit)
    raise kind(" or ".join(m.wanted for m in misfits), misfits[0].example, choices)


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
    except OutOfRange as e:
        raise OutOfRange(str(e), f"[{e.example}]") from None
    except Misfit:
        name = _kind(node)
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
