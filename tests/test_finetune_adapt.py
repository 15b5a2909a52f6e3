"""strategy=adapt: a meta-learner meets a task. Its steps are its own, and resumes are exact."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune.adapt import AdaptLearner, AdaptPlayer, OneTask, metatrained
from finetune.evaluate import evaluate
from finetune.loop import Finetuning
from finetune.stage import assemble, examine, factory_of, finetune_stage, next_command
from logbook import checkpoint, files, metrics
from logbook.compose import compose
from logbook.config import load_config
from logbook.errors import UserError
from logbook.identity import to_yaml
from logbook.run import Run
from logbook.seeds import seed_for
from meta.inner import Slope
from meta.trial import Last, live
from rl.train import train
from tests.finetune_runs import metatrain_small, pretrain_small

CPU = torch.device("cpu")
LEARNERS = {
    "maml": "learner=maml learner.hidden=[8] learner.meta_batch=2 learner.width=3 "
    "learner.later=0.25 steps=60",
    "rl2": "learner=rl2 learner.hidden=8 learner.meta_batch=4 learner.epochs=1 "
    "learner.minibatches=1 tasks.episodes=4 steps=120",
}
TINY = (
    "steps=240 evaluate.every=50 evaluate.episodes=2 evaluate.video=false checkpoint_every=70 "
    "log_every=50 env.max_episode_steps=20"
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain_small(tmp_path_factory.mktemp("source") / "run")


@pytest.fixture(scope="module")
def runs(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small finished stage-2 run of each kind on the tasks that the skills propose."""
    root = tmp_path_factory.mktemp("meta")
    words = f"tasks=skills from={source} "
    return {k: metatrain_small(root / k, words + more) for k, more in LEARNERS.items()}


def _config(run: Path, more: str = "", task: str = "goal_3_4") -> dict[str, Any]:
    words = [f"from={run}", f"task={task}", "strategy=adapt", *TINY.split(), *more.split()]
    return compose("finetune", words).config


def _assembled(config: dict[str, Any]) -> Finetuning:
    return assemble(config, metatrained(Path(config["from"]), CPU))


def _learner(config: dict[str, Any]) -> AdaptLearner:
    learner = _assembled(config).learner
    assert isinstance(learner, AdaptLearner)
    return learner


class Interrupted(BaseException):
    """The end of a process."""


def _train(folder: Path, config: dict[str, Any], until: int | None = None) -> dict[str, Any]:
    training = _assembled(config)
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
        numbers: dict[str, Any] = summary["finetune"]
        return numbers


def _outcome(folder: Path) -> tuple[Any, ...]:
    newest, _ = checkpoint.newest(folder / "checkpoints")
    assert newest is not None
    timed = ("time/time_elapsed", "time/fps")
    rows = metrics.rows(folder / "metrics.jsonl")
    kept = [{k: v for k, v in row.items() if k not in timed} for row in rows]
    return kept, checkpoint.read_manifest(newest).files


