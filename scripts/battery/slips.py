"""Plain mistakes of a person: in a formula, in a yaml, on the command line, in a size."""

from __future__ import annotations

import os
import random

from battery.runs import BANDIT, FINETUNE
from battery.trial import Kind, Member, Try

# Formulas: read by the very functions that a command uses, many in one process


def formula(text: str) -> Member:
    """A formula that a command is given: it works, or is refused in one line before the run."""

    def play(t: Try) -> None:
        t.take("skills")
        words = ["from=skills", "task=custom", f"task.reward={text}", "strategy=scratch"]
        end = t.start("finetune", *words, *FINETUNE, "steps=120", "agent.start_steps=20")
        t.either(end, (2,))
        if end.code != 0 and any(t.work.glob("runs/*/*/*/metrics.jsonl")):
            t.wrong("it was refused after the run had begun")

    return Member(f"formula {text if len(text) < 60 else text[:50] + f'... ({len(text)})'}", play)


ATOMS = ("x", "y", "act", "act[0]", "rew", "before.x", "1", "0", "-1", "1e300", "pi", "inf", "True",
         "False", "act[True]", "act[9]", "act[-1]", "act[0.5]", "before", "x.y", "None", "'x'",
         "1j",
         "(x > 1)", "(not x)", "(x and y)", "(x < y < 3)", "(x == x)", "9" * 400, "1e9999",
         "act[:]", "[x]", "{x}", "x()", "...", "x if y else 1", "(y := 2)", "ⅹ", "x\u200b", "0x10",
         "1_000", "lambda: 1", "b'x'", "f'{x}'", "*act", "act[0][0]", "before.act")  # fmt: skip
UNARY = ("-", "+", "not ", "~", "abs", "sign", "sqrt", "log", "exp", "sum", "mean", "floor", "sin",
         "tanh", "norm", "min", "max", "where", "clip", "tolerance", "tolerance_linear",
         "print", "__import__", "eval", "ABS", "sing")  # fmt: skip
BINARY = ("+", "-", "*", "/", "**", "<", ">", "==", "!=", "<=", " and ", " or ", "//", "%", "@",
          "&", "|", "^", "<<", " in ", " is ", ",", ";", "\n")  # fmt: skip


def _formula(rng: random.Random, depth: int) -> str:
    part = rng.random()
    if depth == 0 or part < 0.25:
        return rng.choice(ATOMS)
    if part < 0.6:
        word = rng.choice(UNARY)
        inner = _formula(rng, depth - 1)
        if word.strip("-+~ ") in ("", "not"):
            return f"{word}({inner})"
        more = [_formula(rng, depth - 1) for _ in range(rng.choice([0, 0, 1, 2, 3]))]
        return f"{word}({', '.join([inner, *more])})"
    sides = _formula(rng, depth - 1), _formula(rng, depth - 1)
    return f"({sides[0]}){rng.choice(BINARY)}({sides[1]})"


def _draw_formula(rng: random.Random) -> Member:
    long = {
        "plus": "+" * rng.randint(40, 590) + "x",
        "minus": "-" * rng.randint(40, 590) + "x",
        "not": "not " * 140 + "x",
        "brackets": "(" * 250 + "x" + ")" * 250,
        "sum": "+".join(["x"] * 290),
        "powers": "**".join(["x"] * 150),
        "nested": "abs(" * 100 + "x" + ")" * 100,
        "compare": "<".join(["x"] * 200),
        "digits": "1." + "0" * rng.randint(200, 580),
    }
    if rng.random() < 0.2:
        return formula(long[rng.choice(list(long))])
    bools = ["(x > 1)", "(y <= 0)", "(not (x > 0))", "(x > 0 and y > 0)", "(x == 1)"]
    if rng.random() < 0.4:  # truth values where numbers are wanted
        a, b = rng.choice(bools), rng.choice(bools)
        form = rng.choice(["-{a}", "{a} - {b}", "sign{a}", "{a} ** {b}", "{a} / {b}", "+{a}",
                           "sqrt{a}", "floor{a}", "norm({a}, {b})", "clip({a}, 0, 1)",
                           "sum({a})", "mean({a})", "tolerance({a}, 0, 1, {b})", "abs(-{a})",
                           "where(x, {a}, {b}) - {b}", "min({a}, {b}) - {a}", "exp(-{a} * {b})",
                           "tolerance_linear(x, {a}, {b}, 1, 0)"])  # fmt: skip
        return formula(form.format(a=a, b=b))
    return formula(_formula(rng, rng.randint(1, 3)))


# A yaml of one's own

