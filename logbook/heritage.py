"""What a later stage takes over from an earlier run: its record, and its parts built again.

A run is opened by its folder. Whatever does not fit is refused with what differs and the cure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logbook import checkpoint, files, gl, identity, leave, marks, origin, progress, versions
from logbook.build import build, lookup, nearest, trait
from logbook.config import CONFIGS, filled, inherited, load_config, read_yaml
from logbook.errors import Exit, UserError
from logbook.seeds import seed_for
from logbook.signature import from_class
from logbook.when import Laid, nested, overlays
from logbook.words import pasted

if TYPE_CHECKING:
    import torch

_OF_MOST = ("max_episode_steps", "threads")
"""Settings that a later stage gives to worlds which take them; somebody's own need not."""

WorldFactory = Callable[..., Any]
"""Builds a run's world: (num_envs=, render_mode=, and settings that go over its own)."""


@dataclass(frozen=True)
class Pretrained:
    """A stage-1 run as its newest good checkpoint left it: frozen skill and agent, and its world.

    `agent` acts on obs and z; `skill` gives `sample_z`, `all_z`, `reward`. Both are as trained,
    with their normalisers; nobody else holds them, so they may be trained on.
    """

    folder: Path
    config: dict[str, Any]
    step: int
    spec: Any  # rl.types.WorldSpec
    make_world: WorldFactory
    agent: Any
    skill: Any
    episode_steps: int | None = None
    """The length of episodes that a later stage learns from; None: as long as the world's."""


def world_factory(config: Mapping[str, Any]) -> WorldFactory:
    """Builds the run's world, as often as wanted; keywords go over its own settings."""

    def make(*, num_envs: int, render_mode: str | None = None, **settings: Any) -> Any:
        node = dict(config["env"])
        if trait("env", node["name"], "draws", ""):
            gl.choose()  # before it is imported, for it settles on one then
        asked = from_class(lookup("env", node["name"]))
        node |= {k: v for k, v in settings.items() if k in asked or k not in _OF_MOST}
        return build("env", node, num_envs=num_envs, render_mode=render_mode)

    return make


def widest(make: WorldFactory, num_envs: int, **settings: Any) -> Any:
    """A world of `num_envs`, or of as many as can be had: some can be open only so often.

    Raises UserError where there is none.
    """
    while True:
        try:
            return make(num_envs=num_envs, **settings)
        except UserError:
            if num_envs == 1:
                raise
            num_envs = (num_envs + 1) // 2


def open_record(folder: Path, stage: str) -> dict[str, Any]:
    """The config of a run of `stage` that has something to hand over. Raises UserError."""
    if not marks.is_run(folder):
        raise UserError(f"from={folder} is not a run: {_found(folder)}{_hint(folder, stage)}")
    found = marks.stage_of(folder, stage)
    if found != stage:
        raise UserError(
            f"from={folder} is a {found} run, want one of {stage}{_hint(folder, stage)}"
        )
    if not checkpoint.listed(folder / "checkpoints"):
        raise UserError(
            f"from={folder} has no checkpoint yet: train it first, with: "
            f"{progress.paste('resume', folder)}",
            Exit.CHECKPOINT,
        )
    return load_config(folder / "config.yaml", stage)


def pretrained(folder: Path, device: torch.device) -> Pretrained:
    """The agent and the skill method of a `pretrain` run. Raises UserError (codes 2 and 5)."""
    config = open_record(folder, "pretrain")
    state = newest_state(folder, "pretrain")
    make = world_factory(config)
    world = make(num_envs=1)
    spec = world.world_spec
    world.close()
    seed = int(config["seed"])
    context: dict[str, Any] = {"world": spec, "device": device}
    skill = build("skill", config["skill"], seed=seed_for(seed, "skill"), **context)
    context["z_dim"] = skill.z_dim
    agent = build("agent", config["agent"], seed=seed_for(seed, "agent"), **context)
    with versions.fitting(f"from={folder}", "pretrain it again"):
        skill.load_state_dict(state["skill"])
        agent.load_state_dict(state["agent"])
        return Pretrained(folder, config, int(state["step"]), spec, make, agent, skill)


