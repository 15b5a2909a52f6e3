"""Rewards written as formulas over feat and act, read by a small grammar of their own.

A formula is parsed into Python's syntax tree and turned into numpy calls node by node; what is not
listed here is refused with its column, and nothing is ever evaluated as Python. `ABOUT` is the
grammar in a few lines, for people.
"""

from __future__ import annotations

import ast
import difflib
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.types import WorldSpec

Array = NDArray[Any]
Values = Mapping[str, Array]
Node = Callable[[Values], Any]

ABOUT = """\
numbers, pi, inf, + - * / **, < <= > >= == !=, and or not, where(condition, a, b), abs min max exp
log sqrt sin cos tan tanh floor sign clip(x, low, high), norm(x, y, ...), sum(act**2), mean(act),
tolerance(x, lower, upper, margin) and tolerance_linear(x, lower, upper, margin, value_at_margin) as
dm_control has them, the feats of the world, before.FEAT (a step ago), act, act[i], and rew, the
world's own reward."""

_LONGEST, _DEEPEST, _POWER = 600, 40, 8
_CONSTANTS = {"pi": math.pi, "inf": math.inf}
_BINARY: dict[type[ast.operator], Any] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
}
_COMPARE: dict[type[ast.cmpop], Any] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}


def tolerance(x: Array, lower: Array, upper: Array, margin: Array) -> Array:
    """1 within [lower, upper], falling as a Gaussian to 0.1 at `margin` outside.

    dm_control.utils.rewards.tolerance with its defaults; a margin of 0 is a step.
    """
    away = _outside(x, lower, upper, margin)
    return np.where(away > 0, np.exp(-0.5 * np.square(away * math.sqrt(-2 * math.log(0.1)))), 1.0)


def tolerance_linear(
    x: Array, lower: Array, upper: Array, margin: Array, value_at_margin: Array
) -> Array:
    """1 within [lower, upper], falling linearly to `value_at_margin` at `margin`, and on to 0.

    dm_control's sigmoid="linear".
    """
    away = _outside(x, lower, upper, margin)
    return np.where(np.isinf(away), 0.0, np.maximum(0.0, 1 - away * (1 - value_at_margin)))


def _outside(x: Array, lower: Array, upper: Array, margin: Array) -> Array:
    """How far x lies outside of [lower, upper], in margins."""
    over = np.maximum(np.maximum(lower - x, x - upper), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(over > 0, over / margin, 0.0))


def _least(*values: Any) -> Any:
    return values[0].min(-1) if len(values) == 1 else _fold(np.minimum, values)


def _most(*values: Any) -> Any:
    return values[0].max(-1) if len(values) == 1 else _fold(np.maximum, values)


def _norm(*values: Any) -> Any:
    if len(values) == 1:
        return np.sqrt(np.square(values[0]).sum(-1))
    return np.sqrt(_fold(np.add, [np.square(v) for v in values]))


def _fold(function: Any, values: Any) -> Any:
    found = values[0]
    for value in values[1:]:
        found = function(found, value)
    return found


def _sum(values: Any) -> Any:
    return values.sum(-1)


def _mean(values: Any) -> Any:
    return values.mean(-1)


# Name: the numpy call, how many arguments it takes, and whether a single one must be a vector.
_FUNCTIONS: dict[str, tuple[Any, range, bool]] = {
    **{
        name: (getattr(np, name), range(1, 2), False)
        for name in "abs exp log sqrt sin cos tan tanh floor sign".split()
    },
    "where": (np.where, range(3, 4), False),
    "clip": (np.clip, range(3, 4), False),
    "min": (_least, range(1, 9), True),
    "max": (_most, range(1, 9), True),
    "norm": (_norm, range(1, 9), True),
    "sum": (_sum, range(1, 2), True),
    "mean": (_mean, range(1, 2), True),
    "tolerance": (tolerance, range(4, 5), False),
    "tolerance_linear": (tolerance_linear, range(5, 6), False),
}


@dataclass(frozen=True)
class _Part:
    """A part of a formula: how to compute it, and whether it has one number per act dimension.

    `known` is its value where that is the same in every world.
    """

    run: Node
    vector: bool
    known: float | None = None


