"""Names to objects: every yaml fits its constructor, and values are held to its annotations."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from logbook import build as builder
from logbook.build import (
    CONTEXT,
    GROUPS,
    build,
    check_node,
    hyper_parameters,
    lookup,
    names,
    signature,
    trait,
)
from logbook.compose import compose
from logbook.config import CONFIGS, node_of
from logbook.errors import Exit, UserError
from logbook.identity import to_yaml
from logbook.signature import Misfit, convert, from_class, from_source
from rl.ranges import Count
from rl.types import Agent, WorldSpec
from skills.base import Skill

STAGE = {"tasks": "metatrain", "learner": "metatrain", "task": "finetune", "strategy": "finetune"}
CHOICES = [(g, p.stem) for g in GROUPS for p in sorted((CONFIGS / g).glob("*.yaml"))]


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """As much of a run of each earlier stage as a later stage's config needs."""
    root = tmp_path_factory.mktemp("earlier")
    for stage, words in (("pretrain", []), ("metatrain", ["tasks=cheetah_velocity"])):
        folder = root / stage
        (folder / "checkpoints" / "step-000000001").mkdir(parents=True)
        (folder / "config.yaml").write_bytes(to_yaml(compose(stage, words).config))
        (folder / "run.json").write_text(f'{{"stage": "{stage}"}}')
    return root


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_yaml_has_every_hyper_parameter_and_nothing_else(group, choice, earlier):
    stage = STAGE.get(group, "pretrain")
    before = trait(group, choice, "stage", "pretrain") if group == "strategy" else "pretrain"
    words = [f"from={earlier / before}"] if stage == "finetune" else []
    node = compose(stage, [f"{group}={choice}", *words]).config[group]
    asked = from_class(lookup(group, node["name"]))
    assert set(node) - {"name"} == set(hyper_parameters(group, asked))
    defaults = [p.name for p in hyper_parameters(group, asked).values() if not p.required]
    assert not defaults, "defaults of hyper-parameters live in yaml only"
    told = signature(group, node["name"])  # from the source: mistakes are told without torch
    assert told is not None and list(told) == list(asked)
    assert all(told[k].required == asked[k].required for k in asked)


@pytest.mark.parametrize(
    ("value", "annotation", "want"),
    [
        (3, "float", 3.0),
        ("1e-3", "float", 1e-3),
        (1e6, "int", 1_000_000),
        ("2e3", "int", 2000),
        ("auto", 'float | Literal["auto"]', "auto"),
        (3, 'float | Literal["auto"]', 3.0),
        (None, "float | None", None),
        (-2, "float | None", -2.0),
        ([1, 2.0], "list[int]", [1, 2]),
        ([1, "2.5"], "Sequence[float]", [1.0, 2.5]),
        (True, "bool", True),
        (7, "str", "7"),
        (1, "int | float", 1),
        (1.5, "int | float", 1.5),
        ("x", "Unheard[of]", "x"),
        ({"a": 1}, "dict[str, int]", {"a": 1}),
        (2, "Optional[int]", 2),
        (4, "'int | None'", 4),
    ],
)
def test_convert(value, annotation, want):
    found = convert(value, annotation)
    assert found == want and type(found) is type(want)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        ("abc", "int"),
        (1.5, "int"),
        (True, "int"),
        (True, "float"),
        (float("nan"), "float"),
        (float("inf"), "int"),
        ("nan", "float"),
        (1, "bool"),
        ("yes", "bool"),
        (None, "int"),
        ("off", 'float | Literal["auto"]'),
        ("3", "list[int]"),
        ([1, "x"], "list[int]"),
        ([1.5], "list[int]"),
        ([], "str"),
        (3, "None"),
    ],
)
def test_misfit(value, annotation):
    with pytest.raises(Misfit):
        convert(value, annotation)


class Made:
    def __init__(self, *, size: int, rate: float, device: str = "cpu", seed: int) -> None:
        if size < 1:
            raise ValueError(f"size={size} must be at least 1")
        self.got = (size, rate, device, seed)


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """Two installed packages with skills, one of which cannot be imported."""
    entries = {"good": "plug_good", "bad": "plug_bad:Bad"}
    for name, value in entries.items():
        info = tmp_path / f"plug_{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plug-{name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[autotelic.skills]\n{name} = {value}\n")
    (tmp_path / "plug_good.py").write_text(
        "__all__ = ['Good']\nclass Good:\n    def __init__(self, *, size: int):\n"
        "        self.size = size\n"
    )
    (tmp_path / "plug_bad.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("plug_good", None)


def test_plugins_are_loaded_by_name_and_a_broken_one_hurts_nobody(plugins):
    assert {"good", "bad", "diayn"} <= set(names("skill"))
    assert build("skill", {"name": "good", "size": "3"}, seed=1).size == 3
    with pytest.raises(UserError, match="plug-bad 1.2.*a_module_that_is_not_there") as e:
        build("skill", {"name": "bad"})
    assert e.value.code == Exit.SETUP
    with pytest.raises(UserError, match="good.*did you mean skill.size"):
        build("skill", {"name": "good", "sise": 3})
    assert lookup("skill", "none").__name__ == "NoSkill"


def test_names_are_of_the_registry_only():
    for bad in ("os", "../envs/point", "base", "types", "envs.point", "", "_x", "View"):
        with pytest.raises(UserError, match="no such skill"):
            lookup("skill", bad)
    assert "types" not in names("agent") and {"sac", "ppo"} <= set(names("agent"))


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(builder, "lookup", lambda group, name: Made)


def test_build_gives_the_context_that_is_asked_for(made):
    found = build("agent", {"name": "m", "size": 2, "rate": 1}, seed=5, z_dim=9)
    assert found.got == (2, 1.0, "cpu", 5) and type(found.got[1]) is float
    assert build("agent", {"name": "m", "size": 2, "rate": 1}, seed=5, device="x").got[2] == "x"


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"size": 1}, "agent.rate: missing"),
        ({"size": 1, "rate": 1, "sizes": 2}, "agent.sizes.*did you mean agent.size?"),
        ({"size": "big", "rate": 1}, "agent.size=big: want a whole number"),
        ({"size": 0, "rate": 1}, "agent=m: size=0 must be at least 1"),
        ({"size": 1, "rate": 1, "seed": 3}, "agent.seed"),
    ],
)
def test_build_refuses_with_the_key(made, node, words):
    with pytest.raises(UserError, match=words) as e:
        build("agent", {"name": "m", **node}, seed=1)
    assert e.value.code == Exit.CONFIG and "\n" not in str(e.value)


