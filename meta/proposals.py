"""Tasks that nobody wrote: a frozen skill method, rebuilt from its run, proposes rewards.

r_z(s') = skill.reward under z (for DIAYN: log q(z|s') - log p(z); Gupta et al. 2018, section 4.1),
centred and scaled for each task by what the skills' own states earn under it, so that no task
shouts. log q has no lower end, and far from a skill its tail would outweigh all that happens near;
so rewards stop falling at a floor below chance (`floor` null: as published; below 0 it lies above
chance, and pay is sparse: where a skill is recognised at least so well). UML-Random takes the
same method, as far along its schedule, with networks that were never trained. Skills that look
alike are proposed once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from logbook import checkpoint, leave, progress, versions
from logbook.build import build
from logbook.checkpoint import Manifest
from logbook.errors import Exit, UserError
from logbook.heritage import WorldFactory, pretrained, proposed_env, widest, world_factory
from rl.collect import to_world
from rl.types import Batch, State, WorldSpec

Array = NDArray[Any]
FORMAT = "proposed tasks 1"
ALIKE = 0.25  # share of two skills' states that are mixed up: more, and one of them is dropped
FLOOR = 3.0  # nats below chance
LEAST = 1e-3  # spread of a task's rewards that they are divided by
STATES = 200  # of each task, to centre and scale its reward by


@dataclass
class Proposer:
    """Tasks z [K, Z] with frozen rewards, and the world that they are for.

    `methods` are the skill methods that judge, `of` [K] says which of them judges task k.
    """

    env: dict[str, Any]
    nodes: list[dict[str, Any]]
    methods: list[Any]
    of: Array
    z: Tensor  # [K, Z]
    centre: Tensor  # [K]
    scale: Tensor  # [K]
    spec: WorldSpec
    dropped: list[int]
    floor: float | None = None  # rewards of methods with a posterior do not fall below minus this

    @property
    def count(self) -> int:
        """K, the tasks proposed."""
        return len(self.z)

    @property
    def make_world(self) -> WorldFactory:
        """Builds the world that the tasks are for."""
        return world_factory({"env": self.env})

    @torch.no_grad()
    def reward(
        self, task: Array, obs: Array, feat: Array, next_obs: Array, next_feat: Array, act: Array
    ) -> Array:
        """The reward [N] of transitions, each under its own task [N] (a number below K)."""
        which = torch.from_numpy(np.asarray(task, np.int64))
        batch = _transitions(self.spec, obs, feat, next_obs, next_feat, act, self.z[which])
        return self._centred(self._judge(batch, which), which).numpy()

    def _centred(self, rew: Tensor, which: Tensor) -> Tensor:
        return (rew - self.centre[which]) / self.scale[which]

    def _judge(self, batch: Batch, which: Tensor) -> Tensor:
        if len(self.methods) == 1:
            return self._floored(self.methods[0], batch)
        of = torch.from_numpy(self.of)[which]
        rewards = torch.stack([self._floored(method, batch) for method in self.methods])
        return rewards.gather(0, of[None])[0]

    def _floored(self, method: Any, batch: Batch) -> Tensor:
        rew: Tensor = method.reward(batch)
        if self.floor is None or method.log_q is None:
            return rew
        return rew.clamp(min=-self.floor)

    def save(self, folder: Path) -> None:
        """Write the family, to be given to another learner with from=FOLDER."""
        state = {
            "format": FORMAT,
            "env": self.env,
            "skills": {
                str(i): {"node": node, "state": method.state_dict()}
                for i, (node, method) in enumerate(zip(self.nodes, self.methods, strict=True))
            },
            "of": self.of,
            "z": self.z,
            "centre": self.centre,
            "scale": self.scale,
            "dropped": self.dropped,
            "floor": self.floor,
        }
        folder.mkdir(parents=True, exist_ok=True)
        if not checkpoint.listed(folder):
            saved = checkpoint.save(folder, state, Manifest(0))
            leave.remember(checkpoint.digest(saved), self.env)


def proposer(
    source: Path, kind: str, seed: int, share: float = 0.5, floor: float | None = FLOOR
) -> Proposer:
    """The family that a finished `pretrain` run, or a folder of saved tasks, proposes.

    `kind` is skills, random (the method untrained) or mixture (`share` of the tasks are skills).
    `floor` is in the method's units, nats for DIAYN, below chance.
    Raises UserError where there is no such run.
    """
    if not (source / "config.yaml").exists() and checkpoint.listed(source.resolve()):
        return load(source.resolve())  # a folder that was typed may be a link
    run = pretrained(source, torch.device("cpu"))
    if run.skill.z_dim == 0:
        raise UserError(
            f"from={source}: skill={run.config['skill']['name']} has no skills, so it proposes no "
            "tasks; pretrain with skill=diayn or skill=metra"
        )
    node, env = dict(run.config["skill"]), dict(run.config["env"])
    if run.skill.log_q is None and floor not in (None, FLOOR):
        progress.warn(f"tasks.floor={floor}: skill={node['name']} has no posterior to cut; ignored")
    states = _reference(run.make_world, run.agent, run.skill, seed)
    parts: list[tuple[Any, Tensor, list[int]]] = []
    if kind in ("skills", "mixture"):
        z = _tasks_of(run.skill)
        kept, dropped = distinct(run.skill, states, z)
        parts.append((run.skill, z[kept], dropped))
    if kind in ("random", "mixture"):
        fresh = _untrained(node, run.skill, run.spec, seed, states)
        parts.append((fresh, _tasks_of(fresh), []))
    if kind == "mixture":
        parts = _shared(parts, share, seed)
    methods = [p[0] for p in parts]
    z = torch.cat([p[1] for p in parts])
    of = np.repeat(np.arange(len(parts)), [len(p[1]) for p in parts])
    one, zero = torch.ones(len(z)), torch.zeros(len(z))
    found = Proposer(
        env, [node] * len(parts), methods, of, z, zero, one, run.spec, parts[0][2], floor
    )
    _normalise(found, states)
    return _paying(found)


def load(folder: Path) -> Proposer:
    """A family that `Proposer.save` wrote. Raises UserError (code 5)."""
    taken = checkpoint.take(folder)
    state = taken.state
    if state.get("format") != FORMAT:
        raise UserError(f"from={folder} holds no proposed tasks of this version", Exit.CHECKPOINT)
    env = proposed_env(folder, taken.folder)
    world = build("env", env, num_envs=1)
    spec = world.world_spec
    world.close()
    try:
        with versions.fitting(f"from={folder}", "propose its tasks again, from the skills"):
            return _restored(state, env, spec)
    except UserError as e:  # what is in a checkpoint is no mistake of who reads it
        said = str(e) if str(e).startswith("from=") else f"from={folder}: {e}"
        raise UserError(said, Exit.CHECKPOINT) from None


def _restored(state: State, env: dict[str, Any], spec: WorldSpec) -> Proposer:
    """The family whose `save` wrote `state`."""
    nodes, methods = [], []
    for key in sorted(state["skills"], key=int):
        node = dict(state["skills"][key]["node"])
        method = build("skill", node, world=spec, device=torch.device("cpu"), seed=0)
        method.load_state_dict(state["skills"][key]["state"])
        nodes.append(node)
        methods.append(method)
    of, dropped = np.array(state["of"], np.int64), [int(k) for k in state["dropped"]]
    z, centre, scale = (torch.as_tensor(state[k]) for k in ("z", "centre", "scale"))
    return Proposer(env, nodes, methods, of, z, centre, scale, spec, dropped, state["floor"])


def distinct(skill: Any, states: Batch, z: Tensor) -> tuple[list[int], list[int]]:
    """Which of the tasks z [K, Z] to propose, and which are near-duplicates of those.

    Two skills are alike when, over their own states, the method mixes them up in more than
    `ALIKE` of the cases; the later one goes. Without a posterior nothing is dropped.
    """
    if skill.log_q is None or len(z) != len(skill.all_z()):
        return list(range(len(z))), []
    with torch.no_grad():
        guess = skill.log_q(states).argmax(-1)
    own = states.z.argmax(-1)
    count = len(z)
    mixed = torch.zeros(count, count).index_put_(
        (own, guess), torch.ones(len(own)), accumulate=True
    )
    mixed /= mixed.sum(1, keepdim=True).clamp(min=1)
    alike = torch.maximum(mixed, mixed.T)
    kept: list[int] = []
    dropped = []
    for k in range(count):
        if any(alike[k, j] > ALIKE for j in kept):
            dropped.append(k)
        else:
            kept.append(k)
    return kept, dropped


def _tasks_of(skill: Any) -> Tensor:
    """All skills of a method, or an even spread of its continuum."""
    shown: Tensor = skill.all_z()
    return shown


def _shared(
    parts: list[tuple[Any, Tensor, list[int]]], share: float, seed: int
) -> list[tuple[Any, Tensor, list[int]]]:
    """Of two sources, so many tasks of each that the first has its `share`."""
    (first, a, dropped), (second, b, _) = parts
    whole = min(len(a) / max(share, 1e-9), len(b) / max(1 - share, 1e-9))
    rng = torch.Generator().manual_seed(seed)
    some = [
        tasks[torch.randperm(len(tasks), generator=rng)[: max(1, round(n))]]
        for tasks, n in ((a, share * whole), (b, (1 - share) * whole))
    ]
    return [(first, some[0], dropped), (second, some[1], [])]


def _untrained(
    node: Mapping[str, Any], skill: Any, spec: WorldSpec, seed: int, states: Batch
) -> Any:
    """`skill` with fresh networks, its statistics grown on the same states.

    It stands as far along its schedule: what comes in late pays for the trained one by now.
    """
    fresh = build("skill", node, world=spec, device=torch.device("cpu"), seed=seed)
    fresh.observe(states.map(lambda x: x[None]))
    fresh.copy_schedule(skill)
    return fresh


@torch.no_grad()
def _reference(make: WorldFactory, agent: Any, skill: Any, seed: int) -> Batch:
    """States of every skill's own policy [K * STATES], each with its z: what rewards compare."""
    shown = skill.all_z()
    world = widest(make, len(shown), max_episode_steps=max(STATES, 2))
    agent.reseed(seed)
    rows: list[Batch] = []
    for first in range(0, len(shown), world.num_envs):
        turn = shown[first : first + world.num_envs]
        idle = turn[-1:].expand(world.num_envs - len(turn), -1)
        lived = _lived(world, agent, torch.cat([turn, idle]), seed + first)
        rows += [_first(row, len(turn)) for row in lived]
    world.close()
    named = ("obs", "act", "next_obs", "feat", "next_feat", "rew", "terminated", "truncated", "z")
    parts: dict[str, Any] = {k: torch.cat([getattr(r, k) for r in rows]) for k in named}
    return Batch(**parts)