DEEP = 1000
SLIPS: dict[str, str] = {
    "tab": "name: rnd\n\thidden: [8]\n",
    "repeated key": "name: rnd\nname: rnd\n",
    "repeated inner key": "name: rnd\nhidden: {a: 1, a: 2}\n",
    "defaults are a number": "defaults: 7\nname: rnd\n",
    "defaults are a word": "defaults: x\nname: rnd\n",
    "defaults hold a number": "defaults: [7]\nname: rnd\n",
    "defaults hold null": "defaults: [null]\nname: rnd\n",
    "includes itself": "defaults:\n  - bad\n  - _self_\nname: rnd\n",
    "includes what is missing": "defaults:\n  - nowhere\nname: rnd\n",
    "includes upwards": "defaults:\n  - ../../../etc/passwd\nname: rnd\n",
    "deep lists": "name: rnd\nhidden: " + "[" * DEEP + "]" * DEEP + "\n",
    "deep, open": "name: rnd\nhidden: " + "[" * DEEP + "\n",
    "deep objects": "name: rnd\nhidden: " + "{a: " * DEEP + "\n",
    "NUL": "name: r\0nd\n",
    "a date": "name: rnd\nlr: !!timestamp 2026-01-01\n",
    "a day": "name: rnd\nlr: 2026-01-01\n",
    "a set": "name: rnd\nhidden: !!set {a, b}\n",
    "bytes": "name: rnd\nlr: !!binary aGVsbG8=\n",
    "a python tag": "name: rnd\nlr: !!python/object/apply:os.getcwd []\n",
    "an unknown tag": "name: rnd\nlr: !x 7\n",
    "an open quote": 'name: "rnd\n',
    "an open bracket": "name: rnd\nhidden: [8, 8\n",
    "two documents": "name: rnd\n---\nname: rnd\n",
    "a list": "- name: rnd\n",
    "a word": "rnd\n",
    "nothing": "",
    "only a comment": "# nothing\n",
    "a colon": "name: rnd\nlr: a: b\n",
    "bad indent": "name: rnd\n  lr: 1e-3\n",
    "key is a number": "name: rnd\n7: 8\n",
    "key is a list": "name: rnd\n? [a, b]\n: 8\n",
    "key is null": "name: rnd\n~: 8\n",
    "key is a bool": "name: rnd\nyes: 8\n",
    "an alias": "name: rnd\nhidden: &a [8]\nlr: *a\n",
    "an unknown alias": "name: rnd\nlr: *a\n",
    "a recursive alias": "name: rnd\nhidden: &a [*a]\n",
    "merge": "a: &a {lr: 1}\nname: rnd\n<<: *a\n",
    "an interpolation": "name: rnd\nlr: ${x.y}\n",
    "an open interpolation": "name: rnd\nlr: ${x\n",
    "itself by reference": "name: rnd\nlr: ${skill.lr}\n",
    "an odd resolver": "name: rnd\nlr: ${nope:1}\n",
    "missing value": "name: rnd\nlr: ???\n",
    "no name": "hidden: [8]\n",
    "another name": "name: nope\n",
    "name is a list": "name: [rnd]\n",
    "a long number": "name: rnd\nlr: " + "9" * 5000 + "\n",
    "a package": "# @package a.b.c\nname: rnd\n",
    "an odd package": "# @package _global_.hydra\nname: rnd\n",
    "a broken package": "# @package\nname: rnd\n",
    "carriage returns": "name: rnd\rlr: 1e-3\r",
    "an escape": 'name: "r\\e[2Jnd"\n',
    "a surrogate": 'name: "\\ud800"\n',
    "very long": "name: rnd\nlr: " + "x" * 400_000 + "\n",
    "_target_": "name: rnd\n_target_: os.getcwd\n",
}
OTHERS = ("fifo", "zero", "folder", "latin", "link to itself", "backslash folder", "bomb", "big")
GROUP_FILES = ("skill", "env", "agent", "preset")


def _write_yaml(t: Try, group: str, slip: str) -> list[str]:
    """Put a slip into a config folder; the words that choose it."""
    path = t.work / "x" / group / "bad.yaml"
    path.parent.mkdir(parents=True)
    if slip == "fifo":
        os.mkfifo(path)
    elif slip == "zero":
        path.symlink_to("/dev/zero")
    elif slip == "folder":
        path.mkdir()
    elif slip == "latin":
        path.write_bytes("name: für\n".encode("latin-1"))
    elif slip == "link to itself":
        path.symlink_to(path.name)
    elif slip == "backslash folder":
        t.write("x/skill/a\\b/c.yaml", "name: rnd\n")
        path.write_text("name: rnd\n")
    elif slip == "big":
        path.write_text("name: rnd\nhidden: [" + "8, " * 400_000 + "8]\n")
    elif slip == "bomb":
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
        path.write_text("name: rnd\n" + "\n".join(lines) + "\n")
    else:
        text = SLIPS[slip]
        if group == "preset" and not text.startswith("#"):
            text = "# @package _global_\n" + text
        path.write_text(text)
    t.write("x/skill/s.yaml", "name: rnd\nhidden: [8]\nlr: 1e-3\n")
    return [f"{group}=bad"] + ["env=point"] * (group != "env")


