"""The whole way, from no reward to a task with one: pretrain, metatrain, finetune, one report.

    scripts/recipe env=point      # minutes
    scripts/recipe env=cheetah    # an hour

Each stage is the plain command that the report shows, with the skills of the first handed on to the
others; `seed=S` seeds all of them and `out=FOLDER` says where to. What is finished is not repeated.
The report, FOLDER/index.html, puts the numbers, curves and films of the three stages on one page.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from finetune.report import curves  # noqa: E402
from logbook import files, progress  # noqa: E402
from logbook.cli import guard  # noqa: E402
from logbook.errors import UserError  # noqa: E402
from logbook.lines import lines  # noqa: E402
from logbook.markup import document, escape, tile  # noqa: E402
from meta.report import adaptation, tested  # noqa: E402

# What is typed after each command; SKILLS is the folder of the first stage.
RECIPES: dict[str, dict[str, tuple[str, str]]] = {
    "point": {
        "skills": ("pretrain", "skill=diayn env=point steps=40000 agent.hidden=[64,64]"),
        "learner": (
            "metatrain",
            "learner=maml tasks=skills from=SKILLS steps=800000 evaluate.tasks=40",
        ),
        "scratch": (
            "finetune",
            "from=SKILLS task=goal_3_4 strategy=scratch steps=6000 evaluate.every=500 "
            "agent.updates=4",
        ),
        "policy": (
            "finetune",
            "from=SKILLS task=goal_3_4 strategy=policy steps=6000 evaluate.every=500 "
            "agent.updates=4",
        ),
    },
    "cheetah": {
        "skills": ("pretrain", "skill=diayn env=cheetah"),
        "learner": (
            "metatrain",
            "learner=maml tasks=skills from=SKILLS steps=3000000 learner.meta_batch=16 "
            "evaluate.tasks=40",
        ),
        "scratch": ("finetune", "from=SKILLS task=run_backward strategy=scratch steps=50000"),
        "policy": ("finetune", "from=SKILLS task=run_backward strategy=policy steps=50000"),
    },
}


def main() -> None:
    """Cook it."""
    guard(_main)


def _main() -> int:
    if {"-h", "--help"} & set(sys.argv[1:]):
        progress.say((__doc__ or "").strip())
        return 0
    asked = dict(word.partition("=")[::2] for word in sys.argv[1:])
    strange = set(asked) - {"env", "seed", "out"}
    if strange or asked.get("env") not in RECIPES:
        known = " or ".join(f"env={name}" for name in RECIPES)
        what = f"{sorted(strange)[0]}: no such key; " if strange else ""
        raise UserError(f"{what}scripts/recipe takes {known}, seed=S, out=FOLDER")
    env, seed = asked["env"], asked.get("seed", "0")
    out = Path(asked.get("out") or f"runs/recipe-{env}/base/{seed}")
    commands = {}
    for part, (command, words) in RECIPES[env].items():
        typed = words.replace("SKILLS", str(out / "skills")).split()
        commands[part] = [*typed, f"seed={seed}", f"hydra.run.dir={out / part}"]
        progress.say(f"\n{command} {' '.join(commands[part])}")
        module = {"pretrain": "pretrain", "metatrain": "meta", "finetune": "finetune"}[command]
        code = subprocess.run([sys.executable, "-m", module, *commands[part]]).returncode
        if code:
            return code
    numbers = {part: files.read_json(out / part / "summary.json") for part in RECIPES[env]}
    files.replace(out / "index.html", page(env, seed, numbers, commands, RECIPES[env]))
    minutes = sum(n["wall_s"] for n in numbers.values()) / 60
    files.replace(out / "summary.json", json.dumps({"minutes": minutes, **numbers}).encode())
    progress.say(f"\nthe whole way took {minutes:.1f} minutes: look at {out / 'index.html'}")
    return 0


def page(
    env: str,
    seed: str,
    numbers: Mapping[str, Mapping[str, Any]],
    commands: Mapping[str, list[str]],
    recipe: Mapping[str, tuple[str, str]],
) -> bytes:
    """All three stages on one page, which shows their files by relative links."""
    skills, meta = numbers["skills"]["skills"], numbers["learner"]["meta"]
    first, last = meta["returns_by_shot"][0], meta["returns_by_shot"][-1]
    tuned = {part: numbers[part]["finetune"] for part in ("scratch", "policy")}
    ends = {part: n["curve"][-1][1] for part, n in tuned.items()}
    head = [
        tile(
            f"{skills['accuracy']:.0%}",
            f"of {skills['count']} skills",
            "1. Skills, without a reward",
            f"States whose skill is recognised; chance is {skills['chance']:.0%}.",
        ),
        tile(
            f"{first:.3g} to {last:.3g}",
            "",
            "2. Learning to learn, on their tasks",
            f"Return of the first and of the last of {len(meta['returns_by_shot'])} episodes in a "
            f"self-proposed task, over {tested(meta)}.",
        ),
        tile(
            f"{ends['policy']:,.4g}",
            f"scratch {ends['scratch']:,.4g}",
            f"3. A task with a reward: {tuned['policy']['task']}",
            f"Return after {tuned['policy']['curve'][-1][0]:,} env steps, choosing included.",
        ),
    ]
    sheet = "skills/videos/contact.png" if numbers["skills"].get("videos") != "off" else None
    picture = (
        f'<a href="skills/index.html"><img src="{sheet}" alt="The skills"></a>' if sheet else ""
    )
    film = numbers["policy"].get("video")
    video = (
        f'<video src="policy/{escape(film)}" autoplay loop muted controls></video>' if film else ""
    )
    typed = "\n".join(
        f"{recipe[part][0]} {' '.join(words)}   # {numbers[part]['wall_s'] / 60:.1f} min"
        for part, words in commands.items()
    )
    reward = escape(tuned["policy"]["reward"])
    adapting = lines(adaptation(meta, {}), "episode of the task", "return")
    body = f"""<h1>From no reward to a task: {escape(env)}, seed {escape(seed)}</h1>
<div class="tiles">{"".join(head)}</div>
<h2>1. Skills</h2><div class="box"><p><a href="skills/index.html">Every skill</a>,
<a href="skills/report.html">how they were learned</a></p>{picture}</div>
<h2>2. Learning to learn</h2><div class="box"><p><a href="learner/report.html">The whole report</a>.
The tasks are the skills' own; nobody wrote a reward.</p>{adapting}</div>
<h2>3. A task with a reward</h2><div class="box"><p><code>{reward}</code>;
the reports: <a href="scratch/report.html">from scratch</a>, <a href="policy/report.html">from the
best skill</a></p>{curves(tuned)}</div><div class="box">{video}</div>
<h2>Again</h2><pre><code>{escape(typed)}</code></pre>"""
    return document(f"From no reward to a task: {env}", body)


if __name__ == "__main__":
    main()