class Mixed:
    def __init__(
        self, *, one: Skill, other: Skill | None, parts: dict[str, Skill],
        driver: Callable[..., Agent], size: Count, seed: int,
    ) -> None:  # fmt: skip
        self.all = [one, *parts.values()]
        self.other, self.driver, self.size, self.seed = other, driver, size, seed


def mixed(**over):
    rnd = node_of("skill", "rnd") | {"hidden": [8]}
    node = {
        "name": "m",
        "one": rnd,
        "other": None,
        "parts": {"a": rnd, "b": node_of("skill", "none")},
    }
    return node | {"driver": node_of("agent", "sac") | {"hidden": [8]}, "size": 2} | over


@pytest.fixture
def nesting(monkeypatch):
    real = builder.lookup
    monkeypatch.setattr(builder, "lookup", lambda g, n: Mixed if n == "m" else real(g, n))
    monkeypatch.setattr(
        builder,
        "signature",
        lambda g, n, where="": from_class(Mixed) if n == "m" else signature(g, n, where),
    )


def test_nodes_in_a_node_are_built_first_and_a_maker_when_it_is_called(nesting):
    world = WorldSpec("w", 3, 2, False, ("x",), ("m",))
    context = {"world": world, "device": torch.device("cpu"), "seed": 5}
    found = build("skill", mixed(), **context)
    assert [type(s).__name__ for s in found.all] == ["RND", "RND", "NoSkill"]
    assert found.other is None and (found.size, found.seed) == (2, 5)
    agent = found.driver(z_dim=1, **context)
    assert type(agent).__name__ == "SAC" and found.driver.node["gamma"] == 0.99


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"one": {"name": "rnd"}}, r"skill\.one\.view: missing, and rnd needs it: add \+skill.one"),
        ({"one": None}, r"skill\.one: want a choice, skill\.one=NAME"),
        ({"parts": 3}, r"skill\.parts=3: want keys"),
        ({"parts": {"a": {"name": "rnx"}}}, r"skill\.parts\.a\.name=rnx: no such skill"),
        ({"driver": {"name": "ppo", "tau": 1}}, r"skill\.driver\.tau: ppo has no such key"),
        ({"size": 0}, r"skill\.size=0: want 1 or more"),
    ],
)
def test_nodes_in_a_node_are_refused_by_their_whole_key(nesting, over, told):
    for hold in (check_node, build):
        with pytest.raises(UserError, match=f"^{told}"):
            hold("skill", mixed(**over))


SHARED = """
from dataclasses import dataclass
from rl.ranges import Count

@dataclass
class Base:
    size: Count
    rate: float

class Method:
    settings: Base

    def __init__(self, *, seed: int, settings: Base, last: int) -> None:
        self.settings, self.seed = settings, seed
"""
OWN = """
from __future__ import annotations
from dataclasses import dataclass
from shared_part import Base, Method

@dataclass
class More(Base):
    third: str

class Own(Method):
    settings: More

class Same(Own):
    pass
"""


@pytest.mark.parametrize(
    ("module", "name", "keys"),
    [
        ("shared_part", "Method", "seed size rate last"),
        ("own_part", "Own", "seed size rate third last"),
        ("own_part", "Same", "seed size rate third last"),
    ],
)
def test_settings_are_spread_and_a_class_names_its_own(tmp_path, monkeypatch, module, name, keys):
    (tmp_path / "shared_part.py").write_text(SHARED)
    (tmp_path / "own_part.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    told = from_source(tmp_path, module, name)
    cls = getattr(importlib.import_module(module), name)
    asked = from_class(cls)
    assert list(told) == list(asked) == keys.split()
    assert [p.shared for p in told.values()] == [p.shared for p in asked.values()]
    monkeypatch.setattr(builder, "lookup", lambda group, name: cls)
    node = {"name": "m", "size": 2, "rate": 1, "third": "x", "last": 4}
    node = {k: v for k, v in node.items() if k == "name" or k in told}
    made = build("agent", node, seed=3)
    assert (made.settings.size, made.settings.rate, made.seed) == (2, 1.0, 3)
    with pytest.raises(UserError, match="agent.size=0: want 1 or more"):
        build("agent", node | {"size": 0}, seed=3)
    for name in ("own_part", "shared_part"):
        sys.modules.pop(name, None)


def test_context_is_a_closed_list(made):
    with pytest.raises(TypeError, match="sedd"):
        build("agent", {"name": "m", "size": 1, "rate": 1}, sedd=1)
    assert not CONTEXT & {"lr", "hidden", "name"}


def test_no_module_of_ours_can_be_both_built_and_imported_as_a_path():
    for group, known in GROUPS.items():
        for path in known.folder.glob("*.py"):
            with pytest.raises(UserError):
                lookup(group, str(Path(known.package, path.stem)))
