"""Run the learning results of docs/RESULTS.md again: every row, every seed, from one list.

    .venv/bin/python scripts/results.py                 # all rows, two runs side by side
    .venv/bin/python scripts/results.py diayn-cheetah   # one row
    .venv/bin/python scripts/results.py --table         # only rewrite the table

Each run is the plain command `pretrain ...` with one thread, in `runs/results/<row>/<seed>`; a run
that was stopped goes on, a finished one is not repeated. The raw numbers of every seed go to
docs/results/<row>.json, and the table between the markers of docs/RESULTS.md is made from those.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from result_runs import RAW, ROOT, RUNS, SEEDS, run  # noqa: E402

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"

ROWS: dict[str, str] = {
    "diayn-cheetah": "skill=diayn env=cheetah",
    "diayn-ant": "skill=diayn env=ant steps=200000 skill.ramp=[5e4,1.5e5]",
    "diayn-hopper": "skill=diayn env=hopper steps=200000 skill.ramp=[5e4,1.5e5]",
    "diayn-walker2d": "skill=diayn env=walker2d steps=200000 skill.ramp=[5e4,1.5e5]",
    "diayn-dmc_walker": "skill=diayn env=dmc_walker steps=200000 skill.ramp=[5e4,1.5e5]",
    "diayn-point": "skill=diayn env=point skill.num_skills=6 steps=60000",
    "diayn_obs-cheetah": "skill=diayn env=cheetah skill.view=obs",
    "diayn_ppo-cheetah": "skill=diayn env=cheetah agent=ppo num_envs=128 "
    "steps=3000000 skill.ramp=[4e5,1.2e6]",
    "metra-cheetah": "skill=metra env=cheetah",
    "metra-ant": "skill=metra env=ant steps=700000",
    "metra-point": "skill=metra env=point steps=60000",
}


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
            codes = list(pool.map(lambda job: start(*job), jobs))
        for row in rows:
            keep(row, flags.seeds)
        if any(codes):
            sys.exit(max(codes))
    write_table()


def start(row: str, seed: int) -> int:
    """One run of one row; returns its exit code."""
    words = [*ROWS[row].split(), f"seed={seed}", "env.threads=1"]
    return run("pretrain", words, RUNS / row / str(seed))


def keep(row: str, seeds: list[int]) -> None:
    """Gather the finished seeds of a row into docs/results, beside those kept before."""
    place = RAW / f"{row}.json"
    kept: dict[str, Any] = {}
    if place.exists():
        kept = {str(r["seed"]): r for r in json.loads(place.read_text())["seeds"]}
    for seed in seeds:
        folder = RUNS / row / str(seed)
        if (folder / "summary.json").exists():
            numbers = json.loads((folder / "summary.json").read_text())
            numbers["commit"] = (folder / "commit").read_text()
            for drop in ("next", "why"):
                numbers.pop(drop, None)
            kept[str(seed)] = numbers
    if kept:
        RAW.mkdir(parents=True, exist_ok=True)
        raw = {"command": f"pretrain {ROWS[row]}", "threads": 1}
        raw["seeds"] = [kept[k] for k in sorted(kept, key=int)]
        place.write_text(json.dumps(raw, indent=1) + "\n")


def write_table() -> None:
    """Put the table of all kept rows between the markers of docs/RESULTS.md."""
    head = ["row", "seeds", "steps", "minutes", "accuracy", "nats of", "forward / backward / still"]
    head += ["furthest m", "cells (random)", "commit"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in ROWS:
        place = RAW / f"{row}.json"
        if place.exists():
            lines.append(_line(row, json.loads(place.read_text())["seeds"]))
    page = ROOT / "docs" / "RESULTS.md"
    text = page.read_text()
    before, rest = text.split(BEGIN)
    page.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1])


def _line(row: str, seeds: list[dict[str, Any]]) -> str:
    """One line: each seed's value in order of the seeds, never only the best."""

    def each(form: str, *path: str) -> str:
        values = []
        for numbers in seeds:
            value: Any = numbers
            for key in path:
                value = value.get(key) if isinstance(value, dict) else None
            values.append("-" if value is None else form.format(value))
        return ", ".join(values)

    ceiling = seeds[0]["skills"]["mi_ceiling_nats"]
    motion, reach = [], []
    for numbers in seeds:
        m = numbers.get("motion")
        motion.append(f"{m['forward']}/{m['backward']}/{m['still']}" if m else "-")
        moved = (numbers.get("displacement") or {}).get("per_skill")
        reach.append(f"{min(moved):+.0f} {max(moved):+.0f}" if moved else "-")
    minutes = median(numbers["wall_s"] for numbers in seeds) / 60
    cells = ", ".join(f"{n['coverage']['cells']} ({n['coverage']['random_cells']})" for n in seeds)
    commits = ", ".join(sorted({numbers["commit"] for numbers in seeds}))
    columns = [row, each("{}", "seed"), f"{seeds[0]['steps']:,}", f"{minutes:.0f}"]
    columns += [each("{:.2f}", "skills", "accuracy")]
    columns += [f"{each('{:.2f}', 'skills', 'mi_nats')} / {ceiling:.2f}"]
    columns += [", ".join(motion), ", ".join(reach), cells, commits]
    return "| " + " | ".join(columns) + " |"


if __name__ == "__main__":
    main()
