"""The table at the end of a run says first how well it did."""

from __future__ import annotations

from pathlib import Path

import pytest

from logbook import files
from logbook.headline import headline, rows
from logbook.run import Run

FINAL = {"mean": 12.5, "95": 0.5, "success": 0.8, "length": 9.0, "episodes": 20}


def finish(folder: Path, strategy: str, mean: float) -> None:
    numbers = {"strategy": strategy, "task": "t", "reward": "x", "curve": [[0, 1.0]]}
    numbers["final"] = {**FINAL, "mean": mean}
    config = {"steps": 10, "strategy": {"name": strategy}}
    with Run.open(folder, config, stage="finetune") as run:
        run.restore()
        run.step = 10
        run.finish({"seed": 0, "finetune": numbers, "next": "x"})


def test_return_and_success_come_first_and_scratch_beside_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(tmp_path / "scratch-t/base/0", "scratch", 3.0)
    capsys.readouterr()
    finish(tmp_path / "policy-t/base/0", "policy", 12.5)
    out = capsys.readouterr().out
    table = [line.split() for line in out.splitlines() if line.startswith("  ")]
    assert table[0] == ["return", "12.5", "±", "0.5"] and table[1] == ["success", "80", "%"]
    assert table[2] == ["return", "of", "scratch", "3"]
    summary = files.read_json(tmp_path / "policy-t/base/0/summary.json")
    assert (summary["return"], summary["success"], summary["return_of_scratch"]) == (12.5, 0.8, 3.0)


def test_no_empty_rows_for_a_learner(tmp_path: Path) -> None:
    meta = {"returns_by_shot": [1.0, 2.0], "returns_total": 3.0, "returns_total_95": 0.1}
    whole = {"meta": {**meta, "marks": {}, "baselines": {"random": meta}}}
    told = dict(rows({**headline(whole, tmp_path), **whole}))
    assert told["return"] == "3 ± 0.1" and told["last episode"] == "2"
    assert "meta.marks" not in told and not any(v in ({}, []) for v in told.values())


def test_other_stages_stay_as_they_are(tmp_path: Path) -> None:
    assert headline({"skills": {"count": 4}}, tmp_path) == {}
    assert rows({"skills": {"count": 4}}) == [("skills.count", 4)]
