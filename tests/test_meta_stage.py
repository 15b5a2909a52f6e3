"""Stage 2 as a whole: trials are counted right, runs resume bit for bit, mistakes are one line."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from logbook import checkpoint, files, metrics
from logbook.build import build
from logbook.compose import compose
from logbook.errors import UserError
from logbook.run import Run
from meta import proposals, report
from meta.assess import assess
from meta.evaluate import Scores, held_out, score
from meta.proposals import _paying, proposer
from meta.stage import assemble, examine, family_factory, metatrain_stage
from meta.taskset import load_tasks, save_tasks
from meta.trial import Last, live, returns_by_episode, side_by_side
from pretrain.stage import pretrain_stage
from rl.train import train
from rl.types import Batch

SMALL = {
    "rl2": "learner.hidden=8 learner.meta_batch=6 learner.epochs=1 learner.minibatches=1",
    "maml": "learner.hidden=[8] learner.meta_batch=3 learner.width=4",
}
TASKS = {
    "rl2": "tasks=bandit tasks.arms=3 tasks.pulls=4",
    "maml": "tasks=point_goal tasks.episode_steps=7",
}
EVERY = {"rl2": "steps=240 log_every=50 checkpoint_every=72"}
EVERY["maml"] = "steps=1400 log_every=300 checkpoint_every=500"


class Cycling:
    """Takes arm (step of the trial) mod arms, and remembers everything it was told."""

    told, hears, width = False, True, 1

    def __init__(self, arms: int) -> None:
        self.arms = arms
        self.seen: list[Last] = []

    def rounds(self, horizon: int) -> Sequence[int]:
        return [horizon - 1, 1] if horizon > 1 else [1]

    def begin(self, n: int, told: Tensor | None) -> int:
        assert told is None
        return 0

    def act(self, obs: Tensor, last: Last, memory: int, explore: bool) -> Any:
        self.seen.append(last)
        act = torch.zeros(len(obs), self.arms)
        act[:, memory % self.arms] = 1.0
        return act, {}, memory + 1

    def adapt(self, memory: int, rollout: Batch) -> int:
        return memory + 100 * self.arms  # visible, and the same arm


def test_a_trial_hands_on_what_happened_and_counts_episodes() -> None:
    node = compose("metatrain", ["tasks=bandit", "tasks.arms=3", "tasks.pulls=5"]).config["tasks"]
    family = build("tasks", node, num_envs=4, seed=0)
    tasks = np.repeat([[0.0, 1.0, 0.0]], 4, 0)  # only arm 1 pays, and always
    policy = Cycling(3)
    rounds = live(family, policy, tasks, horizon=5, explore=True)
    assert [len(r.rew) for r in rounds] == [4, 1]
    assert rounds[0].extras["episode"][:, 0].tolist() == [0, 1, 2, 3]
    assert rounds[1].extras["episode"][:, 0].tolist() == [4]
    assert returns_by_episode(rounds, 5)[:, 0].tolist() == [0, 1, 0, 0, 1]
    first, second, third = policy.seen[:3]
    assert first.act.sum() == 0 and first.done.sum() == 0
    assert second.act[0].tolist() == [1, 0, 0] and second.rew[0] == 0 and second.done[0] == 1
    assert third.rew[0] == 1
    assert bool(rounds[0].extras["valid"].all())
    assert torch.equal(rounds[0].z[0], torch.from_numpy(tasks).float())


def test_rollouts_of_unlike_length_stand_side_by_side() -> None:
    def rollout(steps: int, num: int) -> Batch:
        rew = torch.arange(1.0, steps + 1)[:, None].expand(steps, num).clone()
        flag = torch.zeros(steps, num, dtype=torch.bool)
        wide = torch.zeros(steps, num, 2)
        extras = {"valid": ~flag, "episode": torch.zeros(steps, num, dtype=torch.int64)}
        return Batch(wide, wide, wide, wide, wide, rew, flag, flag, wide, extras)

    whole = side_by_side([rollout(2, 1), rollout(3, 2)])
    assert whole.rew.T.tolist() == [[1, 2, 0], [1, 2, 3], [1, 2, 3]]
    assert whole.extras["valid"].T.tolist() == [[True, True, False], [True] * 3, [True] * 3]


def _config(learner: str, *more: str) -> dict[str, Any]:
    words = [f"learner={learner}", *SMALL[learner].split(), *TASKS[learner].split()]
    words += [*EVERY[learner].split(), "evaluate.tasks=5", *more]
    return compose("metatrain", words).config


class Interrupted(BaseException):
    """The end of a process, as far as a test without one can have it."""


def _train(folder: Path, config: dict[str, Any], until: int | None = None) -> None:
    with Run.open(folder, config, stage="metatrain") as run:
        training = assemble(config)
        if (found := run.restore()) is not None:
            training.load_state_dict(found[1])
        advance = training.advance

        def interrupted() -> Any:
            if until is not None and training.step >= until:
                raise Interrupted
            return advance()

        training.advance = interrupted  # type: ignore[method-assign]
        every = {key: config[key] for key in ("steps", "log_every", "checkpoint_every")}
        train(training, run, **every)
        run.finish({})


def _outcome(folder: Path) -> tuple[Any, ...]:
    newest, _ = checkpoint.newest(folder / "checkpoints")
    assert newest is not None
    timed = ("time/time_elapsed", "time/fps")
    rows = metrics.rows(folder / "metrics.jsonl")
    kept = [{k: v for k, v in row.items() if k not in timed} for row in rows]
    return newest.name, checkpoint.read_manifest(newest).files, kept


@pytest.mark.parametrize("learner", ["rl2", "maml"])
def test_an_interrupted_meta_training_ends_bit_for_bit_the_same(
    tmp_path: Path, learner: str
) -> None:
    config = _config(learner)
    _train(tmp_path / "whole", config)
    for until in (int(config["steps"]) * 2 // 5, int(config["steps"]) * 4 // 5):
        with pytest.raises(Interrupted):
            _train(tmp_path / "cut", config, until)
    _train(tmp_path / "cut", config)
    whole = _outcome(tmp_path / "whole")
    assert len(whole[2]) > 2
    assert _outcome(tmp_path / "cut") == whole


def test_worlds_side_by_side_may_be_fewer_than_an_update_wants() -> None:
    config = _config("maml", "num_envs=4")
    training = assemble(config)
    rounds = training.advance()
    assert training.family.num_envs == 4
    assert rounds[0].rew.shape[1] == 12 and training.step > 0
    with pytest.raises(UserError, match="num_envs=5.*num_envs=12"):
        assemble(_config("maml", "num_envs=5"))


@pytest.mark.parametrize("learner", ["rl2", "maml"])
def test_the_burn_in_may_not_exceed_the_horizon(learner: str) -> None:
    with pytest.raises(UserError, match="burn_in=3"):
        assemble(_config(learner, "burn_in=3", "horizon=2"))


def test_the_learner_never_sees_the_task() -> None:
    """Another name for the same tasks (here: nonsense in z) changes nothing that is learned."""
    outcomes = []
    for scramble in (False, True):
        training = assemble(_config("maml"))
        tasks = training.family.sample(3, np.random.default_rng(0), held_out=False)
        rounds = live(training.family, training.learner, tasks, horizon=2, explore=True)
        if scramble:
            rounds = [Batch(**{**vars(r), "z": torch.randn_like(r.z)}) for r in rounds]
        training.learner.update(rounds)
        outcomes.append(training.learner.state_dict())
    first, second = (json.dumps(_listed(o), sort_keys=True) for o in outcomes)
    assert first == second


def _listed(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _listed(v) for k, v in node.items()}
    return node.tolist() if hasattr(node, "tolist") else str(node)


def test_scores_are_means_over_worlds_and_sums_over_episodes() -> None:
    config = _config("rl2")
    make = family_factory(config)
    tasks = np.repeat([[0.0, 1.0, 0.0]], 3, 0)
    numbers = score(make, Cycling(3), tasks, horizon=5, seed=0).numbers()
    assert numbers["returns_by_shot"] == [0, 1, 0, 0, 1]
    assert numbers["returns_total"] == 2 and numbers["returns_total_95"] == 0
    assert numbers["gains_by_shot"] == [0, 1, 0, 0, 1]
    again, other = held_out(make, 4, 7), held_out(make, 4, 8)
    assert np.array_equal(again, held_out(make, 4, 7)) and not np.array_equal(again, other)


def test_gains_are_of_each_task() -> None:
    returns = np.array([[0.0, 10.0, 50.0], [1.0, 11.0, 51.0], [3.0, 10.0, 50.0]])
    numbers = Scores(returns, np.ones((3, 3)), {}, []).numbers()
    assert numbers["gains_by_shot"] == [0, 1, 1]
    assert numbers["gains_by_shot_se"] == pytest.approx([0, 0, 1])
    assert numbers["gains_by_shot_95"] == pytest.approx([0, 0, 4.3027], rel=1e-4)
    assert numbers["returns_by_shot_95"][1] > 20 and numbers["intervals_of"] == "tasks"


def test_of_few_tasks_the_error_is_one_of_episodes() -> None:
    """Two tasks that pay 0 and 100, lived three and two times: the draw says nothing."""
    returns = np.array([[0.0, 99.0, 3.0, 0.0, 101.0]])
    tasks = np.array([[1.0], [-1.0], [1.0], [1.0], [-1.0]])
    numbers = Scores(returns, np.full((1, 5), 7.0), {}, [], tasks).numbers()
    assert numbers["returns_total"] == numbers["returns_by_shot"][0] == (1 + 100) / 2
    # Errors: 3 / 3 of the first, 2 / 2 of the second, half the root of their sum; 3.0 degrees.
    error, df = math.sqrt(1 + 1) / 2, 2.0**2 / (1 / 2 + 1 / 1)
    want = error * scipy.stats.t.ppf(0.975, df)
    assert numbers["returns_by_shot_95"] == pytest.approx([want], rel=1e-4)
    assert numbers["intervals_of"] == "episodes" and numbers["steps_by_shot"] == [7.0]
    assert "5 trials of 2 tasks" in report.tested(
        {**numbers, "tasks_held_out": 5, "tasks_different": 2}
    )
    once = Scores(returns[:, :2], np.ones((1, 2)), {}, [], tasks[:2]).numbers()
    assert once["intervals_of"] == "tasks" and once["returns_by_shot_95"][0] > 100


@pytest.mark.parametrize(
    ("family", "count"), [("cheetah_direction", 2), ("point_corner", 4), ("two_step", 2)]
)
@pytest.mark.parametrize("asked", [1, 3, 4, 9, 20])
def test_every_task_of_few_is_tested_as_often(family: str, count: int, asked: int) -> None:
    node = compose("metatrain", [f"tasks={family}"]).config["tasks"]

    def make(num_envs: int, seed: int) -> Any:
        return build("tasks", node, num_envs=num_envs, seed=seed)

    for seed in range(3):
        tasks = held_out(make, asked, seed)
        _, counts = np.unique(tasks, axis=0, return_counts=True)
        assert set(counts) == {max(1, -(-asked // count))}
        assert len(counts) == min(asked, count) and asked <= len(tasks) < asked + count


def test_tasks_are_saved_and_replayed(tmp_path: Path) -> None:
    config = _config("rl2")
    tasks = held_out(family_factory(config), 6, 1)
    save_tasks(tmp_path / "t", config["tasks"], tasks, "six")
    node, back = load_tasks(tmp_path / "t")
    assert node == config["tasks"] and np.array_equal(back, tasks)
    broken = bytearray((tmp_path / "t" / "tasks.safetensors").read_bytes())
    broken[-1] ^= 1
    (tmp_path / "t" / "tasks.safetensors").write_bytes(bytes(broken))
    with pytest.raises(UserError, match=r"tasks\.safetensors"):
        load_tasks(tmp_path / "t")
    with pytest.raises(UserError, match="no family.json"):
        load_tasks(tmp_path)


def test_an_untrained_rival_sees_on_the_scale_of_the_learner() -> None:
    """A learner that does not learn is told from it by nothing else."""
    words = ["tasks=point_goal", "tasks.episode_steps=10", "learner.normalize_steps=50"]
    words += ["learner=scratch", "learner.meta_batch=2", "learner.width=3", "evaluate.tasks=3"]
    config = compose("metatrain", words).config
    training = assemble(config)
    training.advance()
    _, scores, _ = examine(config, training.learner)
    assert np.array_equal(scores["untrained"].returns, scores["learner"].returns)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "rl2"
    metatrain_stage(_config("rl2"), folder)
    return folder


def test_a_run_reports_and_is_evaluated_elsewhere(finished: Path, tmp_path: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    meta = summary["meta"]
    assert summary["stage"] == "metatrain" and summary["steps"] >= 240
    assert len(meta["returns_by_shot"]) == 4 and meta["tasks_held_out"] == 5
    assert {"untrained", "random", "thompson"} <= set(meta["baselines"])
    assert sum(meta["returns_by_shot"]) == pytest.approx(meta["returns_total"], abs=1e-6)
    page = (finished / "report.html").read_text()
    assert "thompson" in page and "<script" not in page and "http" not in page.split("</style>")[1]
    assert (finished / "adaptation.png").read_bytes().startswith(b"\x89PNG")
    out = tmp_path / "numbers.json"
    assert assess(finished, ["tasks.pulls=6", "evaluate.tasks=3"], to=out) == 0
    numbers = json.loads(out.read_text())["meta"]
    assert len(numbers["returns_by_shot"]) == 6 and numbers["tasks_held_out"] == 3
    assert assess(finished, ["tasks.pulls=6", "evaluate.horizon=3"], to=out) == 0
    assert len(json.loads(out.read_text())["meta"]["returns_by_shot"]) == 3
    assert assess(finished, [], replay=finished / "held_out", to=out) == 0
    again = json.loads(out.read_text())["meta"]
    assert again["baselines"]["thompson"] == meta["baselines"]["thompson"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["tasks=point_goal"], "tasks=point_goal: its obs_dim is 2"),
        (["tasks.arms=4"], "act_dim is 4, the learner.*trained with 3"),
        (["tasks.arm=4"], "did you mean tasks.arms"),
        (["steps=3"], "steps: evaluate takes tasks=, tasks"),
    ],
)
def test_evaluate_refuses_in_one_line(finished: Path, overrides: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        assess(finished, overrides)
    assert "\n" not in str(error.value) and error.value.code == 2


def test_evaluate_wants_a_run_of_its_stage(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run"):
        assess(tmp_path, [])
    with pytest.raises(UserError, match="want from=RUN"):
        metatrain_stage(compose("metatrain", ["tasks=skills"]).config, tmp_path / "r")


@pytest.fixture(scope="module")
def skilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "diayn"
    words = "env=point skill=diayn skill.num_skills=4 steps=300 num_envs=4 atlas.videos=false"
    words += " agent.start_steps=100 agent.hidden=[8] evaluate.steps=10 evaluate.reps=2"
    pretrain_stage(compose("pretrain", words.split()).config, folder)
    return folder


@pytest.fixture(scope="module")
def two_views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Skills whose second view came in while they were trained."""
    folder = tmp_path_factory.mktemp("run") / "diayn"
    words = "env=point skill=diayn skill.num_skills=4 steps=400 num_envs=4 atlas.videos=false"
    words += " agent.start_steps=350 agent.hidden=[8] evaluate.steps=10 evaluate.reps=2"
    views = ["skill.view=plane + 0.3*obs", "skill.ramp=[100,300]"]
    pretrain_stage(compose("pretrain", [*words.split(), *views]).config, folder)
    return folder


