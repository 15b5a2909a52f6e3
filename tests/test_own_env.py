"""An environment of one's own, in a module of one's own, through all stages by what is printed."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from envs.base import WorldError
from logbook.cli import perform
from logbook.compose import compose
from logbook.run import Run
from pretrain.stage import assemble, pretrain_stage
from rl.train import train
from scripts.battery.starts import Starter

ROOT = Path(__file__).resolve().parent.parent
OWN = '''
import gymnasium
import numpy as np
from gymnasium import spaces

class Own(gymnasium.Env):
    """Walks on a line. Its constructor knows no render_mode, and one may be open at a time."""

    open = set()
    once = False
    loose = 0.0

    def __init__(self, pace=1.0):
        if Own.once and Own.open:
            raise RuntimeError("port 5005 is in use")
        Own.open.add(id(self))
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,))
        self.action_space = spaces.Box(-1.0, 1.0, (1,))
        self.pace, self.at = pace, 0.0

    def obs(self):
        return np.array([self.at / 10, 1.0])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = float(self.np_random.normal() * 0.1 + Own.loose * np.random.normal())
        return self.obs(), {"x_position": self.at}

    def step(self, act):
        self.at += self.pace * float(act[0])
        return self.obs(), float(act[0]), False, False, {"x_position": self.at}

    def close(self):
        Own.open.discard(id(self))

gymnasium.register("own/Line-v0", entry_point=Own, max_episode_steps=10)
gymnasium.register("own/Once-v0", entry_point=Own, max_episode_steps=10)
'''
TINY = (
    "skill.num_skills=2 skill.hidden=[8] agent.hidden=[8] agent.batch_size=16 agent.updates=1 "
    "agent.start_steps=20 agent.replay_size=2000 log_every=100"
)
STAGE1 = f"{TINY} num_envs=2 steps=200 checkpoint_every=100 evaluate.reps=1 evaluate.steps=5"
STAGE1 += " atlas.early=0 episode_steps=10"
META = "learner.hidden=8 learner.meta_batch=2 learner.minibatches=1 steps=60 evaluate.tasks=2 "
META += "evaluate.baselines=false log_every=100 checkpoint_every=1000 tasks.episodes=2 "
META += "tasks.episode_steps=5"
FINE = "steps=100 num_envs=2 evaluate.every=100 evaluate.episodes=2 log_every=100 "
FINE += "checkpoint_every=1000 agent.start_steps=20 strategy.steps=20"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with the module `own_line` in it."""
    folder = tmp_path_factory.mktemp("own env")
    (folder / "own_line.py").write_text(OWN)
    return folder


class Shell:
    """Commands typed in a folder, where PYTHONPATH leads to the module too."""

    def __init__(self, folder: Path, starter: Starter) -> None:
        self.folder, self.said, self._starter = folder, "", starter

    def run(self, line: str, code: int = 0) -> str:
        name, *words = shlex.split(line)
        path = os.pathsep.join([str(self.folder), str(ROOT)])
        env = {**os.environ, "PYTHONPATH": path, "AUTOTELIC_STATE": str(self.folder / "state")}
        asked = (Path(name).name, *words)
        done = self._starter.run(asked, cwd=self.folder, env=env, limit=300)
        assert "Traceback" not in done.err, done.err
        assert done.code == code, f"{line}\n{done.said}"
        self.said = done.said
        return self.said

    def next(self) -> str:
        """The command that the last run printed as the next."""
        return re.search(r"^ +next +(\S.*)$", self.said, re.M)[1]


@pytest.fixture
def shell(own):
    """Commands are forks of a process that has loaded what all of them need."""
    starter = Starter()
    yield Shell(own, starter)
    starter.close()


