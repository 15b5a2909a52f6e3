"""Run the fine-tuning results again: every row, strategy and seed, from one list.

    .venv/bin/python scripts/finetune_results.py                       # all rows
    .venv/bin/python scripts/finetune_results.py cheetah-run_forward   # one row
    .venv/bin/python scripts/finetune_results.py --table               # only show the table

Each run is the plain command `finetune ...` with one thread, in
`runs/results/finetune-<row>/<strategy>/<seed>`, going on from the pretrain run of the same seed
(`scripts/results.py` makes those). A run that was stopped goes on, a finished one is not repeated.
Adapting goes on from the `metatrain` run of that seed (`scripts/umrl_results.py cheetah`). The raw
numbers go to docs/results/finetune-<row>.json, beside those of seeds and strategies kept before;
--table reckons from them. Intervals are Student's, over seeds (logbook/stats.py).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from result_runs import RAW, RUNS, SEEDS, run  # noqa: E402

from logbook.stats import interval  # noqa: E402

# Row: the pretrain row that it goes on from, what is typed, strategies (with what is typed for them
# alone), env steps to report at.
ROWS: dict[str, tuple[str, str, list[str], list[int]]] = {
    "cheetah-run_forward": (
        "diayn-cheetah",
        "task=run_forward steps=50000 agent.updates=4",
        ["scratch", "weights", "policy", "hierarchy", "play", "adapt"],
        [5000, 10000, 25000, 50000],
    ),
    "cheetah-run_backward": (
        "diayn-cheetah",
        "task=run_backward steps=50000 agent.updates=4",
        ["scratch", "policy", "adapt"],
        [5000, 10000, 25000, 50000],
    ),
    "point-waypoints": (
        "diayn-point",
        "task=waypoints steps=15000 evaluate.every=1000",
        ["scratch", "hierarchy", "play"],
        [5000, 10000, 15000],
    ),
    "ant-waypoints": (
        "metra-ant",
        "task=waypoints task.at=[[4.0,0.0],[4.0,4.0]] task.radius=1.5 num_envs=16 steps=120000 "
        "evaluate.every=10000",
        ["hierarchy strategy.sees=task", "scratch"],
        [20000, 60000, 120000],
    ),
    "point-goal_3_4": (
        "diayn-point",
        "task=goal_3_4 steps=10000 evaluate.every=500",
        ["scratch", "weights", "policy", "hierarchy", "play"],
        [2000, 5000, 10000],
    ),
}

LEARNERS = {"diayn-cheetah": "umrl-cheetah/UML-DIAYN"}
"""Pretrain row: the metatrain runs on its skills, which adapting goes on from."""


def main() -> None:
    """Run what is missing, then show the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--strategies", nargs="+", help="only these of the row")
    parser.add_argument("--table", action="store_true", help="run nothing")
    flags = parser.parse_args()
    unknown = [row for row in flags.rows if row not in ROWS]
    if unknown:
        parser.error(f"no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    rows = flags.rows or list(ROWS)
    codes = []
    for row in rows:
        for seed in () if flags.table else flags.seeds:
            for strategy in ROWS[row][2]:
                if flags.strategies is None or strategy.split()[0] in flags.strategies:
                    codes.append(start(row, strategy, seed))
                    keep(row)
        place = RAW / f"finetune-{row}.json"
        if place.exists():
            raw = json.loads(place.read_text())
            raw["at"] = looks(raw["strategies"], ROWS[row][3])
            place.write_text(json.dumps(raw, indent=1) + "\n")
            show(row, raw)
    if any(codes):
        sys.exit(max(codes))


def start(row: str, strategy: str, seed: int) -> int:
    """One run; returns its exit code."""
    said = typed(row, strategy).format(seed=seed).split()
    folder = RUNS / f"finetune-{row}" / strategy.split()[0] / str(seed)
    return run("finetune", [*said, f"seed={seed}", "env.threads=1"], folder)


def typed(row: str, strategy: str) -> str:
    """What is typed after `finetune`; {seed} is the run's own."""
    source, words, _, _ = ROWS[row]
    if strategy.split()[0] == "adapt":  # which has no agent
        source, words = LEARNERS[source], re.sub(r" ?agent\.\S+", "", words)
    return f"from=runs/results/{source}/{{seed}} {words} strategy={strategy}"


def keep(row: str) -> None:
    """Gather what is finished of a row into docs/results, with what it comes to."""
    source, words, strategies, at = ROWS[row]
    place = RAW / f"finetune-{row}.json"
    before = json.loads(place.read_text())["strategies"] if place.exists() else {}
    raw: dict[str, Any] = {"command": f"finetune from={source} {words}", "threads": 1}
    found: dict[str, list[dict[str, Any]]] = {}
    for strategy in [*strategies, *(name for name in before if name not in strategies)]:
        runs = {run["seed"]: run for run in before.get(strategy, [])}
        for folder in (RUNS / f"finetune-{row}" / strategy.split()[0]).glob("*"):
            if (folder / "summary.json").exists():
                summary = json.loads((folder / "summary.json").read_text())
                numbers = {"seed": summary["seed"], "wall_s": summary["wall_s"]}
                if (folder / "commit").exists():
                    numbers["commit"] = (folder / "commit").read_text()
                runs[summary["seed"]] = {**numbers, **summary["finetune"]}
        if runs:
            found[strategy] = [runs[seed] for seed in sorted(runs)]
    raw["typed"] = {strategy: f"finetune {typed(row, strategy)}" for strategy in strategies}
    raw["at"] = looks(found, at)
    raw["strategies"] = found
    RAW.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(raw, indent=1) + "\n")


def looks(found: dict[str, list[dict[str, Any]]], at: Sequence[int]) -> dict[str, Any]:
    """What every strategy had come to at these env steps."""
    return {
        strategy: {str(step): told(runs, step) for step in at} for strategy, runs in found.items()
    }


def told(runs: Sequence[dict[str, Any]], step: int) -> dict[str, Any]:
    """Each seed's mean return and successes at the first look at or after `step`, and the IQM."""
    rows = [next((r for r in run["curve"] if r[0] >= step), None) for run in runs]
    if not rows or any(row is None for row in rows):
        return {}
    returns = [row[1] for row in rows if row is not None]
    solved = [row[3] for row in rows if row is not None]
    found: dict[str, Any] = {"returns": returns, "success": float(np.mean(solved))}
    if len(returns) > 1:
        centre, low, high = interval(np.array(returns)[:, None])
        found |= {"iqm": round(centre, 2), "95": [round(low, 2), round(high, 2)]}
    return found


def show(row: str, raw: dict[str, Any]) -> None:
    """The table of a row, in Markdown."""
    steps = [str(step) for step in ROWS[row][3]]
    print(f"\n{row}: {raw['command']}\n")
    heads = ["strategy", "seeds", *(f"at {int(s):,} [95 %]" for s in steps)]
    heads += ["solved at the end", "choosing"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for strategy, at in raw["at"].items():
        runs = raw["strategies"][strategy]
        cells = [strategy, ", ".join(str(run["seed"]) for run in runs)]
        for step in steps:
            each = ", ".join(f"{value:.4g}" for value in at[step].get("returns", []))
            centre, within = at[step].get("iqm", "-"), ""
            if "95" in at[step]:
                low, high = at[step]["95"]
                centre, within = f"{centre:,.4g}", f" [{low:,.4g}, {high:,.4g}]"
            cells.append(f"{centre}{within} ({each})")
        cells.append(f"{100 * at[steps[-1]].get('success', 0):.0f} %")
        cells.append(", ".join(str(run["steps_choosing"]) for run in runs))
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
