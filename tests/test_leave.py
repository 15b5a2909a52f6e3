"""Leave to import: given by a person for one env, remembered for its runs, taken from no file."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import meta.stage
from finetune.stage import finetune_stage
from logbook import checkpoint, leave
from logbook.build import build
from logbook.checkpoint import Manifest
from logbook.compose import compose, sweep
from logbook.config import load_config
from logbook.errors import UserError
from logbook.identity import to_yaml
from meta.assess import assess
from meta.inspect_tasks import inspect as inspect_tasks
from meta.proposals import load
from meta.stage import metatrain_stage
from pretrain.inspect_skills import inspect as inspect_skills
from pretrain.resume import resume
from pretrain.stage import pretrain_stage

ABROAD = """
import gymnasium
import numpy as np

class Abroad(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"]}
    observation_space = gymnasium.spaces.Box(-9, 9, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, render_mode=None, far=1.0):
        self.render_mode, self.far = render_mode, far

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = np.zeros(2, np.float32)
        return self.at.copy(), {}

    def step(self, act):
        self.at = np.clip(self.at + self.far * act, -9, 9).astype(np.float32)
        return self.at.copy(), 0.0, False, False, {}

gymnasium.register("Abroad-v0", Abroad, max_episode_steps=20)
"""
ID = "abroad_world:Abroad-v0"
OWN = ["env=gym", f"env.id={ID}"]
SMALL = (
    "skill=diayn skill.num_skills=3 skill.hidden=[8] num_envs=4 steps=120 episode_steps=20 "
    "agent.hidden=[8] agent.start_steps=20 agent.batch_size=8 agent.updates=1 "
    "agent.replay_size=200 evaluate.reps=1 evaluate.steps=5 atlas.early=0 atlas.videos=false"
).split()
META = (
    "learner=maml tasks=skills learner.meta_batch=2 learner.width=2 learner.hidden=[8] steps=80 "
    "learner.normalize_steps=0 tasks.episode_steps=5 evaluate.tasks=2 evaluate.horizon=2 "
    "evaluate.baselines=false num_envs=4"
).split()
LATER = (
    "task=native strategy=scratch num_envs=2 steps=40 evaluate.every=20 evaluate.episodes=1 "
    "evaluate.video=false"
).split()
AGENT = "agent.batch_size=8 agent.updates=1 agent.start_steps=10".split()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of an env of the person's own; its module can be imported."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "abroad_world.py").write_text(ABROAD)
    sys.path.insert(0, str(folder))
    job = compose("pretrain", [*OWN, *SMALL, "env.allow_import=true"])
    pretrain_stage(job.config, folder / "run", job.overrides)
    anew()
    return folder


@pytest.fixture
def stranger(runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The same run on a machine where nobody gave leave."""
    monkeypatch.setenv("AUTOTELIC_STATE", str(tmp_path / "state"))
    shutil.copytree(runs / "run", tmp_path / "stranger")
    return tmp_path / "stranger"


def anew() -> None:
    """As if in a process of its own: nothing given yet, nothing kept from before."""
    leave.forget()
    meta.stage._proposer.cache_clear()


def run(command: str, words: list[str], folder: Path) -> None:
    """A later command."""
    anew()
    stage: dict[str, Callable[..., None]]
    stage = {"metatrain": metatrain_stage, "finetune": finetune_stage, "pretrain": pretrain_stage}
    job = compose(command, words)
    stage[command](job.config, folder, job.overrides)
    anew()


def refused(action: Callable[[], Any], code: int, word: str = leave.FLAG) -> None:
    anew()
    with pytest.raises(UserError) as e:
        action()
    assert e.value.code == code and word in str(e.value) and "\n" not in str(e.value)


def test_leave_is_remembered_through_all_stages(runs: Path, tmp_path: Path) -> None:
    source = [f"from={runs / 'run'}"]
    shutil.copytree(runs / "run", tmp_path / "moved")  # a run is what it holds, wherever it lies
    assert inspect_skills(tmp_path / "moved", videos=False, reps=1, steps=3) == 0
    assert resume(runs / "run") == 0
    run("finetune", [*source, *LATER, *AGENT], tmp_path / "later")
    anew()
    assert load_config(tmp_path / "later" / "config.yaml", "finetune")["env"]["id"] == ID
    run("metatrain", [*source, *META], tmp_path / "meta")
    words = [f"from={tmp_path / 'meta'}", *LATER, "strategy=adapt"]
    run("finetune", words, tmp_path / "adapted")
    anew()
    assert inspect_tasks(tmp_path / "meta", reps=1, steps=3) == 0
    anew()
    assert assess(tmp_path / "meta", ["evaluate.tasks=2"]) == 0
    words = [f"from={tmp_path / 'meta' / 'proposals'}", *META]
    run("metatrain", words, tmp_path / "again")
    assert load(tmp_path / "again" / "proposals").env["id"] == ID
    gone = tmp_path / "moved"
    (gone / "config.yaml").write_text((gone / "config.yaml").read_text().replace("v0", "v1"))
    refused(lambda: inspect_skills(gone, videos=False), 5)  # leave is for one id


def test_a_stranger_s_run_is_refused_by_every_command(stranger: Path, tmp_path: Path) -> None:
    learned = tmp_path / "meta"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTELIC_STATE", str(tmp_path / "elsewhere"))
        leave.give()
        job = compose("metatrain", [f"from={stranger}", *META])
        metatrain_stage(job.config, learned)
    refused(lambda: inspect_skills(stranger), 5)
    refused(lambda: resume(stranger), 5)
    refused(lambda: inspect_tasks(stranger), 5)
    refused(lambda: inspect_tasks(learned), 5)
    refused(lambda: assess(learned, []), 5)
    refused(lambda: load(learned / "proposals"), 5)
    refused(lambda: compose("finetune", [f"from={stranger}", "task=native"]), 5)
    refused(lambda: compose("finetune", [f"from={learned}", "strategy=adapt"]), 5)
    for source in (stranger, learned / "proposals"):
        words = [f"from={source}", *META]
        refused(lambda w=words: run("metatrain", w, tmp_path / "n"), 5)  # type: ignore[misc]
    assert not (tmp_path / "n").exists() and not (tmp_path / "state").exists()
    leave.give()  # as --allow-import does
    assert inspect_skills(stranger, videos=False, reps=1, steps=3) == 0
    anew()
    assert load_config(stranger / "config.yaml", "pretrain")["env"]["id"] == ID


def test_the_typed_key_gives_leave_as_the_flag_does(stranger: Path) -> None:
    words = [f"from={stranger}", "task=native"]
    refused(lambda: compose("finetune", [*words, "env.allow_import=false"]), 5)
    config = compose("finetune", [*words, "env.allow_import=true"]).config
    anew()
    leave.give()
    assert compose("finetune", words).config == config
    anew()
    flagged = compose("pretrain", [*OWN, "env.allow_import=true"]).config
    anew()
    leave.give()
    assert compose("pretrain", OWN).config == flagged and flagged["env"]["allow_import"]


def test_saved_proposals_give_no_leave(tmp_path: Path) -> None:
    env = {"name": "gym", "id": "this:Zen-v0", "max_episode_steps": None, "threads": 0}
    sys.modules.pop("this", None)
    for more in ({"allow_import": True}, {"allow_import": True, "kwargs": {"a": 1}}):
        state = {"format": "proposed tasks 1", "env": env | more, "skills": {}}
        checkpoint.save(tmp_path / "p", state, Manifest(0))
        refused(lambda: load(tmp_path / "p"), 5)
    state = {"format": "proposed tasks 1", "env": ["this:Zen-v0"], "skills": {}}
    checkpoint.save(tmp_path / "p", state, Manifest(0))
    refused(lambda: load(tmp_path / "p"), 5, "no node")
    assert "this" not in sys.modules


@pytest.mark.parametrize("id", [ID, f" {ID}", "a:b:c", ":Pendulum-v1", "x\n:y", "os.path:X"])
def test_nothing_is_built_without_leave(id: str) -> None:
    node = {
        "name": "gym",
        "id": id,
        "max_episode_steps": None,
        "threads": 0,
        "kwargs": {},
        "allow_import": True,
    }
    refused(lambda: build("env", node, num_envs=1), 5)


def test_a_file_of_one_s_own_gives_no_leave(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    text = f"name: gym\nid: {ID}\nmax_episode_steps: null\nallow_import: true\nthreads: 0\n"
    text += "kwargs: {}\n"
    (tmp_path / "env" / "nice.yaml").write_text(text)
    folders = [str(tmp_path)]
    refused(lambda: compose("pretrain", ["env=nice"], folders), 2)
    refused(lambda: sweep("pretrain", ["env=nice,point"], folders), 2)
    anew()
    assert compose("pretrain", ["env=nice", "env.allow_import=true"], folders).config


@pytest.mark.parametrize("also", [[], ["env.kwargs={}"], ["env.kwargs={b: 1}"]])
def test_arguments_from_a_file_are_none_that_were_typed(tmp_path: Path, also: list[str]) -> None:
    (tmp_path / "preset").mkdir()
    text = "# @package _global_\nenv: {kwargs: {a: from-a-file}}\n"
    (tmp_path / "preset" / "nice.yaml").write_text(text)
    said = ["env=gym", "env.id=Pendulum-v1", "preset=nice", *also]
    refused(lambda: compose("pretrain", said, [str(tmp_path)]), 2)
    anew()
    typed = [*said, "env.kwargs.a=1"]
    if also == [] or "b" in also[0]:
        assert compose("pretrain", typed, [str(tmp_path)]).config["env"]["kwargs"]["a"] == 1


def test_leave_that_cannot_be_kept_stops_nothing(
    stranger: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (stranger / "file").write_text("")
    monkeypatch.setenv("AUTOTELIC_STATE", str(stranger / "file"))
    leave.give()
    assert load_config(stranger / "config.yaml", "pretrain")
    assert "will want --allow-import again" in capsys.readouterr().err
    refused(lambda: load_config(stranger / "config.yaml", "pretrain"), 5)
    monkeypatch.setenv("AUTOTELIC_STATE", "/" + "a" * 300)  # no such folder can be
    leave.give()
    leave.grant({"id": "m:X"})
    leave.remember("run", {"id": "m:X"})
    assert "will want --allow-import again" in capsys.readouterr().err


def test_the_state_folder_follows_the_standard(monkeypatch: pytest.MonkeyPatch) -> None:
    def place() -> Path | None:
        return leave._place("run", {"id": ID})

    monkeypatch.setenv("HOME", "/home/some")
    for state, want in (("/a/b", "/a/b/autotelic"), ("rel", "/home/some/.local/state/autotelic")):
        monkeypatch.setenv("XDG_STATE_HOME", state)
        for own in ("", "rel"):  # a folder that depends on where one stands could be a stranger's
            monkeypatch.setenv("AUTOTELIC_STATE", own)
            assert place().parent == Path(want) / "leave"  # type: ignore[union-attr]


def test_a_config_that_says_allow_import_of_a_plain_id_is_read(stranger: Path) -> None:
    config = compose("pretrain", ["env=gym", "env.allow_import=true"]).config
    anew()
    (stranger / "config.yaml").write_bytes(to_yaml(config))
    assert load_config(stranger / "config.yaml", "pretrain") == config
