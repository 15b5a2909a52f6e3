"""`inspect-tasks` of a run whose tasks follow its learner: maps and components from its end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logbook import checkpoint
from logbook.compose import compose
from logbook.errors import Exit, UserError
from meta.assess import assess
from meta.inspect_tasks import inspect
from meta.stage import metatrain_stage

SMALL = (
    "learner=maml tasks=carml tasks.components=3 tasks.episode_steps=20 tasks.every=1 steps=4000 "
    "learner.meta_batch=3 learner.width=4 log_every=500 evaluate.tasks=2 device=cpu"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted") / "run"
    metatrain_stage(compose("metatrain", SMALL.split()).config, folder)
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_the_tasks_shown_are_those_of_the_last_fit(folder: Path) -> None:
    assert inspect(folder) == 0
    numbers = json.loads((folder / "tasks.json").read_text())
    state = checkpoint.load(checkpoint.listed(folder / "checkpoints")[0])
    fit = state["family"]["world"]["lessons"]
    assert numbers["updates"] == fit["updates"] > 1
    np.testing.assert_allclose([c["middle"] for c in numbers["components"]], fit["middle"])
    assert sum(c["share"] for c in numbers["components"]) == pytest.approx(1)
    assert len(numbers["entropy"]) > 1
    assert (folder / "tasks" / "fitted.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "tasks.html").read_text()
    assert page.count("<tr>") == 4 and "tasks/fitted.png" in page
    with pytest.raises(UserError, match="follow the learner"):
        inspect(folder, against="point_goal")


@pytest.mark.parametrize(
    "over",
    [
        {"middle": np.zeros(2)},
        {"middle": np.full((3, 2), np.nan)},
        {"spread": np.zeros((3, 2))},
        {"share": np.ones((1,))},
        {"states": np.zeros((0, 2))},
        {"states": None},
        {"updates": "many"},
    ],
    ids=str,
)
def test_fitted_tasks_that_make_no_sense_are_one_line(over: dict[str, Any], folder: Path) -> None:
    newest = checkpoint.listed(folder / "checkpoints")[0]
    state, manifest = checkpoint.load(newest), checkpoint.read_manifest(newest)
    state["family"]["world"]["lessons"].update(over)
    shutil.rmtree(newest)
    checkpoint.save(newest.parent, state, manifest)
    for look in (inspect, lambda run: assess(run, [])):
        with pytest.raises(UserError, match="another version of this package.*train") as refusal:
            look(folder)
        assert refusal.value.code == Exit.CHECKPOINT


def test_a_map_that_cannot_be_drawn_costs_a_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect(folder) == 0
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", _fails)
    assert inspect(folder) == 0
    assert "no fitted.png: KeyError: 'a font'" in capsys.readouterr().out
    page = (folder / "tasks.html").read_text()
    assert "<img" not in page and page.count("<tr>") == 4
    assert not (folder / "tasks" / "fitted.png").exists()


def _fails(*args: Any, **kwargs: Any) -> None:
    raise KeyError("a font")
