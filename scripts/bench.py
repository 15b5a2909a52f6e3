"""Speed in ratios: `scripts/bench.py worlds`. Rates of a shared machine move, ratios hold.

A section is a module `bench_<name>.py` beside this file with `arguments(parser)` and
`run(options) -> dict` whose "rows" [{...}] become the table and whose whole becomes the JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the commands do, before torch is loaded

_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE), str(_HERE.parent)]


def _table(rows: list[dict[str, Any]]) -> str:
    """Rows as aligned columns; numbers from 100 without decimals."""

    def text(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
        return "-" if value is None else str(value)

    heads = list(rows[0])
    cells = [heads] + [[text(row.get(head)) for head in heads] for row in rows]
    widths = [max(len(line[k]) for line in cells) for k in range(len(heads))]
    lines = ["  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run one section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sections = parser.add_subparsers(dest="section", required=True)
    modules = {}
    for path in sorted(_HERE.glob("bench_*.py")):
        name = path.stem.removeprefix("bench_")
        modules[name] = importlib.import_module(path.stem)
        one = sections.add_parser(name, help=(modules[name].__doc__ or "").splitlines()[0])
        one.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
        modules[name].arguments(one)
    options = parser.parse_args()
    result = modules[options.section].run(options)
    result["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    sys.stdout.write(_table(result["rows"]))
    for note in result.get("notes", []):
        sys.stdout.write(note + "\n")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
