"""Every strategy on the point world: it runs, counts its steps, resumes exactly, learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune.choose import RULES
from finetune.options import OptionLearner
from finetune.policy import PolicyLearner
from finetune.stage import assemble, examine, factory_of, finetune_stage
from logbook import checkpoint, files, metrics
from logbook.build import names
from logbook.errors import UserError
from logbook.heritage import pretrained
from logbook.run import Run
from rl.train import train
from tests.finetune_runs import STRATEGIES, config_of, pretrain_small

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain_small(tmp_path_factory.mktemp("source") / "run")


class Interrupted(BaseException):
    """The end of a process."""


def _train(folder: Path, config: dict[str, Any], until: int | None = None) -> dict[str, Any]:
    training = assemble(config, pretrained(Path(config["from"]), CPU))
    with Run.open(folder, config, stage="finetune") as run:
        if (found := run.restore()) is not None:
            training.load_state_dict(found[1])
        advance = training.advance

        def interrupted() -> None:
            if until is not None and training.step >= until:
                raise Interrupted
            advance()

        training.advance = interrupted  # type: ignore[method-assign]
        every = {key: config[key] for key in ("steps", "log_every", "checkpoint_every")}
        train(training, run, **every)
        summary = examine(config, training, folder)
        run.finish(summary)
        return summary["finetune"]


def _outcome(folder: Path) -> tuple[Any, ...]:
    newest, _ = checkpoint.newest(folder / "checkpoints")
    assert newest is not None
    rows = metrics.rows(folder / "metrics.jsonl")
    timed = ("time/time_elapsed", "time/fps")
    kept = [{k: v for k, v in row.items() if k not in timed} for row in rows]
    manifest = checkpoint.read_manifest(newest)
    return kept, manifest.files, files.read_json(folder / "summary.json")["finetune"]


def test_every_strategy_is_tested() -> None:
    assert set(names("strategy")) == {*STRATEGIES, "adapt", "all"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_resume_is_exact_and_steps_are_all_counted(
    strategy: str, source: Path, tmp_path: Path
) -> None:
    config = config_of(source, strategy)
    numbers = _train(tmp_path / "whole", config)
    for until in (40, 300) if strategy == "policy" else (300,):  # amid choosing, amid learning
        with pytest.raises(Interrupted):
            _train(tmp_path / "cut", config, until)
    assert _train(tmp_path / "cut", config) == numbers
    whole, cut = _outcome(tmp_path / "whole"), _outcome(tmp_path / "cut")
    assert whole[0] == cut[0] and whole[2] == cut[2]
    assert whole[1] == cut[1]

    curve = numbers["curve"]
    choosing = numbers["steps_choosing"]
    assert curve[0][0] == choosing, "the first look comes when the skill is known"
    assert [row[0] for row in curve[1:]] == [s for s in (200, 400, 600) if s > choosing]
    assert (choosing > 0) == (strategy == "policy")
    last = whole[0][-1]
    assert last["train/n_updates"] > 50


@pytest.mark.parametrize("rule", RULES)
def test_choosing_finds_the_skill_that_goes_where_it_pays(
    rule: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four skills that walk in four directions; the task pays for one of these."""
    run = pretrained(source, CPU)
    ways = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])

    class Walks:
        def act(self, obs: torch.Tensor, z: torch.Tensor, explore: bool) -> Any:
            return z @ ways, {}

    class Ways(torch.nn.Module):
        def all_z(self) -> torch.Tensor:
            return torch.eye(4)

        def reward(self, batch: Any) -> torch.Tensor:
            moved = batch.next_obs - batch.obs
            return (moved * (batch.z @ ways)).sum(-1)

    config = config_of(source, "policy", "custom", f"task.reward=y_velocity strategy.rule={rule}")
    learner = assemble(config, run).learner
    assert isinstance(learner, PolicyLearner)
    monkeypatch.setattr(learner._agent, "act", Walks().act)
    learner._rule = RULES[rule](Ways(), 4, 20, 1)
    while learner.player() is None:
        before = learner.world.taken
        learner.advance()
        assert learner.world.taken > before
    notes = learner.notes()
    assert notes["chosen_skill"] == 1 and notes["rule"] == rule
    assert notes["steps_choosing"] == learner.world.taken
    replay: Any = learner._agent
    rows = replay.replay.draw(64)
    assert replay.replay.count == learner.world.taken, "what was seen is learned from"
    assert torch.equal(rows.z, torch.eye(4)[1].expand(64, -1)), "under the z that was chosen"
    moved = rows.next_feat[:, 1] - rows.feat[:, 1]
    torch.testing.assert_close(rows.rew, moved, rtol=1e-4, atol=1e-5)


def test_halving_spends_less_on_the_worse() -> None:
    class Skills:
        def all_z(self) -> torch.Tensor:
            return torch.eye(8)

    rule: Any = RULES["halving"](Skills(), 4, 80, 1)
    tried = np.zeros(8)
    while (planned := rule.plan()) is not None:
        skills, steps = planned
        np.add.at(tried, skills, steps)
        rew = torch.from_numpy(np.tile(skills.astype(np.float32), (steps, 1)))
        rule.hear(skills, type("Seen", (), {"rew": rew})())
    assert rule.scores().argmax() == 7
    assert tried[:4].max() == 20 and tried[7] > 100 and tried[7] == tried.max()