class Expression:
    """A number per world, from feat [N, F], act [N, A], the feat before [N, F], and rew [N].

    `where` names the key that holds the text, for messages; `extra` names further numbers that the
    caller gives. Raises ValueError, one line, for what the grammar or the world does not have.
    """

    def __init__(
        self, text: str, world: WorldSpec, where: str = "task.reward", extra: tuple[str, ...] = ()
    ) -> None:
        self.text, self.where = text, where
        self._feats, self._width, self._world = world.feat_names, world.act_dim, world.name
        self._extra = ("rew", *extra)
        if len(text) > _LONGEST:
            raise ValueError(f"{where} has {len(text)} characters: want at most {_LONGEST}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Python's, about words that are refused below
                tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as e:
            column = f" at column {e.offset}" if isinstance(e, SyntaxError) and e.offset else ""
            raise ValueError(
                f"{where}={text!r} cannot be read{column}: write a formula such as "
                f"{self._example()!r}"
            ) from None
        part = self._part(tree, 0)
        if part.vector:
            self._refuse(tree, "has one number per act dimension: take sum(...) or mean(...) of it")
        if part.known is not None and not math.isfinite(part.known):
            self._refuse(tree, f"is {part.known} everywhere")
        self._run = part.run

    def __call__(
        self, feat: Array, act: Array, before: Array, rew: Array, **extra: Array
    ) -> NDArray[np.float64]:
        """The value [N], float64. Raises ValueError where it is not a finite number."""
        values: dict[str, Array] = {"act": np.asarray(act, np.float64), "rew": rew, **extra}
        for i, name in enumerate(self._feats):
            values[name] = np.asarray(feat[:, i], np.float64)
            values[f"before.{name}"] = np.asarray(before[:, i], np.float64)
        with np.errstate(all="ignore"):
            found = np.broadcast_to(np.asarray(self._run(values), np.float64), (len(feat),))
        if not np.isfinite(found).all():
            i = int(np.flatnonzero(~np.isfinite(found))[0])
            at = ", ".join(f"{n}={v:.3g}" for n, v in zip(self._feats, feat[i], strict=True))
            raise ValueError(
                f"{self.where}={self.text!r} is {found[i]} at {at}: keep it finite, such as with "
                "clip, max or where"
            )
        return np.array(found)

    def _example(self) -> str:
        feat = next((f for f in self._feats if f.endswith("velocity")), self._feats[0])
        return f"{feat} - 0.05*sum(act**2)"

    def _refuse(self, node: ast.AST, why: str) -> Any:
        column = getattr(node, "col_offset", 0) + 1
        try:
            shown = ast.unparse(node)
        except RecursionError:
            shown = "what stands"
        shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
        raise ValueError(f"{self.where}={self.text!r}: {shown} at column {column} {why}")

    def _part(self, node: ast.expr, depth: int) -> _Part:
        if depth > _DEEPEST:
            self._refuse(node, f"is nested more than {_DEEPEST} deep")
        deeper = depth + 1
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return self._number(node, value)
            case ast.Name(id=name):
                return self._named(node, name)
            case ast.Attribute(value=ast.Name(id="before"), attr=name):
                if name not in self._feats:
                    self._unknown(node, name, "before.")
                return _Part(lambda values: values[f"before.{name}"], False)
            case ast.Subscript(value=ast.Name(id="act"), slice=ast.Constant(value=int() as i)) if (
                not isinstance(i, bool)
            ):
                if not 0 <= i < self._width:
                    self._refuse(node, f"is out of range: act has {self._width} numbers, from 0 on")
                return _Part(lambda values: values["act"][:, i], False)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return self._apply(node, np.negative, [self._part(inner, deeper)])
            case ast.UnaryOp(op=ast.UAdd(), operand=inner):
                return self._part(inner, deeper)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return self._apply(node, np.logical_not, [self._part(inner, deeper)])
            case ast.BinOp(op=ast.Pow(), left=base, right=exponent):
                return self._power(node, self._part(base, deeper), exponent)
            case ast.BinOp(op=op, left=left, right=right) if type(op) in _BINARY:
                parts = [self._part(left, deeper), self._part(right, deeper)]
                if isinstance(op, ast.Div) and parts[1].known == 0:
                    self._refuse(node, "divides by zero")
                return self._apply(node, _BINARY[type(op)], parts)
            case ast.BoolOp(op=op, values=inner):
                function = np.logical_and if isinstance(op, ast.And) else np.logical_or
                parts = [self._part(v, deeper) for v in inner]
                return self._apply(node, lambda *x: _fold(function, x), parts)
            case ast.Compare(left=left, ops=ops, comparators=rest):
                if any(type(op) not in _COMPARE for op in ops):
                    self._refuse(node, "compares otherwise than by < <= > >= == !=")
                parts = [self._part(v, deeper) for v in (left, *rest)]
                functions = [_COMPARE[type(op)] for op in ops]
                return self._apply(node, lambda *x: _chain(functions, x), parts)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._call(node, name, [self._part(a, deeper) for a in args])
        return self._refuse(node, f"is not in the grammar: {' '.join(ABOUT.split())}")

    def _number(self, node: ast.expr, value: float) -> _Part:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number) and isinstance(node, ast.Constant):
            self._refuse(node, "is larger than any number here, which end at 1.8e308")
        return _Part(lambda values: number, False, number)

    def _named(self, node: ast.expr, name: str) -> _Part:
        if name in self._feats or name in self._extra:
            return _Part(lambda values: values[name], False)
        if name == "act":
            return _Part(lambda values: values["act"], True)
        if name in _CONSTANTS:
            return self._number(node, _CONSTANTS[name])
        return self._unknown(node, name)

    def _unknown(self, node: ast.expr, name: str, prefix: str = "") -> Any:
        known = [*self._feats] if prefix else [*self._feats, *self._extra, *_CONSTANTS, "act"]
        near = difflib.get_close_matches(name, known, 1, 0.5)
        hint = f"did you mean {prefix}{near[0]}? " if near else ""
        self._refuse(
            node,
            f"is no feat of {self._world}; {hint}It has {', '.join(self._feats)}, act, rew",
        )

    def _power(self, node: ast.expr, base: _Part, exponent: ast.expr) -> _Part:
        try:
            value = ast.literal_eval(exponent)
        except (ValueError, TypeError, MemoryError, RecursionError):
            value = None
        if not isinstance(value, int | float):
            self._refuse(exponent, "is an exponent that is no plain number, such as 2 or 0.5")
        if abs(value) > _POWER:
            self._refuse(exponent, f"is an exponent beyond {_POWER}")
        number = float(value)
        return self._apply(node, lambda x: np.power(x, number), [base])

    def _call(self, node: ast.expr, name: str, parts: list[_Part]) -> _Part:
        if name not in _FUNCTIONS:
            near = difflib.get_close_matches(name, _FUNCTIONS, 1, 0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            self._refuse(
                node, f"calls no function of the grammar{hint} It has {', '.join(_FUNCTIONS)}"
            )
        function, counts, alone = _FUNCTIONS[name]
        if len(parts) not in counts:
            want = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            self._refuse(node, f"has {len(parts)} arguments, want {want}")
        if alone and len(parts) == 1:
            if not parts[0].vector:
                self._refuse(node, "wants something per act dimension, such as act or act**2")
            inner = parts[0].run
            return _Part(lambda values: function(_counted(inner(values))), False)
        return self._apply(node, function, parts)

    def _apply(self, node: ast.expr, function: Any, parts: list[_Part]) -> _Part:
        """`function` of the parts, elementwise; numbers stand beside vectors as columns."""
        vector = any(p.vector for p in parts)

        def run(values: Values) -> Any:
            found = [_counted(p.run(values)) for p in parts]
            if vector:
                found = [
                    x if p.vector or not x.ndim else x[:, None]
                    for x, p in zip(found, parts, strict=True)
                ]
            return function(*found)

        if any(p.known is None for p in parts):
            return _Part(run, vector)
        with np.errstate(all="ignore"):
            known = float(run({}))
        if math.isnan(known) or (
            math.isinf(known) and not any(math.isinf(p.known or 0.0) for p in parts)
        ):
            self._refuse(node, f"is {known}")
        return _Part(lambda values: known, vector, known)


def _counted(value: Any) -> Array:
    """What numpy computes with: what is true counts as 1, what is false as 0."""
    found = np.asarray(value)
    return found.astype(np.float64) if found.dtype == np.bool_ else found


def _chain(functions: list[Any], values: tuple[Any, ...]) -> Any:
    """a < b <= c, as Python means it."""
    pairs = zip(functions, values[:-1], values[1:], strict=True)
    return _fold(np.logical_and, [function(a, b) for function, a, b in pairs])
