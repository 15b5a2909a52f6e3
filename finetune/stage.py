"""Stage 3 from a config: take over a run, learn the task, look at the policy, say what is next."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from finetune.base import Learner, Setting, Source, Strategy
from finetune.evaluate import Score, evaluate
from finetune.film import film
from finetune.loop import Finetuning
from finetune.report import write_report
from finetune.task.base import Task
from finetune.world import TaskWorld
from logbook import episodes, heritage, progress
from logbook.build import build
from logbook.config import CONFIGS, read_yaml
from logbook.device import device_of
from logbook.errors import UserError
from logbook.heritage import other_versions, record_for, skills_behind, world_factory
from logbook.run import Run
from logbook.seeds import seed_for
from rl.matmul import choose_matmul
from rl.train import drive

Config = Mapping[str, Any]
FINAL = 20  # episodes of the last look


def finetune_stage(config: dict[str, Any], run_dir: Path, overrides: tuple[str, ...] = ()) -> None:
    """Learn in `run_dir`, or go on with it; raises UserError to stop early (code 75)."""
    strategy: Strategy = build("strategy", config["strategy"])
    members = getattr(strategy, "members", None)
    if members is not None:
        from finetune.comparison import compare_strategies

        facts = about(config, int(config["steps"]))
        compare_strategies(members, config, run_dir, overrides, learn, facts)
        return
    learn(config, run_dir, overrides)


def learn(config: dict[str, Any], run_dir: Path, overrides: tuple[str, ...] = ()) -> None:
    """One strategy on one task, to the end."""
    if device_of(config).type == "cpu":
        choose_matmul()
    record = record_for(config, "finetune")  # who says so if there is none
    folder = Path(config["from"])
    strategy: Strategy = build("strategy", config["strategy"])
    source = strategy.take_over(folder, device_of(config))
    training = assemble(config, source)  # before the folder is touched
    with Run.open(run_dir, config, stage="finetune", overrides=overrides) as run:
        if run.done:
            return
        heritage.tell(config, record, "finetune")
        half_done = heritage.unfinished(folder)
        if half_done is not None:
            progress.warn(half_done)
        for change in other_versions(folder):
            progress.warn(f"{folder} was made under other versions: {change}")
        episodes.tell_if_short(int(config["steps"]), *training.learner.pace)
        episodes.begin(run, training, run.restore())
        drive(
            training,
            run,
            lambda times: seed_for(int(config["seed"]), f"rollback {times}"),
            steps=int(config["steps"]),
            log_every=int(config["log_every"]),
            checkpoint_every=int(config["checkpoint_every"]),
        )
        run.stop_at_once()
        told = episodes.dropped(run, training)
        summary = {**examine(config, training, run.folder), **told}
        write_report(run.folder, summary, about(config, training.step))
        run.finish(summary)


def factory_of(config: Config) -> Callable[..., TaskWorld]:
    """Builds the task's world, as often and as wide as wanted."""
    make = world_factory(config)

    def build_world(*, num_envs: int, render_mode: str | None = None, **over: Any) -> TaskWorld:
        world = make(num_envs=num_envs, render_mode=render_mode, **over)
        task: Task = build("task", config["task"], world=world.world_spec)
        return TaskWorld(world, task)

    return build_world


def assemble(config: Config, source: Source) -> Finetuning:
    """The strategy of a config at work, ready for its first step. Raises UserError."""
    factory, seed = factory_of(config), int(config["seed"])
    one = factory(num_envs=1)
    _fits(one, source, config)
    limit = one.world_spec.max_episode_steps
    one.close()
    cut = source.episode_steps if config["episode_steps"] is None else config["episode_steps"]
    over = {"max_episode_steps": cut} if cut is not None and cut < limit else {}
    setting = Setting(
        make_world=lambda *, num_envs: factory(num_envs=num_envs, **over),
        source=source,
        agent=dict(config["agent"]),
        device=device_of(config),
        seed=seed,
        num_envs=int(config["num_envs"]),
        steps=int(config["steps"]),
    )
    strategy: Strategy = build("strategy", config["strategy"])
    name = config["strategy"]["name"]
    try:
        learner = strategy.learner(setting)
    except ValueError as e:
        raise UserError(f"strategy={name} on task={one.task.title}: {e}") from e
    count = int(config["evaluate"]["episodes"])
    looks = heritage.widest(factory, count)

    def look(learner: Learner) -> Score:
        player = learner.player()
        assert player is not None
        return evaluate(looks, player, seed_for(seed, "evaluation"), episodes=count)

    return Finetuning(learner, look, int(config["evaluate"]["every"]), source.step)


