"""`inspect-tasks` of a run whose tasks follow its learner: maps and components from its end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from logbook import checkpoint
from logbook.compose import compose
from logbook.errors import UserError
from meta.inspect_tasks import inspect
from meta.stage import metatrain_stage

SMALL = (
    "learner=maml tasks=carml tasks.components=3 tasks.episode_steps=20 tasks.every=1 steps=4000 "
    "learner.meta_batch=3 learner.width=4 log_every=500 evaluate.tasks=2 device=cpu"
)


def test_the_tasks_shown_are_those_of_the_last_fit(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    metatrain_stage(compose("metatrain", SMALL.split()).config, folder)
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
