"""The grammar of rewards: values against numpy and dm_control, and what it refuses."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from dm_control.utils import rewards

from envs.expression import Expression
from rl.types import WorldSpec

SPEC = WorldSpec("runner", 3, 2, False, ("x", "y", "x_velocity", "height"), ("m", "m", "m/s", "m"))
RNG = np.random.default_rng(0)
FEAT, BEFORE = RNG.normal(size=(2, 64, 4)).astype(np.float32)
ACT = RNG.uniform(-1, 1, (64, 2))
REW = RNG.normal(size=64)
X, Y, V, H = FEAT.astype(np.float64).T


def value(text: str) -> np.ndarray:
    return Expression(text, SPEC)(FEAT, ACT, BEFORE, REW)


@pytest.mark.parametrize(
    "text, want",
    [
        ("x_velocity - 0.05*sum(act**2)", V - 0.05 * (ACT**2).sum(1)),
        ("-abs(x_velocity - 1.5) - 1e-2", -np.abs(V - 1.5) - 0.01),
        ("norm(x - 3, y - 4)", np.hypot(X - 3, Y - 4)),
        ("norm(act)", np.linalg.norm(ACT, axis=1)),
        ("-x**2 + 2**3", -(X**2) + 8),
        ("(x**2)**0.5 / 2", np.abs(X) / 2),
        ("x > 0 and not y > 0 or height < -1", ((X > 0) & ~(Y > 0) | (H < -1)).astype(float)),
        ("-1 < x <= 1", ((X > -1) & (X <= 1)).astype(float)),
        ("where(x > 0, y, x_velocity)", np.where(X > 0, Y, V)),
        ("min(x, y, 0) + max(x, y)", np.minimum(np.minimum(X, Y), 0) + np.maximum(X, Y)),
        ("max(act) - min(act)", ACT.max(1) - ACT.min(1)),
        ("exp(-abs(x)) + sqrt(abs(y))", np.exp(-np.abs(X)) + np.sqrt(np.abs(Y))),
        ("sin(x)*cos(y) + tanh(height)", np.sin(X) * np.cos(Y) + np.tanh(H)),
        ("clip(x, -0.5, 0.5)", np.clip(X, -0.5, 0.5)),
        ("x - before.x", X - BEFORE[:, 0].astype(np.float64)),
        ("act[1] + pi", ACT[:, 1] + np.pi),
        ("sum(x*act)", (X[:, None] * ACT).sum(1)),
        ("rew * 2", REW * 2),
        ("3", np.full(64, 3.0)),
        ("-(x > 1)", -(X > 1).astype(float)),
        ("(x > 0) - (y < 0)", (X > 0).astype(float) - (Y < 0)),
        ("sign(x > 0) + floor(y > 0)", (X > 0).astype(float) + (Y > 0)),
        ("exp(x > 0) * tanh(not y)", np.exp((X > 0).astype(float)) * np.tanh((Y == 0) * 1.0)),
        ("+(x > 0 and y > 0) / -(x < 9)", -((X > 0) & (Y > 0)).astype(float)),
        ("norm(act > 0) - sum(-(act > 0))", np.sqrt((ACT > 0).sum(1)) + (ACT > 0).sum(1)),
        ("mean(-(act > 0)) + min(x > 0, y > 0)", ((X > 0) & (Y > 0)) - (ACT > 0).mean(1)),
        ("(x > 0)**0.5 - True", (X > 0) - 1.0),
        ("where(x > 0, inf > 1, -inf < x)", np.ones(64)),
    ],
)
def test_values(text: str, want: np.ndarray) -> None:
    np.testing.assert_allclose(value(text), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lower, upper, margin", [(0, 0, 0), (-0.2, 0.4, 0), (0.3, np.inf, 0.6)])
def test_tolerance_is_dm_controls(lower: float, upper: float, margin: float) -> None:
    want = rewards.tolerance(X, bounds=(lower, upper), margin=margin)
    np.testing.assert_allclose(value(f"tolerance(x, {lower}, {upper}, {margin})"), want, rtol=1e-12)
    if margin:
        want = rewards.tolerance(X, (lower, upper), margin, value_at_margin=0.5, sigmoid="linear")
        text = f"tolerance_linear(x, {lower}, {upper}, {margin}, 0.5)"
        np.testing.assert_allclose(value(text), want, rtol=1e-12)


@pytest.mark.parametrize(
    "text, said",
    [
        ("x_velocty - 1", "x_velocty at column 1 is no feat of runner; did you mean x_velocity?"),
        ("1 + before.hight", "did you mean before.height?"),
        ("pitch", "It has x, y, x_velocity, height, act, rew"),
        ("1 + (2", "cannot be read at column"),
        ("", "cannot be read"),
        ("__import__('os')", "not in the grammar"),
        ("(lambda: 1)()", "not in the grammar"),
        ("x.__class__", "not in the grammar"),
        ("[x for x in y]", "not in the grammar"),
        ("x if y else 1", "not in the grammar"),
        ("'x'", "not in the grammar"),
        ("norm(x, y=2)", "not in the grammar"),
        ("squirt(x)", "did you mean sqrt?"),
        ("clip(x, 1)", "has 2 arguments, want 3"),
        ("sum(x)", "wants something per act dimension"),
        ("act", "one number per act dimension"),
        ("act[2]", "act has 2 numbers"),
        ("act[-1]", "not in the grammar"),
        ("x**y", "no plain number"),
        ("x**99", "beyond 8"),
        ("x in y", "compares otherwise"),
        ("x // y", "not in the grammar"),
        ("-" * 60 + "x", "nested more than"),
        ("+" * 590 + "x", "nested more than"),
        ("x**" + "+" * 500 + "2", "no plain number"),
        ("9" * 310, "larger than any number"),
        ("x - 1e400", "larger than any number"),
        ("x**" + "9" * 400, "beyond 8"),
        ("x**'2'", "no plain number"),
        ("act[True]", "not in the grammar"),
        ("inf", "is inf everywhere"),
        ("-inf * 2", "is -inf everywhere"),
        ("inf - inf", "is nan"),
        ("nan", "is no feat of runner"),
        ("x / 0", "divides by zero"),
        ("where(x > 0, 1 / (2 - 2), 1)", "divides by zero"),
        ("x + log(0)", "log(0) at column 5 is -inf"),
        ("sqrt(-1) * x", "sqrt(-1) at column 1 is nan"),
        ("(((9**8)**8)**8)**8*x", "is inf"),
        ("x if y", "cannot be read"),
        ("x²", "cannot be read"),
        ("x\0", "cannot be read"),
        ("'\\d' + x", "not in the grammar"),
        ("act > 0", "one number per act dimension"),
        ("act == act", "one number per act dimension"),
        ("-1 < act < 1", "one number per act dimension"),
        ("act and x", "one number per act dimension"),
        ("where(act > 0, 1, 0)", "one number per act dimension"),
        ("1j * x", "not in the grammar"),
        ("x, y", "not in the grammar"),
        ("\udcff", "cannot be read"),
        ("x" * 700, "700 characters"),
    ],
)
def test_refusals_say_what_and_where(text: str, said: str) -> None:
    with pytest.raises(ValueError) as e, warnings.catch_warnings():
        warnings.simplefilter("error")
        Expression(text, SPEC)
    assert said in str(e.value) and "\n" not in str(e.value)
    assert str(e.value).startswith("task.reward")


def test_a_value_that_is_no_number_is_told_with_its_state() -> None:
    with pytest.raises(ValueError, match="is inf at x=0, y="):
        Expression("1/x", SPEC)(np.zeros((2, 4)), ACT[:2], BEFORE[:2], REW[:2])
