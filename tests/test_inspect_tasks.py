"""Looking at proposed tasks: numbers by hand, maps that are what the judge says, whole pages."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import torch

from logbook.build import build
from logbook.cli import outlet
from logbook.config import CONFIGS, read_yaml
from logbook.errors import Exit, UserError
from meta import task_views
from meta.inspect_tasks import inspect
from meta.proposals import Proposer
from meta.task_numbers import alarms, measured, overlap
from meta.task_pictures import extremes
from pretrain import inspect_skills

PLACES = np.array([[3.0, 0.0], [-3.0, 0.0], [3.0, 0.1]], np.float32)
NODE = read_yaml(CONFIGS / "env" / "point.yaml")


class Near:
    """A judge that pays for being near a place, or for going there (`way`)."""

    def __init__(self, way: bool = False) -> None:
        self.way = way

    def reward(self, batch: Any) -> torch.Tensor:
        place = torch.from_numpy(PLACES)[batch.z.argmax(-1)]

        def far(feat: torch.Tensor) -> torch.Tensor:
            return (feat[..., :2] - place).norm(dim=-1)

        assert torch.allclose(batch.next_obs * NODE["size"], batch.next_feat[..., :2], atol=1e-5)
        return far(batch.feat) - far(batch.next_feat) if self.way else -far(batch.next_feat)


def proposals(way: bool = False, env: dict[str, Any] | None = None) -> Proposer:
    world = build("env", env or NODE, num_envs=1)
    z, zero, one = torch.eye(3), torch.zeros(3), torch.ones(3)
    of = np.zeros(3, np.int64)
    return Proposer(env or NODE, [{}], [Near(way)], of, z, zero, one, world.world_spec, [5])


class Goer:
    """Skill k goes straight to place k."""

    def act(self, obs: torch.Tensor, z: torch.Tensor, explore: bool) -> tuple[torch.Tensor, dict]:
        place = torch.from_numpy(PLACES)[z.argmax(-1)]
        act = (place - obs * NODE["size"]) / NODE["step_size"]
        return act.clamp(-1, 1), {}


def watched(found: Proposer, steps: int = 40) -> task_views.Seen:
    source: Any = SimpleNamespace(agent=Goer(), skill=SimpleNamespace(all_z=lambda: torch.eye(3)))
    return task_views.watch(found, source, steps=steps, reps=2, seed=0)


@pytest.fixture(scope="module")
def looked() -> tuple[Proposer, task_views.Seen, np.ndarray]:
    found = proposals()
    seen = watched(found)
    return found, seen, task_views.rewards(found, seen)


def test_rewards_are_the_judges(looked):
    _, seen, paid = looked
    assert seen.names[:3] == ["skill 0", "skill 1", "skill 2"] and seen.skills == 3
    assert paid.shape == (3, 40, 3 + task_views.RANDOM, 2)
    want = -np.linalg.norm(seen.next_feat[..., :2] - PLACES[1], axis=-1)
    np.testing.assert_allclose(paid[1], want, atol=1e-5)
    np.testing.assert_allclose(seen.next_obs[:-1], seen.obs[1:])


def test_best_and_worst_episodes():
    paid = np.zeros((1, 2, 3, 2))
    paid[0, :, 1, 0], paid[0, 1, 2, 1] = [2.0, 2.0], -5.0
    assert extremes(paid).tolist() == [[[1, 0], [2, 1]]]


def test_numbers_of_known_tasks(looked):
    found, seen, paid = looked
    numbers = measured(found, seen, paid, [0, 1, 2])
    assert numbers["count"] == 3 and numbers["dropped"] == [5]
    near = numbers["tasks"][1]
    assert near["best_policy"] == "skill 1" and near["own_rank"] == 1 and near["within_reach"]
    assert near["best"] == pytest.approx(paid[1, :, 1].sum(0).mean())
    assert near["random"] == pytest.approx(paid[1, :, 3:].sum(0).mean())
    assert near["pays_for"][0]["feat"] == "x" and near["pays_for"][0]["r"] < -0.9
    assert numbers["tasks"][0]["most_alike"]["task"] == 2
    assert numbers["diversity"]["r"][0][2] > 0.99 and numbers["diversity"]["r"][0][1] < -0.8
    assert 1.8 < numbers["diversity"]["effective"] < 2.1, "0 and 2 are nearly the same task"
    assert numbers["difficulty"] == {"solved": 3, "own_best": 3}
    assert any("0 and 2" in line for line in numbers["alarms"])


def test_effective_number_by_hand():
    assert task_views.effective_number(np.eye(4)) == pytest.approx(4)
    assert task_views.effective_number(np.ones((4, 4))) == pytest.approx(1)
    assert task_views.effective_number(np.array([[1.0, -1], [-1, 1]])) == pytest.approx(2)
    # Two alike and one apart: each of the two is 2/3 ordinary, the third 1/3.
    pair = np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])
    assert task_views.effective_number(pair) == pytest.approx((9 / 4 * 3) ** (1 / 3))


def test_correlations_and_shares_by_hand():
    a = np.array([[1.0, 2, 3], [5, 5, 5]])
    assert task_views.correlations(a, a).round(6).tolist() == [[1, 0], [0, 0]]
    x = np.arange(100.0)
    assert task_views.explained(x, (x > 49) * 3.0) == pytest.approx(1.0)
    assert task_views.explained(x, x % 2, bins=10) < 1e-9, "what changes within bins is not"
    assert task_views.explained(x, np.ones(100)) == 0.0


def test_nobody_ahead_of_chance_is_told():
    numbers = {"count": 2, "diversity": {"best_policies": 2}}
    numbers["tasks"] = [{"task": 0, "within_reach": True}, {"task": 1, "within_reach": False}]
    assert alarms(numbers, np.eye(2)) == [
        "nobody seen is clearly ahead of random policies on task 1"
    ]


@pytest.mark.parametrize("way", [False, True], ids=["being", "going"])
def test_exact_map_is_the_reward_of_a_step_from_the_start(way):
    found = proposals(way)
    seen = watched(found, 10)
    drawn = task_views.reward_map(found, seen, task_views.rewards(found, seen))
    assert drawn.exact and drawn.axes == ("x", "y")
    x, y = np.meshgrid(*drawn.at, indexing="ij")
    for k in range(3):
        there = np.hypot(x - PLACES[k, 0], y - PLACES[k, 1])
        value = drawn.values[k] + there  # 0 for being, the start's distance for going
        assert np.ptp(value) < 1e-4
        assert (abs(value.mean()) < 1e-4) != way


def test_walls_are_left_blank():
    env = read_yaml(CONFIGS / "env" / "maze.yaml")
    found = proposals(env=env)
    found.methods = [SimpleNamespace(reward=lambda batch: batch.next_feat[..., 0])]
    seen = task_views.watch(found, None, steps=100, reps=4, seed=0)
    drawn = task_views.reward_map(found, seen, task_views.rewards(found, seen))
    x, y = np.meshgrid(*drawn.at, indexing="ij")
    left, low, wide, high = seen.walls[:, :, None, None].swapaxes(0, 1)
    inside = ((x > left) & (x < left + wide) & (y > low) & (y < low + high)).any(0)
    assert drawn.exact and inside.any() and not inside.all()
    np.testing.assert_array_equal(np.isnan(drawn.values), np.stack([inside] * 3))
    np.testing.assert_allclose(drawn.values[0][~inside], x[~inside], atol=1e-5)


def test_visited_map_is_a_mean_over_cells():
    found = proposals()
    seen = watched(found)
    rew = seen.named("x") ** 2
    drawn = task_views._visited(seen, ("x",), [rew])
    there = np.isfinite(drawn.values[0])
    wide = drawn.at[0][1] - drawn.at[0][0]
    off = np.abs(drawn.values[0] - drawn.at[0] ** 2)[there]
    assert there.sum() > 10 and not drawn.exact
    assert (off <= wide * (np.abs(drawn.at[0][there]) + wide)).all()


def test_overlap_with_a_family(looked):
    _, seen, paid = looked
    node = read_yaml(CONFIGS / "tasks" / "point_goal.yaml")
    family = build("tasks", node, num_envs=1, seed=0)
    goals = PLACES[:2].astype(np.float64)
    want = task_views.family_rewards(family, goals, seen)
    np.testing.assert_allclose(want[1], paid[1][seen.alive], atol=1e-5)
    family.sample = lambda n, rng, held_out: np.tile(goals, (n, 1))[:n]  # type: ignore[method-assign]
    found = overlap(family, seen, paid, 0)
    assert found["tasks"] == [[-3.0, 0.0], [3.0, 0.0]], "each once"
    assert [b["task"] for b in found["best"]] == [1, 0]
    assert found["mean_best_r"] == pytest.approx(1.0)
    assert family.tasks.shape == (1, 2), "the family is as it was"


def test_runner_families_pay_by_feats():
    node = read_yaml(CONFIGS / "tasks" / "cheetah_direction.yaml")
    family = build("tasks", node, num_envs=1, seed=0)
    feat = np.zeros((2, family.spec.feat_dim), np.float32)
    feat[:, family.spec.feat_names.index("x_velocity")] = 2.0
    act = np.full((2, 6), 0.5)
    paid = family.rewards(np.array([[1.0], [-1.0]]), feat, feat, act)
    np.testing.assert_allclose(paid, [2 - 0.05 * 1.5, -2 - 0.05 * 1.5])


# The command, on a run made by the other commands.


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    from logbook.compose import compose
    from pretrain.stage import pretrain_stage

    folder = tmp_path_factory.mktemp("inspect") / "run"
    words = "skill=diayn env=point skill.num_skills=3 steps=256 num_envs=4 agent.start_steps=64"
    words += " atlas.videos=false evaluate.reps=2 env.max_episode_steps=20 agent.updates=1"
    job = compose("pretrain", words.split())
    pretrain_stage(job.config, folder, ())
    return folder


def test_page_of_a_pretrain_run(run, capsys):
    assert inspect(run, against="point_goal", reps=1) == 0
    page = (run / "tasks.html").read_text()
    numbers = json.loads((run / "tasks.json").read_text())
    for k in range(numbers["count"]):
        assert f"tasks/task_{k:02d}.png" in page
        assert (run / "tasks" / f"task_{k:02d}.png").read_bytes()[:4] == b"\x89PNG"
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert links and all((run / link).is_file() for link in links), "offline, and nothing missing"
    assert numbers["against"]["family"] == "point_goal" and numbers["map"]["exact"]
    assert np.shape(numbers["values"]["reward"]) == (numbers["count"], 61, 61)
    assert "overlap with point_goal" in capsys.readouterr().out
    assert inspect(run, kind="random", reps=1, steps=5) == 0
    again = json.loads((run / "tasks.json").read_text())
    assert again["kind"] == "random" and again["difficulty"]["own_best"] is None
    assert again["steps"] == 5


def contents(folder: Path) -> dict[str, str]:
    """A digest of every file of a folder, and what folders there are."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(
            p.read_bytes() if p.is_file() else b""
        ).hexdigest()
        for p in folder.rglob("*")
    }


