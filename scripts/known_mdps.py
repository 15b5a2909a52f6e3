"""Known policies: tabular MDPs against Table 2 of RL² (arXiv 1611.02779), and the two-step task.

    .venv/bin/python scripts/known_mdps.py           # all rows, three seeds; minutes
    .venv/bin/python scripts/known_mdps.py --table   # only print what was kept

Prints two Markdown tables and keeps the numbers in docs/results/known_mdps.json. A reference is
published (a mean over 1000 MDPs), exact (chance earns 1 a step; the optimum is the mean value of
the best plans for 40 000 other MDPs), or recomputed before by other code than ours where we have
no published one; the column says which. Every seed draws its own tasks, every row of a seed plays
the same ones, so that their errors go together, and every seed is kept.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from result_runs import commit  # noqa: E402

from logbook.build import build  # noqa: E402
from logbook.config import node_of  # noqa: E402
from meta.known import known  # noqa: E402
from meta.known_mdps import interaction, plan  # noqa: E402
from meta.trial import live  # noqa: E402
from rl.types import Batch  # noqa: E402

KEPT = ROOT / "docs" / "results" / "known_mdps.json"
SEEDS = (0, 1, 2)
AT_ONCE = 1000  # tasks side by side
BOUND = 2.0  # per cent, for PSRL from 25 episodes on

# Episodes to the total of a trial.
EPISODES = (10, 25, 50, 75, 100)
PUBLISHED = {
    "random": {10: 100.1, 50: 499.7, 75: 749.9, 100: 999.4},
    "psrl": {10: 138.1, 50: 904.4, 75: 1417.1, 100: 1939.5},
}
RECOMPUTED = {25: 403.2}  # PSRL
# Version to the reward of a trial and the four stay probabilities of the Bayes filter.
TWO_STEP = {2016: (6.69, 1.0, 0.5, 0.5, 1.0), 2018: (70.66, 1.0, 0.667, 0.663, 1.0)}
OUTCOMES = ("rewarded_common", "rewarded_rare", "unrewarded_common", "unrewarded_rare")


def main() -> None:
    """Play all rows, keep them, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=2000, help="of each row and seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--table", action="store_true", help="play nothing")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    if not flags.table:
        began = time.perf_counter()
        seeds = " ".join(map(str, flags.seeds))
        kept = {
            "command": f"scripts/known_mdps.py --tasks {flags.tasks} --seeds {seeds}",
            "commit": commit(),
            "seeds": flags.seeds,
            "tasks_per_seed": flags.tasks,
            "tabular_mdp": [
                tabular(policy, episodes, flags.tasks, flags.seeds)
                for episodes in EPISODES
                for policy in ("random", "psrl", "optimal_mdp")
            ],
            "two_step": [
                two_step(policy, version, flags.tasks, flags.seeds)
                for version in TWO_STEP
                for policy in ("random", "bayes_filter")
            ],
        }
        kept["wall_s"] = round(time.perf_counter() - began, 1)
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    print(tables(json.loads(KEPT.read_text())))


def played(tasks: str, policy: str, n: int, seed: int, **keys: Any) -> list[list[Batch]]:
    """Trials of n held-out tasks, in parts of `AT_ONCE`."""
    node = yaml.safe_load((ROOT / "configs" / "tasks" / f"{tasks}.yaml").read_text("utf-8"))
    rng = np.random.default_rng([seed, 0])
    parts = []
    for first in range(0, n, AT_ONCE):
        size = min(AT_ONCE, n - first)
        family = build("tasks", node | keys, num_envs=size, seed=1_000_000 * (seed + 1) + first)
        drawn = family.sample(size, rng, held_out=True)
        who = known(policy, family, 2_000_000 * (seed + 1) + first)
        parts.append(live(family, who, drawn, horizon=family.episodes, explore=True))
    return parts


def scored(parts: list[list[list[Batch]]]) -> dict[str, Any]:
    """The mean total of every seed, of all of them, and the standard error over tasks."""
    totals = [
        np.concatenate([sum(r.rew.double().sum(0).numpy() for r in rounds) for rounds in seed])
        for seed in parts
    ]
    every = np.concatenate(totals)
    return {
        "by_seed": [float(total.mean()) for total in totals],
        "mean": float(every.mean()),
        "se": float(every.std(ddof=1) / math.sqrt(len(every))),
    }


