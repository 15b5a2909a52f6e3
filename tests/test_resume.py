"""Exact resume: an interrupted training ends as an uninterrupted one, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from logbook import checkpoint, metrics
from logbook.compose import compose
from logbook.errors import Exit, UserError
from logbook.run import Run
from pretrain import atlas
from pretrain.resume import resume
from pretrain.stage import assemble, pretrain_stage
from rl.train import train

ROOT = Path(__file__).parent.parent
SMALL = {
    "sac": "agent.hidden=[16,16] agent.start_steps=100 agent.updates=1 agent.batch_size=32",
    "ppo": "agent.hidden=[16,16] agent.horizon=16 agent.minibatches=2 agent.epochs=2",
}
# Episodes end every 60 steps, and none between the last resume and the end: a fault in the restored
# physics is then still to be seen.
RUN = (
    "num_envs=4 steps=640 log_every=90 checkpoint_every=128 skill_steps=13 env.max_episode_steps=60"
)


class Interrupted(BaseException):
    """The end of a process, as far as a test without one can have it."""


def _train(folder: Path, config: dict[str, Any], until: int | None = None) -> None:
    with Run.open(folder, config, stage="pretrain") as run:
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


@pytest.mark.parametrize(
    ("env", "agent", "skill"),
    [
        ("ant", "sac", "diayn"),
        ("ant", "ppo", "diayn"),
        ("cheetah", "sac", "metra"),
        ("cheetah", "ppo", "rnd"),
        ("point", "sac", "none"),
        ("dmc_walker", "ppo", "diayn"),
    ],
)
def test_an_interrupted_training_ends_bit_for_bit_the_same(
    tmp_path: Path, env: str, agent: str, skill: str
) -> None:
    texts = [f"env={env}", f"agent={agent}", f"skill={skill}", *SMALL[agent].split(), *RUN.split()]
    config = compose("pretrain", texts).config
    _train(tmp_path / "whole", config)
    for until in (70, 330, 520):  # before the first checkpoint, between two, just past one
        with pytest.raises(Interrupted):
            _train(tmp_path / "cut", config, until)
    _train(tmp_path / "cut", config)
    assert _outcome(tmp_path / "cut") == _outcome(tmp_path / "whole")
    rows = _outcome(tmp_path / "cut")[2]
    assert len(rows) == (7 if agent == "ppo" else 8)  # a round of PPO ends on its last row


def test_a_checkpoint_of_another_layout_is_refused_in_one_line(tmp_path: Path) -> None:
    """As when a world has come to observe more since the run was stopped."""
    words = ["skill=diayn", "env=point", "agent=ppo", *RUN.split(), *SMALL["ppo"].split()]
    config = compose("pretrain", words).config
    wider = compose("pretrain", [*words, "agent.hidden=[16,17]"]).config
    with Run.open(tmp_path / "run", config, stage="pretrain") as run:
        run.save(0, assemble(wider).state_dict())
    with pytest.raises(UserError, match=r"another version .*RuntimeError: .*begin it ag") as caught:
        pretrain_stage(config, tmp_path / "run")
    assert caught.value.code == Exit.CHECKPOINT
    with Run.open(tmp_path / "next", config, stage="pretrain") as run:
        run.save(0, assemble({**config, "num_envs": 3}).state_dict())
    with pytest.raises(UserError, match=r"another version of this package \((Key|Value)Error"):
        pretrain_stage(config, tmp_path / "next")


def test_a_stop_during_the_first_look_gives_the_look_up_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["env=point", "agent=sac", "skill=diayn", *SMALL["sac"].split(), *RUN.split()]
    config = compose("pretrain", [*words, "atlas.early=200", "evaluate.steps=20"]).config
    made = atlas.trajectory_map

    def signalled(taken: Any, path: Path) -> None:
        made(taken, path)
        os.kill(os.getpid(), signal.SIGTERM)

    folder = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(atlas, "trajectory_map", signalled)
        with pytest.raises(UserError, match="SIGTERM and saved at step 200") as stopped:
            pretrain_stage(config, folder)
    assert stopped.value.code == Exit.AGAIN
    assert (folder / "videos/map.png").exists()
    assert not (folder / "index.html").exists() and not (folder / "report.html").exists()
    _train(folder, config)
    _train(tmp_path / "whole", config)
    assert _outcome(folder) == _outcome(tmp_path / "whole")


def test_a_folder_that_is_no_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is not a run: it has no config.yaml$"):
        resume(Path("runs/diayn-ant/base/0"))
    config = compose("pretrain", ["env=point"]).config
    folder = Path("runs/diayn-point/base/0")
    with Run.open(folder, config, stage="pretrain"):
        pass
    with pytest.raises(UserError, match=f"did you mean {folder}"):
        resume(Path("runs/diayn-point/base/1"))
    (folder / "run.json").write_text('{"stage": "os:system"}')
    with pytest.raises(UserError, match="names the stage 'os:system'; known: pretrain"):
        resume(folder)


def test_killed_processes_end_the_same(tmp_path: Path) -> None:
    script = [sys.executable, "scripts/kill_battery.py", "--env", "ant", "--agent", "sac"]
    short = ["--kills", "1", "--points", "save.rename", "--counts", "3", "--fresh", "0"]
    out = tmp_path / "battery.json"
    run = [*script, *short, "--steps", "900", "--out", str(out)]
    subprocess.run(run, cwd=ROOT, check=True, timeout=300)
    [case] = json.loads(out.read_text())["cases"]
    assert case["kills"] == 2 and case["points"] == ["save.rename:3"]
    assert case["identical"] == case["runs"] >= 2