def test_pictures_that_cannot_be_drawn_cost_a_line(run, tmp_path, monkeypatch, capsys):
    def fails(*args: Any, **kwargs: Any) -> None:
        raise KeyError("a font")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fails)
    assert inspect(run, reps=1, out=tmp_path) == 0
    assert "no pictures of tasks: KeyError: 'a font'" in capsys.readouterr().out
    page = (tmp_path / "tasks.html").read_text()
    count = json.loads((tmp_path / "tasks.json").read_text())["count"]
    assert "<img" not in page and page.count("<b>task ") == count
    assert not list(tmp_path.glob("tasks/*"))


@pytest.mark.parametrize("look", ["tasks", "skills"])
def test_pages_may_be_written_elsewhere_and_the_run_is_left_alone(look, run, tmp_path, capsys):
    """Whoever runs this may write everywhere, so that the run is untouched is seen in its bytes."""
    before, out = contents(run), tmp_path / "deep" / "pages"
    if look == "tasks":
        assert inspect(run, reps=1, steps=5, out=out) == 0
        pages = {"tasks.html"}
    else:
        assert inspect_skills.inspect(run, reps=1, steps=5, videos=False, out=out) == 0
        pages = {"index.html", "report.html"}
    assert contents(run) == before
    assert f"look at {out}" in capsys.readouterr().out
    assert pages == {p.name for p in out.glob("*.html")}
    for page in pages:
        links = re.findall(r'(?:src|href)="([^"]+)"', (out / page).read_text())
        missing = {Path(link).name for link in links if not (out / unquote(link)).is_file()}
        assert links and missing <= {"versions.json", "overrides.txt"}, missing


