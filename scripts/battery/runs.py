"""Small finished runs of every stage, made once and copied into every try that wants one."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

from battery.starts import ROOT, Starter

SKILLS = (
    "skill=diayn env=point steps=1800 num_envs=8 checkpoint_every=300 log_every=200 "
    "skill.num_skills=4 skill.hidden=[32,32] agent.hidden=[32,32] agent.start_steps=200 "
    "agent.updates=1 agent.batch_size=64 agent.replay_size=3000 episode_steps=60 "
    "evaluate.reps=1 evaluate.steps=20 atlas.early=0 atlas.videos=false"
).split()
FINETUNE = (
    "num_envs=4 steps=600 evaluate.every=200 evaluate.episodes=2 evaluate.video=false "
    "checkpoint_every=200 log_every=100 agent.batch_size=16 agent.updates=1 agent.start_steps=40"
).split()
LEARNER = (
    "learner=maml tasks=skills steps=600 checkpoint_every=300 log_every=300 "
    "learner.meta_batch=2 learner.width=3 learner.hidden=[16,16] evaluate.tasks=4 "
    "evaluate.horizon=2 evaluate.baselines=false"
).split()
BANDIT = (
    "tasks=bandit steps=2000 checkpoint_every=500 log_every=500 learner.meta_batch=20 "
    "learner.hidden=8 learner.value_hidden=[8] learner.minibatches=2 evaluate.tasks=2 "
    "evaluate.baselines=false"
).split()
MINIMAL = (
    "num_envs=2 steps=64 checkpoint_every=64 log_every=64 skill.num_skills=2 skill.hidden=[8] "
    "agent.hidden=[8] agent.start_steps=16 agent.updates=1 agent.batch_size=8 "
    "agent.replay_size=500 episode_steps=16 evaluate.reps=1 evaluate.steps=8 atlas.early=0 "
    "atlas.videos=false"
).split()
"""The words of the smallest run with skills."""

# What each run is: the command that makes it, its words, and the runs that it goes on from.
_MADE: dict[str, tuple[str, list[str], tuple[str, ...]]] = {
    "skills": ("pretrain", SKILLS, ()),
    "other": ("pretrain", [*SKILLS, "seed=1"], ()),
    "half": ("pretrain", [*SKILLS, "steps=900"], ()),
    "finetuned": (
        "finetune",
        ["from=skills", "task=goal_3_4", "strategy=policy", "strategy.steps=20", *FINETUNE],
        ("skills",),
    ),
    "learner": ("metatrain", ["from=skills", *LEARNER], ("skills",)),
    "bandit": ("metatrain", ["learner=rl2", *BANDIT], ()),
}


class Runs:
    """The finished runs, in one folder, each made when it is first asked for."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._lock = threading.RLock()
        self._starter = Starter()
        for folder in ("cache/matplotlib", "made", "tmp"):
            (place / folder).mkdir(parents=True, exist_ok=True)

    def environment(self, place: Path) -> dict[str, str]:
        """Variables that lead all that a command keeps on a machine into `place`."""
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL")}
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            kept[name] = "1"
        return kept | {
            "HOME": str(place / "home"),
            "XDG_STATE_HOME": str(place / "state"),
            "AUTOTELIC_STATE": str(place / "state" / "autotelic"),
            "XDG_CACHE_HOME": str(self.place / "cache"),  # what draws is found out once
            "MPLCONFIGDIR": str(self.place / "cache" / "matplotlib"),
            "TMPDIR": str(place / "tmp"),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def made(self, name: str) -> Path:
        """The folder of one of them."""
        command, words, sources = _MADE[name]
        with self._lock:
            folder = self.place / "made" / name
            if not (folder / "summary.json").exists():
                for source in sources:
                    self.made(source)
                end = self._starter.run(
                    (command, *words, f"hydra.run.dir={name}"),
                    cwd=folder.parent,
                    env=self.environment(self.place),
                    limit=600,
                )
                if end.code != 0:
                    raise RuntimeError(f"the run {name} cannot be made: {end.said[-1000:]}")
            return folder

    def copy(self, name: str, work: Path, to: str = "") -> Path:
        """A copy of one of them in `work`, beside copies of those that it goes on from."""
        for source in _MADE[name][2]:
            if not (work / source).exists():
                self.copy(source, work)
        target = work / (to or name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.made(name), target)
        return target

    def close(self) -> None:
        """End what makes them."""
        self._starter.close()
