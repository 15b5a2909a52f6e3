"""Stage 2 from a config: assemble the parts, meta-train, evaluate on held-out tasks, report."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from envs.tasks.base import Tasks
from logbook import checkpoint, episodes, files, origin, progress
from logbook.build import build, lookup
from logbook.config import filled, read_yaml
from logbook.device import device_of
from logbook.errors import UserError
from logbook.heritage import newest_state, runs_of
from logbook.run import Run
from logbook.seeds import seed_for
from logbook.versions import fitting
from meta.evaluate import Array, FamilyFactory, Scores, baselines, held_out, score
from meta.loop import MetaTraining
from meta.proposals import Proposer, proposer
from meta.report import write_report
from meta.taskset import save_tasks
from meta.trial import MetaLearner
from rl.matmul import choose_matmul
from rl.train import drive
from rl.types import State

Config = Mapping[str, Any]


def family_factory(config: Config, lessons: State | None = None) -> FamilyFactory:
    """Builds the config's task family, as often and as wide as wanted, with what it has learned."""
    source = source_of(config)
    context = {} if source is None else {"source": source}

    def make(num_envs: int, seed: int) -> Tasks:
        family: Tasks = build("tasks", config["tasks"], num_envs=num_envs, seed=seed, **context)
        if lessons:
            family.take(lessons)
        return family

    return make


@lru_cache(maxsize=4)
def _proposer(source: str, kind: str, seed: int, share: float, floor: float | None) -> Proposer:
    return proposer(Path(source), kind, seed, share, floor)


def source_of(config: Config) -> Proposer | None:
    """Who proposes the tasks, if the family is not a hand-made one."""
    kind = getattr(lookup("tasks", config["tasks"]["name"]), "kind", None)
    if kind is None:
        return None
    if config["from"] is None:
        runs = runs_of("pretrain")
        there = f" (there are {', '.join(runs[:4])})" if runs else "; make one with pretrain first"
        raise UserError(
            f"tasks={config['tasks']['name']}: want from=RUN, a pretrain run whose skills propose "
            f"the tasks{there}"
        )
    node, seed = config["tasks"], seed_for(int(config["seed"]), "proposals")
    share = float(node.get("share", 0.5))
    return _proposer(str(config["from"]), kind, seed, share, node["floor"])


def at_home(config: Config, run: Path) -> dict[str, Any]:
    """The config with its tasks from the copy that the run in `run` keeps of what was proposed.

    The skills' own run may be gone, or have been trained on. As it is where there is no copy, or
    where other proposals are asked for than the run's and their source is there.
    """
    own = run / "proposals"
    if not config.get("from") or not checkpoint.listed(run / "checkpoints"):
        return dict(config)
    if not checkpoint.listed(own):
        return dict(config)
    asked, saved = _proposes(config), _proposes(filled(read_yaml(run / "config.yaml")))
    if asked == saved:
        return {**config, "from": str(own)}
    if asked[0] == saved[0] and origin.holds(Path(str(config["from"]))) is None:
        progress.warn(f"from={config['from']} is not here: the tasks are those proposed to {run}")
        return {**config, "from": str(own)}
    return dict(config)


def _proposes(config: Config) -> tuple[Any, ...]:
    """What a run's proposals depend on besides its source."""
    node = config["tasks"]
    kind = getattr(lookup("tasks", node["name"]), "kind", None)
    return kind, node.get("share", 0.5), node.get("floor"), config["seed"]


def learner_of(config: Config, family: Tasks) -> MetaLearner:
    """The config's learner, new. Raises UserError where it does not fit the family."""
    learner: MetaLearner = build(
        "learner",
        config["learner"],
        world=family.spec,
        task_dim=family.task_dim,
        episodes=family.episodes,
        burn_in=config["burn_in"],
        horizon=config["horizon"],
        device=device_of(config),
        seed=seed_for(int(config["seed"]), "learner"),
        total_steps=int(config["steps"]),
    )
    return learner


