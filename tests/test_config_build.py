"""Names to objects: every yaml fits its constructor, and values are held to its annotations."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from logbook import build as builder
from logbook.build import (
    CONTEXT,
    GROUPS,
    build,
    hyper_parameters,
    lookup,
    names,
    signature,
    trait,
)
from logbook.compose import compose
from logbook.config import CONFIGS
from logbook.errors import Exit, UserError
from logbook.identity import to_yaml
from logbook.signature import Misfit, convert, from_class

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


def test_context_is_a_closed_list(made):
    with pytest.raises(TypeError, match="sedd"):
        build("agent", {"name": "m", "size": 1, "rate": 1}, sedd=1)
    assert not CONTEXT & {"lr", "hidden", "name"}


def test_no_module_of_ours_can_be_both_built_and_imported_as_a_path():
    for group, known in GROUPS.items():
        for path in known.folder.glob("*.py"):
            with pytest.raises(UserError):
                lookup(group, str(Path(known.package, path.stem)))
