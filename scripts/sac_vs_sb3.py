"""Our SAC against stable-baselines3's on HalfCheetah-v5 with reward, at equal steps.

    scripts/sac_vs_sb3.py --peer-python PATH --json docs/results/sac_vs_sb3.json

Both with the peer's defaults: 2x256, batch 256, learning rate 3e-4, tau 0.005, gamma 0.99, an
automatic temperature from 1 with target entropy -6, a policy that starts with a spread of 1, one
update per step of one world, observations as they are. The policy's mode is evaluated in episodes
of 1000 steps in Gymnasium's own world, with the same seeds for both. Runs that the JSON file
already holds are not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

ID = "HalfCheetah-v5"
Policy = Callable[[np.ndarray], np.ndarray]  # one observation to one action


def evaluate(env: Any, policy: Policy, episodes: int) -> float:
    """Mean return of so many episodes, with fixed seeds."""
    total = 0.0
    for k in range(episodes):
        obs, _ = env.reset(seed=10_000 + k)
        over = False
        while not over:
            obs, rew, terminated, truncated, _ = env.step(policy(obs))
            total += float(rew)
            over = terminated or truncated
    return total / episodes


def run_ours(options: argparse.Namespace, report: Callable[[int, Policy], None]) -> None:
    """Train ours, reporting every `options.every` steps."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    import torch

    import envs
    from rl.collect import Collector, to_world
    from rl.matmul import choose_matmul
    from rl.sac import SAC

    torch.set_num_threads(options.threads)
    choose_matmul()
    world = envs.make("cheetah", num_envs=1, max_episode_steps=1000, threads=1, render_mode=None)
    agent = SAC(
        world=world.world_spec,
        z_dim=0,
        device=torch.device("cpu"),
        seed=options.seed,
        lr=3e-4,
        gamma=0.99,
        tau=0.005,
        alpha="auto",
        target_entropy=-6.0,
        hidden=[256, 256],
        batch_size=256,
        updates=1,
        replay_size=1_000_000,
        start_steps=options.start,
        normalize_steps=0,
    )
    with torch.no_grad():  # start as the peer does: ours is cooler, narrower, nearer to its middle
        agent.log_alpha.fill_(0.0)
        weight, bias = agent.actor.layers(agent.actor.theta)[-1]
        weight.mul_(10.0)
        bias.mul_(10.0)
        bias[..., world.world_spec.act_dim :] += math.atanh(1.5 / 3.5)  # a spread of 1
    collector = Collector(
        world, agent, lambda n: torch.zeros(n, 0), seed=options.seed, skill_steps=None
    )

    def policy(obs: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(obs.astype(np.float32))[None]
        act, _ = agent.act(x, torch.zeros(1, 0), explore=False)
        return np.asarray(to_world(act, world.single_action_space)[0])

    for step in range(1, options.steps + 1):
        for batch in agent.batches(collector.collect(1)):
            agent.update(batch)
        if step % options.every == 0:
            report(step, policy)


def run_sb3(options: argparse.Namespace, report: Callable[[int, Policy], None]) -> None:
    """Train the peer likewise; runs in the peer's Python."""
    import torch
    from stable_baselines3 import SAC

    torch.set_num_threads(options.threads)
    model = SAC("MlpPolicy", gymnasium.make(ID), seed=options.seed, learning_starts=options.start)

    def policy(obs: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict(obs, deterministic=True)[0])

    def after(state: dict[str, Any], _: dict[str, Any]) -> bool:
        step = state["self"].num_timesteps
        if step > 1 and (step - 1) % options.every == 0:  # the updates of step - 1 are done
            report(step - 1, policy)
        return True

    model.learn(options.steps + 1, callback=after)


def child(options: argparse.Namespace) -> None:
    """One run; its result is the last line of stdout."""
    env = gymnasium.make(ID)
    points: list[list[float]] = []
    start = time.perf_counter()
    paused = 0.0

    def report(step: int, policy: Policy) -> None:
        nonlocal paused
        before = time.perf_counter()
        points.append([step, evaluate(env, policy, options.episodes)])
        sys.stderr.write(f"{options.who} seed {options.seed}: {step:,} {points[-1][1]:.0f}\n")
        paused += time.perf_counter() - before

    {"ours": run_ours, "sb3": run_sb3}[options.who](options, report)
    wall = time.perf_counter() - start - paused
    row = {"who": options.who, "seed": options.seed, "points": points, "wall_s": round(wall, 1)}
    sys.stdout.write(json.dumps(row) + "\n")


def table(runs: list[dict[str, Any]]) -> str:
    """Returns against steps as Markdown: interquartile mean and its 95 % interval over seeds."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from logbook.stats import interval

    lines = ["| steps | ours | 95 % | sb3 | 95 % |", "|---|---|---|---|---|"]
    steps = sorted({int(step) for run in runs for step, _ in run["points"]})
    for step in steps:
        cells = [f"{step:,}"]
        for who in ("ours", "sb3"):
            found = [dict(map(tuple, r["points"])).get(step) for r in runs if r["who"] == who]
            scores = np.array([x for x in found if x is not None])[:, None]
            if not len(scores):
                cells += ["-", "-"]
                continue
            middle, low, high = interval(scores)
            cells += [f"{middle:,.0f}", f"{low:,.0f} to {high:,.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is missing, save after each run, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer-python", metavar="PATH", default=sys.executable)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--every", type=int, default=5_000, help="steps between evaluations")
    parser.add_argument("--episodes", type=int, default=5, help="episodes an evaluation")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--start", type=int, default=10_000, help="random steps before learning")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--who", choices=["ours", "sb3"], help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.who:
        return child(options)
    same = {key: getattr(options, key) for key in ("steps", "every", "episodes", "start")}
    result: dict[str, Any] = {"settings": same, "runs": []}
    if options.json.exists():
        result = json.loads(options.json.read_text("utf-8"))
        if result["settings"] != same:
            sys.exit(f"{options.json} was made with {result['settings']}, not {same}: name another")
    done = {(run["who"], run["seed"]) for run in result["runs"]}
    wanted = [(who, seed) for seed in options.seeds for who in ("ours", "sb3")]
    queue = [pair for pair in wanted if pair not in done]
    while queue:
        now, queue = queue[: options.jobs], queue[options.jobs :]
        children = []
        for who, seed in now:
            python = sys.executable if who == "ours" else options.peer_python
            flags = [f"--{key}={value}" for key, value in same.items()]
            flags += [f"--who={who}", f"--seed={seed}", f"--threads={options.threads}"]
            command = [python, __file__, f"--json={os.devnull}", *flags]
            children.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        for process in children:
            out, _ = process.communicate()
            if process.returncode:
                sys.exit(f"a run ended with code {process.returncode}: see above")
            result["runs"].append(json.loads(out.splitlines()[-1]))
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    sys.stdout.write(table(result["runs"]))
    return None


if __name__ == "__main__":
    main()