def assemble(config: Config) -> MetaTraining:
    """Family and learner of a config, ready for the first trial."""
    seed = int(config["seed"])
    make = family_factory(config)
    one = make(1, seed)
    learner = learner_of(config, one)
    wanted = learner.meta_batch * learner.width
    worlds = wanted if config["num_envs"] is None else int(config["num_envs"])
    if worlds % learner.width or learner.meta_batch % (worlds // learner.width or 1):
        raise UserError(
            f"num_envs={worlds}: want learner.width={learner.width} worlds of each of a number of "
            f"tasks that divides learner.meta_batch={learner.meta_batch}, such as num_envs={wanted}"
        )
    family = make(worlds, seed_for(seed, "world"))
    return MetaTraining(family, learner, np.random.default_rng(seed_for(seed, "tasks")))


def metatrain_stage(config: dict[str, Any], run_dir: Path, overrides: tuple[str, ...] = ()) -> None:
    """Train the run in `run_dir`, or go on with it; raises UserError to stop early (code 75)."""
    if device_of(config).type == "cpu":
        choose_matmul()
    asked, config = config, at_home(config, run_dir)
    training = assemble(config)  # before the folder is touched: a mistake leaves nothing behind
    with Run.open(run_dir, asked, stage="metatrain", overrides=overrides) as run:
        if run.done:
            return
        episodes.tell_if_short(int(config["steps"]), *training.pace)
        episodes.begin(run, training, run.restore())
        source = source_of(config)
        if source is not None:
            source.save(files.subfolder(run.folder / "proposals"))
        drive(
            training,
            run,
            lambda times: seed_for(int(config["seed"]), f"rollback {times}"),
            steps=int(config["steps"]),
            log_every=int(config["log_every"]),
            checkpoint_every=int(config["checkpoint_every"]),
        )
        run.stop_at_once()
        summary, scores, tasks = examine(
            config, training.learner, lessons=training.family.lessons()
        )
        save_tasks(files.subfolder(run.folder / "held_out"), config["tasks"], tasks, "held out")
        about = facts_of(config, run.folder, training)
        write_report(run.folder, summary, scores, about)
        summary |= episodes.dropped(run, training)
        run.finish({**summary, "next": about["next"]})
        progress.say(f"look at how it adapts: {run.folder / 'report.html'}")


def examine(
    config: Config,
    learner: MetaLearner,
    tasks: Array | None = None,
    lessons: State | None = None,
) -> tuple[dict[str, Any], dict[str, Scores], Array]:
    """Score a learner and what is known on held-out tasks; the numbers of summary.json, and all.

    `tasks` [n, D] are those to score on; None draws those that the run's seed names. `lessons` are
    what the family of the training has learned.
    """
    seed = seed_for(int(config["seed"]), "evaluation")
    make = family_factory(config, lessons)
    if tasks is None:
        tasks = held_out(make, int(config["evaluate"]["tasks"]), seed)
    horizon = config["evaluate"]["horizon"]
    if horizon is None:
        by_gradient = len(learner.rounds(2)) == 2
        own = config["horizon"] or make(1, seed).episodes
        horizon = max(4, learner.horizon) if by_gradient else own
    learner.reseed(seed)
    scores = {"learner": score(make, learner, tasks, horizon=horizon, seed=seed)}
    if config["evaluate"]["baselines"]:
        untrained = learner_of(config, make(1, seed))
        untrained.see_as(learner)  # what it lacks is the learning
        untrained.reseed(seed)
        scores["untrained"] = score(make, untrained, tasks, horizon=horizon, seed=seed)
        scores |= baselines(make, tasks, horizon=horizon, seed=seed)
    numbers = scores["learner"].numbers()
    others = {k: v.numbers() for k, v in scores.items() if k != "learner"}
    meta = {
        "learner": config["learner"]["name"],
        "tasks": config["tasks"]["name"],
        "burn_in": learner.burn_in,
        "horizon": learner.horizon,
        **numbers,
        "tasks_held_out": len(tasks),
        "tasks_different": len(np.unique(tasks, axis=0)),
        "baselines": others,
    }
    return {"env": config["tasks"]["name"], "seed": config["seed"], "meta": meta}, scores, tasks


def facts_of(config: Config, folder: Path, training: MetaTraining) -> dict[str, Any]:
    """What the pages say of the run itself.

    After tasks that were proposed comes one that pays; other families have tasks of their own.
    """
    following = progress.paste("evaluate", folder, f"tasks={config['tasks']['name']}")
    if source_of(config) is not None and not training.learner.told:
        task = "run_forward" if "x_velocity" in training.family.spec.feat_names else "native"
        words = ("from", folder), f"task={task}", "strategy=adapt"
        following = progress.paste("finetune", *words)
    return {
        "title": f"{config['learner']['name']} on {config['tasks']['name']}",
        "next": following,
        "env steps": f"{training.step:,}",
        "seed": config["seed"],
    }


def restore(folder: Path, config: dict[str, Any]) -> tuple[MetaLearner, int]:
    """The learner of a run folder as its newest good checkpoint left it, and its env steps.

    Raises UserError if there is none.
    """
    state = newest_state(folder, "metatrain")
    family = family_factory(config)(1, 0)
    learner = learner_of(config, family)
    with fitting(str(folder), "train it again"):
        learner.load_state_dict(state["learner"])
        return learner, int(state["step"])


def lessons_of(folder: Path) -> State | None:
    """What the family of a run has learned by its newest good checkpoint, if it learns at all."""
    lessons: State | None = newest_state(folder, "metatrain")["family"]["world"].get("lessons")
    return lessons