@pytest.mark.parametrize("strategy", ["hierarchy", "play"])
def test_a_controller_may_see_only_what_the_task_shows(strategy: str, source: Path) -> None:
    found = pretrained(source, CPU)
    words = "task.at=[[1,0],[0,1]] num_envs=3 strategy.sees=task"
    learner = assemble(config_of(source, strategy, "waypoints", words), found).learner
    assert isinstance(learner, OptionLearner)
    for _ in range(7):
        obs = learner._obs.clone()
        row = learner._step()
        assert row.obs.shape == row.next_obs.shape == (1, 3, 4)
        going = ~(row.terminated | row.truncated)[0]
        assert torch.equal(row.next_obs[0, going], learner._obs[going, 2:])
        decided = (row.next_feat[0, :, 0] == 1) & going
        assert torch.equal(row.obs[0, decided], obs[decided, 2:])
    player = learner.player()
    assert player is not None
    player.begin(3)
    assert player.act(learner._obs).shape == (3, 2)
    with pytest.raises(UserError, match="strategy.sees=task: this task shows nothing"):
        assemble(config_of(source, strategy, "run_forward", "strategy.sees=task"), found)
    with pytest.raises(UserError, match="strategy.sees=much: want all or task"):
        assemble(config_of(source, strategy, "waypoints", "strategy.sees=much"), found)


@pytest.mark.parametrize("strategy", ["hierarchy", "play"])
def test_options_last_as_long_and_earn_what_they_should(strategy: str, source: Path) -> None:
    """Transitions of the controller against the world's own steps, added up by hand."""
    config = config_of(source, strategy, "custom", "task.reward=x_velocity+1 num_envs=3")
    learner = assemble(config, pretrained(source, CPU)).learner
    assert isinstance(learner, OptionLearner)
    spent: list[tuple[np.ndarray, np.ndarray]] = []
    step = learner.world.step

    def watched(actions: np.ndarray) -> Any:
        out = step(actions)
        spent.append((out[1], out[2] | out[3]))
        return out

    learner.world.step = watched  # type: ignore[method-assign]
    pending: list[list[float]] = [[], [], []]
    durations = []
    for _ in range(65):
        row = learner._step()
        rew, done = spent[-1]
        for i in range(3):
            pending[i].append(float(rew[i]))
            if not row.extras["valid"][0, i]:
                assert not done[i] and len(pending[i]) < 5
                continue
            want = sum(0.99**t * r for t, r in enumerate(pending[i]))
            assert row.rew[0, i].item() == pytest.approx(want, rel=1e-5)
            assert row.next_feat[0, i, 0].item() == len(pending[i])
            if not done[i]:
                durations.append(len(pending[i]))
            pending[i] = []
    assert set(durations) == ({5} if strategy == "hierarchy" else {1, 5})
    assert learner.world.taken == 65 * 3


def test_a_controller_bootstraps_over_the_time_that_an_option_took(source: Path) -> None:
    """r + gamma^d V: options of three steps in episodes of twenty, whose last ones have two."""
    words = "task.reward=x_velocity num_envs=3 strategy.skill_steps=3"
    config = config_of(source, "hierarchy", "custom", words)
    learner = assemble(config, pretrained(source, CPU)).learner
    assert isinstance(learner, OptionLearner)
    seen: list[Any] = []
    update = learner._agent.update
    learner._agent.update = lambda batch: (seen.append(batch), update(batch))[1]  # type: ignore
    while len(seen) < 12:
        learner.advance()
    lasted = torch.cat([b.next_feat[:, 0] for b in seen])
    got = torch.cat([b.extras["discount"] for b in seen])
    by_hand = {2: 0.9801, 3: 0.970299}
    assert {int(d) for d in lasted.unique()} == set(by_hand)
    want = torch.tensor([by_hand[int(d)] for d in lasted])
    torch.testing.assert_close(got, want)


def test_a_heir_starts_as_the_pretrained_policy_and_may_renew_its_critics(source: Path) -> None:
    run = pretrained(source, CPU)
    same: Any = assemble(config_of(source, "weights"), run).learner
    more = "strategy.fresh=[critic,target]"
    anew: Any = assemble(config_of(source, "weights", more=more), run).learner
    obs, z = torch.rand(5, 2), same.z.expand(5, -1)
    want = run.agent.act(obs, z, explore=False)[0]
    for learner in (same, anew):
        assert torch.equal(learner.agent.act(obs, z, explore=False)[0], want)
    assert torch.equal(same.agent.target.theta, run.agent.target.theta)
    assert not torch.equal(anew.agent.target.theta, run.agent.target.theta)
    assert not torch.equal(run.agent.target.theta, run.agent.critic.theta)
    assert torch.equal(same.agent.critic.theta, run.agent.critic.theta)
    assert not torch.equal(anew.agent.critic.theta, run.agent.critic.theta)
    assert torch.equal(z[0], torch.full((4,), 0.25))


def test_all_strategies_into_one_report(source: Path, tmp_path: Path) -> None:
    more = "strategy.members=[scratch,policy] steps=400 evaluate.every=100"
    config = config_of(source, "all", "waypoints", more)
    finetune_stage(config, tmp_path / "all")
    summary = files.read_json(tmp_path / "all" / "summary.json")
    assert set(summary["strategies"]) == {"scratch"}
    assert "no inputs for" in summary["left_out"]["policy"]
    page = (tmp_path / "all" / "report.html").read_text()
    assert "scratch/report.html" in page and "<polyline" in page
    before = (tmp_path / "all" / "scratch" / "metrics.jsonl").read_bytes()
    finetune_stage(config, tmp_path / "all")  # finished: nothing is repeated
    assert (tmp_path / "all" / "scratch" / "metrics.jsonl").read_bytes() == before


def test_looks_take_no_counted_steps_and_are_the_same_each_time(source: Path) -> None:
    training = assemble(config_of(source, "weights"), pretrained(source, CPU))
    training._judge()
    training._judge()
    assert training.step == 0
    assert training.curve[0] == training.curve[1]
    world = factory_of(config_of(source, "weights"))(num_envs=2)
    assert training.curve[0][0] == world.taken == 0
