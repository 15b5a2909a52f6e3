"""Files that give themselves leave to import a module, or read a variable of whoever runs them."""

from __future__ import annotations

import random
from typing import Any

import yaml

from battery.runs import LEARNER
from battery.starts import ROOT
from battery.strangers import IDS, evil_modules, gym
from battery.trial import Kind, Member, Try

SECRET = "xyzzy-29c1"  # the value of a variable that nobody asked us to read


def own_leave(carrier: str, id: str, how: str) -> Member:
    """A file of a config folder that names a module and gives itself leave to import it."""

    def play(t: Try) -> None:
        evil_modules(t)
        node = gym(id, kwargs={})
        if carrier == "env":
            t.write("x/env/nice.yaml", yaml.safe_dump(node))
            words = ["env=nice"]
        elif carrier == "env below":
            t.write("x/env/sub/nice.yaml", "# @package env\n" + yaml.safe_dump(node))
            words = ["env=sub/nice"]
        else:
            said = {"env": {"id": id, "allow_import": True}}
            t.write("x/preset/nice.yaml", "# @package _global_\n" + yaml.safe_dump(said))
            rnd = (ROOT / "configs/skill/rnd.yaml").read_text()
            t.write("x/skill/s.yaml", rnd + yaml.safe_dump({"when": {"env=gym": said}}))
            words = ["env=gym", *(["preset=nice"] if carrier == "preset" else ["skill=s"])]
        if how == "typed":  # the person's word counts
            t.leave = True
            end = t.start("pretrain", "--config-dir", "x", *words, "env.allow_import=true")
            t.either(end)
            if "allow" in end.err:
                t.wrong(f"leave was typed and is asked for: {end.err.strip()[:200]}")
            return
        flags = {"-m": ["-m"], "help": ["--help"], "cfg": ["--cfg", "job"]}.get(how, [])
        small = ["skill=rnd"] * (carrier != "when") + ["steps=64"]
        end = t.start("pretrain", "--config-dir", "x", *flags, *words, *small)
        if how in ("help", "cfg"):
            t.either(end, (2, 5))
        else:
            t.refused(end, (2, 5), "import|allow")

    return Member(f"{id} by {carrier} ({how})", play)


SECRETS = (
    "${oc.env:MY_SECRET}", "${oc.decode:${oc.env:MY_SECRET}}", "a-${oc.env:MY_SECRET}-b",
    "${oc.env:NONE,${oc.env:MY_SECRET}}", "${hydra:runtime.cwd}",
    "${oc.create:{a:${oc.env:MY_SECRET}}}", "${oc.dict.values:env}",
    "${ oc.env : MY_SECRET }",
)  # fmt: skip


def secret(text: str, carrier: str, command: str) -> Member:
    """A value that reads a variable of whoever runs the command."""

    def play(t: Try) -> None:
        body = {
            "preset": ("preset/sec.yaml", f"# @package _global_\nname: {text!r}\n"),
            "skill": ("skill/sec.yaml", f"name: rnd\nhidden: [8]\nlr: {text!r}\n"),
            "env": ("env/sec.yaml", f"name: point\nsize: {text!r}\n"),
            "id": ("env/sec.yaml", yaml.safe_dump(gym(text, False))),
            "key": ("preset/sec.yaml", f"# @package _global_\n? {text!r}\n: 1\n"),
            "choice": ("preset/sec.yaml", f"defaults:\n  - override /env: {text!r}\n"),
        }
        path, data = body[carrier]
        t.write(f"x/{path}", data)
        chosen = {"preset": ["preset=sec", "env=point"], "skill": ["skill=sec", "env=point"],
                  "env": ["env=sec"], "id": ["env=sec"]}  # fmt: skip
        words = chosen.get(carrier, ["preset=sec", "env=point"])
        flags = {"cfg": ["--cfg", "job"], "-m": ["-m", "steps=64"], "run": ["steps=64"]}[command]
        end = t.start("pretrain", "--config-dir", "x", *flags, *words,
                      env={"MY_SECRET": SECRET})  # fmt: skip
        t.refused(end, (2, 5))
        for path in t.work.rglob("*"):
            if path.is_file() and SECRET.encode() in path.read_bytes():
                t.wrong(f"the variable's value lies in {path.name}")
        if SECRET in end.said:
            t.wrong("the variable's value is on the screen")

    return Member(f"{text} in {carrier}, {command}", play)