@pytest.mark.parametrize("name, until", [("maml", (30, 120)), ("rl2", (8, 100))])
def test_resume_is_exact_and_steps_are_all_counted(
    name: str, until: tuple[int, ...], runs: dict[str, Path], tmp_path: Path
) -> None:
    config = _config(runs[name])
    if name == "rl2":
        config["checkpoint_every"] = 7  # amid the trial
    numbers = _train(tmp_path / "whole", config)
    for steps in until:
        with pytest.raises(Interrupted):
            _train(tmp_path / "cut", config, steps)
    assert _train(tmp_path / "cut", config) == numbers
    assert _outcome(tmp_path / "cut") == _outcome(tmp_path / "whole")
    last = _outcome(tmp_path / "whole")[0][-1]
    width = {"maml": 3, "rl2": 1}[name]
    rounds = -(-240 // (7 * width))
    assert last["time/total_timesteps"] == rounds * 7 * width, "episodes of the run's tasks"
    assert last["rollout/ep_len_mean"] == 7
    assert numbers["learner"] == name and numbers["steps_choosing"] == 0
    shots = rounds - numbers["undone"] if name == "maml" else 3
    assert numbers["shots"] == shots, "one trained trial has four"
    if name == "maml":
        assert 0 < numbers["undone"] < rounds, "or this says nothing of how that is resumed"
        assert shots * 7 * width <= numbers["steps_adapting"] <= rounds * 7 * width
    else:
        assert numbers["steps_adapting"] == 3 * 7 and "undone" not in numbers
    assert numbers["curve"][0][0] == 0 and len(numbers["curve"]) >= 5


def test_a_step_is_the_learners_own(runs: dict[str, Path]) -> None:
    """Three shots are the trial that stage 2 would live through, with its rates."""
    config = _config(runs["maml"], "strategy.undo=null")
    learner = _learner(config)
    for _ in range(3):
        learner.advance()
    by_hand: Any = metatrained(runs["maml"], CPU).learner
    by_hand.reseed(seed_for(0, "learner"))
    world = factory_of(config)(num_envs=3, max_episode_steps=7)
    world.reset(seed=seed_for(0, "world"))
    rounds = live(OneTask(world), by_hand, np.zeros((1, 0)), horizon=4, explore=True)
    params = by_hand.theta[None]
    seen = [params]
    for rate, rollout in zip((0.1, 0.025, 0.025), rounds, strict=False):
        loss = by_hand._loss(by_hand._gather(rollout, 1))
        params = params - rate * Slope(by_hand.net, params, loss).grad
        seen.append(params)
    assert torch.equal(learner._memory.params, seen[3])
    assert not torch.equal(seen[1], seen[0])
    assert learner._memory.steps == learner.updates == 3
    assert learner.world.taken == 3 * 3 * 7


def test_a_memory_is_that_of_one_unbroken_trial(runs: dict[str, Path]) -> None:
    config = _config(runs["rl2"])
    learner = _learner(config)
    for _ in range(3):
        learner.advance()
    policy: Any = metatrained(runs["rl2"], CPU).learner
    policy.reseed(seed_for(0, "learner"))
    world = factory_of(config)(num_envs=1, max_episode_steps=7)
    world.reset(seed=seed_for(0, "world"))
    (trial,) = live(OneTask(world), policy, np.zeros((1, 0)), horizon=3, explore=True)
    assert learner._last.rew == trial.rew[-1] and learner._last.done == 1
    memory, last = policy.begin(1, None), Last(torch.zeros(1, 2), torch.zeros(1), torch.zeros(1))
    for obs, act, rew, cut in zip(trial.obs, trial.act, trial.rew, trial.truncated, strict=True):
        _, _, memory = policy.act(obs, last, memory, explore=False)
        last = Last(act, rew, cut.float())
    assert torch.equal(learner._memory, memory)
    kept = memory.clone()
    learner.advance()  # the last shot was taken: it acts, and remembers no more from round to round
    assert torch.equal(learner._memory, kept) and learner.updates == 3
    assert learner.world.taken == 4 * 7


def test_a_look_goes_on_from_what_is_remembered(runs: dict[str, Path]) -> None:
    config = _config(runs["rl2"])
    learner = _learner(config)
    learner.advance()
    player = learner.player()
    assert isinstance(player, AdaptPlayer)
    heard = []
    policy, act = learner._learner, learner._learner.act

    def watched(obs: Any, last: Last, memory: Any, explore: bool) -> Any:
        heard.append((last, memory, explore))
        return act(obs, last, memory, explore)

    policy.act = watched  # type: ignore[method-assign]
    world = factory_of(config)(num_envs=2)
    paid, step = [], world.step

    def paying(actions: np.ndarray) -> Any:
        paid.append(step(actions))
        return paid[-1]

    world.step = paying  # type: ignore[method-assign]
    score = evaluate(world, player, 0)
    assert [len(heard), *score.lengths] == [20, 20, 20]
    last, memory, explore = heard[0]
    assert not explore and torch.equal(memory, learner._memory.expand(2, -1))
    assert torch.equal(last.rew, learner._last.rew.expand(2)) and last.done.tolist() == [1, 1]
    assert not torch.equal(heard[1][1], memory) and heard[1][0].done.tolist() == [0, 0]
    for (last, _, _), (_, rew, *_) in zip(heard[1:], paid, strict=False):
        assert torch.equal(last.rew, torch.from_numpy(rew).float()), "what the act before earned"
    assert np.array_equal(sum(rew for _, rew, *_ in paid), score.returns)
    del policy.act, world.step
    assert np.array_equal(evaluate(world, player, 0).returns, score.returns)
    assert learner.world.taken == 7


def test_shots_can_be_few(runs: dict[str, Path]) -> None:
    learner = _learner(_config(runs["maml"], "strategy.shots=1"))
    learner.advance()
    params = learner._memory.params
    learner.advance()
    assert torch.equal(learner._memory.params, params) and learner.updates == 1
    assert learner.notes()["steps_adapting"] == 21
    none = _learner(_config(runs["maml"], "strategy.shots=0"))
    none.advance()
    assert torch.equal(none._memory.params[0], metatrained(runs["maml"], CPU).learner.theta)  # type: ignore[attr-defined]


def test_each_stage_hands_over_to_the_next(
    runs: dict[str, Path], source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(files.read_json(runs["maml"] / "summary.json")["next"])
    assert Path(words[0]).name == "finetune"
    assert words[1:] == [f"from={runs['maml']}", "task=run_forward", "strategy=adapt"]
    job = compose("finetune", [*words[1:], *TINY.split()])
    finetune_stage(job.config, tmp_path / "run")
    told = capsys.readouterr().out
    assert f"inherited from {runs['maml']}: env=point, learner=maml, tasks=skills" in told
    summary = files.read_json(tmp_path / "run" / "summary.json")
    numbers = summary["finetune"]
    assert numbers["strategy"] == "adapt" and numbers["shots"] + numbers["undone"] == 12
    report = (tmp_path / "run" / "report.html").read_text()
    assert "<polyline" in report and f"Steps taken back: {numbers['undone']}." in report
    words = shlex.split(summary["next"])
    assert words[1:] == [f"from={source}", "task=run_forward", "strategy=all"]
    assert "adapt" not in compose("finetune", words[1:]).config["strategy"]["members"]
    saved = {**job.config, "from": "gone"}
    (tmp_path / "config.yaml").write_bytes(to_yaml(saved))
    assert load_config(tmp_path / "config.yaml", "finetune") == saved


def test_the_run_behind_the_tasks_may_be_gone(runs: dict[str, Path], tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(runs["maml"], alone)
    text = (alone / "config.yaml").read_text()
    origin = load_config(alone / "config.yaml", "metatrain")["from"]
    (alone / "config.yaml").write_text(text.replace(str(origin), "gone"))
    noted = json.loads((alone / "run.json").read_text())
    noted.pop("source_at", None)  # the way there from the run's folder
    (alone / "run.json").write_text(json.dumps(noted))
    config = _config(alone)
    assert config["env"]["name"] == "point"
    _assembled(config).advance()
    assert next_command(config).split()[1:] == [str(alone)], "evaluate"


def test_what_does_not_fit_is_refused_with_the_cure(
    runs: dict[str, Path], source: Path, tmp_path: Path
) -> None:
    maml = runs["maml"]
    for words, said in [
        ([f"from={source}", "strategy=adapt"], "is a pretrain run, want one of metatrain; make"),
        ([f"from={source}", "strategy=adapt"], f"metatrain tasks=skills from={source}"),
        ([f"from={maml}"], f"strategy=policy: from={maml} is a metatrain run, want one of pretrai"),
        ([f"from={maml}", "strategy=all"], f"such as the one it came from, from={source}, or"),
        ([f"from={maml}", "strategy=adapt", "agent.lr=1"], "agent.lr: .* has no agent"),
        ([f"from={maml}", "strategy=adapt", "strategy.shots=x"], "strategy.shots=x: want"),
        ([f"from={maml}", "strategy=adapt", "strategy.undo=no"], "strategy.undo=no: want"),
        (["strategy=adapt"], "finetune goes on from a metatrain run, from=RUN"),
        ([f"from={tmp_path}", "strategy=adapt"], "is not a run: it is empty"),
    ]:
        with pytest.raises(UserError, match=said) as e:
            compose("finetune", words)
        assert e.value.code == 2 and "\n" not in str(e.value)
    for wrong in ("shots=-1", "undo=-1.0"):
        with pytest.raises(UserError, match=f"strategy.{wrong}(: want 0 or more| must be at)"):
            _assembled(_config(maml, f"strategy.{wrong}"))
    with pytest.raises(UserError, match="strategy=adapt on task=waypoints: .* 4 numbers behind"):
        _assembled(_config(maml, "task.at=[[1,0],[0,1]]", "waypoints"))
    taken = metatrained(maml, CPU)
    with pytest.raises(UserError, match="obs_dim is 2, and .* was trained with 3"):
        assemble(_config(maml), replace(taken, spec=replace(taken.spec, obs_dim=3)))
    taken.learner.told = True
    with pytest.raises(UserError, match="has to be told its task"):
        assemble(_config(maml), taken)


def test_adapt_among_all_strategies_is_left_out(source: Path, tmp_path: Path) -> None:
    words = [f"from={source}", "task=run_forward", "strategy=all", *TINY.split()]
    words += ["strategy.members=[scratch,adapt]", "agent.batch_size=16", "steps=100"]
    finetune_stage(compose("finetune", words).config, tmp_path / "all")
    summary = files.read_json(tmp_path / "all" / "summary.json")
    assert set(summary["strategies"]) == {"scratch"}
    assert "want one of metatrain" in summary["left_out"]["adapt"]


@pytest.mark.parametrize(
    "tasks, world",
    [
        ("cheetah_direction", "cheetah"),
        ("ant_direction", "ant"),
        ("cheetah_direction tasks.torso=true", None),
        ("point_goal", None),
        ("bandit", None),
    ],
)
def test_hand_made_tasks_take_others_if_their_world_is_an_env(
    tasks: str, world: str | None, tmp_path: Path
) -> None:
    words = f"learner=scratch tasks={tasks}".split()
    (tmp_path / "config.yaml").write_bytes(to_yaml(compose("metatrain", words).config))
    (tmp_path / "run.json").write_text(json.dumps({"stage": "metatrain"}))
    (tmp_path / "checkpoints" / "step-000000000").mkdir(parents=True)
    words = [f"from={tmp_path}", "strategy=adapt", "task=native"]
    if world is not None:
        assert compose("finetune", words).config["env"]["name"] == world
        return
    with pytest.raises(UserError, match="has a world of its own.*/?evaluate ") as e:
        compose("finetune", words)
    assert e.value.code == 2 and "\n" not in str(e.value)
