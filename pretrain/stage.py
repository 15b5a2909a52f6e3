"""Stage 1 from a config: assemble the parts, train, evaluate, draw, and say what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logbook import episodes, progress
from logbook.build import build
from logbook.device import device_of
from logbook.heritage import WorldFactory, newest_state, world_factory
from logbook.run import Run
from logbook.seeds import seed_for
from logbook.versions import fitting
from pretrain.atlas import make_atlas
from pretrain.evaluate import Numbers, evaluate
from pretrain.loop import Training
from pretrain.report import write_report
from rl.collect import Collector
from rl.matmul import choose_matmul
from rl.train import drive, pace_of
from skills.base import Skill

Config = Mapping[str, Any]


def assemble(config: Config) -> Training:
    """Worlds, skill method and agent of a config, ready for the first step."""
    seed, device = int(config["seed"]), device_of(config)
    make = world_factory(config)
    world = make(num_envs=int(config["num_envs"]), **_cut(config, make))
    spec = world.world_spec
    context: dict[str, Any] = {"world": spec, "device": device}
    skill: Skill = build("skill", config["skill"], seed=seed_for(seed, "skill"), **context)
    context["z_dim"] = skill.z_dim
    agent = build("agent", config["agent"], seed=seed_for(seed, "agent"), **context)
    collector = Collector(
        world,
        agent,
        skill.sample_z,
        seed=seed_for(seed, "world"),
        skill_steps=config["skill_steps"],
    )
    return Training(agent, skill, collector, horizon=agent.horizon)


def _cut(config: Config, make: WorldFactory) -> dict[str, int]:
    """The training episode's length, if it is shorter than the world's own."""
    cut, own = config["episode_steps"], config["env"].get("max_episode_steps")
    if cut is None:
        return {}
    if own is None:  # only the world knows
        world = make(num_envs=1)
        own = world.world_spec.max_episode_steps
        world.close()
    return {} if own <= cut else {"max_episode_steps": cut}


def pretrain_stage(config: dict[str, Any], run_dir: Path, overrides: tuple[str, ...] = ()) -> None:
    """Train the run in `run_dir`, or go on with it; raises UserError to stop early (code 75)."""
    if device_of(config).type == "cpu":
        choose_matmul()
    training = assemble(config)  # before the folder is touched: a mistake leaves nothing behind
    with Run.open(run_dir, config, stage="pretrain", overrides=overrides) as run:
        if run.done:
            return
        pace = pace_of(training.agent, training.world.num_envs)
        episodes.tell_if_short(int(config["steps"]), *pace)
        episodes.begin(run, training, run.restore())
        drive(
            training,
            run,
            lambda times: seed_for(int(config["seed"]), f"rollback {times}"),
            steps=int(config["steps"]),
            log_every=int(config["log_every"]),
            checkpoint_every=int(config["checkpoint_every"]),
            early_look=lambda: _early_look(run, config, training),
            early_look_at=int(config["atlas"]["early"]),
        )
        run.stop_at_once()
        told = episodes.dropped(run, training)
        training.world.close()  # some can be open only so often, and a look wants its own
        summary = {**look(run.folder, config, training), **told}
        write_report(run.folder, summary, about(config, run.folder, training))
        run.finish(summary)
        again = progress.paste("inspect-skills", run.folder)
        progress.say(f"look at the skills: {run.folder / 'index.html'} (made anew by: {again})")


def _early_look(run: Run, config: Config, training: Training) -> None:
    """A first, coarser atlas; training goes on where it was, or stops if asked to meanwhile."""
    coarse = {**config["atlas"], "frames": int(config["atlas"]["frames"]) // 3}

    def draw() -> None:
        summary = look(run.folder, {**config, "atlas": coarse}, training)
        write_report(run.folder, summary, about(config, run.folder, training))

    if run.unless_stopped(draw):
        progress.say(f"a first look at the skills: {run.folder / 'index.html'}")


def look(
    folder: Path,
    config: Config,
    training: Training,
    *,
    steps: int | None = None,
    reps: int | None = None,
    videos: bool | None = None,
    to: Path | None = None,
) -> Numbers:
    """Evaluate the skills and draw the atlas into `to`; returns the numbers of summary.json.

    Arguments left at None come from the config, `to` is then the run's own folder.
    """
    seed = seed_for(int(config["seed"]), "evaluation")
    make = world_factory(config)
    steps = steps or config["evaluate"]["steps"]
    reps = reps or config["evaluate"]["reps"]
    numbers, taken = evaluate(make, training.agent, training.skill, seed, steps=steps, reps=reps)
    facts = about(config, folder, training)
    drawn = make_atlas(
        to or folder,
        make,
        training.agent,
        training.skill,
        taken,
        numbers,
        seed=seed,
        about=facts,
        videos=config["atlas"]["videos"] if videos is None else videos,
        frames=int(config["atlas"]["frames"]),
    )
    names = {"skill": config["skill"]["name"], "env": config["env"]["name"]}
    return {**names, "seed": config["seed"], **numbers, **drawn, "next": facts["next"]}


def about(config: Config, folder: Path, training: Training) -> dict[str, Any]:
    """What the pages say of the run itself; `next` is a task that its world has the feats for."""
    world: Any = training.collector.world
    task = "run_forward" if "x_velocity" in world.world_spec.feat_names else "native"
    skill, env = config["skill"]["name"], config["env"]["name"]
    return {
        "title": f"{skill} on {env}",
        "next": progress.paste("finetune", ("from", folder), f"task={task}"),
        "env steps": f"{training.step:,}",
        "seed": config["seed"],
        "agent": config["agent"]["name"],
    }


def restore(folder: Path, config: dict[str, Any]) -> Training:
    """The training of a run folder as its newest good checkpoint left it, to look at.

    Raises UserError if there is none.
    """
    state = newest_state(folder, "pretrain")
    training = assemble({**config, "num_envs": 1})
    with fitting(str(folder), "pretrain it again"):
        training.agent.load_state_dict(state["agent"])
        training.skill.load_state_dict(state["skill"])
        training.step = int(state["step"])
    return training
