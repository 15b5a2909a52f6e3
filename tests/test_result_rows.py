"""What the scripts of docs/RESULTS.md type can be read by the commands they type it to."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import scipy.stats
from hydra.core.override_parser.overrides_parser import OverridesParser

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import finetune_results  # noqa: E402
import results  # noqa: E402
import umrl_results  # noqa: E402
import umrl_table  # noqa: E402
from meta_rows import ROWS  # noqa: E402
from umrl_worlds import WORLDS, methods_of  # noqa: E402

from logbook.compose import compose, sweep  # noqa: E402

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


SIZES = {  # what tells a bandit's size, and the row of that size
    "rl2-bandit_5x10": "tasks.arms=5 tasks.pulls=10",
    "rl2-bandit_50x10": "tasks.arms=50",
    "rl2-bandit_5x100": "tasks.arms=5 tasks.pulls=100",
}


@pytest.mark.parametrize("row", SIZES)
def test_a_bandit_of_a_published_size_is_learned_as_its_row_was(row: str) -> None:
    words = f"learner=rl2 tasks=bandit {SIZES[row]} evaluate.tasks=4000".split()
    full = compose("metatrain", ROWS[row].command.split()).config
    assert compose("metatrain", words).config == full
    mine = ["steps=70000", "learner.meta_batch=30", "learner.lr=0.5"]
    typed = compose("metatrain", [*mine, *words]).config
    same = {"steps": 70_000, "learner": {**full["learner"], "meta_batch": 30, "lr": 0.5}}
    assert typed == full | same


def test_settings_of_both_sizes_and_of_neither() -> None:
    small, both = sweep("metatrain", ["tasks.arms=5,50", "tasks.pulls=31,32"])[::3]
    assert small.config == compose("metatrain", ["tasks.pulls=31"]).config
    assert small.config["learner"] == compose("metatrain", []).config["learner"]
    found = both.config["learner"]
    assert both.config["steps"] == 10_000_000
    assert (found["hidden"], found["lam"], found["meta_batch"]) == (128, 0.9, 500)


def a_test(seed: int, tasks: list[float], earned: list[float]) -> dict[str, object]:
    """A run of a test: nothing before a step, so much after it."""
    returns = [[0.0] * len(earned), earned]
    found = {"seed": seed, "rate": None, "tasks": [[t] for t in tasks], "returns": returns}
    return {**found, "returns_at_shared_rate": returns}


def test_few_tasks_count_alike_however_often_they_were_drawn() -> None:
    """Forward pays 1, and backward 101, but one seed drew it three times of five, another twice."""
    ours = [
        a_test(0, [1, 1, -1, -1, -1], [0, 2, 100, 101, 102]),
        a_test(1, [-1, 1, 1, 1, -1], [100, 0, 1, 2, 102]),
    ]
    theirs = [a_test(s, [1, 1, -1, -1], [0, 0, 30 - 20 * s, 30 - 20 * s]) for s in (0, 1)]
    found = {"seeds": [0, 1], "families": {"cheetah_direction": {"ours": ours, "theirs": theirs}}}
    text = umrl_table.table("cheetah", found, 0.5)
    assert "2 tasks alike, [95 %] of episodes" in text
    # Errors of four means: 1, sqrt(1 / 3), sqrt(1 / 3), 1; of the mean of them the root / 4.
    middle, low, high = umrl_table.difference(ours, theirs, umrl_table.after(1))
    df = (8 / 3) ** 2 / (2 * (1 / 1 + 1 / 9 / 2))
    half = scipy.stats.t.ppf(0.975, df) * (8 / 3) ** 0.5 / 4
    assert (low, high) == pytest.approx((41.0 - half, 41.0 + half), rel=1e-4) and middle == 41.0
    assert f"| ours | -, - | 0.0 [0.0, 0.0] | 51.0 [{51 - half:.1f}, {51 + half:.1f}] |" in text
    assert "| +36.0, +46.0 |" in text
    # Over two seeds: 41, and t(1) = 12.706 times a standard error of 5.
    assert text.rstrip().endswith("| theirs | +36.0, +46.0 [-22.5, 104.5] |")


def test_of_many_tasks_differences_are_by_task() -> None:
    ours = [a_test(0, [0.1, 0.2, 0.3], [10.0, 50.0, 90.0])]
    theirs = [a_test(0, [0.1, 0.2, 0.3], [9.0, 49.0, 89.0])]
    assert umrl_table.difference(ours, theirs, umrl_table.mean_after) == (1.0, 1.0, 1.0)
    others = [a_test(0, [0.1, 0.2, 0.4], [9.0, 49.0, 89.0])]
    with pytest.raises(ValueError, match="unlike tasks"):
        umrl_table.difference(ours, others, umrl_table.mean_after)


def test_kept_tests_know_their_tasks() -> None:
    for place in (ROOT / "docs" / "results").glob("umrl-*.json"):
        world = place.stem.removeprefix("umrl-")
        assert umrl_table.table(world, json.loads(place.read_text()), WORLDS[world].shared)


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
    for strategy in finetune_results.ROWS[row][2]:
        read(finetune_results.typed(row, strategy).format(seed=1).split())


def test_adapting_goes_on_from_a_learner_and_has_no_agent() -> None:
    words = finetune_results.typed("cheetah-run_forward", "adapt")
    source = umrl_results.folder_of("cheetah", "UML-DIAYN", 1).relative_to(ROOT)
    assert words.format(seed=1).split()[0] == f"from={source}" and "agent" not in words
    words = finetune_results.typed("cheetah-run_forward", "policy")
    assert "from=runs/results/diayn-cheetah/{seed} " in words and "agent.updates=4" in words


def test_what_was_kept_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run takes the place of the one of its seed, and that of another seed is left."""
    monkeypatch.setattr(finetune_results, "RAW", tmp_path)
    monkeypatch.setattr(finetune_results, "RUNS", tmp_path / "runs")

    def finish(strategy: str, seed: int, value: float) -> None:
        folder = tmp_path / "runs" / "finetune-point-goal_3_4" / strategy / str(seed)
        folder.mkdir(parents=True, exist_ok=True)
        curve = [[0, -9.0, 0.1, 0.0], [10000, value, 0.1, 0.0]]
        summary = {"seed": seed, "wall_s": 1.0, "finetune": {"curve": curve, "steps_choosing": 0}}
        (folder / "summary.json").write_text(json.dumps(summary))

    for seed, value in ((0, 1.0), (1, 2.0)):
        finish("scratch", seed, value)
    finetune_results.keep("point-goal_3_4")
    shutil.rmtree(tmp_path / "runs")
    finish("scratch", 1, 5.0)
    finish("policy", 2, 7.0)
    finetune_results.keep("point-goal_3_4")
    found = json.loads((tmp_path / "finetune-point-goal_3_4.json").read_text())
    assert found["at"]["scratch"]["10000"]["returns"] == [1.0, 5.0]
    assert [run["seed"] for run in found["strategies"]["policy"]] == [2]