def _first(row: Batch, n: int) -> Batch:
    return row.map(lambda x: x[:n])


def _lived(world: Any, agent: Any, shown: Tensor, seed: int) -> list[Batch]:
    """What the policies of z [N, Z] meet in N worlds, step by step."""
    spec = world.world_spec
    obs, info = world.reset(seed=seed)
    feat, rows = info["feat"], []
    for _ in range(STATES):
        act, _ = agent.act(torch.from_numpy(obs), shown, explore=False)
        next_obs, _, terminated, truncated, info = world.step(
            to_world(act, world.single_action_space)
        )
        rows.append(_transitions(spec, obs, feat, next_obs, info["feat"], act.numpy(), shown))
        obs, feat = next_obs, info["feat"]
        done = terminated | truncated
        if done.any():
            obs, info = world.reset(options={"reset_mask": done})
            feat = info["feat"]
    return rows


def _paying(found: Proposer) -> Proposer:
    """Only the tasks that pay in some of the skills' states more than in others. Raises UserError.

    With a floor above chance there may be some that never do; divided by next to nothing, what they
    pay elsewhere would shout.
    """
    pays = found.scale > LEAST
    if not pays.any():
        want = "raise it, 3 is the usual one" if (found.floor or 0) < 0 else "pretrain for longer"
        raise UserError(
            f"tasks.floor={found.floor}: on the skills' own states no task pays more in one place "
            f"than in another; {want}"
        )
    if not pays.all():
        progress.warn(
            f"tasks.floor={found.floor}: left out of {found.count} proposals: "
            f"{int((~pays).sum())} that pay no more in one place than in another"
        )
    found.of = found.of[pays.numpy()]
    found.z, found.centre, found.scale = (x[pays] for x in (found.z, found.centre, found.scale))
    return found


@torch.no_grad()
def _normalise(found: Proposer, states: Batch) -> None:
    """Centre and scale every task's reward over the states of all skills."""
    for k in range(found.count):
        which = torch.full((len(states.rew),), k)
        z = found.z[which]
        batch = Batch(**{**vars(states), "z": z})
        rew = found._judge(batch, which)
        found.centre[k], found.scale[k] = rew.mean(), rew.std().clamp(min=LEAST)


def _transitions(
    spec: WorldSpec,
    obs: Array,
    feat: Array,
    next_obs: Array,
    next_feat: Array,
    act: Array,
    z: Tensor,
) -> Batch:
    """A batch [N] of the arrays of a step; what a judge does not read is blank."""
    blank = torch.zeros(len(obs))
    return Batch(
        obs=torch.from_numpy(obs),
        act=torch.from_numpy(np.asarray(act, np.float32)),
        next_obs=torch.from_numpy(next_obs),
        feat=torch.from_numpy(feat),
        next_feat=torch.from_numpy(next_feat),
        rew=blank,
        terminated=blank.bool(),
        truncated=blank.bool(),
        z=z,
        extras={"valid": torch.ones(len(obs), dtype=torch.bool)},
    )
