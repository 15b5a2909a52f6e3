"""The page of a run's skills, index.html: offline, one file beside its videos."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from logbook import files
from logbook.markup import alarm_box, document, escape, facts, next_command
from pretrain.evaluate import Numbers, confused, horizontal, travelled
from pretrain.markup import tiles
from pretrain.pictures import colour, signed
from pretrain.rollouts import Rollouts


def write_page(
    path: Path,
    taken: Rollouts,
    numbers: Numbers,
    outcome: Mapping[str, str],
    about: Mapping[str, Any],
) -> None:
    """Write index.html at `path`; `outcome` says whether there are videos."""
    films = outcome["videos"] != "off"
    parts = [
        f"<h1>{escape(about.get('title', 'Skills'))}</h1>",
        facts(about),
        alarm_box(numbers["alarms"]),
        tiles(numbers),
        _pictures(taken, outcome, films),
        f"<h2>Every skill</h2>{_cards(taken, numbers) if films else ''}",
        _table(taken, numbers),
        next_command(about),
        f'<p class="soft">Measured on {taken.rew.shape[1]} rollouts of each skill, up to '
        f"{taken.rew.shape[2]} steps, with the policy's most likely action, on starts that were "
        'not trained on. <a href="report.html">Training report</a>, '
        '<a href="summary.json">all numbers</a>.</p>',
    ]
    files.replace(path, document(str(about.get("title", "Skills")), "\n".join(parts)))


def _pictures(taken: Rollouts, outcome: Mapping[str, str], films: bool) -> str:
    chart = (
        '<div><h2>Where they go</h2><div class="box">'
        '<img src="videos/map.png" alt="Map: where each skill goes"></div></div>'
    )
    table = _confusion(taken)
    side_by_side = "two" if table and taken.count <= 20 else "one"
    where = f'<div class="{side_by_side}">{chart}{table}</div>'
    if not films:
        return f'<div class="alarms">No videos: {escape(outcome.get("why", ""))}</div>{where}'
    return (
        '<h2>All skills at once</h2><div class="box"><video src="videos/skills.mp4" controls '
        'autoplay muted loop playsinline poster="videos/contact.png"></video></div>'
        f"{where}<h2>A few moments of each</h2>"
        '<div class="box"><img src="videos/contact.png" alt="Each skill at a few moments"></div>'
    )


def rows(taken: Rollouts, numbers: Numbers) -> tuple[list[str], list[list[str]]]:
    """Headings and, for each skill, what is written under them."""
    axes = horizontal(taken.spec)
    columns: dict[str, list[str]] = {"return": [f"{r:,.1f}" for r in taken.returns().mean(1)]}
    far = travelled(taken)
    if far is not None:
        one_way = len(axes) == 1
        heading = "displacement, m" if one_way else "distance, m"
        columns[heading] = [signed(d) if one_way else f"{d:.1f}" for d in far.mean(1)]
        columns["its spread"] = [f"± {d:.1f}" for d in far.std(1)]
    means = taken.means().mean(1)
    for name in (f"{a}_velocity" for a in axes):
        if name in taken.spec.feat_names:
            i = taken.spec.feat_names.index(name)
            unit = taken.spec.feat_units[i]
            columns[f"{name.replace('_velocity', '')} speed, {unit}"] = [
                signed(v, 2) for v in means[:, i]
            ]
    for name in ("height", "upright", "pitch"):
        if name in taken.spec.feat_names:
            column = means[:, taken.spec.feat_names.index(name)]
            columns[f"mean {name}"] = [f"{v:.2f}" for v in column]
    if not axes:
        for i, name in list(enumerate(taken.spec.feat_names))[:6]:
            columns[f"mean {name}"] = [f"{v:.2f}" for v in means[:, i]]
    if (taken.lengths() < taken.rew.shape[2]).any():
        columns["steps lived"] = [f"{n:,.0f}" for n in taken.lengths().mean(1)]
    columns["effort (act rms)"] = [f"{a:.2f}" for a in taken.act_rms]
    if taken.judged is not None:
        columns["accuracy"] = [f"{a:.0%}" for a in np.diag(taken.judged.confusion)]
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]


def _remarks(taken: Rollouts, k: int) -> str:
    if taken.judged is None:
        return ""
    said = [
        f"mixed up with {j if i == k else i} ({share:.0%})"
        for i, j, share in confused(taken)
        if k in (i, j)
    ]
    likely = int(taken.judged.confusion[k].argmax())
    if likely != k:
        said.append(f"looks more like {likely}")
    return "; ".join(said)


def _table(taken: Rollouts, numbers: Numbers) -> str:
    headings, lines = rows(taken, numbers)
    head = "".join(f"<th>{escape(h)}</th>" for h in ["skill", *headings])
    body = ""
    for k, line in enumerate(lines):
        dot = f'<span class="dot" style="background:{colour(k, taken.count)}"></span>{k}'
        cells = "".join(f"<td>{escape(c)}</td>" for c in line)
        body += (
            f'<tr><td>{dot}</td>{cells}<td class="left soft">{escape(_remarks(taken, k))}</td></tr>'
        )
    return (
        f'<div class="box wide" style="margin-top:14px"><table class="skills"><tr>{head}'
        f'<th class="left">remarks</th></tr>{body}</table></div>'
    )


_ON_HOVER = (
    'preload="none" muted loop playsinline tabindex="0" onmouseenter="this.play()" '
    'onmouseleave="this.pause()" onclick="this.paused?this.play():this.pause()"'
)


def _cards(taken: Rollouts, numbers: Numbers) -> str:
    far = travelled(taken)
    made = ""
    for k in range(taken.count):
        remark = _remarks(taken, k)
        told = [f"return {taken.returns()[k].mean():,.0f}"]
        if far is not None:
            mean = float(far[k].mean())
            metres = signed(mean) if len(horizontal(taken.spec)) == 1 else f"{mean:.1f}"
            told.insert(0, f"{metres} m in {taken.lengths()[k].mean():.0f} steps")
        if taken.judged is not None:
            told.append(f"accuracy {taken.judged.confusion[k, k]:.0%}")
        flag = " flag" if remark else ""
        name = f"skill_{k:02d}"
        dot = f'<span class="dot" style="background:{colour(k, taken.count)}"></span>'
        made += (
            f'<div class="card{flag}"><video src="videos/{name}.mp4" '
            f'poster="videos/{name}.jpg" {_ON_HOVER}></video>'
            f'<div>{dot}<a href="videos/{name}.mp4">skill {k}</a> '
            f"<span class=soft>{escape(' · '.join(told))}</span>"
            f"{f'<br><small>{escape(remark)}</small>' if remark else ''}</div></div>"
        )
    hint = "<p class=soft>Point at one to play it.</p>"
    return f'{hint}<div class="cards">{made}</div>'


def _confusion(taken: Rollouts) -> str:
    if taken.judged is None:
        return ""
    table = taken.judged.confusion
    num = len(table)
    head = "<th></th>" + "".join(f"<th>{k}</th>" for k in range(num))
    width = f"max-width:{30 + 44 * num}px;min-width:{30 + 15 * num}px"
    body = ""
    for k in range(num):
        cells = "".join(_cell(float(v), num) for v in table[k])
        body += f"<tr><th>{k}</th>{cells}</tr>"
    return (
        "<div><h2>Who is taken for whom</h2><p class=soft>Each row is a skill; its cells say, in "
        "percent, as which skill the discriminator sees its states. A clean diagonal is what to "
        "hope for.</p>"
        f'<div class="box wide"><table class="confusion" style="{width}">'
        f"<tr>{head}</tr>{body}</table></div></div>"
    )


def _cell(share: float, num: int) -> str:
    strength = math.sqrt(min(max(share, 0.0), 1.0))
    white, blue = (247, 249, 251), (32, 84, 147)
    mixed = ",".join(str(round(w + (b - w) * strength)) for w, b in zip(white, blue, strict=True))
    ink = "#fff" if strength > 0.55 else "#5d6876"
    text = f"{100 * share:.0f}" if share >= 0.005 and num <= 32 else ""
    return f'<td style="background:rgb({mixed});color:{ink}">{text}</td>'