def tabular(policy: str, episodes: int, n: int, seeds: list[int]) -> dict[str, Any]:
    """What a policy earns in a trial of so many episodes."""
    began = time.perf_counter()
    parts = [played("tabular_mdp", policy, n, seed, episodes=episodes) for seed in seeds]
    want, source = reference(policy, episodes)
    row = {"policy": policy, "episodes": episodes, **scored(parts)}
    row |= {"reference": want, "source": source}
    row["per_cent"] = 100 * (row["mean"] / want - 1)
    row["wall_s"] = round(time.perf_counter() - began, 1)
    print(f"{policy}, {episodes} episodes: {row['mean']:.1f}", file=sys.stderr)
    return row


def reference(policy: str, episodes: int) -> tuple[float, str]:
    """The total that is held against ours, and where it comes from."""
    if policy == "optimal_mdp":
        return episodes * optimum(), "exact"
    if episodes in PUBLISHED[policy]:
        return PUBLISHED[policy][episodes], "published"
    return (
        (10.0 * episodes, "exact") if policy == "random" else (RECOMPUTED[episodes], "recomputed")
    )


@functools.cache
def optimum() -> float:
    """What an episode earns on average with the best plan: value iteration, nothing played."""
    node = node_of("tasks", "tabular_mdp")
    family = build("tasks", node, num_envs=1, seed=0)
    rng = np.random.default_rng(9)
    values = []
    for _ in range(40):
        means, transitions = family.unpack(family.sample(1000, rng, held_out=True))
        values.append(plan(means, transitions, family.episode_steps)[1][:, 0].mean())
    return float(np.mean(values))


def two_step(policy: str, version: int, n: int, seeds: list[int]) -> dict[str, Any]:
    """What a policy earns in a trial of the two-step task, and what it repeats after what."""
    began = time.perf_counter()
    parts = [played("two_step", policy, n, seed, version=version) for seed in seeds]
    row = {"policy": policy, "version": version, **scored(parts)}
    stays = [[interaction(rounds) for rounds in seed] for seed in parts]
    row["stays_by_seed"] = [_mean(some) for some in stays]
    row["stays"] = _mean(row["stays_by_seed"])
    if policy == "bayes_filter":
        row["reference"] = TWO_STEP[version][0]
        row["reference_stays"] = dict(zip(OUTCOMES, TWO_STEP[version][1:], strict=True))
    else:
        row["reference"], row["reference_stays"] = {2016: 5.0, 2018: 50.0}[version], None
    row["wall_s"] = round(time.perf_counter() - began, 1)
    print(f"{policy}, {version}: {row['mean']:.2f}", file=sys.stderr)
    return row


def _mean(some: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([each[key] for each in some])) for key in some[0]}


def tables(kept: dict[str, Any]) -> str:
    """Markdown: ours, theirs, and the difference."""
    lines = _head("episodes", "policy", "ours", "s.e.", "seeds", "reference", "", "%")
    for row in kept["tabular_mdp"]:
        gated = row["policy"] == "psrl" and row["episodes"] >= 25
        beyond = " (!)" if gated and abs(row["per_cent"]) > BOUND else ""
        cells = [str(row["episodes"]), row["policy"], f"{row['mean']:.1f}", f"{row['se']:.1f}"]
        cells += [", ".join(f"{x:.1f}" for x in row["by_seed"])]
        cells += [f"{row['reference']:.1f}", row["source"], f"{row['per_cent']:+.1f}{beyond}"]
        lines.append(_row(cells))
    lines += ["", f"(!): PSRL by more than {BOUND:g} % from the reference.", ""]
    lines += _head(
        "two-step", "policy", "ours", "s.e.", "reference", *OUTCOMES, "interaction", "reference"
    )
    for row in kept["two_step"]:
        cells = [str(row["version"]), row["policy"], f"{row['mean']:.2f}", f"{row['se']:.2f}"]
        cells += [f"{row['reference']:.2f}", *(f"{row['stays'][key]:.3f}" for key in OUTCOMES)]
        want = row["reference_stays"]
        cells += [f"{row['stays']['interaction']:.3f}"]
        cells += [" / ".join(f"{want[key]:.3f}" for key in OUTCOMES) if want else ""]
        lines.append(_row(cells))
    return "\n".join(lines)


def _head(*names: str) -> list[str]:
    return [_row(list(names)), "|" + "---|" * len(names)]


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
