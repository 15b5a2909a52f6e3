"""The page of proposed tasks, tasks.html: offline, one file beside its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from logbook import files
from logbook.markup import alarm_box, document, escape, facts, next_command, tile


def write_page(
    path: Path, numbers: Mapping[str, Any], pictures: Sequence[str], about: Mapping[str, Any]
) -> None:
    """Write the page from the numbers of tasks.json; `pictures` are links, one a task or none."""
    parts = [
        f"<h1>{escape(about['title'])}</h1>",
        facts(about),
        alarm_box(numbers["alarms"]),
        _tiles(numbers),
        "<h2>What each task pays, and for whom</h2>",
        f'<p class="soft">{escape(numbers["map"]["told"])} '
        '<b style="color:#12724a">The best episode</b> that was seen under the task is drawn in '
        'green, <b style="color:#a8322a">the worst</b> dashed in red.</p>'
        if pictures
        else "",
        _cards(numbers, pictures),
        "<h2>Every task</h2>",
        _table(numbers),
        _alike(numbers),
        _overlap(numbers),
        next_command(about),
        f'<p class="soft">Measured on {numbers["transitions"]:,} steps of '
        f"{escape(numbers['judged_on'])}. Rewards are centred and scaled as the learner gets them. "
        f'<a href="{escape(about["json"])}">All numbers</a>.</p>',
    ]
    about = {k: v for k, v in about.items() if k != "json"}
    parts[1] = facts(about)
    files.replace(path, document(str(about["title"]), "\n".join(p for p in parts if p)))


def _tiles(numbers: Mapping[str, Any]) -> str:
    count, dropped = numbers["count"], numbers["dropped"]
    diversity, difficulty = numbers["diversity"], numbers["difficulty"]
    gone = (
        f"{len(dropped)} near-duplicates were dropped: {', '.join(map(str, dropped))}."
        if dropped
        else "No near-duplicates were dropped."
    )
    made = [
        tile(str(count), "task" if count == 1 else "tasks", "Proposed", gone),
        tile(
            f"{diversity['effective']:.1f}",
            f"of {count}",
            "Effectively different",
            "Tasks that pay alike count as one. The mean correlation between two is "
            f"{diversity['mean_r']:+.2f}; {diversity['best_policies']} different policies are the "
            "best seen on some task.",
            diversity["effective"] / count,
        ),
        tile(
            f"{difficulty['solved']} of {count}",
            "",
            "Within reach",
            "Tasks on which the best policy seen earns more than random ones by over twice their "
            "spread: there is something to be learned, and it can be.",
            difficulty["solved"] / count,
        ),
    ]
    if difficulty["own_best"] is not None:
        made.append(
            tile(
                f"{difficulty['own_best']} of {count}",
                "",
                "Own skill does best",
                "Tasks on which the skill that proposed it earns the most of all skills.",
                difficulty["own_best"] / count,
            )
        )
    against = numbers["against"]
    if against is not None:
        made.append(
            tile(
                f"{against['mean_best_r']:+.2f}",
                "correlation",
                f"Overlap with {against['family'].replace('_', ' ')}",
                f"Of each of its {len(against['tasks'])} tasks with the proposed one most like it, "
                "in the mean. Its tasks among themselves: "
                f"{against['among_r']:+.2f}.",
                max(against["mean_best_r"], 0.0),
            )
        )
    return f'<div class="tiles">{"".join(made)}</div>'


def _cards(numbers: Mapping[str, Any], pictures: Sequence[str]) -> str:
    made = ""
    shown = pictures or [""] * len(numbers["tasks"])
    for task, picture in zip(numbers["tasks"], shown, strict=True):
        most = task["pays_for"][:2]
        pays = ", ".join(f"{f['feat']} {f['share']:.0%}" for f in most if f["share"] >= 0.1)
        flag = "" if task["within_reach"] else " flag"
        best = f"best {task['best']:+,.0f} ({task['best_policy']})"
        told = f"{best} · random {task['random']:+,.0f} · worst {task['worst']:+,.0f}"
        image = (
            f'<img src="{escape(picture)}" style="width:100%;display:block" '
            f'alt="Task {task["task"]}: what it pays where">'
        )
        made += (
            f'<div class="card{flag}">{image if picture else ""}<div><b>task {task["task"]}</b> '
            f'<span class="soft">{escape(told)}</span>'
            f"{f'<br><small>explained by {escape(pays)}</small>' if pays else ''}</div></div>"
        )
    width = 255 if numbers["map"]["exact"] else 350
    grid = f"grid-template-columns:repeat(auto-fill,minmax({width}px,1fr))"
    return f'<div class="cards" style="{grid}">{made}</div>'


def _table(numbers: Mapping[str, Any]) -> str:
    heads = ["task", "best seen", "by", "own skill", "random", "± ", "worst", "spread over skills"]
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    body = ""
    for task in numbers["tasks"]:
        own = "" if task["own"] is None else f"{task['own']:+,.1f} ({_rank(task['own_rank'])})"
        spread = "" if task["spread"] is None else f"{task['spread']:,.1f}"
        cells = (
            f"{task['best']:+,.1f}",
            task["best_policy"],
            own,
            f"{task['random']:+,.1f}",
            f"{task['random_spread']:,.1f}",
            f"{task['worst']:+,.1f}",
            spread,
        )
        told = "".join(f'<td style="white-space:nowrap">{escape(c)}</td>' for c in cells)
        pays = ", ".join(
            f"{'+' if f['r'] > 0 else '-'} {f['feat']} {f['share']:.0%}"
            for f in task["pays_for"][:3]
            if f["share"] >= 0.05
        )
        alike = task["most_alike"]
        near = "" if alike is None else f"task {alike['task']} ({alike['r']:+.2f})"
        body += (
            f"<tr><td>{task['task']}</td>{told}<td class='left'>{escape(pays)}</td>"
            f'<td style="white-space:nowrap">{escape(near)}</td></tr>'
        )
    return (
        f'<div class="box wide"><table class="skills"><tr>{head}<th class="left">explained by</th>'
        f"<th>most alike</th></tr>{body}</table><p class=soft>Returns of an episode of "
        f"{numbers['steps']} steps under the task's reward. Explained: the share of the reward's "
        "variance that one feat accounts for by itself, with the sign of its slope.</p></div>"
    )


def _rank(place: int) -> str:
    ending = "th" if 10 <= place % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"


def _heat(rows: Sequence[str], columns: Sequence[str], r: Sequence[Sequence[float]]) -> str:
    head = "<th></th>" + "".join(f"<th>{escape(c)}</th>" for c in columns)
    body = ""
    for name, line in zip(rows, r, strict=True):
        cells = "".join(_cell(float(v), len(columns)) for v in line)
        body += f"<tr><th>{escape(name)}</th>{cells}</tr>"
    first = 22 + 7 * max(len(name) for name in rows)
    wide = f"max-width:{first + 52 * len(columns)}px;min-width:{first + 20 * len(columns)}px"
    return (
        f'<table class="confusion" style="{wide}"><colgroup><col style="width:{first}px">'
        f'<col span="{len(columns)}"></colgroup><tr>{head}</tr>{body}</table>'
    )


def _cell(r: float, columns: int) -> str:
    strength = min(abs(r), 1.0) ** 0.7
    white, full = (247, 249, 251), (32, 84, 147) if r > 0 else (168, 50, 42)
    mixed = ",".join(str(round(w + (b - w) * strength)) for w, b in zip(white, full, strict=True))
    ink = "#fff" if strength > 0.55 else "#5d6876"
    text = f"{100 * r:.0f}" if columns <= 24 else ""
    return f'<td style="background:rgb({mixed});color:{ink}">{text}</td>'


def _alike(numbers: Mapping[str, Any]) -> str:
    r = numbers["diversity"]["r"]
    if len(r) < 2:
        return ""
    names = [str(k) for k in range(len(r))]
    return (
        '<h2>Which tasks are alike</h2><p class="soft">Correlation of the rewards of two tasks, in '
        "hundredths. Blue: what serves one serves the other. Red: they oppose each other.</p>"
        f'<div class="box wide">{_heat(names, names, r)}</div>'
    )


def _overlap(numbers: Mapping[str, Any]) -> str:
    against = numbers["against"]
    if against is None:
        return ""
    names = [f"task {k}" for k in range(numbers["count"])]
    columns = [", ".join(f"{round(v, 2) + 0.0:g}" for v in task) for task in against["tasks"]]
    columns = [*columns] if len(columns) <= 24 else [str(i) for i in range(len(columns))]
    means = ", ".join(against["names"])
    return (
        f"<h2>Overlap with {escape(against['family'].replace('_', ' '))}</h2>"
        f'<p class="soft">Correlation of each proposed reward with those of the family, on the '
        f"same steps, in hundredths. A column is a task of it: {escape(means)}.</p>"
        f'<div class="box wide">{_heat(names, columns, against["r"])}</div>'
    )
