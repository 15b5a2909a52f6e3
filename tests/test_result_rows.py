"""What the scripts of docs/RESULTS.md type can be read by the commands they type it to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import finetune_results  # noqa: E402
import results  # noqa: E402
import umrl_results  # noqa: E402
from meta_rows import ROWS  # noqa: E402
from umrl_worlds import WORLDS, methods_of  # noqa: E402

from logbook.compose import compose  # noqa: E402

LEARNERS = [(world, method) for world in WORLDS for method in methods_of(WORLDS[world])]


def read(words: list[str]) -> None:
    OverridesParser.create().parse_overrides(words)


@pytest.mark.parametrize(("world", "method"), LEARNERS)
def test_a_learner_of_proposals(world: str, method: str) -> None:
    words = umrl_results.typed(WORLDS[world], method).format(seed=1).split()
    folder = umrl_results.folder_of(world, method, 1)
    read([*words, f"hydra.run.dir={folder.relative_to(ROOT)}"])
    if "from=" not in " ".join(words):
        compose("metatrain", words)


def test_no_two_learners_share_a_folder() -> None:
    folders = [umrl_results.folder_of(world, method, 0) for world, method in LEARNERS]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("row", ROWS)
def test_a_learner(row: str) -> None:
    words = [*ROWS[row].command.format(seed=1).split(), f"hydra.run.dir=runs/results/{row}/1"]
    read([*words, *ROWS[row].test.split()])
    if "from=" not in ROWS[row].command:
        compose("metatrain", words)


@pytest.mark.parametrize("row", results.ROWS)
def test_skills(row: str) -> None:
    words = results.ROWS[row].split()
    assert compose("pretrain", words).config["steps"] > 0
    read([*words, f"hydra.run.dir=runs/results/{row}/1"])


@pytest.mark.parametrize("row", finetune_results.ROWS)
def test_a_task_with_a_reward(row: str) -> None:
    _, words, strategies, _ = finetune_results.ROWS[row]
    for strategy in strategies:
        read([*words.split(), *f"strategy={strategy}".split()])
