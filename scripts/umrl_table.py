"""What scripts/umrl_results.py found, as tables and curves.

Intervals are Student's, of what varies within seeds: they say nothing of other seeds, which is why
the differences of each seed stand beside them; the last table has intervals over seeds. What varies
is the task, and differences are by task. Of a family of a few tasks, each tested several times, it
is the episode, and every task counts as much as the others, however often it was drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from logbook.comparison_picture import COLOURS  # noqa: E402
from logbook.curve_picture import Panel  # noqa: E402
from logbook.lines import Line  # noqa: E402
from logbook.stats import mean_interval  # noqa: E402
from meta.evaluate import repeated  # noqa: E402

Numbers = dict[str, Any]
Interval = tuple[float, float, float]  # mean, low, high
What = Callable[[Any], Any]
"""Picks from returns [steps + 1, tasks] one number a task."""


def groups(runs: list[Numbers], what: What, key: str = "returns") -> list[Any]:
    """What runs earned, a number a task: of each seed apart, and of each of few tasks."""
    found = []
    for run in runs:
        values = what(np.array(run[key]))
        rows = repeated(np.array(run["tasks"])) or [np.arange(len(values))]
        found += [values[some] for some in rows]
    return found


def difference(ours: list[Numbers], theirs: list[Numbers], what: What) -> Interval:
    """(mean, low, high) of how much more our runs earned: by task, or by each of few tasks."""
    mine, other = groups(ours, what), groups(theirs, what)
    if len(mine) > len(ours):  # episodes of few tasks: no two of them belong together
        middle, low, high = mean_interval([*mine, *(-values for values in other)])
        return 2 * middle, 2 * low, 2 * high
    if [run["tasks"] for run in ours] != [run["tasks"] for run in theirs]:
        raise ValueError("methods were tested on unlike tasks: test them all again")
    return mean_interval([x - y for x, y in zip(mine, other, strict=True)])


def table(name: str, found: Numbers, shared: float) -> str:
    """What was found in Markdown; all steps of one column were taken at the rate `shared`."""
    text, wrong = "", found.get("wrong", {})

    def label(method: str) -> str:
        return f"{method} (wrong)" if method in wrong else method

    for family, by_method in found["families"].items():
        first, ours = next(iter(by_method.items()))
        few = len(groups(ours, after(0))) // len(ours)
        steps = len(ours[0]["returns"]) - 1
        shown = [k for k in (0, 1, 2, 3, 10) if k <= steps]
        columns = {f"{k} steps": after(k) for k in shown}
        columns[f"mean of steps 1-{steps}"] = mean_after
        of = f"{few} tasks alike, [95 %] of episodes" if few > 1 else "[95 %] of tasks"
        text += f"\n{name}: {family}, seeds {found['seeds']}; mean return, {of}\n\n"
        text += head(["method", "rates", *columns, f"steps 1-3, all at {shared}"])
        for method, runs in by_method.items():
            cells = [label(method), ", ".join(rate_of(run) for run in runs)]
            cells += [told(mean_interval(groups(runs, what))) for what in columns.values()]
            count = len(runs[0]["returns_at_shared_rate"])
            alike = [groups(runs, after(k), "returns_at_shared_rate") for k in range(1, count)]
            cells.append(" / ".join(f"{mean_interval(each)[0]:.1f}" for each in alike))
            text += row(cells)
        text += f"\n{first} minus the others, by task\n\n"
        text += head(["method", *columns, "the same, by seed"])
        for method, runs in by_method.items():
            if method != first:
                cells = [told(difference(ours, runs, what)) for what in columns.values()]
                pairs = zip(ours, runs, strict=True)
                seeds = [difference([x], [y], mean_after)[0] for x, y in pairs]
                text += row([label(method), *cells, ", ".join(f"{x:+.1f}" for x in seeds)])
    return text + over_seeds(found)


def over_seeds(found: Numbers) -> str:
    """The first method minus the others in the mean of all steps, with intervals over seeds."""
    text, columns = "", list(found["families"])
    first = next(iter(found["families"][columns[0]]))
    text += f"\n{first} minus the others in the mean of all steps, by seed [95 % over seeds]\n\n"
    text += head(["method", *columns])
    methods = dict.fromkeys(m for by_method in found["families"].values() for m in by_method)
    for method in methods:
        cells = []
        for by_method in found["families"].values():
            ours, theirs = by_method[first], by_method.get(method)
            if theirs is None:
                cells.append("-")
                continue
            pairs = zip(ours, theirs, strict=True)
            seeds = np.array([difference([x], [y], mean_after)[0] for x, y in pairs])
            _, low, high = mean_interval([seeds])
            cells.append(", ".join(f"{x:+.1f}" for x in seeds) + f" [{low:.1f}, {high:.1f}]")
        if method != first:
            text += row([method, *cells])
    return text


def after(k: int) -> What:
    """What k steps of adaptation earn."""
    return lambda returns: returns[k]


def mean_after(returns: Any) -> Any:
    """What is earned in the mean of all steps of adaptation."""
    return returns[1:].mean(0)


def head(cells: list[str]) -> str:
    """The head of a table."""
    return row(cells) + "|---" * len(cells) + "|\n"


def row(cells: list[str]) -> str:
    """A row of a table."""
    return "| " + " | ".join(cells) + " |\n"


def rate_of(run: Numbers) -> str:
    """The rate of the first step x what is left of it afterwards."""
    return "{:g} x {:g}".format(*run["rate"]) if run["rate"] else "-"


def told(found: Interval) -> str:
    """A mean with its interval."""
    return "{:.1f} [{:.1f}, {:.1f}]".format(*found)


def curves(name: str, found: Numbers) -> list[Panel]:
    """Return after each step of adaptation, a panel a family."""
    panels = []
    for family, by_method in found["families"].items():
        drawn = []
        for colour, (method, runs) in zip(COLOURS, by_method.items(), strict=False):
            steps = range(len(runs[0]["returns"]))
            points = [mean_interval(groups(runs, after(k))) for k in steps]
            half = [(high - low) / 2 for _, low, high in points]
            drawn.append(Line(method, steps, [p[0] for p in points], half, colour, 1.8))
        panels.append(Panel(f"{name}: {family}", "steps of adaptation", "return", drawn))
    return panels