def yaml_slip(group: str, slip: str, how: str = "run") -> Member:
    def play(t: Try) -> None:
        words = _write_yaml(t, group, slip)
        if how == "help":
            end = t.start("pretrain", "--config-dir", "x", "--help")
            t.either(end, (2, 5))
            return
        flags = {"-m": ["-m"], "cfg": ["--cfg", "job"]}.get(how, [])
        end = t.start("pretrain", "--config-dir", "x", *flags, *words, "steps=64", "device=cuda")
        name = "x|skill|env|agent|preset|bad|device=cuda"
        if end.code:
            t.refused(end, (2, 4, 5), name)
        elif how != "cfg":
            t.wrong("it ran on a device that is not there")

    return Member(f"{slip} in a yaml of {group} ({how})", play)


def _draw_yaml(rng: random.Random) -> Member:
    how = rng.choice(["run", "run", "-m", "cfg", "help"])
    return yaml_slip(rng.choice(GROUP_FILES), rng.choice([*SLIPS, *OTHERS]), how)


# The command line

LINES: dict[str, tuple[str, ...]] = {
    "finetune": ("from=7", "from=0", "from=[skills]", "from={a:b}", "from=null", "from=", "from=''",
                 "from=true", "from=skills/", "from=1e3", "from=skills task=[a]", "task=7",
                 "from=skills strategy=null", "from=skills env=point", "from=skills +env.x=1",
                 "from=skills ~task", "from=skills task.reward=[1,2]", "from=skills task.nope=1",
                 "from=skills agent=sac", "from=skills agent.name=ppo", "from=/dev/null",
                 "from=skills/config.yaml", "from=/proc/self/mem", "from=~", "from=..",
                 "from=skills strategy.controller.gamma=5", "from=skills from=skills"),
    "pretrain": ("+when=overlays", "env@env2=point", "skill@agent=rnd", "env@_global_=point",
                 "@x=1", "hydra=null", "hydra.searchpath=[http://127.0.0.1:9/x]",
                 "hydra.searchpath=[pkg://this]", "hydra.searchpath=[file:///nowhere]",
                 "--shell-completion", "--hydra-help", "--info", "--info=x", "-sc install=bash",
                 "-m seed=glob(*)", "-m seed=range(3)", "-m seed=interval(0,1)", "-m seed=1,,2",
                 "-m steps=choice()", "-m skill=glob(*) env=point", "-m env=glob(dmc_*,exclude=x)",
                 "-m seed=range(0,1,0)", "-m seed=sort(3,1)", "-m seed=shuffle(1,2)",
                 "steps=" + "9" * 5000, "steps=1e400", "steps=nan", "seed=-1", "seed=1.5",
                 "steps=0", "steps=''", "name=a/b", "name=..", "name=''", "name=[a]", "name={a:1}",
                 "skill={name:rnd}", "skill=[rnd]", "skill=", "skill=rnd skill=rnd",
                 "skill.lr=${oc.env:HOME}", "skill.hidden=${steps}", "~skill", "~skill.hidden",
                 "+skill.x=1", "++skill.lr=1", "++x.y=1", "+hydra.callbacks.x._target_=os.getcwd",
                 "hydra.run.dir=", "hydra.run.dir=null", "hydra.run.dir=[a]", "hydra.run.dir=7",
                 "hydra.sweep.dir=null", "hydra.job.chdir=true", "hydra.mode=MULTIRUN",
                 "hydra/launcher=nope", "hydra/sweeper=nope", "hydra/job_logging=nope",
                 "hydra.verbose=true", "hydra.output_subdir=x", "--config-dir nowhere",
                 "--config-dir /dev/null", "--config-dir ''", "--config-path x", "--config-name x",
                 "--package x", "--resolve", "--run", "--version", "-x", "--cfg nope", "-c",
                 "-h -m",
                 "=", "=1", "a=", "a.b.c=1", "steps", "steps=1=2", "'steps = 5'", "steps:5",
                 "-steps=5",
                 "steps=5,6", "steps=[5", "steps='5", "\x1b[2J=1", "é=1", "steps=５",
                 "env=../point",
                 "env=/etc/passwd", "env=point.yaml", "env=Point", "skill=rnd,diayn", "env=gym",
                 "env=HalfCheetah-v5", "env=gym env.id=nope", "env=gym env.id=''", "preset=nope",
                 "env=gym env.id=this:Zen-v0", "env=gym env.id=[a]", "env=gym env.id=a:b:c",
                 "device=cuda:99999", "device=CPU", "device=meta", "num_envs=0", "num_envs=1e9",
                 "evaluate=3", "evaluate.reps=null", "atlas=null", "atlas.videos=maybe",
                 "checkpoint_every=0", "log_every=-5", "episode_steps=0", "+a=1"),
    "metatrain": ("from=7", "tasks=nope", "tasks=skills", "tasks=skills from=7", "learner=null",
                  "learner=maml tasks=bandit", "tasks=bandit from=skills", "horizon=0",
                  "horizon=1e9",
                  "burn_in=-1", "burn_in=999", "tasks.arms=0", "tasks.arms=-1", "tasks.pulls=0",
                  "tasks=skills from=nowhere", "learner.hidden=0", "learner.hidden=[]",
                  "-m tasks=glob(bandit*) steps=1", "steps=1", "evaluate.tasks=0"),
    "evaluate": ("", "nowhere", "bandit tasks=nope", "bandit tasks=", "bandit tasks.arms=0",
                 "bandit --tasks nowhere", "bandit --save /proc/x", "bandit --list -1",
                 "bandit --json /nowhere/x", "bandit seed=x", "bandit learner=maml", "bandit x",
                 "bandit --tasks bandit", "bandit --json bandit", "skills", "bandit +a=1"),
    "resume": ("", "nowhere", "skills skills", "skills/config.yaml", "/dev/null", "''", "-x",
               "skills steps=5", "/", "."),
    "inspect-skills": ("", "nowhere", "skills --steps 0", "skills --reps x", "bandit",
                       "skills --steps 9999999999999", "skills --out skills",
                       "skills --out /dev/null", "skills hydra.run.dir=x", "skills --nope"),
    "inspect-tasks": ("", "nowhere", "skills --against nope", "skills --kind nope", "bandit",
                      "skills --steps -1", "skills --reps 0", "skills --against bandit"),
    "compare": ("", "nowhere", "skills bandit", "skills skills", "/", "skills --nope",
                "skills --metric a.b", "bandit --metric ''"),
    "doctor": ("--nope", "x"),
}  # fmt: skip