def newest_state(folder: Path, stage: str) -> dict[str, Any]:
    """The state of a run's newest good checkpoint; one line says so if it is not the run's last.

    Raises UserError (code 5) if there is none, or none of this run.
    """
    taken = checkpoint.take(folder / "checkpoints", identity.of(folder, stage))
    status = marks.status_of(folder)
    if status.state == "finished" and taken.manifest.step < status.step:
        progress.warn(
            f"{folder} was finished at step {status.step:,}; the newest checkpoint that it still "
            f"has is of step {taken.manifest.step:,}"
        )
    return taken.state


def inherit(config: Mapping[str, Any], command: str) -> Mapping[str, Any]:
    """A config with its inherited groups filled in from the run that it goes on from.

    Later wins: that run's own values, what the yaml of its agent sets `when command=COMMAND`, the
    command line. A saved config has them already and is left as it is; a group that the run lacks
    stays empty. Raises UserError.
    """
    nodes = inherited(command)
    if any("name" in config[group] for group in nodes):
        return config
    record = record_for(config, command)
    tuned = nested({key: value for key, (value, _) in liked_by(command, record).items()})
    merged = {}
    for group in nodes:
        if group in record:
            merged[group] = {**record[group], **tuned.get(group, {}), **config[group]}
        elif config[group]:
            raise UserError(
                f"{group}.{next(iter(config[group]))}: from={config['from']} has no {group} that "
                "could be changed; leave that key out"
            )
    return {**config, **merged}


def record_for(config: Mapping[str, Any], command: str) -> dict[str, Any]:
    """The record of the run that a config goes on from, with its world as `env`.

    A strategy says by its `stage` from which kind of run it goes on. Raises UserError: code 2 if
    the run is of another kind.
    """
    name = config["strategy"]["name"]
    wanted = trait("strategy", name, "stage", "pretrain")
    folder = source_of(config, command, wanted)
    found = stage_of(folder)
    if found != wanted and {found, wanted} == {"pretrain", "metatrain"}:
        raise UserError(
            f"strategy={name}: from={folder} is a {found} run, want one of {wanted}; "
            f"{_instead(folder, wanted)}"
        )
    record = open_record(folder, wanted)
    return record if wanted == "pretrain" else {**record, "env": world_of(folder, record)}


