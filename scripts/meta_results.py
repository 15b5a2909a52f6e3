"""Run the meta-learning results of docs/RESULTS.md again: every row, every seed, from one list.

    .venv/bin/python scripts/meta_results.py                  # all rows
    .venv/bin/python scripts/meta_results.py rl2-bandit_5x10  # one row
    .venv/bin/python scripts/meta_results.py --table          # only rewrite table and curves

Each run is the plain command `metatrain ...` with one thread, in `runs/results/<row>/<seed>`; a run
that was stopped goes on, a finished one is not repeated. The raw numbers of every seed go to
docs/results/<row>.json. The table between the markers of docs/RESULTS.md is made from those, and so
is the sheet of curves, docs/results/meta_curves.png.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from results import RAW, ROOT, SEEDS, commit  # noqa: E402

sys.path.insert(0, str(ROOT))
from logbook.curve_picture import Panel, draw  # noqa: E402
from logbook.lines import Line  # noqa: E402
from meta.report import line  # noqa: E402

BEGIN, END = "<!-- meta table: begin -->", "<!-- meta table: end -->"
REST = ("#8b95a3", "#b0573f", "#3a9188", "#c98a1b")  # colours of what is known
Numbers = dict[str, Any]


def total(meta: Numbers) -> str:
    """The return of a whole trial."""
    return f"{meta['returns_total']:.2f}"


def shots(meta: Numbers) -> str:
    """The return after 0, 1, 2, 3 episodes."""
    return " / ".join(f"{x:.1f}" for x in meta["returns_by_shot"][:4])


def sparse_shots(meta: Numbers) -> str:
    """The same where returns are small."""
    return " / ".join(f"{x:.2f}" for x in meta["returns_by_shot"][:4])


def mark(name: str) -> Callable[[Numbers], str]:
    """A mark of the family's own."""
    return lambda meta: f"{meta['marks'][name]:.2f}"


def both(*parts: Callable[[Numbers], str]) -> Callable[[Numbers], str]:
    """Several numbers, side by side."""
    return lambda meta: "; ".join(part(meta) for part in parts)


def second_choice(meta: Numbers) -> str:
    """How often the second choice of a pair is right, where right pays 1 and wrong -1."""
    return f"{(1 + meta['returns_by_shot'][1]) / 2:.3f}"


def after_first(meta: Numbers) -> str:
    """The return of all episodes, and of those after the first."""
    return f"{meta['returns_total']:.2f}, {sum(meta['returns_by_shot'][1:]):.2f}"


def visits(meta: Numbers) -> str:
    """Steps of the first visit and the median of later ones."""
    steps = meta["steps_by_shot"]
    return f"{steps[0]:.1f}, then {median(steps[1:]):.1f}"


def error(meta: Numbers) -> str:
    """Mean squared error after 1 and 10 gradient steps, of episodes of ten points."""
    by_shot = [-x / 10 for x in meta["returns_by_shot"]]
    return f"{by_shot[1]:.2f} / {by_shot[min(10, len(by_shot) - 1)]:.2f}"


@dataclass(frozen=True)
class Row:
    """A command, what it is judged by, and what to hold it against."""

    command: str
    shown: Callable[[Numbers], str]
    what: str
    known: str  # published, and exact where that is known
    bar: str


# What an arm says that costs 12 to ask, as levels: ten hints, a crumb, the prize.
DEAR = "[-11.85,-11.75,-11.65,-11.55,-11.45,-11.35,-11.25,-11.15,-11.05,0.0,3.0]"

