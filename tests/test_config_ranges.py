"""Numbers out of range are refused in one line, before anything is loaded that could use them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from logbook.build import _bind, check_node
from logbook.config import CONFIGS, _counts, node_of
from logbook.errors import Exit, UserError
from logbook.signature import Parameter

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("agent", "skill", "learner", "strategy", "env", "tasks")
SHIPPED = [p for g in GROUPS for p in sorted((CONFIGS / g).glob("*.yaml"))]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: f"{p.parent.name}={p.stem}")
def test_what_we_ship_is_in_range(path):
    check_node(path.parent.name, node_of(path.parent.name, path.stem))


def hold(group, name, key, value):
    check_node(group, node_of(group, name) | {key: value})


@pytest.mark.parametrize(
    ("group", "name", "key", "wrong", "right"),
    [
        ("agent", "sac", "lr", [-1.0, 0.0, float("nan"), float("inf")], [1e-3, 1e-9]),
        ("agent", "sac", "gamma", [-0.1, 1.01], [0.0, 1.0]),
        ("agent", "sac", "tau", [0.0, 1.5], [1.0, 1e-3]),
        ("agent", "sac", "alpha", [0.0, -1.0], ["auto", 0.1]),
        ("agent", "ppo", "lam", [1.1, -0.1], [0.0, 1.0]),
        ("agent", "ppo", "clip", [0.0], [0.2, 3.0]),
        ("agent", "ppo", "entropy", [-0.01], [0.0, 1.0]),
        ("skill", "metra", "lam", [0.0, -30.0], [30.0, 0.5]),
        ("learner", "promp", "lam", [30.0], [1.0]),
        ("learner", "rl2", "memory_steps", [0.0, 0.5], [1.0, None]),
        ("learner", "rl2", "predict_reward", [-1.0], [0.0]),
        ("learner", "scratch", "lr", [-1e-3], [0.0]),
        ("agent", "sac", "batch_size", [0], [1]),
        ("agent", "sac", "replay_size", [0], [1]),
        ("agent", "ppo", "horizon", [0], [1]),
        ("agent", "ppo", "epochs", [0], [1]),
        ("agent", "ppo", "minibatches", [0], [1]),
        ("skill", "diayn", "num_skills", [1], [2]),
        ("skill", "metra", "dim", [1], [2]),
        ("skill", "metra", "shown", [0], [1]),
        ("skill", "rnd", "features", [0], [1]),
        ("env", "cheetah", "max_episode_steps", [0], [1]),
        ("env", "gym", "max_episode_steps", [0], [None, 1]),
    ],
)
def test_limits(group, name, key, wrong, right):
    for value in right:
        hold(group, name, key, value)
    for value in wrong:
        with pytest.raises(UserError, match=rf"^{group}\.{key}={value:g}: want ") as e:
            hold(group, name, key, value)
        example = str(e.value).rpartition(f"for example {group}.{key}=")[2]
        hold(group, name, key, float(example))


def test_every_width_of_a_network_counts_something():
    hold("agent", "sac", "hidden", [])
    hold("learner", "rl2", "hidden", 48)
    told = r"^agent\.hidden=\[256,0\]: want 1 or more, for example agent\.hidden=\[64\]$"
    with pytest.raises(UserError, match=told):
        hold("agent", "sac", "hidden", [256, 0])


def controller(key, value):
    node = node_of("strategy", "hierarchy")
    return node | {"controller": node["controller"] | {key: value}}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("gamma", 2.0, "gamma=2: want 0 to 1, for example strategy.controller.gamma=0.99"),
        ("gama", 0.5, "gama: sac has no such key; did you mean strategy.controller.gamma?"),
        ("hidden", "abc", "hidden=abc: want a list of whole numbers"),
        ("batch_size", "many", "batch_size=many: want a whole number"),
        ("name", "sax", "name=sax: no such agent; did you mean sac?"),
        ("name", 3, ": want a choice, strategy.controller=NAME"),
    ],
)
def test_a_node_in_a_node_is_held_against_its_own_constructor(key, value, told):
    with pytest.raises(UserError, match=r"^strategy\.controller\.?" + re.escape(told)):
        check_node("strategy", controller(key, value))


def test_numbers_in_a_node_in_a_node_are_converted():
    found = check_node("strategy", controller("lr", "1e-2"))["controller"]
    assert found["lr"] == 0.01


def test_worlds_mean_what_they_like_by_their_keys():
    node = {"name": "n", "lam": -5.0, "lr": -1}
    signature = {k: Parameter(k, "float", True) for k in ("lam", "lr")}
    assert _bind("env", node, signature, "env") == node


def test_the_command_refuses_before_torch():
    code = (
        "import sys\nfrom logbook.compose import compose\nfrom logbook.errors import UserError\n"
        "try:\n    compose('pretrain', ['agent.lr=-1'])\nexcept UserError as e:\n"
        "    print(int(e.code), 'torch' in sys.modules, e)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    told = "agent.lr=-1: want above 0, for example agent.lr=1e-3"
    assert done.stdout == f"{int(Exit.CONFIG)} False {told}\n", done.stderr


@pytest.mark.parametrize("written", ["5", " 5.0", "1e9", "-1"])
def test_a_number_written_as_text_is_held_against_its_limit(written):
    with pytest.raises(UserError, match=r"^strategy\.controller\.gamma=.*: want 0 to 1, for"):
        check_node("strategy", controller("gamma", written))


@pytest.mark.parametrize(("key", "value"), [("start_steps", -1), ("hidden", [8, -1])])
def test_counts_within_a_node_are_not_negative(key, value):
    node = {"name": "hierarchy", "controller": {"name": "sac", key: value}}
    with pytest.raises(UserError, match=rf"^strategy\.controller\.{key}=.*: want 0 or more$"):
        _counts("strategy", node)


def test_arguments_of_an_environment_have_no_limits_of_ours():
    kwargs = {"level": -3, "step_size": -1.0, "size": 0, "max_episode_steps": -1}
    node = {"name": "gym", "id": "X-v0", "kwargs": kwargs}
    _counts("env", node)
    check_node("env", node_of("env", "gym") | node)