def test_every_stage_takes_what_the_one_before_it_printed(own, shell):
    """Leave is typed once; an argument for the constructor and the leave go with the run."""
    begin = "pretrain env=gym env.id=own_line:own/Line-v0"
    shell.run(f"{begin} {STAGE1}", code=2)
    assert "env.allow_import=true" in shell.said
    shell.run(f"{begin} env.allow_import=true env.kwargs.pace=2.0 {STAGE1}")
    run = "runs/diayn-gym/base/0"
    assert f"from={run}" in shell.next()
    summary = json.loads((own / run / "summary.json").read_text())
    assert summary["videos"] == "off" and summary["exact"], "drawing is all that it cannot do"
    shell.run(f"{shell.next()} {FINE}")
    shell.run(f"resume {run}")
    shell.run(f"inspect-skills {run} --steps 5 --reps 1")
    shell.run(f"metatrain learner=rl2 tasks=skills from={run} {META}")
    learner = next((own / "runs").glob("rl2-skills/*/0")).relative_to(own)
    after = shell.next()
    shell.run(f"inspect-tasks {learner} --steps 4 --reps 1")
    shell.run(f"evaluate {learner} evaluate.tasks=2 evaluate.baselines=false")
    shell.run(f"{after} steps=30 evaluate.every=100 evaluate.episodes=2")
    stranger = own / "stranger"
    stranger.mkdir()
    for part in ("config.yaml", "run.json", "checkpoints"):
        os.rename(own / run / part, stranger / part)
    config = (stranger / "config.yaml").read_text()
    (stranger / "config.yaml").write_text(config.replace("pace: 2.0", "pace: 3.0"))
    shell.run("resume stranger", code=5)
    assert "--allow-import" in shell.said


@pytest.fixture
def line(own, monkeypatch):
    """The class, as tests in this process get it."""
    monkeypatch.syspath_prepend(str(own))
    import own_line  # type: ignore[import-not-found, unused-ignore]

    monkeypatch.setattr(own_line.Own, "open", set())
    return own_line.Own


def config_of(more=""):
    words = "env=gym env.id=own_line:own/Line-v0 env.allow_import=true atlas.videos=false"
    return compose("pretrain", f"{words} {STAGE1} {more}".split()).config


@pytest.mark.parametrize("loose", [0.0, 1.0])
def test_a_run_goes_on_whether_or_not_its_env_can_be_led_back(
    line, tmp_path, monkeypatch, capsys, loose
):
    """Put down in mid-episode at step 150. What it learned stays; what is not exact says so."""
    monkeypatch.setattr(line, "loose", loose)
    config = config_of("steps=400 checkpoint_every=150 episode_steps=7 env.max_episode_steps=7")
    folder = tmp_path / "run"
    with Run.open(folder, config, stage="pretrain") as run:
        training = assemble(config)
        run.restore()
        train(training, run, steps=150, log_every=100, checkpoint_every=150)
    capsys.readouterr()
    pretrain_stage(config, folder)
    said = capsys.readouterr().err
    assert said.count("could not be led back") == (1 if loose else 0)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == 400 and summary["exact"] is (not loose)


