#!/usr/bin/env python
"""Write configs/reference/: what a random policy and an expert score on tasks, for `compare`.

python scripts/references.py [--only WORD ...]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune.evaluate import evaluate
from finetune.world import TaskWorld
from logbook import files, progress
from logbook.build import build
from logbook.config import CONFIGS, read_yaml
from logbook.seeds import seed_for
from meta.evaluate import held_out, score
from meta.known import known

OUT = CONFIGS / "reference"
SEED = 0

# Families, and who is the expert: nobody where neither a closed form nor an optimal policy is had.
EPISODE = {  # what holds of every episode, since neither learns
    "point_goal": "straight",
    "point_corner": "straight",
    "cheetah_direction": None,
    "cheetah_velocity": None,
    "ant_direction": None,
    "ant_velocity": None,
    "ant_goal": None,
    "hopper_dynamics": None,
    "walker_dynamics": None,
}
TRIAL = {  # what holds of a whole trial, since the expert learns in it
    "bandit": "bayes_optimal",
    "tabular_mdp": "optimal_mdp",
    "two_step": "bayes_filter",
    "harlow": "win_stay",
}
WORLDS = {"point": 512, "cheetah": 32, "ant": 32}  # episodes of each
SUITE = {  # world: episodes, and what its tasks begin with; they pay at most 1 a step
    "dmc_walker": (32, "walker_"),
    "dmc_quadruped": (16, "quadruped_"),
    "dmc_jaco": (32, "reach"),
}


class RandomPlayer:
    """Uniform acts."""

    def __init__(self, width: int) -> None:
        self._width, self._rng = width, np.random.default_rng(SEED)

    def begin(self, n: int) -> None:
        """Nothing to remember."""

    def hear(self, rew: torch.Tensor, done: torch.Tensor) -> None:
        """Nothing to learn."""

    def act(self, obs: torch.Tensor) -> torch.Tensor:
        """Acts [N, A]."""
        return torch.from_numpy(self._rng.uniform(-1, 1, (len(obs), self._width))).float()


class StraightPlayer:
    """On a point world, to the next of some places as fast as each axis allows: optimal there."""

    def __init__(self, places: Any, size: float, step_size: float) -> None:
        self._places, self._size, self._step = np.asarray(places, float), size, step_size

    def begin(self, n: int) -> None:
        """Nothing to remember."""

    def hear(self, rew: torch.Tensor, done: torch.Tensor) -> None:
        """Nothing to learn."""

    def act(self, obs: torch.Tensor) -> torch.Tensor:
        """Acts [N, A]."""
        seen = obs.double().numpy()
        at = seen[:, :2] * self._size
        shown = seen[:, 2:]
        goal = self._places[shown[:, : len(self._places)].argmax(1)] if shown.size else self._places
        return torch.from_numpy(np.clip((goal - at) / self._step, -1, 1)).float()


def point_experts(size: float, step: float) -> dict[str, StraightPlayer]:
    """The tasks on the open box whose best policy is to go straight to a place."""
    places = {
        "goal_3_4": [[3.0, 4.0]],
        "goal_3_4_sparse": [[3.0, 4.0]],
        "go_5": [[size, 0.0]],
        "waypoints": read_yaml(CONFIGS / "task" / "waypoints.yaml")["at"],
    }
    return {task: StraightPlayer(at, size, step) for task, at in places.items()}


def write(name: str, how: str, where: Mapping[str, Any], scores: Mapping[str, Any]) -> None:
    lines = [f"# {line}" for line in how.splitlines()]
    lines += [f"name: {name}", "where:"]
    lines += [f"  {key}: {value}" for key, value in where.items()]
    for kind, numbers in scores.items():
        lines.append(f"{kind}:")
        lines += [f"  {k}: {'null' if v is None else round(v, 5)}" for k, v in numbers.items()]
    files.replace(OUT / f"{name.replace(' ', '_')}.yaml", ("\n".join(lines) + "\n").encode())
    progress.say(f"{name}: {scores}")


def family(name: str, expert: str | None, whole: bool) -> None:
    node = read_yaml(CONFIGS / "tasks" / f"{name}.yaml")

    def make(num_envs: int, seed: int) -> Any:
        return build("tasks", node, num_envs=num_envs, seed=seed)

    big = name.partition("_")[0] in ("cheetah", "ant", "hopper", "walker")
    count, one = (64 if big else 4000), make(1, SEED)
    horizon = one.episodes if whole else (1 if big else 2)
    tasks = held_out(make, count, SEED)
    found: dict[str, Any] = {"shots": horizon} if whole else {}
    for role, policy in (("random", "random"), ("expert", expert)):
        if policy is None:
            found[role] = None
            continue
        who = known(policy, one, seed_for(SEED, policy))
        returns = score(make, who, tasks, horizon=horizon, seed=SEED).returns
        found[role] = float(returns.sum(0).mean() if whole else returns.mean())
    best = f"the expert is {expert} of meta/known.py" if expert else "no expert is known"
    how = (
        f"Return of {'a trial' if whole else 'an episode'} of tasks={name}, mean over {count} "
        f"held-out tasks.\nMade by scripts/references.py: random acts are uniform; {best}."
    )
    where = {f"tasks.{k}": v for k, v in node.items() if k not in ("name", "threads", "episodes")}
    if whole:
        where = {f"tasks.{k}": v for k, v in node.items() if k not in ("name", "threads")}
    write(name, how, dict(_plain(where)), {"trial" if whole else "episode": found})


def _plain(where: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        (k, "null" if v is None else str(v).lower() if isinstance(v, bool) else v)
        for k, v in where.items()
    ]


def downstream(world: str, path: Path) -> None:
    env, node = read_yaml(CONFIGS / "env" / f"{world}.yaml"), read_yaml(path)
    episodes = SUITE[world][0] if world in SUITE else WORLDS[world]
    inner = build("env", env, num_envs=episodes)
    try:
        task = build("task", node, world=inner.world_spec)
        if path.stem == "waypoints" and world not in ("point", "ant"):
            raise ValueError("its places lie on the floor")
    except Exception as e:  # noqa: BLE001  # the task asks for what this world does not have
        progress.say(f"{world} {path.stem}: does not fit ({str(e)[:80]})")
        return
    act_dim = inner.world_spec.act_dim
    low = evaluate(TaskWorld(inner, task), RandomPlayer(act_dim), SEED).mean
    high, why = None, "no expert is known"
    if world == "point":
        player = point_experts(env["size"], env["step_size"]).get(path.stem)
        if player is not None:
            high = evaluate(TaskWorld(inner, task), player, SEED).mean
            why = "the expert goes straight to the place, as fast as each axis allows: the optimum"
    elif world in SUITE:
        high = float(inner.world_spec.max_episode_steps)
        why = "the expert has 1 a step, the most that can be paid; dm_control scales so"
    elif path.stem in ("go_5", "waypoints"):
        high = float(len(node["at"])) if "at" in node else 1.0
        why = "the expert has all that is paid, a closed form"
    how = (
        f"Return of an episode of task={path.stem} on env={world}, {episodes} episodes.\n"
        f"Made by scripts/references.py: random acts are uniform; {why}."
    )
    # the suite's own task is not the one that pays
    apart = ("name", "threads", "task") if world in SUITE else ("name", "threads")
    keys = {f"env.{k}": v for k, v in env.items() if k not in apart}
    keys |= {
        f"task.{k}": "null" if v is None else repr(v)
        for k, v in node.items()
        if k in ("reward", "success", "at", "radius")
    }
    write(f"{world} {node['title']}", how, keys, {"episode": {"random": low, "expert": high}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="names that hold one of these words")
    wanted = parser.parse_args().only
    OUT.mkdir(exist_ok=True)

    def asked(name: str) -> bool:
        return not wanted or any(word in name for word in wanted)

    for name, expert in EPISODE.items():
        if asked(name):
            family(name, expert, False)
    for name, expert in TRIAL.items():
        if asked(name):
            family(name, expert, True)
    skipped = ("custom", "native", "quadruped", "walker", "reach")
    for world in WORLDS:
        for path in sorted((CONFIGS / "task").glob("*.yaml")):
            if asked(f"{world} {path.stem}") and not path.stem.startswith(skipped):
                downstream(world, path)
    for world, (_, prefix) in SUITE.items():
        for path in sorted((CONFIGS / "task").glob(f"{prefix}*.yaml")):
            if asked(f"{world} {path.stem}"):
                downstream(world, path)


if __name__ == "__main__":
    main()