def _fits(world: TaskWorld, source: Source, config: Config) -> None:
    """Refuse a world that is not the one that was pretrained on."""
    now, then = world.inner.world_spec, source.spec
    for what in ("name", "obs_dim", "act_dim", "discrete"):
        if getattr(now, what) != getattr(then, what):
            raise UserError(
                f"env: its {what} is {getattr(now, what)}, and from={source.folder} was trained "
                f"with {getattr(then, what)}: leave out what changes env, or pretrain on it"
            )


def examine(config: Config, training: Finetuning, folder: Path) -> dict[str, Any]:
    """The last look at the policy, filmed if asked for; the numbers of summary.json."""
    factory, seed = factory_of(config), int(config["seed"])
    player = training.learner.player()
    if player is None:
        raise UserError(
            f"{folder}: steps={config['steps']} were not enough to choose a skill: take more, or "
            "less of strategy.steps"
        )
    world = heritage.widest(factory, FINAL)
    final = evaluate(world, player, seed_for(seed, "final evaluation"), episodes=FINAL)
    title = world.task.title
    world.close()
    node = config["task"]
    numbers: dict[str, Any] = {
        "strategy": config["strategy"]["name"],
        "task": title,
        # a task in Python need not have a formula
        "reward": node["reward"] if isinstance(node.get("reward"), str) else title,
        "from": str(config["from"]),
        "steps_choosing": 0,
        **training.learner.notes(),
        "curve": [[int(r[0]), round(r[1], 4), round(r[2], 4), r[3]] for r in training.curve],
        "final": final.numbers(),
    }
    drawn = {"video": "off", "why": "not asked for"}
    if config["evaluate"]["video"]:
        name = re.sub(r"[^\w.,=+@-]", "_", title)
        drawn = film(folder / "videos", factory, player, seed_for(seed, "film"), name)
    names = {"env": config["env"]["name"], "seed": config["seed"]}
    following = next_command(config)
    return {**names, "finetune": numbers, **drawn, "next": following}


def next_command(config: Config) -> str:
    """The comparison of all strategies that this run is one of; after that, the skills again."""
    node = dict(config["task"])
    same = (p.stem for p in sorted((CONFIGS / "task").glob("*.yaml")) if read_yaml(p) == node)
    choice = next(same, None)
    skills = skills_behind(Path(config["from"]))
    if skills is None:  # a learner of tasks that no skills proposed
        return progress.paste("evaluate", Path(config["from"]))
    if config["strategy"]["name"] == "all" or (choice is None and node["name"] != "formula"):
        return progress.paste("inspect-skills", skills)
    task: list[object] = [f"task={choice}"]
    if choice is None:
        plain = read_yaml(CONFIGS / "task" / "custom.yaml")
        own = {key: value for key, value in node.items() if value != plain.get(key)}
        task = ["task=custom", *((f"task.{key}", value) for key, value in own.items())]
    return progress.paste("finetune", ("from", skills), *task, "strategy=all")


def about(config: Config, step: int) -> dict[str, Any]:
    """What the pages say of the run itself."""
    task = config["task"]
    return {
        "title": f"{config['strategy']['name']} on {task.get('title', task['name'])}",
        "next": next_command(config),
        "env": config["env"]["name"],
        "env steps": f"{step:,}",
        "seed": config["seed"],
        "from": config["from"],
    }