@pytest.mark.parametrize("tasks", ["skills", "random_discriminator", "mixture"])
def test_skills_propose_tasks_that_another_learner_can_be_given(
    skilled: Path, tmp_path: Path, tasks: str
) -> None:
    words = [f"tasks={tasks}", f"from={skilled}", "tasks.episode_steps=7", *SMALL["maml"].split()]
    words += [*EVERY["maml"].split(), "learner=maml", "evaluate.tasks=4"]
    first = compose("metatrain", words).config
    metatrain_stage(first, tmp_path / "a")
    family = family_factory(first)(4, 0)
    saved = {**first, "from": str(tmp_path / "a" / "proposals")}
    again = family_factory(saved)(4, 0)
    act = np.random.default_rng(0).uniform(-1, 1, (3, 4, 2)).astype(np.float32)
    rewards = []
    for one in (family, again):
        one.enter(np.arange(4)[:, None] % family.source.count)
        one.reset()
        rewards.append(np.array([one.step(a)[1] for a in act]))
    assert np.array_equal(*rewards) and rewards[0].std() > 0
    assert (rewards[0][:, 0] != rewards[0][:, 1]).any()


def test_a_run_needs_its_skills_no_more(skilled: Path, tmp_path: Path) -> None:
    """What was proposed lies in the run from its first step on: its source may go."""
    source, folder = tmp_path / "a b=c,ü", tmp_path / "meta"
    shutil.copytree(skilled, source)
    words = ["tasks=skills", f"from={source}", "tasks.episode_steps=7", *SMALL["maml"].split()]
    words += [*EVERY["maml"].split(), "learner=maml", "evaluate.tasks=4"]
    words += [f"hydra.run.dir={folder}"]
    config = compose("metatrain", words).config
    metatrain_stage(config, folder)
    source.rename(tmp_path / "gone")
    before = files.read_json(folder / "summary.json")["meta"]["returns_by_shot"]
    assert assess(folder, ["evaluate.tasks=4"], to=tmp_path / "again.json") == 0
    assert files.read_json(tmp_path / "again.json")["meta"]["returns_by_shot"] == before
    assert assess(folder, ["seed=3"]) == 0
    more = [*words, f"steps={2 * config['steps']}"]
    metatrain_stage(compose("metatrain", more).config, folder)
    assert files.read_json(folder / "summary.json")["steps"] >= 2 * config["steps"]


