"""Whose curves the report of stage 2 draws: the learner, what is known, and runs beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from logbook.curve_picture import Panel, draw
from logbook.lines import Line, lines
from meta.report import adaptation, siblings


def _meta(learner: str, shots: int = 3) -> dict[str, Any]:
    curve = {"returns_by_shot": [0.0, 1.0, 2.0][:shots], "returns_by_shot_95": [0.1] * shots}
    return {"learner": learner, **curve, "baselines": {"untrained": curve, "random": curve}}


def _run(root: Path, name: str, meta: dict[str, Any] | None, pulls: int = 10) -> Path:
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    config = f"tasks: {{name: bandit, pulls: {pulls}}}\nfrom: null\nevaluate: {{tasks: 4}}\n"
    (folder / "config.yaml").write_text(config)
    if meta is not None:
        (folder / "summary.json").write_text(json.dumps({"meta": meta}))
    return folder


def test_other_learners_on_the_same_tasks_are_found_and_no_one_else(tmp_path: Path) -> None:
    own = _run(tmp_path, "rl2-bandit/base/0", None)
    _run(tmp_path, "maml-bandit/base/0", _meta("maml"))
    _run(tmp_path, "maml-bandit/base/1", _meta("maml"))  # another seed
    _run(tmp_path, "promp-bandit/base/0", None)  # not finished
    _run(tmp_path, "emaml-bandit/base/0", _meta("emaml"), pulls=20)  # other tasks
    _run(tmp_path, "fomaml-bandit/base/0", _meta("fomaml", shots=2))  # fewer episodes
    (_run(tmp_path, "scratch-bandit/base/0", None) / "summary.json").write_text("{broken")
    assert list(siblings(own, _meta("rl2"))) == ["maml (its run)"]


def test_a_run_in_a_folder_of_its_own_looks_nowhere(tmp_path: Path) -> None:
    own = _run(tmp_path, "mine", None)
    assert siblings(own, _meta("rl2")) == {}


def test_learners_are_drawn_through_and_the_known_dashed_with_the_learner_on_top() -> None:
    drawn = adaptation(_meta("rl2"), {"maml (its run)": _meta("maml")})
    assert {c.name: c.dashed for c in drawn} == {
        "random": True,
        "untrained": False,
        "maml (its run)": False,
        "learner": False,
    }
    assert drawn[-1].name == "learner" and list(drawn[-1].x) == [1, 2, 3]
    assert lines(drawn, "episode", "return").count("stroke-dasharray") == 1


def test_a_sheet_holds_every_panel(tmp_path: Path) -> None:
    curve = Line("a", [1, 2], [0.0, 1.0], [0.1, 0.1], "#2f6fb3", 1.0)
    panel = Panel("title", "x", "y", [curve])
    sizes = []
    for count in (1, 3):
        draw(tmp_path / "sheet.png", [panel] * count)
        header = (tmp_path / "sheet.png").read_bytes()[:24]
        assert header.startswith(b"\x89PNG")
        sizes.append((int.from_bytes(header[16:20]), int.from_bytes(header[20:24])))
    assert sizes[1] == (2 * sizes[0][0], 2 * sizes[0][1])
    with pytest.raises(ValueError, match="nothing to draw"):
        draw(tmp_path / "none.png", [])


@pytest.mark.parametrize(
    "meta",
    [
        {"learner": "x"},
        {"learner": 7, "returns_by_shot": [1, 2, 3], "returns_by_shot_95": [0, 0, 0]},
        {"learner": "x", "returns_by_shot": "abc", "returns_by_shot_95": "abc"},
        {"learner": "x", "returns_by_shot": [1, 2, 3], "returns_by_shot_95": [0]},
        {"learner": "x", "returns_by_shot": [1, None, 3], "returns_by_shot_95": [0, 0, 0]},
        {"learner": "x", "returns_by_shot": [1, {}, 3], "returns_by_shot_95": [0, 0, [0]]},
        {"learner": "x", "returns_by_shot": [], "returns_by_shot_95": []},
        [1],
        "x",
    ],
)
def test_a_neighbour_without_such_numbers_is_left_out_with_a_line(
    tmp_path: Path, meta: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    own = _run(tmp_path, "rl2-bandit/base/0", None)
    _run(tmp_path, "scratch-bandit/base/0", meta)
    _run(tmp_path, "maml-bandit/base/0", _meta("maml"))
    assert list(siblings(own, _meta("rl2"))) == ["maml (its run)"]
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and "left out of the report: " in told[0] and "scratch-" in told[0]


@pytest.mark.parametrize("kind", ["pipe", "link", "nested", "folder", "zero"])
def test_a_neighbours_odd_file_is_left_out_with_a_line(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own = _run(tmp_path, "rl2-bandit/base/0", None)
    odd = _run(tmp_path, "scratch-bandit/base/0", None) / "summary.json"
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "folder":
        odd.mkdir()
    elif kind == "nested":
        odd.write_text("[" * 100_000)
    else:
        odd.symlink_to("/dev/zero" if kind == "zero" else tmp_path / "elsewhere")
    assert siblings(own, _meta("rl2")) == {}
    assert "left out of the report: " in capsys.readouterr().err
