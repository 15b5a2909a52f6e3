"""A stranger's config.yaml is data: nothing in it is resolved, imported, run or believed."""

from __future__ import annotations

import time

import pytest
import yaml

from logbook import leave
from logbook.compose import compose
from logbook.config import CONFIGS, check, load_config, read_yaml
from logbook.errors import Exit, UserError
from logbook.identity import to_yaml
from tests.finetune_runs import metatrain_small, pretrain_small


@pytest.fixture(scope="module")
def good():
    return compose("pretrain", ["env=gym", "agent.tau=1e-3"]).config


def refused(path, text, words, **options):
    path.write_text(text)
    start = time.perf_counter()
    with pytest.raises(UserError, match=words) as e:
        load_config(path, "pretrain", **options)
    assert e.value.code == Exit.CHECKPOINT and "\n" not in str(e.value)
    assert str(path) in str(e.value)
    assert time.perf_counter() - start < 2


def test_a_saved_config_comes_back_equal(tmp_path, good):
    path = tmp_path / "config.yaml"
    path.write_bytes(to_yaml(good))
    assert load_config(path, "pretrain") == good


def test_a_config_from_before_a_key_says_what_was_done_then(tmp_path):
    now = compose("metatrain", ["learner=maml", "tasks=cheetah_direction"]).config
    late = {"gain": 1.0, "least_std": 0.0, "normalize_steps": 0}
    before = {k: v for k, v in now["learner"].items() if k not in late}
    path = tmp_path / "config.yaml"
    path.write_bytes(to_yaml({**now, "learner": before}))
    found = load_config(path, "metatrain")["learner"]
    assert found == {**before, **late}
    path.write_bytes(to_yaml(now))
    assert load_config(path, "metatrain") == now, "what a config says stays"


def older():
    for group, by_name in read_yaml(CONFIGS / "older.yaml").items():
        yield from ((group, n, filled) for ns, filled in by_name.items() for n in ns.split("|"))


@pytest.mark.parametrize(("group", "name", "filled"), list(older()))
def test_every_key_that_came_later_is_filled_in(tmp_path, tmp_path_factory, group, name, filled):
    stage, words = "metatrain", ["learner=maml", "tasks=point_goal"]
    if group == "env":
        stage, words = "pretrain", []
    if group == "strategy":
        small = tmp_path_factory.mktemp("source") / "run"
        source = pretrain_small(small)
        if name == "adapt":
            words = f"learner=maml tasks=skills from={source} steps=60"
            words += " learner.meta_batch=2 learner.width=3"
            source = metatrain_small(small.parent / "learner", words)
        stage, words = "finetune", [f"from={source}"]
    now = compose(stage, [*words, f"{group}={name}"]).config
    assert filled.keys() <= now[group].keys(), "a key that no config has any more"
    before = {k: v for k, v in now[group].items() if k not in filled}
    path = tmp_path / "config.yaml"
    path.write_bytes(to_yaml({**now, group: before}))
    assert load_config(path, stage)[group] == before | filled


def test_no_task_of_a_saved_config_lacks_what_proposals_may_pay(tmp_path):
    """What was done before there was a choice: nothing beside the proposals."""
    for name in ("skills", "random_discriminator", "mixture"):
        now = compose("metatrain", ["learner=maml", f"tasks={name}"]).config
        before = {k: v for k, v in now["tasks"].items() if k not in ("alive", "effort")}
        path = tmp_path / "config.yaml"
        path.write_bytes(to_yaml({**now, "tasks": before}))
        assert load_config(path, "metatrain")["tasks"] == {**before, "alive": 0.0, "effort": 0.0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "${oc.env:HOME}"}, "interpolation"),
        ({"agent": {"${x}": 1}}, "plain words"),
        ({"stranger": 1}, "stranger: no such key"),
        ({"_target_": "os.system"}, "_target_: no such key"),
        ({"skill": {"name": "os.path"}}, "no such skill"),
        ({"skill": {"name": "diayn", "_target_": "os.system"}}, "_target_"),
        ({"env": {"name": "../../etc"}}, "no such env"),
        ({"steps": 10**30}, "bits"),
        ({"num_envs": 10**12}, "at most"),
        ({"num_envs": "many"}, "whole number"),
        ({"device": "cuda; rm"}, "device="),
        ({"name": "../../x"}, "names a folder"),
        ({"skill": "diayn"}, "want a choice"),
        ({"skill": ["diayn"]}, "want a choice"),
        ({"seed": None}, "seed=null"),
    ],
)
def test_what_is_refused(tmp_path, good, change, words):
    merged = {
        k: (
            {**v, **change[k]}
            if isinstance(v, dict) and isinstance(change.get(k), dict)
            else change.get(k, v)
        )
        for k, v in good.items()
    }
    merged |= {k: v for k, v in change.items() if k not in good}
    refused(tmp_path / "config.yaml", to_yaml(merged).decode(), words)


def test_a_missing_key_is_refused(tmp_path, good):
    agent = {k: v for k, v in good["agent"].items() if k != "tau"}
    text = to_yaml({**good, "agent": agent}).decode()
    refused(tmp_path / "config.yaml", text, "agent.tau: missing")


def test_an_id_that_imports_needs_leave(tmp_path, good):
    path = tmp_path / "config.yaml"
    env = {**good["env"], "id": "module:Thing-v0", "allow_import": True}
    refused(path, to_yaml({**good, "env": env}).decode(), "--allow-import")
    leave.give()
    assert load_config(path, "pretrain")["env"] == env


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x [1, 2]\nb: *x\n", "anchor or alias"),
        (
            "a: &a [z,z,z,z,z,z,z,z,z]\n"
            + "".join(
                f"{c}: &{c} [{','.join([f'*{p}'] * 9)}]\n"
                for p, c in zip("abcdefg", "bcdefgh", strict=True)
            ),
            "anchor or alias",
        ),
        ("[" * 100_000, "too deep"),
        ("{a: " * 1000, "too deep"),
        ("a: [" + "1," * 20_000 + "]", "too long"),
        ("a: " + "x" * 300_000, "larger than 256 KiB"),
        ("a: 1\na: 2\n", "stands there twice"),
        ("a: !!python/object/apply:os.system ['true']\n", "python/object"),
        ("a: [1\n", "cannot be read"),
        ("a: \x00\n", "cannot be read"),
        ("? [1, 2]\n: 3\n", "cannot be read|plain words"),
        ("- 1\n", "not a config"),
        ("", "not a config"),
        ("when: 2026-01-01\n", "date"),
    ],
)
def test_broken_or_hostile_yaml(tmp_path, text, words):
    refused(tmp_path / "config.yaml", text, words)


def test_not_even_text(tmp_path):
    path = tmp_path / "config.yaml"
    for data in (b"\xff\xfe\x00", b"\x80" * 100):
        path.write_bytes(data)
        with pytest.raises(UserError, match="cannot be read"):
            read_yaml(path)
    with pytest.raises(UserError, match="No such file"):
        read_yaml(tmp_path / "nothing.yaml")


def test_numbers_are_read_as_people_write_them(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: 1e-3\nb: 2E5\nc: -1.5e+2\nd: e5\ne: 0x10\nf: 1_000\n")
    found = read_yaml(path)
    assert found == {"a": 1e-3, "b": 2e5, "c": -150.0, "d": "e5", "e": 16, "f": 1000}
    assert yaml.safe_load("a: 1e-3") == {"a": "1e-3"}  # why that is worth a test


def test_check_does_not_change_what_it_is_given(good):
    before = to_yaml(good)
    assert check(good, "pretrain") == good and to_yaml(good) == before