def foreign_run(command: str, id: str, stage: str, leave: Any) -> Member:
    """A run folder from elsewhere whose saved config names a module."""

    def play(t: Try) -> None:
        evil_modules(t)
        run = t.take({"pretrain": "half", "finetune": "finetuned"}[stage], "theirs")
        config = yaml.safe_load((run / "config.yaml").read_text())
        config |= {"env": gym(id, leave), "steps": 3000}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        words = {
            "finetune": ["from=theirs", "task=native", "steps=300"],
            "metatrain": ["from=theirs", *LEARNER],
        }.get(command, ["theirs"])
        t.refused(t.start(command, *words), (2, 5), "import|allow|finetune|stage")

    return Member(f"{command} of a {stage} run with {id}, allow_import {leave}", play)


def plain_folder(carrier: str) -> Member:
    """A config folder as the README describes it: it must go on working."""

    def play(t: Try) -> None:
        rnd = (ROOT / "configs/skill/rnd.yaml").read_text()
        files = {
            "skill": ("skill/mine.yaml", rnd, "skill=mine"),
            "env": ("env/mine.yaml", "# Mine.\nname: point\nmax_episode_steps: 30\nsize: 4.0\n"
                    "step_size: 0.2\nthreads: 0\n", "env=mine"),
            "preset": ("preset/mine.yaml", "# @package _global_\ndefaults:\n"
                       "  - override /skill: diayn\n  - _self_\nnum_envs: 3\n"
                       "skill:\n  num_skills: 5\n", "preset=mine"),
            "global env": ("env/mine.yaml", "# @package _global_\nenv:\n  name: point\n"
                           "  max_episode_steps: 30\n  size: 4.0\n  step_size: 0.2\n"
                           "  threads: 0\nnum_envs: 3\n", "env=mine"),
        }  # fmt: skip
        path, text, word = files[carrier]
        t.write(f"x/{path}", text)
        rest = [] if word.startswith("env=") else ["env=point"]
        end = t.start("pretrain", "--config-dir", "x", word, *rest, "--cfg", "job")
        if carrier == "global env":
            t.either(end)
        else:
            t.worked(end)

    return Member(f"a plain config folder with a {carrier}", play)


def _draw_leave(rng: random.Random) -> Member:
    part = rng.random()
    id = rng.choice(IDS[:4])
    if part < 0.35:
        carrier = rng.choice(["env", "env below", "preset", "when"])
        return own_leave(carrier, id, rng.choice(["run", "-m", "help", "cfg", "typed"]))
    if part < 0.65:
        carrier = rng.choice(["preset", "skill", "env", "id", "key", "choice"])
        return secret(rng.choice(SECRETS), carrier, rng.choice(["cfg", "-m", "run"]))
    if part < 0.92:
        stage = rng.choice(["pretrain", "finetune"])
        commands = ["resume"] + ["inspect-skills", "inspect-tasks", "finetune", "metatrain"] * (
            stage == "pretrain"
        )
        return foreign_run(rng.choice(commands), id, stage, rng.choice([True, False, "yes"]))
    return plain_folder(rng.choice(["skill", "env", "preset", "global env"]))


KINDS = [
    Kind(
        "files that give themselves leave",
        [
            own_leave("env", "this:Zen-v0", "run"),
            own_leave("preset", "this:Zen-v0", "run"),
            secret("${oc.env:MY_SECRET}", "preset", "cfg"),
        ],
        _draw_leave,
    ),
]
