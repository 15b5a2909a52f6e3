"""Arguments for an environment: any name, any plain value, typed with or without +."""

from __future__ import annotations

import re

import pytest

from logbook.compose import compose
from logbook.config import read_yaml
from logbook.errors import UserError
from logbook.identity import to_yaml


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_arguments_for_an_environment_may_have_any_name_and_value(plus, tmp_path):
    words = ["kwargs.size=-4", "kwargs.maze={rows: [[1, x], null], deep: {a: 1e-3}}"]
    words += ["kwargs.a.b=no"]
    config = compose("pretrain", ["env=gym", *(f"{plus}env.{word}" for word in words)]).config
    maze = {"rows": [[1, "x"], None], "deep": {"a": 1e-3}}
    assert config["env"]["kwargs"] == {"size": -4, "maze": maze, "a": {"b": "no"}}
    (tmp_path / "config.yaml").write_bytes(to_yaml(config))
    assert read_yaml(tmp_path / "config.yaml")["env"]["kwargs"] == config["env"]["kwargs"]
    config = compose("pretrain", ["env=dmc", f"{plus}env.task_kwargs.time_limit=3"]).config
    assert config["env"]["task_kwargs"] == {"time_limit": 3}


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("env.kwargs.m={0: 1}", "env.kwargs.m has the key 0"),
        ("env.kwargs=3", "env.kwargs=3: want a group of keys"),
        ("env.kwargs=null", "env.kwargs=null: want a group of keys"),
        ("env.kwargz.x=2", "env.kwargz.x: no such key"),
        ("env=point", "env.kwargs: point has no such key"),
    ],
)
def test_arguments_that_cannot_be_kept_are_refused(word, line):
    words = ["env=gym", "env.kwargs.x=1"] if word == "env=point" else ["env=gym"]
    with pytest.raises(UserError, match=re.escape(line)):
        compose("pretrain", [*words, word])


@pytest.mark.parametrize("id", ["HalfCheetah-v5", "own:mine/Base-v0", "ALE/Pong-v5"])
def test_a_gymnasium_id_that_is_given_as_env_is_told_where_it_goes(id):
    with pytest.raises(UserError, match=f"a Gymnasium id is env=gym env.id={id}"):
        compose("pretrain", [f"env={id}"])
