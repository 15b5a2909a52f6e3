"""Bandit policies with known answers against Table 1 of RL² (arXiv 1611.02779) and exact optima.

    .venv/bin/python scripts/known_tables.py           # 10 and 100 pulls; a minute
    .venv/bin/python scripts/known_tables.py --long    # and 500; four minutes
    .venv/bin/python scripts/known_tables.py --table   # only print what was kept

Prints a Markdown table and keeps the numbers in docs/results/known_bandits.json. A published cell
is a mean over 1000 tasks, so it has an error of its own: `apart` is the difference in standard
errors of both, with that of rounding. Published cells that we have no source for are left out.
All policies of a cell play the same tasks, so their errors go together.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from result_runs import commit  # noqa: E402

from envs.tasks.bandit import Bandit  # noqa: E402
from meta.exact_bandits import bayes_optimal_value  # noqa: E402
from meta.known import known  # noqa: E402
from meta.trial import live  # noqa: E402

KEPT = ROOT / "docs" / "results" / "known_bandits.json"
AT_ONCE = 2000  # tasks side by side
PUBLISHED_TASKS = 1000
POLICIES = ("random", "thompson", "ucb", "epsilon_greedy", "gittins", "bayes_optimal")
BOUND = 1.5  # per cent, for random, Thompson and UCB

# Table 1: (pulls, arms) to the totals of these columns. Its greedy ones hang on how ties and
# the first pulls are decided, which the paper does not say: they are shown, but held to no bound.
COLUMNS = ("random", "gittins", "thompson", "ucb", "epsilon_greedy")
PUBLISHED: dict[tuple[int, int], tuple[float, ...] | None] = {
    (10, 5): (5.0, 6.6, 5.7, 6.7, 6.6),
    (10, 10): (5.0, 6.6, 5.5, 6.7, 6.6),
    (10, 50): (5.1, 6.5, 5.2, 6.6, 6.5),
    (100, 5): (49.9, 78.3, 74.7, 78.0, 75.4),
    (100, 10): None,
    (100, 50): (49.8, 85.2, 64.5, 84.3, 78.3),
    (500, 5): (249.8, 405.8, 402.0, 405.8, 388.2),
    (500, 10): (249.0, 437.8, 429.5, 437.1, 408.0),
}


def main() -> None:
    """Play what is asked for, keep it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=20_000, help="of each cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--long", action="store_true", help="also 500 pulls")
    parser.add_argument("--table", action="store_true", help="play nothing")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    if not flags.table:
        cells = []
        for pulls, arms in PUBLISHED:
            if pulls <= 100 or flags.long:
                cells += played(pulls, arms, flags.tasks, flags.seed)
        long = " --long" if flags.long else ""
        kept = {
            "command": f"scripts/known_tables.py --tasks {flags.tasks} --seed {flags.seed}{long}",
            "commit": commit(),
            "seed": flags.seed,
            "wall_s": round(sum(cell["wall_s"] for cell in cells), 1),
            "cells": cells,
        }
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    print(table(json.loads(KEPT.read_text())["cells"]))


def played(pulls: int, arms: int, tasks: int, seed: int) -> list[dict[str, Any]]:
    """What every policy that fits earns with so many arms and pulls, on the same tasks."""
    cells = []
    for name in POLICIES:
        family = Bandit(num_envs=AT_ONCE, seed=seed, arms=arms, pulls=pulls)
        if name not in family.baselines:
            continue
        began = time.perf_counter()
        policy = known(name, family, seed + 1)
        rng = np.random.default_rng(seed + 2)
        totals = []
        for _ in range(math.ceil(tasks / AT_ONCE)):
            drawn = family.sample(AT_ONCE, rng, held_out=True)
            (trial,) = live(family, policy, drawn, horizon=pulls, explore=True)
            totals.append(trial.rew.double().sum(0).numpy())
        total = np.concatenate(totals)
        cell = {"pulls": pulls, "arms": arms, "policy": name, "tasks": len(total)}
        cell |= {"mean": total.mean(), "se": total.std(ddof=1) / math.sqrt(len(total))}
        cell["tuned"] = getattr(policy, "c", getattr(policy, "epsilon", None))
        cell |= against(cell, float(total.std(ddof=1)))
        cell["wall_s"] = round(time.perf_counter() - began, 1)
        print(f"{pulls} pulls, {arms} arms, {name}: {cell['mean']:.3f}", file=sys.stderr)
        cells.append(cell)
    return cells


def against(cell: dict[str, Any], spread: float) -> dict[str, Any]:
    """The published or exact value of a cell, and how far from it we are."""
    row = PUBLISHED[cell["pulls"], cell["arms"]]
    name, error = cell["policy"], cell["se"]
    if name == "bayes_optimal":
        value, source = bayes_optimal_value(cell["arms"], cell["pulls"]), "exact"
    elif row is not None:
        value, source = row[COLUMNS.index(name)], "published"
        theirs = spread / math.sqrt(PUBLISHED_TASKS)
        error = math.sqrt(error**2 + theirs**2 + 0.1**2 / 12)  # rounded to a tenth
    else:
        return {"reference": None}
    return {
        "reference": value,
        "source": source,
        "per_cent": 100 * (cell["mean"] / value - 1),
        "apart": (cell["mean"] - value) / error,
    }


def table(cells: list[dict[str, Any]]) -> str:
    """Markdown: ours, theirs, and the difference."""
    head = ["pulls", "arms", "policy", "ours", "s.e.", "Table 1 or exact", "%", "apart"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for cell in cells:
        name = cell["policy"]
        if cell["tuned"] is not None:
            name += f" ({cell['tuned']})"
        first = [str(cell["pulls"]), str(cell["arms"]), name]
        first += [f"{cell['mean']:.3f}", f"{cell['se']:.3f}"]
        if cell["reference"] is None:
            rest = ["", "", ""]
        else:
            exact = cell["source"] == "exact"
            shown = f"{cell['reference']:.3f}, exact" if exact else f"{cell['reference']}"
            gated = cell["policy"] in ("random", "thompson", "ucb")
            beyond = " (!)" if gated and abs(cell["per_cent"]) > BOUND else ""
            rest = [shown, f"{cell['per_cent']:+.1f}{beyond}", f"{cell['apart']:+.1f}"]
        lines.append("| " + " | ".join(first + rest) + " |")
    note = f"(!): random, Thompson or UCB by more than {BOUND} % from the published mean."
    return "\n".join([*lines, "", note])


if __name__ == "__main__":
    main()
