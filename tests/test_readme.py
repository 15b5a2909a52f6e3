"""The README keeps its word: its commands are valid, its example method runs, its tree is true."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from logbook.compose import compose, sweep
from logbook.config import load_config
from logbook.errors import Exit

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def commands(name: str) -> list[list[str]]:
    """The arguments of every line of the README that runs this command."""
    lines = [shlex.split(line, comments=True) for line in "\n".join(blocks("sh")).splitlines()]
    return [words[1:] for words in lines if words and Path(words[0]).name == name]


def test_every_pretrain_line_composes() -> None:
    lines = commands("pretrain")
    assert len(lines) >= 6
    for words in lines:
        if words[0] == "-m":
            assert len(sweep("pretrain", words[1:])) > 1
        elif words != ["--help"]:
            assert compose("pretrain", words).run_dir.parts[0] == "runs"


def test_the_first_command_makes_the_folder_that_is_named() -> None:
    assert f"`{compose('pretrain', commands('pretrain')[0]).run_dir}`" in README


class Example:
    """The README's method as a package of its own, with an entry point and a config folder."""

    def __init__(self, folder: Path) -> None:
        (python,), (config,) = blocks("python"), blocks("yaml")
        assert len(python.splitlines()) <= 36
        files = re.findall(r"`((?:skills|configs/skill)/(\w+)\.\w+)`\n\n```(?:python|yaml)", README)
        assert {path.rpartition(".")[2] for path, _ in files} == {"py", "yaml"}
        self.name = files[0][1]
        self.folder = folder
        (folder / f"{self.name}.py").write_text(python)
        (folder / "skill").mkdir()
        (folder / "skill" / f"{self.name}.yaml").write_text(config)
        info = folder / "example-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[autotelic.skills]\n{self.name} = {self.name}\n")

    def pretrain(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pretrain", f"skill={self.name}", *words]
        path = os.pathsep.join([str(self.folder), str(ROOT)])
        return subprocess.run(
            [*command, "--config-dir", str(self.folder)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return Example(tmp_path_factory.mktemp("example"))


def test_the_example_method_trains(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = """
        steps=600 num_envs=4 episode_steps=25 log_every=200 env=cheetah env.max_episode_steps=25
        agent.start_steps=100 agent.batch_size=32 agent.hidden=[16,16] atlas.videos=false
        evaluate.reps=1 evaluate.steps=10 hydra.run.dir=run
    """
    done = example.pretrain(*tiny.split())
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(str(example.folder))
    config = load_config(example.folder / "run" / "config.yaml", "pretrain")
    assert config["skill"] == {"name": "speeds", "of": "x_velocity", "limit": 3.0}
    assert '"count": 9' in (example.folder / "run" / "summary.json").read_text()


def test_its_mistake_is_told_as_the_readme_says(example: Example) -> None:
    done = example.pretrain("skill.limt=5")
    assert done.returncode == Exit.CONFIG
    assert done.stderr.count("\n") == 1 and "skill.limit" in done.stderr


def test_exit_codes() -> None:
    (told,) = re.findall(r"Exit codes of every\s+command: (.*?)\.", README, re.S)
    assert {int(n) for n in re.findall(r"\b\d+\b", told)} == {int(code) for code in Exit}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8"))
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


def test_the_tree_is_true() -> None:
    folders = re.findall(r"^(\w+)/ ", README.split("## The tree")[1], re.M)
    assert len(folders) >= 9
    assert all((ROOT / folder).is_dir() for folder in folders)
    sources = [
        p for f in folders if (ROOT / f / "__init__.py").exists() for p in ROOT.glob(f"{f}/*")
    ]
    listed = set(re.findall(r"^(\w+/\w+\.py) ", ARCHITECTURE, re.M))
    here = {str(p.relative_to(ROOT)) for p in sources if p.suffix == ".py"}
    here = {path for path in here if not path.endswith("__init__.py")}
    assert listed == here, f"the end of docs/ARCHITECTURE.md lacks or invents {listed ^ here}"
