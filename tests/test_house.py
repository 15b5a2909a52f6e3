"""The house rules, held by reading the source: who imports whom, what nobody may use, sizes."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent

# Each package, and what it may import of ours. Verbs never import verbs.
ARROWS: dict[str, set[str]] = {
    "rl": {"rl"},
    "envs": {"envs", "rl.types", "rl.ranges"},
    "skills": {"skills", "rl"},
    "meta": {"meta", "envs", "rl", "logbook"},
    "logbook": {"logbook", "rl.ranges"},
    "pretrain": {"pretrain", "skills", "envs", "rl", "logbook"},
    "finetune": {"finetune", "meta", "skills", "envs", "rl", "logbook"},
}
PACKAGES = [name for name in ARROWS if (ROOT / name / "__init__.py").exists()]
SOURCES = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))

# What a learner or a method may need from outside.
OUTSIDE = {"rl": {"torch", "numpy", "gymnasium"}, "skills": {"torch", "numpy"}}
MAX_LINES = 350


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path) -> Iterator[str]:
    """Dotted names of everything a file imports, at its top or inside functions."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a thing lives"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, allowed: set[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in allowed)


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_packages_exist() -> None:
    assert {"rl", "envs", "skills", "logbook", "pretrain"} <= set(PACKAGES)
    assert len(SOURCES) > 30


def test_arrows() -> None:
    for path in SOURCES:
        package = path.relative_to(ROOT).parts[0]
        ours = {name for name in imports(path) if name.partition(".")[0] in {*ARROWS, "configs"}}
        wrong = {name for name in ours if not within(name, ARROWS[package])}
        assert not wrong, f"{shown(path)}: {package} may import {sorted(ARROWS[package])}"
        if package in OUTSIDE:
            known = OUTSIDE[package] | sys.stdlib_module_names | set(ARROWS)
            strange = {name for name in imports(path) if name.partition(".")[0] not in known}
            assert not strange, f"{shown(path)}: {package} knows only {sorted(OUTSIDE[package])}"


def test_only_commands_and_logbook_know_hydra() -> None:
    for path in SOURCES:
        if path.parent.name != "logbook" and path.name != "__main__.py":
            roots = {name.partition(".")[0] for name in imports(path)}
            assert not roots & {"hydra", "omegaconf"}, shown(path)


def forbidden(node: ast.AST) -> str | None:
    """Why a node of the syntax tree may not stand in our packages."""
    match node:
        case ast.Call(func=ast.Name(id="eval" | "exec" | "__import__" as name)):
            return f"{name} runs what it is given"
        case ast.Import(names=names) if any(
            a.name.partition(".")[0] in {"pickle", "dill", "cloudpickle", "joblib", "shelve"}
            for a in names
        ):
            return "reading a pickle runs code"
        case ast.ImportFrom(module="pickle" | "dill" | "cloudpickle" | "joblib" | "shelve"):
            return "reading a pickle runs code"
        case ast.Attribute(value=ast.Name(id="torch"), attr="load" | "save" as name):
            return f"torch.{name} is pickle"
        case ast.ImportFrom(module="torch", names=names) if {a.name for a in names} & {
            "load",
            "save",
        }:
            return "torch.load is pickle"
        case ast.keyword(arg="allow_pickle", value=value) if ast.unparse(value) != "False":
            return "reading a pickle runs code"
        case ast.Name(id="instantiate") | ast.Attribute(attr="instantiate"):
            return "instantiate runs what a config names"
        case ast.alias(name="instantiate"):
            return "instantiate runs what a config names"
        case ast.Import(names=names) if any(a.name == "random" for a in names):
            return "one generator per purpose, no global random state"
        case ast.Attribute(value=ast.Name(id="torch"), attr="manual_seed" | "seed"):
            return "one generator per purpose, no global random state"
        case ast.Attribute(
            value=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="random"), attr=name
        ) if name[0].islower() and name != "default_rng":
            return "one generator per purpose, no global random state"
    return None