def line(command: str, typed: str) -> Member:
    def play(t: Try) -> None:
        import shlex

        for name in ("skills", "bandit"):
            if name in typed:
                t.take(name)
        words = shlex.split(typed)
        harmless = []
        if command == "pretrain" and "env=" not in typed and "-" not in typed[:1]:
            harmless = ["env=point"]
        if command == "pretrain" and "device" not in typed and "=" in typed:
            harmless += ["device=cuda"]  # lest what is allowed should train
        if command == "finetune" and "from=skills" in typed:
            harmless = [w for w in FINETUNE if w.split("=")[0] not in typed]
        if command == "metatrain" and "from=" not in typed:
            harmless = [w for w in BANDIT if w.split("=")[0] not in typed]
        end = t.start(command, *words, *harmless)
        t.either(end)
        for path in t.work.iterdir():
            kept = path.name in ("runs", "skills", "bandit", "multirun.yaml")
            if end.code not in (0, 4) and (not kept or path.name == "runs"):
                empty = not any(p.is_file() for p in path.rglob("*"))
                t.wrong(f"refused, and {path.name} is left behind{' (empty)' * empty}")

    shown = typed if len(typed) < 60 else f"{typed[:40]}... ({len(typed)})"
    return Member(f"{command} {shown}".encode("unicode_escape").decode(), play)


def _draw_line(rng: random.Random) -> Member:
    command = rng.choice(["pretrain", "pretrain", "pretrain", "finetune", *LINES])
    typed = rng.choice(LINES[command])
    if command == "pretrain" and rng.random() < 0.3:
        second = rng.choice([x for x in LINES[command] if not x.startswith("-")])
        typed = f"{typed} {second}"
    return line(command, typed)


KINDS = [
    Kind(
        "formulas",
        [
            formula("-(x > 1)"),
            formula("(x > 0) - (x < 0)"),
            formula("sign(x > 0)"),
            formula("9" * 400),
            formula("+" * 590 + "x"),
            formula("act[True]"),
        ],
        _draw_formula,
    ),
    Kind(
        "yaml slips",
        [
            *(yaml_slip("skill", slip) for slip in ("tab", "repeated key", "includes itself")),
            *(yaml_slip("skill", slip) for slip in ("defaults are a number", "deep lists", "NUL")),
            *(yaml_slip("skill", slip) for slip in ("a date", "backslash folder", "bomb")),
            yaml_slip("skill", "fifo", "help"),
        ],
        _draw_yaml,
    ),
    Kind(
        "command line slips",
        [
            line("finetune", "from=7"),
            *(line("pretrain", typed) for typed in LINES["pretrain"][:7]),
            line("pretrain", "--shell-completion"),
            line("pretrain", "-m seed=glob(*)"),
            line("pretrain", "steps=" + "9" * 5000),
        ],
        _draw_line,
    ),
]