ROWS: dict[str, Row] = {
    "rl2-bandit_5x10": Row(
        "learner=rl2 tasks=bandit evaluate.tasks=4000",
        total,
        "reward of 10 pulls, 5 arms",
        "6.7; exact optimum 6.66",
        "6.5",
    ),
    "rl2-bandit_blind": Row(
        "learner=rl2 tasks=bandit learner.see_reward=false evaluate.tasks=4000",
        total,
        "the same, rewards hidden",
        "chance 5.0",
        "chance",
    ),
    "rl2-bandit_50x10": Row(
        "learner=rl2 tasks=bandit tasks.arms=50 steps=4000000 learner.hidden=128 learner.lam=0.3 "
        "learner.meta_batch=1000 learner.minibatches=8 learner.lr=2e-3 learner.entropy=0.01 "
        "evaluate.tasks=4000",
        total,
        "reward of 10 pulls, 50 arms",
        "6.8; exact optimum 6.71",
        "6.4",
    ),
    "rl2-bandit_5x100": Row(
        "learner=rl2 tasks=bandit tasks.pulls=100 steps=10000000 learner.lam=0.9 "
        "learner.meta_batch=500 learner.minibatches=8 evaluate.tasks=4000",
        total,
        "reward of 100 pulls, 5 arms",
        "78.7; Gittins 78.8",
        "77.0",
    ),
    "rl2-informative": Row(
        "learner=rl2 tasks=bandit_informative evaluate.tasks=4000",
        both(total, mark("first_informative")),
        "reward; share of first pulls that ask",
        "optimum 20.55; 1.00",
        "20.0; 0.99",
    ),
    "rl2-dear_k0": Row(
        "learner=rl2 tasks=bandit_informative tasks.cost=12 burn_in=0 "
        f"learner.reward_bins={DEAR} evaluate.tasks=4000",
        both(after_first, mark("first_informative")),
        "asking costs 12, all pulls count: reward, after the first; first asks",
        "11.0, 9.6; 0",
        "does not ask",
    ),
    "rl2-dear_k1": Row(
        "learner=rl2 tasks=bandit_informative tasks.cost=12 burn_in=1 "
        f"learner.reward_bins={DEAR} evaluate.tasks=4000",
        both(after_first, mark("first_informative")),
        "the same, pulls from the second on count",
        "8.55, 20.0; 1",
        "asks",
    ),
    "rl2-dependent": Row(
        "learner=rl2 tasks=bandit_dependent evaluate.tasks=4000",
        mark("regret"),
        "regret of 100 pulls, p uniform",
        "optimum 1.23",
        "1.85",
    ),
    "rl2-two_step": Row(
        "learner=rl2 tasks=two_step evaluate.tasks=4000",
        both(total, mark("interaction")),
        "reward of 10 trials; interaction",
        "Bayes filter 6.69; 0.98",
        "6.3; 0.6",
    ),
    "rl2-harlow": Row(
        "learner=rl2 tasks=harlow evaluate.tasks=4000",
        second_choice,
        "second choice right, unseen objects",
        "1",
        "0.95",
    ),
    "rl2-grid_goal": Row(
        "learner=rl2 tasks=grid_goal evaluate.tasks=1000",
        visits,
        "steps of the first visit, of later ones",
        "-",
        "half the first",
    ),
    "rl2-tabular_mdp": Row(
        "learner=rl2 tasks=tabular_mdp evaluate.tasks=1000",
        total,
        "reward of 10 episodes",
        "156.2; PSRL 134.3",
        "150",
    ),
    "maml-sinusoid": Row(
        "learner=maml tasks=sinusoid evaluate.tasks=1000 evaluate.horizon=11",
        error,
        "squared error after 1 / 10 steps",
        "0.67 / 0.35",
        "0.9 / 0.5",
    ),
    "maml-point_goal": Row(
        "learner=maml tasks=point_goal evaluate.tasks=40",
        shots,
        "return after 0 / 1 / 2 / 3 steps",
        "-40.4 / -11.7 / -3.3 / -3.2",
        "- / -15 / -6 / -6",
    ),
    "pretrained-point_goal": Row(
        "learner=pretrained tasks=point_goal evaluate.tasks=40",
        shots,
        "the same, no adapting in training",
        "-40.8 / -19.7 / -11.7 / -8.5",
        "worse than MAML",
    ),
    "scratch-point_goal": Row(
        "learner=scratch tasks=point_goal steps=100000 evaluate.tasks=40",
        shots,
        "the same, from an untrained start",
        "-82.7 / -58.0 / -53.8 / -46.8",
        "-",
    ),
    "maml-point_corner": Row(
        "learner=maml tasks=point_corner evaluate.tasks=40",
        sparse_shots,
        "return after 0 / 1 / 2 / 3 steps, sparse",
        "optimum 2.61",
        "beats pretraining",
    ),
    "emaml-point_corner": Row(
        "learner=emaml tasks=point_corner evaluate.tasks=40",
        sparse_shots,
        "the same, exploring is paid",
        "optimum 2.61",
        "beats pretraining",
    ),
    "pretrained-point_corner": Row(
        "learner=pretrained tasks=point_corner evaluate.tasks=40",
        sparse_shots,
        "the same, no adapting in training",
        "optimum 2.61",
        "-",
    ),
    "maml-cheetah_direction": Row(
        "learner=maml tasks=cheetah_direction tasks.threads=1 evaluate.tasks=40",
        shots,
        "return of 100 steps after 0 / 1 / 2 / 3 steps",
        "-50.7 / 293.2 / 313.5 / 315.7 (another cheetah, 200 steps)",
        "- / +150",
    ),
    "pretrained-cheetah_direction": Row(
        "learner=pretrained tasks=cheetah_direction tasks.threads=1 steps=3000000 "
        "evaluate.tasks=40",
        shots,
        "the same, no adapting in training",
        "-43.0 / -24.7 / -12.8 / 19.6 (as above)",
        "worse than MAML",
    ),
}


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--side-by-side", type=int, default=2, help="runs at a time")
    parser.add_argument("--table", action="store_true", help="run nothing")
    flags = parser.parse_args()
    unknown = [row for row in flags.rows if row not in ROWS]
    if unknown:
        parser.error(f"no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    rows = flags.rows or list(ROWS)
    if not flags.table:
        jobs = [(row, seed) for row in rows for seed in flags.seeds]
        with ThreadPoolExecutor(flags.side_by_side) as pool:
            codes = list(pool.map(lambda job: run(*job), jobs))
        for row in rows:
            keep(row, flags.seeds)
        if any(codes):
            sys.exit(max(codes))
    write_table()
    draw_curves(RAW / "meta_curves.png")


def run(row: str, seed: int) -> int:
    """One run of one row, as a user would start it; returns its exit code."""
    folder = ROOT / "runs" / "results" / row / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "meta", *ROWS[row].command.split(), f"seed={seed}"]
    command += [f"hydra.run.dir={folder}"]
    if not (folder / "commit").exists():
        (folder / "commit").write_text(commit())
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with (folder / "log").open("a") as log:
        code = subprocess.run(command, env=environment, stdout=log, stderr=log).returncode
    print(f"{row} seed {seed}: exit {code}", flush=True)
    return code