def test_nothing_forbidden() -> None:
    found = [
        f"{shown(path)}:{getattr(node, 'lineno', '?')}: {why}"
        for path in SOURCES
        for node in ast.walk(tree(path))
        if (why := forbidden(node))
    ]
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')",
        "import pickle",
        "from pickle import loads",
        "torch.load(f)",
        "np.load(f, allow_pickle=True)",
        "from hydra.utils import instantiate",
        "hydra.utils.instantiate(node)",
        "np.random.seed(0)",
        "np.random.rand(3)",
        "torch.manual_seed(0)",
        "import random",
    ],
)
def test_the_gate_catches(line: str) -> None:
    assert any(forbidden(node) for node in ast.walk(ast.parse(line)))


@pytest.mark.parametrize(
    "line", ["net.eval()", "np.load(f, allow_pickle=False)", "np.random.default_rng(0)"]
)
def test_the_gate_lets_through(line: str) -> None:
    assert not any(forbidden(node) for node in ast.walk(ast.parse(line)))


def test_no_config_names_code() -> None:
    paths = sorted((ROOT / "configs").rglob("*.yaml"))
    assert len(paths) > 10
    for path in paths:
        text = path.read_text("utf-8")
        assert "_target_" not in text and "${oc.env" not in text, shown(path)
        assert text.startswith("#"), f"{shown(path)}: --help shows its first comment; it has none"


def test_one_idea_a_file() -> None:
    sizes = {shown(path): len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    assert not {name: n for name, n in sizes.items() if n > MAX_LINES}, "perhaps two ideas each"
    assert not [path for path in SOURCES if "util" in path.stem], "a name that says nothing"


def test_print_only_in_logbook() -> None:
    for path in SOURCES:
        calls = (n for n in ast.walk(tree(path)) if isinstance(n, ast.Call))
        lines = [n.lineno for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"]
        assert path.is_relative_to(ROOT / "logbook") or not lines, f"{shown(path)}: lines {lines}"


def methods(package: str) -> dict[str, Path]:
    """The files of a package that a config can name: those whose `__all__` is one class."""
    return {
        path.stem: path
        for path in sorted((ROOT / package).glob("*.py"))
        if re.search(r'^__all__ = \["\w+"\]$', path.read_text("utf-8"), re.M)
    }


def branched_on(path: Path) -> set[str]:
    """Words that a file compares with, matches, or looks up in a literal dict."""
    words: set[str] = set()
    for node in ast.walk(tree(path)):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif isinstance(node, ast.Dict):
            parts = list(node.keys)
        inner = [part for p in parts for part in getattr(p, "elts", [p])]
        words |= {
            p.value for p in inner if isinstance(p, ast.Constant) and isinstance(p.value, str)
        }
    return words


@pytest.mark.parametrize("package", ["skills", "rl"])
def test_no_branch_on_a_method(package: str) -> None:
    named = methods(package)
    assert len(named) >= 2
    for path in SOURCES:
        clash = branched_on(path) & (named.keys() - {path.stem, "none"})
        assert not clash, f"{shown(path)} knows of {clash}"
        modules = {f"{package}.{name}" for name in named}
        if path.relative_to(ROOT).parts[0] != package:
            used = {name for name in imports(path) if within(name, modules)}
            assert not used, f"{shown(path)} imports {used}: methods are built by name"


@pytest.mark.parametrize(
    "group, package", [("skill", "skills"), ("env", "envs"), ("agent", "rl")], ids=lambda x: x
)
def test_every_method_has_a_yaml(group: str, package: str) -> None:
    files = {path.stem: path for path in (ROOT / "configs" / group).glob("*.yaml")}
    named = {yaml.safe_load(path.read_text("utf-8"))["name"] for path in files.values()}
    assert named == set(methods(package))
    assert set(methods(package)) <= set(files), "each can be chosen by its own name"


def test_worlds_and_logbook_start_without_torch() -> None:
    """A mistake on the command line must be told at once, and torch takes seconds to load."""
    code = "import sys, envs.cheetah, logbook.cli, logbook.compose, pretrain.__main__\n"
    code += "sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
