"""Run the meta-learning results of docs/RESULTS.md again: every row, every seed, from one list.

    .venv/bin/python scripts/meta_results.py                  # all rows
    .venv/bin/python scripts/meta_results.py rl2-bandit_5x10  # one row
    .venv/bin/python scripts/meta_results.py --tests maml-point_goal    # only the row's own test
    .venv/bin/python scripts/meta_results.py --table          # only rewrite table and curves

Each run is the plain command `metatrain ...` with one thread, in `runs/results/<row>/<seed>`; a run
that was stopped goes on, a finished one is not repeated. The raw numbers of every seed go to
docs/results/<row>.json. The table between the markers of docs/RESULTS.md is made from those, and so
is the sheet of curves, docs/results/meta_curves.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent))
from meta_rows import ROWS, Numbers  # noqa: E402
from result_runs import RAW, ROOT, RUNS, SEEDS, commit, evaluate, run  # noqa: E402

sys.path.insert(0, str(ROOT))
from logbook.curve_picture import Panel, draw  # noqa: E402
from logbook.lines import Line  # noqa: E402
from meta.report import line  # noqa: E402

BEGIN, END = "<!-- meta table: begin -->", "<!-- meta table: end -->"
REST = ("#8b95a3", "#b0573f", "#3a9188", "#c98a1b")  # colours of what is known


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--side-by-side", type=int, default=2, help="runs at a time")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--tests", action="store_true", help="train nothing, test what is there")
    flags = parser.parse_args()
    unknown = [row for row in flags.rows if row not in ROWS]
    if unknown:
        parser.error(f"no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    rows = flags.rows or list(ROWS)
    if not flags.table:
        jobs = [(row, seed) for row in rows for seed in flags.seeds]
        with ThreadPoolExecutor(flags.side_by_side) as pool:
            codes = list(pool.map(lambda job: start(*job, flags.tests), jobs))
        for row in rows:
            keep(row, flags.seeds)
        if any(codes):
            sys.exit(max(codes))
    write_table()
    draw_curves(RAW / "meta_curves.png")


def start(row: str, seed: int, only_test: bool) -> int:
    """One run of one row, and its test if it has one of its own; returns its exit code."""
    folder = RUNS / row / str(seed)
    words = [*ROWS[row].command.format(seed=seed).split(), f"seed={seed}"]
    code = 0 if only_test else run("meta", words, folder)
    if code == 0 and ROWS[row].test:
        to = folder / "test.json"
        to.unlink(missing_ok=True)
        (folder / "test.commit").write_text(commit())
        return evaluate(folder, [*ROWS[row].test.split(), "--json", str(to.relative_to(ROOT))])
    return code


def keep(row: str, seeds: list[int]) -> None:
    """Gather the finished seeds of a row into docs/results, beside those kept before."""
    place = RAW / f"{row}.json"
    kept: Numbers = {}
    if place.exists():
        kept = {str(r["seed"]): r for r in json.loads(place.read_text())["seeds"]}
    for seed in seeds:
        folder = RUNS / row / str(seed)
        if (folder / "summary.json").exists():
            numbers = json.loads((folder / "summary.json").read_text())
            numbers["commit"] = (folder / "commit").read_text()
            numbers.pop("next", None)  # a path of this machine
            if ROWS[row].test:
                if not (folder / "test.json").exists():
                    continue  # judged by nothing else
                numbers["test"] = json.loads((folder / "test.json").read_text())
                numbers["test"]["commit"] = (folder / "test.commit").read_text()
            kept[str(seed)] = numbers
    if kept:
        RAW.mkdir(parents=True, exist_ok=True)
        raw: Numbers = {"command": f"metatrain {ROWS[row].command}", "threads": 1}
        if ROWS[row].test:
            raw["test"] = f"evaluate RUN {ROWS[row].test}"
        raw["seeds"] = [kept[k] for k in sorted(kept, key=int)]
        place.write_text(json.dumps(raw, indent=1) + "\n")


def judged(numbers: Numbers) -> Numbers:
    """What a seed is judged by: the row's own test, or the one at the end of training."""
    meta: Numbers = numbers.get("test", numbers)["meta"]
    return meta


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
        ours = ", ".join(row.shown(judged(numbers)) for numbers in seeds)
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
            seeds = [judged(n) for n in json.loads(place.read_text())["seeds"]]
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