def test_a_proposal_rewards_what_its_skill_does(skilled: Path) -> None:
    """The reward is the method's own, centred and scaled for each task."""
    words = ["tasks=skills", f"from={skilled}", "tasks.episode_steps=7"]
    family = family_factory(compose("metatrain", words).config)(2, 0)
    source = family.source
    family.enter(np.array([[0.0], [source.count - 1.0]]))
    obs, info = family.reset()
    act = np.ones((2, 2), np.float32)
    next_obs, rew, _, _, after = family.step(act)
    blank = torch.zeros(2)
    batch = Batch(
        *(torch.from_numpy(x) for x in (obs, act, next_obs, info["feat"], after["feat"])),
        blank,
        blank.bool(),
        blank.bool(),
        source.z[[0, source.count - 1]],
    )
    own = source.methods[0].reward(batch).clamp(min=-3.0)
    ids = torch.tensor([0, source.count - 1])
    assert np.allclose(rew, ((own - source.centre[ids]) / source.scale[ids]).numpy(), atol=1e-6)


@pytest.mark.parametrize("kind", ["random", "mixture"])
def test_untrained_tasks_stand_where_the_trained_ones_do(
    two_views: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They pay through every view that counts by now, and are not the trained ones."""
    monkeypatch.setattr(proposals, "STATES", 20)  # of 4 skills: fewer steps than the ramp's first
    trained = proposer(two_views, "skills", 0, floor=None).methods[0]
    found = proposer(two_views, kind, 0, floor=None)
    fresh = found.methods[-1]
    assert fresh.weights() == trained.weights() == [1.0, 0.3]
    draw = np.random.default_rng(0).uniform(-1, 1, (5, 50, 2)).astype(np.float32)
    task = np.full(50, found.count - 1)
    paid, of_obs, of_feat = (
        found.reward(task, draw[0], draw[0], obs, feat, draw[4])
        for obs, feat in ((draw[1], draw[1]), (draw[2], draw[1]), (draw[1], draw[3]))
    )
    assert np.abs(paid - of_obs).mean() > 1e-3 and np.abs(paid - of_feat).mean() > 1e-3
    found.methods[-1] = trained
    assert np.abs(paid - found.reward(task, *draw[[0, 0, 1, 1, 4]])).mean() > 1e-3


def test_a_floor_above_chance_pays_only_where_a_skill_is_recognised(skilled: Path) -> None:
    words = ["tasks=skills", f"from={skilled}", "tasks.episode_steps=7"]
    dense, sparse = (
        family_factory(compose("metatrain", [*words, f"tasks.floor={floor}"]).config)(1, 0).source
        for floor in (3.0, -0.1)
    )
    at = np.random.default_rng(0).uniform(-1, 1, (500, 2)).astype(np.float32)
    batch = [torch.from_numpy(at)] * 4
    blank = torch.zeros(500)
    z = dense.z[:1].expand(500, -1)
    ends = [blank.bool()] * 2
    rows = Batch(batch[0], torch.zeros(500, 2), *batch[1:], blank, *ends, z)
    own, which = dense.methods[0].reward(rows), torch.zeros(500, dtype=torch.int64)
    paid = sparse._judge(rows, which)
    assert torch.equal(paid, own.clamp(min=0.1)) and 0 < (paid > 0.1).sum() < 500
    assert dense._judge(rows, which).unique().numel() > paid.unique().numel()
    with pytest.raises(UserError, match="tasks.floor=-9.0: .* no task pays more .* raise it"):
        family_factory(compose("metatrain", [*words, "tasks.floor=-9.0"]).config)(1, 0)


def test_a_task_that_never_pays_is_not_proposed(
    skilled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tasks=skills", f"from={skilled}"]
    source = family_factory(compose("metatrain", words).config)(1, 0).source
    one, z = torch.ones(4), torch.eye(4)
    found = replace(source, z=z, of=np.zeros(4, np.int64), centre=one, scale=one.clone())
    found.scale[1] = 1e-3
    left = _paying(found)
    assert "left out of 4 proposals: 1 that" in capsys.readouterr().err
    assert torch.equal(left.z, z[[0, 2, 3]]) and left.count == 3
    assert len(left.of) == len(left.centre) == len(left.scale) == 3