def world_of(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """The env node that makes the world of a `metatrain` run's tasks.

    Proposed tasks bring that of the skills; a hand-made family has one if its world is that of an
    env with nothing added to what is seen of it. Raises UserError if there is none.
    """
    node = record["tasks"]
    if getattr(lookup("tasks", node["name"]), "kind", None) is not None:
        for place in (folder / "proposals", Path(record["from"]).resolve()):  # its own copy first
            if checkpoint.listed(place):
                return proposed_env(place, checkpoint.take(place, only=("env",)).folder)
        return dict(open_record(Path(record["from"]), "pretrain")["env"])
    family = build("tasks", node, num_envs=1, seed=0)
    world = getattr(family, "world", None)
    path = CONFIGS / "env" / f"{getattr(world, 'name', '')}.yaml"
    if world is not None and path.is_file() and family.spec.obs_dim == world.world_spec.obs_dim:
        return dict(read_yaml(path))
    raise UserError(
        f"from={folder}: tasks={node['name']} has a world of its own, which no env=NAME makes, so "
        "it takes no task; go on from a run of metatrain tasks=skills from=RUN, or try other tasks "
        f"of its own: {progress.paste('evaluate', folder)}"
    )


def proposed_env(place: Path, found: Path) -> dict[str, Any]:
    """The env node of the proposals saved in `found`, a checkpoint in `place`.

    Raises UserError (code 5) where it wants leave that nobody gave (logbook/leave.py).
    """
    env = filled(checkpoint.load(found, only=("env",)))["env"]  # an older one may lack keys
    if not isinstance(env, Mapping):
        raise UserError(f"{place}: its env is no node of a config", Exit.CHECKPOINT)
    leave.admit(place, env, checkpoint.digest(found))
    return dict(env)


def stage_of(folder: Path) -> str:
    """The stage of the run in a folder, empty if it is none."""
    return marks.stage_of(folder)


def skills_behind(folder: Path) -> Path | None:
    """The `pretrain` run that a `metatrain` run came from, if there is one; any other itself."""
    if stage_of(folder) != "metatrain":
        return folder
    stored = read_yaml(folder / "config.yaml").get("from") or folder
    source = Path(origin.located(str(stored), folder) or "")
    return source if stage_of(source) == "pretrain" else None


def _instead(folder: Path, wanted: str) -> str:
    """How to come by a run of the stage that is wanted."""
    if wanted == "metatrain":
        return f"make one with: {progress.paste('metatrain', 'tasks=skills', ('from', folder))}"
    source = skills_behind(folder)
    such = f"such as the one it came from, {pasted(('from', source))}, " if source else ""
    return f"{such}or choose strategy=adapt"


def source_of(config: Mapping[str, Any], command: str, stage: str = "pretrain") -> Path:
    """The folder that a config goes on from. Raises UserError if it names none."""
    if config.get("from"):
        return Path(config["from"])
    runs = runs_of(stage)
    there = f"; there are: {', '.join(runs[:6])}" if runs else f"; make one with {stage} first"
    raise UserError(f"from: missing; {command} goes on from a {stage} run, from=RUN{there}")


def liked_by(command: str, record: Mapping[str, Any]) -> dict[str, Laid]:
    """What the yaml of an inherited choice sets `when command=COMMAND`, by dotted key."""
    found: dict[str, Laid] = {}
    for group in (g for g in inherited(command) if g in record):
        path = CONFIGS / group / f"{record[group]['name']}.yaml"
        node = {group: read_yaml(path)} if path.is_file() else {}
        found |= overlays(node, lambda key: command if key == "command" else None)
    return found


def tell(config: Mapping[str, Any], record: Mapping[str, Any], command: str) -> None:
    """Say what was inherited and what was not, in one line each."""
    nodes, liked = [g for g in inherited(command) if g in record], liked_by(command, record)
    told = [*nodes, *(g for g in ("skill", "learner", "tasks") if g in record)]
    names = ", ".join(f"{g}={record[g]['name']}" for g in told)
    progress.say(f"inherited from {config['from']}: {names}")
    changed = []
    for group in nodes:
        for key, value in config[group].items():
            before = record[group].get(key)
            if value != before:
                own = liked.get(f"{group}.{key}", (None,))[0] == value
                whose = f" (by {command})" if own else ""
                changed.append(f"{group}.{key} {before} -> {value}{whose}")
    if changed:
        progress.say(f"overridden: {', '.join(changed)}")


def other_versions(folder: Path) -> list[str]:
    """Lines such as `mujoco 3.16 -> 3.17` on the packages that a run was made with."""
    sessions = marks.sessions_of(folder)
    before = sessions[-1]["versions"] if sessions else {}
    now = versions.snapshot()
    names = ("torch", "numpy", "mujoco", "gymnasium", "dm-control")
    return versions.changes({k: v for k, v in before.items() if k in names}, now)


def unfinished(folder: Path) -> str | None:
    """How far a run is, if it is not finished: a line for a warning."""
    status = marks.status_of(folder)
    if status.state == "finished":
        return None
    return f"{folder} is not finished ({status.step:,} of {status.steps:,} steps)"


def runs_of(stage: str, root: Path = Path("runs")) -> list[str]:
    """The folders of all runs of a stage below `root`."""
    found = []
    for path in sorted(root.glob("*/*/*/run.json")):
        if files.readable_json(path).get("stage") == stage:
            found.append(str(path.parent))
    return found


def _found(folder: Path) -> str:
    """What lies in a folder that is no run: the runs below it, or what else there is."""
    if not folder.is_dir():
        return "there is no such folder"
    inside = [p.parent for k in ("*", "*/*", "*/*/*") for p in folder.glob(f"{k}/config.yaml")]
    if inside:
        states = [
            f"{p} ({files.readable_json(p / 'run.json').get('stage', 'a run')})" for p in inside
        ]
        return f"it has no config.yaml, but these lie in it: {', '.join(sorted(states)[:6])}"
    names = sorted(p.name for p in folder.iterdir())
    return f"it has no config.yaml, only {', '.join(names[:6])}" if names else "it is empty"


def _hint(folder: Path, stage: str) -> str:
    """The run that was meant by a folder that is none, or those there are."""
    runs = runs_of(stage)
    meant = nearest(str(folder).rstrip("/"), runs)
    if meant:
        return f"; did you mean {meant}?"
    return (
        f"; {stage} runs here: {', '.join(runs[:6])}" if runs else f"; make one with {stage} first"
    )
