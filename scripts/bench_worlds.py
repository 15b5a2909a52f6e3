"""Steps per second of the batched MuJoCo worlds, against what else there is.

Contenders take turns, under the same random actions, and each is judged by its best turn: other
programs on the machine only ever slow one down. `mj_step` is the floor: nothing but physics, a
loop over one MjData per world in as many Python threads as there are cores; `batch` is the same by
mujoco.batch. Both repeat the very trajectories that our world makes, resets included, so that they
solve the same contacts. Where resetting takes up a step (SyncVectorEnv, envpool), that step is not
counted as one.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium
import mujoco
import numpy as np
from mujoco.batch import Batch

import envs

IDS = {
    "cheetah": "HalfCheetah-v5",
    "ant": "Ant-v5",
    "hopper": "Hopper-v5",
    "walker2d": "Walker2d-v5",
    "humanoid": "Humanoid-v5",
    "swimmer": "Swimmer-v5",
}
Contender = Callable[[], int]  # returns how many steps were only resets


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this section."""
    parser.add_argument("names", nargs="*", default=list(IDS), metavar="WORLD")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    parser.add_argument("--steps", type=int, default=100, help="steps a world, a turn")
    parser.add_argument("--turns", type=int, default=10)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Time every world."""
    warnings.filterwarnings("ignore", module="gymnasium")
    rows = [_world(name, options) for name in options.names]
    notes = ["steps per second; the best of the turns; x columns: ours over theirs"]
    if not importlib.util.find_spec("envpool"):
        notes.append("envpool: not installed here (put it on PYTHONPATH to compare)")
    return {"rows": rows, "notes": notes}


def _world(name: str, options: argparse.Namespace) -> dict[str, Any]:
    threads = options.threads or len(os.sched_getaffinity(0))
    n, steps = options.num_envs, options.steps
    world = envs.make_default(name, num_envs=n, threads=threads)
    world.action_space.seed(0)
    acts = np.stack([world.action_space.sample() for _ in range(steps)])
    contenders = {
        "ours": _ours(world, acts),
        "sync": _sync(IDS[name], acts),
        "mj_step": _loop(world, acts, threads),
        "batch": _batch(world, acts, threads),
        "envpool": _envpool(IDS[name], acts, threads),
    }
    rates: dict[str, list[float]] = {k: [] for k, go in contenders.items() if go}
    for _ in range(options.turns):
        for key in rates:
            start = time.perf_counter()
            resets = contenders[key]()  # type: ignore[misc]
            rates[key].append((n * steps - resets) / (time.perf_counter() - start))
    row: dict[str, Any] = {"world": name}
    row.update({key: max(rates[key]) if key in rates else None for key in contenders})
    for key in ("sync", "envpool", "mj_step", "batch"):
        row[f"x {key}"] = row["ours"] / row[key] if row[key] else None
    return row


def _ours(world: Any, acts: Any) -> Contender:
    world.reset(seed=0)
    start = world.state_dict()

    def go() -> int:
        world.load_state_dict(start)
        for act in acts:
            _, _, terminated, truncated, _ = world.step(act)
            ended = terminated | truncated
            if ended.any():
                world.reset(options={"reset_mask": ended})
        return 0

    return go


def _sync(id: str, acts: Any) -> Contender:
    n = acts.shape[1]
    vector = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make(id) for _ in range(n)])

    return lambda: _auto(vector, acts, {"seed": 0})


def _envpool(id: str, acts: Any, threads: int) -> Contender | None:
    if not importlib.util.find_spec("envpool"):
        return None
    import envpool

    pool = envpool.make(id, "gymnasium", num_envs=acts.shape[1], num_threads=threads, seed=0)
    acts = acts.astype(np.float64)

    return lambda: _auto(pool, acts, {})


def _auto(vector: Any, acts: Any, how: dict[str, int]) -> int:
    """Step something that resets a world in the step after its last one."""
    vector.reset(**how)
    resets = ending = 0
    for act in acts:
        _, _, terminated, truncated, _ = vector.step(act)
        resets += ending
        ending = int((terminated | truncated).sum())
    return resets


def _recording(world: Any, acts: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    """The state rows at the start, and for every step the ids and rows that a reset wrote."""
    world.reset(seed=0)
    start, resets = world.batch.state.copy(), []
    for act in acts:
        _, _, terminated, truncated, _ = world.step(act)
        ended = terminated | truncated
        if ended.any():
            world.reset(options={"reset_mask": ended})
        ids = np.flatnonzero(ended)
        resets.append((ids, world.batch.state[ids]))
    return start, resets


def _batch(world: Any, acts: Any, threads: int) -> Contender:
    start, resets = _recording(world, acts)
    batch = Batch(world.model, world.num_envs, threads)
    ctrl = batch.bind("ctrl")

    def go() -> int:
        batch.state[:] = start
        for act, (ids, rows) in zip(acts, resets, strict=True):
            ctrl[:] = act
            batch.step(None, world.frame_skip)
            batch.state[ids] = rows
        return 0

    return go


def _loop(world: Any, acts: Any, threads: int) -> Contender:
    start, resets = _recording(world, acts)
    model, skip = world.model, world.frame_skip
    datas = [mujoco.MjData(model) for _ in range(world.num_envs)]
    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    again: list[dict[int, Any]] = [dict(zip(ids, rows, strict=True)) for ids, rows in resets]
    pool = ThreadPoolExecutor(threads)
    parts = np.array_split(np.arange(world.num_envs), threads)

    def part(ids: Any) -> None:
        for i in ids:
            mujoco.mj_setState(model, datas[i], start[i], kind)
        for act, rows in zip(acts, again, strict=True):
            for i in ids:
                data = datas[i]
                data.ctrl[:] = act[i]
                mujoco.mj_step(model, data, skip)
                if i in rows:
                    mujoco.mj_setState(model, data, rows[i], kind)

    def go() -> int:
        list(pool.map(part, parts))
        return 0

    return go
