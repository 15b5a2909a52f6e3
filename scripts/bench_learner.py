"""Env steps per second of SAC at one update a step on HalfCheetah-v5, against its peers.

Ours is all that `pretrain` does between two checkpoints: stepping the world, the skill's own
update, the reward, the learner's update, metrics; 2x256, batch 256. Peers do plain SAC on the
native reward with the same sizes. Every contender is a process of its own; they take turns of a
few hundred steps, so that a busy machine troubles all alike. Each is judged by its best turn.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this section."""
    parser.add_argument("--peer-python", metavar="PATH", help="a Python that has sb3 and sbx")
    parser.add_argument("--steps", type=int, default=200, help="env steps a turn")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--device", default="cpu", help="cpu or cuda; peers run there too")
    parser.add_argument("--threads", type=int, nargs="*", help="default: 1 and the cores")
    parser.add_argument("--skills", type=int, nargs="*", default=[0, 16, 50], help="0: plain SAC")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Let the contenders take turns."""
    threads = options.threads or sorted({1, len(os.sched_getaffinity(0))})
    commands: dict[tuple[str, int], list[str]] = {}
    for skills in options.skills:
        name = f"DIAYN-SAC, {skills} skills" if skills else "SAC"
        for n in threads:
            serve = [sys.executable, __file__, str(skills), str(n), options.device]
            commands[name, n] = serve
    notes = []
    if options.peer_python:
        for peer in ("sb3", "sbx"):
            for n in threads:
                serve = [options.peer_python, str(_HERE / "peer_worker.py"), peer, str(n)]
                commands[peer, n] = [*serve, options.device]
    else:
        notes.append("peers: left out (give --peer-python PATH to one with sb3 and sbx)")
    workers = {}
    for key, command in commands.items():
        worker = _Worker(command)
        if worker.ready:
            workers[key] = worker
        else:
            notes.append(f"{key[0]}: does not start here")
    turns: dict[tuple[str, int], list[float]] = {key: [] for key in workers}
    for _ in range(options.turns):
        for key, worker in workers.items():
            turns[key].append(options.steps / worker.take(options.steps))
    for worker in workers.values():
        worker.close()
    best: dict[str, float] = {}
    for (name, _), rates in turns.items():
        best[name] = max(best.get(name, 0.0), max(rates))
    rows = []
    for (name, n), rates in turns.items():
        row: dict[str, Any] = {"learner": name, "threads": n, "best": max(rates)}
        row["median"] = statistics.median(rates)
        for peer in ("sb3", "sbx"):
            if peer in best:
                row[f"x {peer}"] = max(rates) / best[peer]
        rows.append(row)
    notes.insert(0, "env steps per second, one update each; x: over the best setting of the peer")
    return {"rows": rows, "notes": notes, "turns": {f"{k} {n}": v for (k, n), v in turns.items()}}


class _Worker:
    """A process that takes env steps when told to."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.ready = bool(self._answer())

    def take(self, steps: int) -> float:
        """Seconds for so many env steps."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return float(json.loads(self._answer())["wall"])

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(30)


def serve(skills: int, threads: int, device_name: str) -> None:
    """Our side of the protocol of peer_worker.py."""
    sys.path.insert(0, str(_HERE.parent))
    import torch

    import envs
    from logbook.config import node_of
    from pretrain.loop import Training
    from rl.collect import Collector
    from rl.matmul import choose_matmul
    from rl.sac import SAC
    from skills.diayn import DIAYN
    from skills.none import NoSkill

    def defaults(group: str, name: str) -> dict[str, Any]:
        return {k: v for k, v in node_of(group, name).items() if k != "name"}

    torch.set_num_threads(threads)
    device = torch.device(device_name)
    if device.type == "cpu":
        choose_matmul()
    world = envs.make("cheetah", num_envs=1, max_episode_steps=1000, threads=1, render_mode=None)
    common: dict[str, Any] = {"world": world.world_spec, "device": device, "seed": 0}
    skill: Any = NoSkill(seed=0)
    if skills:
        own = {"num_skills": skills, "view": "obs", "ramp": [0, 0], "hidden": [256, 256]}
        skill = DIAYN(**common, **defaults("skill", "diayn") | own | {"lr": 3e-4})
    sizes = {"hidden": [256, 256], "batch_size": 256, "updates": 1, "alpha": "auto"}
    usual = {"lr": 3e-4, "tau": 0.005, "start_steps": 100}
    agent = SAC(**common, z_dim=skill.z_dim, **defaults("agent", "sac") | sizes | usual)
    collector = Collector(world, agent, skill.sample_z, seed=0, skill_steps=None)
    training = Training(agent, skill, collector, horizon=agent.horizon)
    steps = 300  # warm-up
    while steps:
        start = time.perf_counter(), time.process_time()
        for _ in range(steps):
            training.advance()
        if device.type == "cuda":
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
        sys.stdout.write(json.dumps({"wall": wall, "cpu": cpu}) + "\n")
        sys.stdout.flush()
        steps = int(sys.stdin.readline().strip() or 0)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