@pytest.mark.parametrize("looking", [inspect, inspect_skills.inspect])
def test_pages_go_into_no_other_run_and_nowhere_that_takes_no_files(looking, run, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    for out, code in ((run, Exit.CONFIG), (blocked, Exit.SETUP), (blocked / "in", Exit.SETUP)):
        with pytest.raises(UserError, match="choose another with --out FOLDER$") as caught:
            looking(run, out=out)
        assert caught.value.code == code and str(out) in str(caught.value)
    assert blocked.read_text() == "mine"


def test_where_a_run_takes_no_files_the_remedy_is_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out FOLDER$"):
        outlet(tmp_path / "file", None)


def test_mistakes_are_one_line(run, tmp_path):
    def refused(folder: Path, code: Exit = Exit.CONFIG, **settings: Any) -> str:
        with pytest.raises(UserError) as caught:
            inspect(folder, **settings)
        assert caught.value.code == code
        return str(caught.value)

    assert "not a run" in refused(tmp_path)
    assert "did you mean tasks=point_goal" in refused(run, against="point_gaol")
    assert "choose a family of this world" in refused(run, against="cheetah_velocity")
    assert "choose a family of this world" in refused(run, against="bandit")
    other = tmp_path / "finetune"
    other.mkdir()
    (other / "config.yaml").write_text("a: 1\n")
    (other / "run.json").write_text(json.dumps({"stage": "finetune"}))
    assert "proposes no tasks" in refused(other)
