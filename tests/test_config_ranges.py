"""Numbers out of range are refused in one line, before anything is loaded that could use them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from logbook.config import CONFIGS, _counts, node_of
from logbook.errors import Exit, UserError
from logbook.ranges import in_range

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("agent", "skill", "learner", "strategy", "env", "tasks")
SHIPPED = [p for g in GROUPS for p in sorted((CONFIGS / g).glob("*.yaml"))]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: f"{p.parent.name}={p.stem}")
def test_what_we_ship_is_in_range(path):
    in_range(path.parent.name, node_of(path.parent.name, path.stem))


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
        in_range(group, {"name": name, key: value})
    for value in wrong:
        with pytest.raises(UserError, match=rf"^{group}\.{key}={value:g}: want ") as e:
            in_range(group, {"name": name, key: value})
        example = str(e.value).rpartition(f"for example {group}.{key}=")[2]
        in_range(group, {"name": name, key: float(example)})


def test_every_width_of_a_network_counts_something():
    in_range("agent", {"name": "sac", "hidden": []})
    in_range("learner", {"name": "rl2", "hidden": 48})
    told = r"^agent\.hidden=\[256,0\]: want 1 or more, for example agent\.hidden=\[64\]$"
    with pytest.raises(UserError, match=told):
        in_range("agent", {"name": "sac", "hidden": [256, 0]})


def test_a_node_in_a_node_is_named_in_full():
    node = {"name": "hierarchy", "controller": {"name": "sac", "gamma": 2.0}}
    with pytest.raises(UserError, match=r"^strategy\.controller\.gamma=2: want 0 to 1, for"):
        in_range("strategy", node)


def test_worlds_mean_what_they_like_by_their_keys():
    in_range("env", {"name": "point", "lam": -5.0})


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
    node = {"name": "hierarchy", "controller": {"name": "sac", "gamma": written}}
    with pytest.raises(UserError, match=r"^strategy\.controller\.gamma=.*: want 0 to 1, for"):
        in_range("strategy", node)


@pytest.mark.parametrize(("key", "value"), [("start_steps", -1), ("hidden", [8, -1])])
def test_counts_within_a_node_are_not_negative(key, value):
    node = {"name": "hierarchy", "controller": {"name": "sac", key: value}}
    with pytest.raises(UserError, match=rf"^strategy\.controller\.{key}=.*: want 0 or more$"):
        _counts("strategy", node)


def test_arguments_of_an_environment_have_no_limits_of_ours():
    kwargs = {"level": -3, "step_size": -1.0, "size": 0, "max_episode_steps": -1}
    node = {"name": "gym", "id": "X-v0", "kwargs": kwargs}
    _counts("env", node)
    in_range("env", node)
