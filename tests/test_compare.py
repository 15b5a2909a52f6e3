"""Comparing runs: the numbers against cases worked by hand, and every mistake in one line."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from logbook import comparison, stats
from logbook.compare import compare
from logbook.config import CONFIGS, read_yaml
from logbook.errors import Exit, UserError
from logbook.outcomes import choose_metrics, gather, numbers, reference


def make_run(
    folder: Path,
    stage: str,
    config: dict[str, Any],
    summary: dict[str, Any],
    state: str = "finished",
) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"stage": stage}))
    (folder / "status.json").write_text(json.dumps({"state": state}))
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def meta_run(
    folder: Path,
    learner: str,
    tasks: str,
    seed: int,
    shots: list[float],
    lr: float = 0.1,
    **more: Any,
) -> Path:
    config = {"seed": seed, "name": "base", "from": None, **more}
    config |= {"learner": {"name": learner, "lr": lr}}
    config |= {"tasks": {"name": tasks, "episode_steps": 100}}
    meta = {"returns_by_shot": shots, "returns_total": sum(shots)}
    return make_run(folder, "metatrain", config, {"meta": meta})


def pretrain_run(folder: Path, skill: str, seed: int, cells: float, **env: Any) -> Path:
    config = {
        "seed": seed,
        "name": "base",
        "skill": {"name": skill},
        "env": {"name": "point"} | env,
    }
    summary = {"coverage": {"cells": cells}, "native_return": {"per_skill": [1.0, 4.0], "max": 4.0}}
    return make_run(folder, "pretrain", config, summary)


# The numbers, by hand.


def test_one_task_by_hand():
    # Sorted, 0 1 2 3 100: 5 // 4 = 1 a side goes, and (1 + 2 + 3) / 3 is left.
    found = comparison.compared({"a": {"t": [100, 3, 1, 2, 0]}}, {})["tasks"]["t"]["a"]
    assert found["iqm"][0] == 2.0 and found["mean"][0] == 21.2 and found["runs"] == 5
    low, high = found["iqm"][1:]
    assert 2.0 - low == pytest.approx(high - 2.0) and high > 30.0


def test_normalised_over_tasks_by_hand():
    # t: (5 - 1) / (9 - 1) = 0.5 and 1; u: 0.2 and 0.4. IQM drops one a side of 0.2 0.4 0.5 1.
    scores = {"a": {"t": [5.0, 9.0], "u": [-8.0, -6.0]}}
    found = comparison.compared(scores, {"t": (1.0, 9.0), "u": (-10.0, 0.0)})
    overall = found["overall"]["a"]
    assert found["normalised"]
    assert overall["iqm"][0] == pytest.approx(0.45)
    assert overall["mean"][0] == pytest.approx(0.525)
    assert overall["median"][0] == pytest.approx((0.75 + 0.3) / 2)
    assert overall["optimality_gap"][0] == pytest.approx(1 - 0.525)
    assert found["tasks"]["t"]["a"]["iqm"][0] == 7.0, "a task's own table stays raw"


def test_raw_scores_of_several_tasks_are_not_averaged():
    found = comparison.compared({"a": {"t": [1.0], "u": [900.0]}}, {"t": (0.0, 2.0)})
    assert found["overall"] is None and found["profile"] is None and not found["normalised"]


def test_runs_that_agree_have_an_interval_of_no_width():
    found = comparison.compared({"a": {"t": [7.0] * 4}, "b": {"t": [7.0] * 4}}, {})
    assert found["overall"]["a"]["iqm"] == [7.0, 7.0, 7.0]
    chance, low, high = found["improvement"]["a"]["b"]
    assert chance == 0.5 and low < 0.3 and high > 0.7, "four runs do not tell who wins"


def test_intervals_say_how_they_were_made():
    # Two runs, 0 and 1: mean 0.5, standard error 0.5, one degree of freedom.
    found = comparison.compared({"a": {"t": [0.0, 1.0]}}, {})["tasks"]["t"]["a"]
    assert found["mean"] == pytest.approx([0.5, 0.5 - 6.3531, 0.5 + 6.3531], rel=1e-4)
    assert found["interval"] == "Student's t" and found["covers"] == 0.95
    tasks = {f"t{k}": [0.0, 0.5, 1.0] for k in range(8)}
    many = comparison.compared({"a": tasks}, {t: (0.0, 1.0) for t in tasks})["overall"]["a"]
    assert many["interval"] == "bootstrap" and many["covers"] == 0.87
    assert comparison.kind_of(many) == "bootstrap, holds the truth 87 % of the time"
    assert comparison.kind_of({**found, "runs": 1}) == "one run: no interval"


def test_improvement_is_a_count_of_pairs():
    # t: 3 > 1, 3 > 2, 2 > 1, and 2 = 2 is half: 3.5 of 4. u: 0 of 2. Unequal numbers of runs.
    scores = {"a": {"t": [3, 2], "u": [0]}, "b": {"t": [1, 2], "u": [1, 5]}, "c": {"v": [1]}}
    found = comparison.improvement(scores)
    assert found["a"]["b"][0] == pytest.approx((3.5 / 4 + 0) / 2)
    assert found["b"]["a"][0] == pytest.approx(1 - found["a"]["b"][0])
    assert "c" not in found and "c" not in found["a"], "they share no task"
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    mine = comparison.improvement_interval(list(zip(x.T, y.T, strict=True)))
    assert mine[0] == pytest.approx(stats.probability_of_improvement(x, y))


def test_profile_is_a_count_of_runs():
    found = comparison.profile({"a": np.array([[1.0], [2.0], [4.0]]), "b": np.array([[0.0]] * 3)})
    at = np.array(found["thresholds"])
    share = np.array(found["share"]["a"]["value"])
    assert at[0] < 0.0 and at[-1] > 4.0
    assert share[at < 1.0].min() == 1.0 and share[at > 4.0].max() == 0.0
    assert set(share[(at > 1) & (at < 2)]) == {2 / 3} and set(share[(at > 2) & (at < 4)]) == {1 / 3}
    middle = (at > 2) & (at < 4)
    low, high = stats.share_interval(1 / 3, 3)
    assert set(np.array(found["share"]["a"]["low"])[middle]) == {float(low)}
    assert set(np.array(found["share"]["a"]["high"])[middle]) == {float(high)}
    over = set(np.array(found["share"]["b"]["high"])[at > 0])
    assert over == {float(stats.share_interval(0.0, 3)[1])}, "three runs that agree may be luck"


def test_curves_are_joined_where_all_runs_have_points():
    runs = [[(0, 1.0), (10, 3.0), (20, 9.0)], [(0, 3.0), (10, 5.0), (15, 7.0)]]
    found = comparison.curve(runs)
    assert found["x"] == [0, 10] and found["value"] == [2.0, 4.0]
    half = 12.7062  # of two runs that are 2 apart
    assert found["low"] == pytest.approx([2.0 - half, 4.0 - half], rel=1e-4)
    assert found["high"] == pytest.approx([2.0 + half, 4.0 + half], rel=1e-4)
    assert comparison.curve([[]])["x"] == []


# Runs on disk.


def test_methods_by_tasks_by_seeds(tmp_path, capsys):
    for seed in range(3):
        for tasks in ("point_goal", "other"):
            meta_run(tmp_path / f"a-{tasks}" / str(seed), "maml", tasks, seed, [-9.0, -2.0 - seed])
            meta_run(tmp_path / f"b-{tasks}" / str(seed), "promp", tasks, seed, [-9.0, -8.0])
    assert compare([tmp_path], to=tmp_path / "out") == 0
    found = json.loads((tmp_path / "out" / "compare.json").read_text())
    last = found["metrics"]["meta.returns_by_shot.-1"]
    assert last["tasks"]["other"]["maml"]["scores"] == [-2.0, -3.0, -4.0]
    assert last["tasks"]["other"]["promp"]["iqm"] == [-8.0, -8.0, -8.0]
    chance, low, high = last["improvement"]["maml"]["promp"]
    assert chance == high == 1.0 and 0.5 < low < 0.8, "three runs each, two tasks"
    known = read_yaml(CONFIGS / "reference" / "point_goal.yaml")["episode"]
    assert last["references"]["point_goal"] == {
        "random": known["random"],
        "expert": known["expert"],
    }
    assert last["overall"] is None, "the other family has no reference"
    total = found["metrics"]["meta.returns_total"]
    assert total["references"]["point_goal"]["random"] == pytest.approx(2 * known["random"])
    assert found["curves"]["other"]["maml"]["value"] == [-9.0, -3.0]
    assert (tmp_path / "out" / "compare.png").read_bytes()[:4] == b"\x89PNG"
    told = capsys.readouterr().out
    assert "P(maml > promp) = 1.00" in told and "no reference scores for other" in told
    assert "IQM with 95 % interval (Student's t, holds the truth 95 % of the time)" in told


def test_few_runs_of_many_tasks_are_told(tmp_path, capsys):
    for k in range(8):
        for seed in range(3):
            meta_run(tmp_path / f"{k}" / str(seed), "maml", f"t{k}", seed, [-9.0, -2.0 - seed])
    assert compare([tmp_path], ["meta.returns_by_shot.-1"], to=tmp_path / "out") == 0
    told = capsys.readouterr().err
    assert "3 runs a task: over 8 tasks a 95 % interval is a bootstrap's, which holds" in told
    assert "87 % of the time" in told


def test_settings_that_differ_are_other_methods(tmp_path):
    meta_run(tmp_path / "0", "maml", "t", 0, [1.0])
    meta_run(tmp_path / "1", "maml", "t", 1, [1.0])
    meta_run(tmp_path / "2", "maml", "t", 1, [1.0], lr=0.5)
    meta_run(tmp_path / "3", "maml", "t", 1, [1.0], name="tuned")
    methods = [o.method for o in gather([tmp_path])]
    assert methods == ["maml lr=0.1", "maml lr=0.1", "maml lr=0.5", "maml tuned"]


def test_finetune_area_and_sources(tmp_path):
    for k, skill in enumerate(("diayn", "metra")):
        source = pretrain_run(tmp_path / skill / "base" / "0", skill, 0, 9)
        name = "-".join(source.parts[-3:])
        config = {"seed": 0, "name": name, "from": str(source), "strategy": {"name": "policy"}}
        config |= {"task": {"name": "formula", "title": "go_5"}, "env": {"name": "point"}}
        curve = [[10 * k, 0.0, 0.1, 0.0], [20, 4.0, 0.1, 0.0], [40, 4.0, 0.1, 0.0]]
        summary = {"finetune": {"curve": curve, "final": {"mean": 5.0}}}
        make_run(tmp_path / f"f{k}", "finetune", config, summary)
    a, b = gather([tmp_path / "f0", tmp_path / "f1"])
    assert (a.method, b.method) == ("policy from diayn", "policy from metra")
    assert a.task == b.task == "point go_5"
    assert a.score("finetune.area") == (40 + 80) / 40
    assert b.score("finetune.area") == (0 + 20 + 80) / 40, "the steps of choosing count as 0"
    assert gather([tmp_path / "f0"])[0].method == "policy", "one source need not be named"
    assert choose_metrics([a, b], []) == ["finetune.final.mean", "finetune.area"]


def test_a_file_of_evaluate(tmp_path):
    run = meta_run(tmp_path / "run", "maml", "skills", 3, [1.0, 2.0])
    file = tmp_path / "point_goal.json"
    said = {"run": str(run), "family": {"name": "point_goal", "episode_steps": 7}}
    file.write_text(json.dumps(said | {"meta": {"returns_by_shot": [-5.0, -1.0]}}))
    (found,) = gather([file])
    assert (found.method, found.task, found.seed) == ("maml on skills", "point_goal", 3)
    assert found.score("meta.returns_by_shot.-1") == -1.0
    assert reference(found, "meta.returns_by_shot.-1") == (None, None), "made for 100 steps"


def test_keys_of_a_summary():
    assert numbers({"a": {"b": [1, {"c": 2.5}], "d": True, "e": "x"}, "f": 3}) == {
        "a.b.-1.c": 2.5,
        "f": 3.0,
    }


def test_a_shipped_reference_is_what_its_script_makes(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location(
        "references", CONFIGS.parent / "scripts" / "references.py"
    )
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "OUT", tmp_path)
    script.downstream("point", CONFIGS / "task" / "waypoints.yaml")
    made, shipped = (
        tmp_path / "point_waypoints.yaml",
        CONFIGS / "reference" / "point_waypoints.yaml",
    )
    assert made.read_text() == shipped.read_text()


def test_references_are_sound():
    paths = sorted((CONFIGS / "reference").glob("*.yaml"))
    assert len(paths) > 10
    for path in paths:
        found = read_yaml(path)
        assert path.stem == found["name"].replace(" ", "_")
        held = found.get("episode") or found["trial"]
        if held["random"] is not None and held["expert"] is not None:
            assert held["random"] < held["expert"], path.name


# Mistakes.


def refused(*args: Any, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        compare(*args, **settings)
    assert caught.value.code == Exit.CONFIG
    return str(caught.value)


def test_mistakes_are_one_line(tmp_path):
    a = pretrain_run(tmp_path / "runs" / "a", "diayn", 0, 5)
    b = meta_run(tmp_path / "runs" / "b", "maml", "t", 0, [1.0])
    config = {"skill": {"name": "diayn"}, "env": {"name": "point"}}
    c = make_run(tmp_path / "runs" / "c", "pretrain", config, {}, state="running")
    (tmp_path / "empty").mkdir()
    assert "did you mean" in refused([tmp_path / "run"])
    assert "not a run" in refused([tmp_path / "empty"])
    assert f"{c} is not finished" in refused([a, c]) and "resume" in refused([a, c])
    assert "--stage metatrain" in refused([a, b])
    assert "did you mean coverage.cells" in refused([a], ["coverage.cell"])
    assert "did you mean coverage.cells" in refused([a], ["cells"])
    assert "none of these is a run of finetune" in refused([a], stage="finetune")
    (tmp_path / "x.json").write_text("{}")
    assert "nor a file that evaluate --json wrote" in refused([tmp_path / "x.json"])
    assert not (tmp_path / "compare").exists()


def test_unlike_runs_are_told(tmp_path, capsys):
    pretrain_run(tmp_path / "a", "diayn", 0, 5, size=10)
    pretrain_run(tmp_path / "b", "metra", 0, 9, size=20)
    (tmp_path / "b2").mkdir()
    pretrain_run(tmp_path / "b2" / "0", "metra", 0, 9, size=20)
    assert compare([tmp_path], ["coverage.cells"], finished=True, to=tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "differ in env.size (10, 20)" in said.err
    assert "2 runs have seed 0" in said.err and "fewer than 3 runs on a task" in said.err
    assert "P(metra > diayn) = 1.00" in said.out


@pytest.mark.parametrize(
    "text",
    [
        '{"meta": {"returns_by_shot": [1, {}]}}',
        '{"meta": [1]}',
        '{"meta": "x", "finetune": {"curve": [[0]]}}',
        '{"finetune": {"curve": [[0, 1], ["a", 2]]}}',
        '{"finetune": {"curve": [[0, 1], [0, 2]]}}',
        "[" * 100_000,
        "null",
        "{broken",
    ],
)
def test_an_odd_run_among_others_stops_no_comparison(tmp_path, capsys, text):
    for seed in (0, 1):
        meta_run(tmp_path / "runs" / f"maml-bandit/base/{seed}", "maml", "bandit", seed, [1.0, 2.0])
    odd = tmp_path / "runs" / "scratch-bandit/base/0"
    meta_run(odd, "scratch", "bandit", 0, [1.0, 2.0])
    (odd / "summary.json").write_text(text)
    try:
        assert compare([tmp_path / "runs"], ["meta.returns_total"], to=tmp_path / "out") == 0
        assert "left out: " in capsys.readouterr().err
    except UserError as refusal:  # it is a run, which lacks what is compared
        assert "lacks it" in str(refusal)
