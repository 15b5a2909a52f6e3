"""Small runs of stages 1 and 2 on the point world, for the tests of stage 3 to go on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from logbook.compose import compose
from logbook.run import Run
from meta.stage import metatrain_stage
from pretrain.stage import assemble
from rl.train import train

SMALL = (
    "num_envs=4 steps=600 evaluate.every=200 evaluate.episodes=2 evaluate.video=false "
    "checkpoint_every=200 log_every=100 env.max_episode_steps=20 agent.batch_size=16 "
    "agent.updates=1 agent.start_steps=40"
)
STRATEGIES = {
    "scratch": "",
    "weights": "strategy.warmup=40",
    "policy": "strategy.steps=20",
    "hierarchy": "strategy.skill_steps=5 strategy.controller.hidden=[16] "
    "strategy.controller.batch_size=16 strategy.controller.start_steps=10 "
    "strategy.controller.updates=1",
    "play": "strategy.skill_steps=5 strategy.controller.hidden=[16] "
    "strategy.controller.batch_size=16 strategy.controller.start_steps=10 "
    "strategy.controller.updates=1",
}


def pretrain_small(folder: Path, skill: str = "diayn skill.num_skills=4") -> Path:
    """A finished run of 256 env steps; its skills are as they fell."""
    words = f"skill={skill} env=point num_envs=8 steps=256 agent.hidden=[16,16]"
    words += " agent.start_steps=64 agent.batch_size=16 agent.updates=1 agent.replay_size=400"
    words += " skill.hidden=[16]" if "none" not in skill else ""
    config = compose("pretrain", words.split()).config
    with Run.open(folder, config, stage="pretrain") as run:
        training = assemble(config)
        every = {key: config[key] for key in ("steps", "log_every", "checkpoint_every")}
        train(training, run, **every)
        run.finish({})
    return folder


def metatrain_small(folder: Path, words: str) -> Path:
    """A finished metatrain run of episodes of seven steps."""
    words += " tasks.episode_steps=7 evaluate.tasks=3 evaluate.baselines=false"
    metatrain_stage(compose("metatrain", words.split()).config, folder)
    return folder


def config_of(
    source: Path, strategy: str, task: str = "goal_3_4", more: str = ""
) -> dict[str, Any]:
    """A small stage-3 config."""
    words = [f"from={source}", f"task={task}", f"strategy={strategy}", *SMALL.split()]
    words += [*STRATEGIES.get(strategy, "").split(), *more.split()]
    return compose("finetune", words).config