def keep(row: str, seeds: list[int]) -> None:
    """Gather the finished seeds of a row into docs/results, beside those kept before."""
    place = RAW / f"{row}.json"
    kept: Numbers = {}
    if place.exists():
        kept = {str(r["seed"]): r for r in json.loads(place.read_text())["seeds"]}
    for seed in seeds:
        folder = ROOT / "runs" / "results" / row / str(seed)
        if (folder / "summary.json").exists():
            numbers = json.loads((folder / "summary.json").read_text())
            numbers["commit"] = (folder / "commit").read_text()
            numbers.pop("next", None)  # a path of this machine
            kept[str(seed)] = numbers
    if kept:
        RAW.mkdir(parents=True, exist_ok=True)
        raw = {"command": f"metatrain {ROWS[row].command}", "threads": 1}
        raw["seeds"] = [kept[k] for k in sorted(kept, key=int)]
        place.write_text(json.dumps(raw, indent=1) + "\n")


def write_table() -> None:
    """Put the table of all kept rows between the markers of docs/RESULTS.md."""
    head = ["row", "measured", "ours, by seed", "published, known", "bar", "steps", "minutes"]
    head += ["commit"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, row in ROWS.items():
        place = RAW / f"{name}.json"
        if not place.exists():
            continue
        seeds = json.loads(place.read_text())["seeds"]
        ours = ", ".join(row.shown(numbers["meta"]) for numbers in seeds)
        minutes = median(numbers["wall_s"] for numbers in seeds) / 60
        commits = ", ".join(dict.fromkeys(numbers["commit"] for numbers in seeds))
        cells = [name, row.what, ours, row.known, row.bar, f"{seeds[0]['steps']:,}"]
        cells += [f"{minutes:.1f}", commits]
        lines.append("| " + " | ".join(cells) + " |")
    page = ROOT / "docs" / "RESULTS.md"
    text = page.read_text()
    before, rest = text.split(BEGIN)
    page.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1])


def draw_curves(path: Path) -> None:
    """The returns by episode of all kept rows: a thin line a seed, and what is known dashed."""
    panels = []
    for name in ROWS:
        place = RAW / f"{name}.json"
        if place.exists():
            seeds = [numbers["meta"] for numbers in json.loads(place.read_text())["seeds"]]
            title = f"{name}: {seeds[0]['tasks_held_out']} held-out tasks, {len(seeds)} seeds"
            panels.append(Panel(title, "episode of the task", "return", _curves(seeds)))
    if panels:
        draw(path, panels)


def _curves(seeds: list[Numbers]) -> list[Line]:
    """All seeds; random, untrained and the two best that are known, as the first seed met them."""
    known = seeds[0]["baselines"]
    best = sorted(known, key=lambda name: -known[name]["returns_total"])[:2]
    shown = [name for name in known if name in ("untrained", "random", *best)]
    drawn = [line(x, known[x], REST[k], 1.2, x != "untrained") for k, x in enumerate(shown)]
    return drawn + [line(meta["learner"], meta, "#2f6fb3", 1.0) for meta in seeds]


if __name__ == "__main__":
    main()