def test_steps_that_cannot_be_learned_from_are_counted_and_told(
    line, tmp_path, monkeypatch, capsys
):
    """Every sixth step is no number: a column says so, a line in training, and one at the end."""
    step = line.step

    def broken(self, act):
        obs, *rest = step(self, act)
        self.taken = 1 + getattr(self, "taken", 0)
        return (obs * np.nan if self.taken % 6 == 0 else obs), *rest

    monkeypatch.setattr(line, "step", broken)
    config = config_of()
    pretrain_stage(config, tmp_path / "run")
    rows = [
        json.loads(row) for row in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert all(0.1 < row["rollout/unstable"] < 0.2 for row in rows)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 20 < summary["steps_dropped"] < 40
    said = capsys.readouterr().err
    assert said.count("of the last") == 1 and said.count("could not be learned from") == 1
    assert "obs[0] was nan after" in said


def test_an_env_that_may_be_open_once_goes_through_all_stages(line, tmp_path, monkeypatch):
    """One world trains; looks, coverage, films and proposals are lived in turns, one by one."""
    from finetune.stage import finetune_stage
    from meta.inspect_tasks import inspect as inspect_tasks
    from meta.stage import metatrain_stage
    from pretrain.inspect_skills import inspect as inspect_skills

    monkeypatch.setattr(line, "once", True)
    monkeypatch.chdir(tmp_path)
    config = config_of("num_envs=1 evaluate.reps=1 steps=60 atlas.early=40")
    pretrain_stage(config, tmp_path / "run")
    once = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert once["exact"] and once["steps"] == 60 and once["skills"]["count"] == 2
    assert inspect_skills(tmp_path / "run", steps=5, reps=2, videos=False) == 0
    for strategy in ("policy strategy.steps=20", "hierarchy"):
        words = f"from=run task=native strategy={strategy} {FINE} num_envs=1 steps=60".split()
        words += ["evaluate.every=20", "evaluate.video=false"]
        words = [w for w in words if "hierarchy" not in strategy or w != "strategy.steps=20"]
        finetune_stage(compose("finetune", words).config, tmp_path / strategy.split()[0])
    for kind in ("skills", "random_discriminator"):
        words = f"learner=rl2 tasks={kind} from=run num_envs=1 {META}".split()
        metatrain_stage(compose("metatrain", words).config, tmp_path / kind)
    assert inspect_tasks(tmp_path / "skills", steps=4, reps=2) == 0
    assert len(line.open) <= 1


def test_what_is_lived_in_turns_is_what_is_lived_side_by_side(line, tmp_path, monkeypatch):
    from logbook.heritage import widest, world_factory
    from pretrain.rollouts import rollouts

    make = world_factory(config_of())
    training = assemble(config_of())
    z = training.skill.all_z()
    found = []
    for wide in (6, 4, 1):
        world = make(num_envs=wide)
        found.append(rollouts(world, training.agent, training.skill, z, 3, 8, 5))
        world.close()
    for other in found[1:]:
        for name in ("start", "feat", "rew", "alive", "act_rms", "terminated"):
            np.testing.assert_allclose(getattr(other, name), getattr(found[0], name), atol=1e-5)
        np.testing.assert_allclose(other.judged.confusion, found[0].judged.confusion, atol=1e-6)
    monkeypatch.setattr(line, "once", True)
    assert widest(make, 6).num_envs == 1 and len(line.open) == 1, "the training's gave way"


@pytest.mark.parametrize("error", [SystemExit(0), KeyError("gone"), ValueError("no\n  way")])
def test_an_env_that_gives_up_in_mid_training_is_one_line(
    line, tmp_path, monkeypatch, capsys, error
):
    """Its own traceback is in FAILED; the exit code says that nothing was finished."""
    calls, step = [], line.step

    def giving_up(self, act):
        calls.append(1)
        if len(calls) > 150:
            raise error
        return step(self, act)

    monkeypatch.setattr(line, "step", giving_up)
    code = perform(pretrain_stage, config_of(), tmp_path / "run", ())
    said = [row for row in capsys.readouterr().err.splitlines() if "warning" not in row]
    assert code == 2 and len(said) == 1, said
    assert said[0].startswith("error: env.id=own_line:own/Line-v0: its step raised ")
    assert type(error).__name__ in said[0]
    failed = (tmp_path / "run" / "FAILED").read_text()
    assert (
        "in giving_up" in failed
        and json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "failed"
    )


def test_an_env_that_takes_its_port_when_it_is_reset_gives_way_too(line, tmp_path, monkeypatch):
    """The training's is closed for a look, and is where it was when the training goes on."""
    held, reset, close = [], line.reset, line.close

    def taking(self, *, seed=None, options=None):
        if held and held[0] is not self:
            raise RuntimeError("port 5005 is in use")
        held[:] = [self]
        return reset(self, seed=seed, options=options)

    def giving(self):
        held[:] = [env for env in held if env is not self]
        close(self)

    monkeypatch.setattr(line, "reset", taking)
    monkeypatch.setattr(line, "close", giving)
    config = config_of("num_envs=1 evaluate.reps=1 steps=60")
    training = assemble(config)
    training.collector.collect(3)
    from logbook.heritage import world_factory

    other = world_factory(config)(num_envs=1)
    other.reset(seed=0)
    training.collector.collect(3)
    assert not training.world.lost.any() and held[0] is training.world.envs[0].unwrapped
    state = training.world.state_dict()
    other.reset(seed=0)
    training.world.load_state_dict(state)  # as when a round is rolled back during a look
    assert not training.world.lost.any() and held[0] is training.world.envs[0].unwrapped


def test_an_env_that_cannot_be_opened_again_is_one_line(line, monkeypatch):
    training = assemble(config_of("num_envs=1 steps=60"))
    training.collector.collect(3)
    training.world.suspend()
    monkeypatch.setattr(line, "once", True)
    monkeypatch.setattr(line, "open", {"another program's"})
    with pytest.raises(WorldError, match="cannot be made here: RuntimeError: port 5005") as told:
        training.collector.collect(3)
    assert told.value.one_line
