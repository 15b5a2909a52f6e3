"""Paths with odd letters, sources that moved, sweeps, final tables, and names that are shown."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import time
from pathlib import Path

from battery.folders import begin, take
from battery.machines import ENDLESS, _send, _when
from battery.runs import FINETUNE, LEARNER, MINIMAL
from battery.saves import newest
from battery.trial import Kind, Member, Try

# What is printed can be pasted

NAMES = (
    "über/run 1",
    "a,b/run",
    "a'b/run",
    "a(b)/run",
    "a=b/c=3/0",
    "jürgen",
    "a[b]",
    "a{b}",
    "a b",
    "~x",
    "a;b",
    "a&b",
    'a"b',
    "a\\b",
    "#a",
    "a%b",
    "日本/走",
    "a:b",
    "@a",
    "null",
    "true",
    "7",
    "1e3",
    "a!b",
    "a*b",
    "a?b",
    ".hidden",
    "$HOME",
    "a|b",
    "a`b",
    "e\u0301",
    "a+b",
    "a<b>",
    "a^b",
    "0x1",
    "[x]",
    "{a:1}",
    "x,",
    "'a'",
    '"a"',
    "a/b/c/d/e/0",
    "-a",
    "a--b",
)
ODDER = ("${x}", "a\nb", "a\tb", " a", "a ", "\x1b[2J", "a\\", "${oc.env:HOME}", "\\'", "a//b",
         "x" * 200, "a\u202eb", "\udcff")  # fmt: skip


def pasted(name: str, command: str) -> Member:
    """A run in a folder of that name, and then the command that it prints as the next."""

    def play(t: Try) -> None:
        odd = name if not name.startswith("-") or command == "pretrain" else f"./{name}"
        if command == "pretrain":
            end = t.start("pretrain", "env=point", *MINIMAL, f"hydra.run.dir={name}")
            folder = t.work / name
            more = ["strategy=scratch", *FINETUNE]
        elif command == "finetune":
            t.take("skills", "source").rename(_made(t.work / name))
            end = t.start("finetune", f"from={name}", "task=goal_3_4", "strategy=scratch",
                          *FINETUNE, "hydra.run.dir=fine")  # fmt: skip
            folder = t.work / "fine"
            more = ["strategy.members=[scratch]", *FINETUNE, "hydra.run.dir=fine2"]
        elif command == "metatrain":
            t.take("skills", "source").rename(_made(t.work / name))
            place = (
                "meta " + name.replace("/", "-").replace("${", "{")[:60]
            )  # Hydra resolves its own
            end = t.start("metatrain", f"from={name}", *LEARNER, "steps=200",
                          f"hydra.run.dir={place}")  # fmt: skip
            folder = t.work / place
            more = ["strategy=adapt", "steps=100", "evaluate.video=false"]
        else:
            t.take("half", "source").rename(_made(t.work / name))
            end = t.start("inspect-skills", odd, "--no-videos", "--steps=5", "--reps=1")
            folder, more = t.work / name, []
        if name in ODDER:
            t.either(end, (2,))
        else:
            t.worked(end)
        if end.code or not more:
            return
        following = json.loads((folder / "summary.json").read_text())["next"]
        if command == "pretrain":
            following = following.partition(" task=")[0] + " task=goal_3_4"
        if command == "metatrain":
            following = re.sub(r"task=\S+", "task=goal_3_4", following)
        t.worked(t.start("sh", f"{following} {shlex.join(more)}"))

    return Member(f"{name!r}, {command}", play)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _draw_pasted(rng: random.Random) -> Member:
    name = rng.choice(ODDER if rng.random() < 0.2 else NAMES)
    if name in ("\udcff", "a\nb", "\x1b[2J"):
        return pasted(name, rng.choice(["finetune", "inspect-skills"]))
    return pasted(name, rng.choice(["pretrain", "finetune", "metatrain", "inspect-skills"]))


# A source that is typed otherwise, or has moved

WAYS = ("slash", "dot", "absolute", "up", "link", "linked parent", "double slash", "moved",
        "other folder", "home", "gone", "copied")  # fmt: skip


def source(way: str, command: str) -> Member:
    """The same source under another name is the same source; one that is gone is told."""

    def play(t: Try) -> None:
        own = "learner" if "metatrain" in command or "learner" in command else "finetuned"
        run = t.take(own)
        before = t.work / "skills"
        typed, cwd, env = "skills", t.work, {}
        if way == "slash":
            typed = "skills/"
        elif way == "dot":
            typed = "./skills"
        elif way == "absolute":
            typed = str(before)
        elif way == "up":
            typed = "../work/skills"
        elif way == "double slash":
            typed = f"{t.work}//skills/"
        elif way == "link":
            (t.work / "link").symlink_to("skills")
            typed = "link"
        elif way == "linked parent":
            (t.place / "tmp" / "w").symlink_to(t.work)
            typed = str(t.place / "tmp" / "w" / "skills")
        elif way == "moved":
            before.rename(t.work / "elsewhere")
            typed = "elsewhere"
        elif way == "copied":
            shutil.copytree(before, t.work / "copy")
            shutil.rmtree(before)
            typed = "copy"
        elif way == "other folder":
            cwd, typed = t.place / "tmp", "../work/skills"
        elif way == "home":
            env, typed = {"HOME": str(t.work)}, "~/skills"
        else:
            shutil.rmtree(before)
        if command == "finetune again":
            words = ["task=goal_3_4", "strategy=policy", "strategy.steps=20", *FINETUNE]
            end = t.start("finetune", f"from={typed}", *words, f"hydra.run.dir={run}", cwd=cwd,
                          env=env)  # fmt: skip
        elif command == "finetune, more steps":
            words = ["task=goal_3_4", "strategy=policy", "strategy.steps=20", *FINETUNE]
            words = [w for w in words if not w.startswith("steps=")] + ["steps=800"]
            end = t.start("finetune", f"from={typed}", *words, f"hydra.run.dir={run}", cwd=cwd,
                          env=env)  # fmt: skip
        elif command == "metatrain again":
            end = t.start("metatrain", f"from={typed}", *LEARNER, f"hydra.run.dir={run}", cwd=cwd,
                          env=env)  # fmt: skip
        elif command == "finetune from learner":
            end = t.start("finetune", f"from={run}", "task=goal_3_4", "strategy=adapt",
                          "steps=100", "evaluate.video=false", cwd=cwd)  # fmt: skip
        else:
            words = {"evaluate learner": ["evaluate", run], "resume": ["resume", run],
                     "resume learner": ["resume", run],
                     "inspect-tasks learner": ["inspect-tasks", run, "--steps=5", "--reps=1"],
                     }[command]  # fmt: skip
            end = t.start(*words, cwd=cwd)
        lost = way in ("moved", "copied") and command == "resume"  # its folder says where it was
        if way == "gone" or lost:
            t.either(end, (2, 5), "skills")
        else:
            t.worked(end)

    return Member(f"source {way}, {command}", play)


SOURCED = ("finetune again", "finetune, more steps", "metatrain again", "finetune from learner",
           "evaluate learner", "resume", "resume learner", "inspect-tasks learner")  # fmt: skip

# Sweeps

SWEPT = ("seed=0,1", "seed=range(3)", "steps=64,128", "skill.num_skills=2,3", "seed=0,0",
         "name=a,b", "name=a,a", "seed=1,01", "agent.lr=1e-3,0.001", "log_every=32,64",
         "checkpoint_every=32,64", "device=cpu,auto", "agent.hidden=[8],[16]", "num_envs=2,4",
         "skill.view=obs,null", "seed=interval(0,2)", "seed=choice(0,2)", "seed=glob(*)",
         "agent.alpha=0.1,auto", "skill=glob(*)", "env=glob(poi*)", "seed=sort(2,1)",
         "seed=range(0,1,0.5)", "seed=tag(a,choice(0,1))", "seed=int(choice(0,1))",
         "skill=diayn,rnd", "episode_steps=16,null", "+seed=0,1", "seed='0,1'")  # fmt: skip


def sweep(words: tuple[str, ...]) -> Member:
    """Jobs of one sweep never share a folder, or the sweep is refused before any begins."""

    def play(t: Try) -> None:
        keys = {w.partition("=")[0].strip("+") for w in words}
        small = [w for w in MINIMAL if w.split("=")[0] not in keys]
        if any(w.startswith("skill=") for w in words):
            small = [w for w in small if not w.startswith("skill.")]
        end = t.start("pretrain", "-m", "env=point", *words, *small)
        found = re.findall(r"^run (\d+) of (\d+) .*: (\S+)$", end.out, re.M)
        folders = [folder for *_, folder in found]
        if end.code:
            t.refused(end, (2,))
            if folders:
                t.wrong(f"refused after {len(folders)} jobs had begun")
            return
        kept = list(t.work.glob("runs/**/summary.json"))
        if len(set(folders)) != len(folders) or len(kept) != len(folders):
            t.wrong(f"{len(folders)} jobs, {len(kept)} runs are left")

    return Member(f"-m {' '.join(words)}", play)


def formulas(values: str) -> Member:
    def play(t: Try) -> None:
        t.take("skills")
        end = t.start("finetune", "-m", "from=skills", "task=custom", f"task.reward={values}",
                      "strategy=scratch", *FINETUNE)  # fmt: skip
        kept = list(t.work.glob("runs/**/summary.json"))
        if end.code:
            t.refused(end, (2,))
        elif len(kept) != 2:
            t.wrong(f"2 jobs, {len(kept)} runs are left")

    return Member(f"-m task.reward={values}", play)


def _draw_sweep(rng: random.Random) -> Member:
    if rng.random() < 0.15:
        return formulas(rng.choice(["'x','y'", "x,y", "-x,-y", "'x','-x'", "'clip(x,0,1)','x'"]))
    return sweep(tuple(rng.sample(SWEPT, rng.choice([1, 1, 2]))))


# Final tables


def table(words: tuple[str, ...]) -> Member:
    """What a person asks of a run stands in its last table."""

    def play(t: Try) -> None:
        if words[0] == "finetune":
            t.take("skills")
            end = t.start("finetune", "from=skills", *words[1:], *FINETUNE)
            t.worked(end, r"return")
            if "goal" in " ".join(words) and "success" not in end.out:
                t.wrong("no success in the table")
        else:
            end = t.start("metatrain", *words[1:])
            t.worked(end, r"return|loss|error")
        if re.search(r"^  \S+ +(\{\}|\[\]|None)$", end.out, re.M):
            t.wrong("an empty row in the table")

    return Member(" ".join(words)[:120], play)


def _draw_table(rng: random.Random) -> Member:
    if rng.random() < 0.75:
        task = rng.choice(["goal_3_4", "goal_3_4_sparse", "native", "waypoints", "custom"])
        strategy = rng.choice(["scratch", "weights", "policy", "hierarchy", "play"])
        if task == "waypoints" and strategy in ("weights", "policy"):
            strategy = "scratch"  # the others have no inputs for what the task shows
        more = {"policy": ["strategy.steps=20"], "hierarchy": ["strategy.skill_steps=5"],
                "play": ["strategy.skill_steps=5"]}  # fmt: skip
        task_words = ["task.reward=-abs(x)"] * (task == "custom")
        return table(("finetune", f"task={task}", f"strategy={strategy}", *task_words,
                      *more.get(strategy, [])))  # fmt: skip
    tasks = rng.choice(["bandit", "bandit_dependent", "two_step", "harlow", "tabular_mdp"])
    return table(("metatrain", "learner=rl2", f"tasks={tasks}", "steps=3000", "learner.hidden=8",
                  "learner.meta_batch=10", "learner.minibatches=2", "evaluate.tasks=2",
                  f"evaluate.baselines={rng.choice(['true', 'false'])}"))  # fmt: skip


# Elsewhere: --out


def elsewhere(command: str, target: str) -> Member:
    """What is looked at lies in another folder, and the run is not written to at all."""

    def play(t: Try) -> None:
        run = t.take("skills" if command == "inspect-skills" else "learner", "theirs")
        t.guard(run)
        goal = {"new": "pages", "nested": "a/b/c", "there": "there", "a file": "file.txt",
                "link": "linked", "outside": str(t.outside / "notes.txt"),
                "file in a link": "there"}[target]  # fmt: skip
        (t.work / "there").mkdir()
        t.write("file.txt", "precious")
        if target == "link":
            (t.work / "linked").symlink_to("there")
        if target == "file in a link":
            for name in ("index.html", "tasks.html", "tasks.json", "videos", "tasks"):
                (t.work / "there" / name).symlink_to(t.outside / "notes.txt")
        flags = ["--no-videos"] if command == "inspect-skills" else []
        end = t.start(command, run, "--steps=5", "--reps=1", *flags, "--out", goal)
        if target in ("a file", "outside", "file in a link"):
            t.refused(end, (2, 3, 5))
        else:
            t.worked(end)
            if not list((t.work / goal).glob("*.html")):
                t.wrong("no page there")

    return Member(f"{command} --out {target}", play)


# Nested settings

NESTED = (
    ("gamma", ("5", "'5'", "-1", "1.5", "nan", "'x'", "null", "[0.9]", "1e400")),
    ("lr", ("-1", "0", "'-1'", "inf", "'nan'", "x")),
    ("tau", ("2", "-0.1", "'7'")),
    ("hidden", ("0", "[0]", "[-3]", "['8']", "x", "[[8]]", "[1.5]")),
    ("batch_size", ("0", "-5", "1.5", "'16.5'", "null")),
    ("updates", ("-1", "'x'", "0.5")),
    ("alpha", ("-1", "'maybe'", "null")),
    ("name", ("nope", "[sac]", "null", "this")),
    ("start_steps", ("-1", "x")),
    ("nope", ("1",)),
    ("replay_size", ("0", "-1", "'x'")),
)


def nested(key: str, value: str, strategy: str) -> Member:
    def play(t: Try) -> None:
        t.take("skills")
        end = t.start("finetune", "from=skills", "task=goal_3_4", f"strategy={strategy}",
                      f"strategy.controller.{key}={value}", *FINETUNE, limit=150)  # fmt: skip
        if (key, value) in (("hidden", "['8']"), ("lr", "0"), ("updates", "0")):
            t.either(end, (2,))
        else:
            t.refused(end, (2,), f"controller|{key}|{value}"[:40].replace("[", "."))

    return Member(f"strategy.controller.{key}={value}, {strategy}", play)


def _draw_nested(rng: random.Random) -> Member:
    key, values = rng.choice(NESTED)
    return nested(key, rng.choice(values), rng.choice(["hierarchy", "play"]))


# Names that are shown

LETTERS = ("a\nb", "\x1b[2J", "\x1b]0;title\x07", "a\rb", "\x08\x08", "\x7f", "\u202e",
           "x" * 200, "a\n\nerror: all is lost", "\udcff", "%s{0}", "\x9b31m")  # fmt: skip
PLACES = ("checkpoint file", "lock", "checkpoint", "FAILED", "stage", "run folder", "config key",
          "yaml", "argument", "manifest name")  # fmt: skip


def shown(letters: str, place: str) -> Member:
    """Names and contents that hold odd letters are shown on one line, without them."""

    def play(t: Try) -> None:
        if place == "argument":
            end = t.start("inspect-skills", letters)
            return t.refused(end, (2, 5))
        if place == "yaml":
            (t.work / "x" / "skill").mkdir(parents=True)
            (t.work / "x" / "skill" / f"{letters}.yaml").write_text("name: nope\n")
            end = t.start("pretrain", "--config-dir", "x", "skill=nope", "env=point")
            return t.refused(end, (2, 5))
        run = take(t, "resume", "theirs")
        if place == "checkpoint file":
            (newest(run) / letters).write_text("x")
        elif place == "lock":
            (run / "lock").write_bytes(os.fsencode(letters))
        elif place == "checkpoint":
            (run / "checkpoints" / f"step-000099999{letters}").mkdir()
        elif place == "FAILED":
            (run / "FAILED").write_bytes(os.fsencode(letters))
        elif place == "stage":
            (run / "run.json").write_text(json.dumps({"stage": letters}))
        elif place == "run folder":
            run.rename(t.work / letters)
            return t.either(t.start("resume", t.work / letters), (2, 5))
        elif place == "config key":
            with (run / "config.yaml").open("a") as file:
                file.write(f"{json.dumps(letters)}: 1\n")
        else:
            path = newest(run) / "manifest.json"
            path.write_text(path.read_text().replace('"agent', json.dumps(letters)[:-1]))
        return t.either(begin(t, "resume"), (2, 5))

    return Member(f"{letters[:30]!r} in {place}", play)


# Readers beside a run that saves


def beside(stage: str, every: int) -> Member:
    """What reads checkpoints while a run saves and prunes them gets a whole one, or one line."""

    def play(t: Try) -> None:
        from logbook import checkpoint
        from logbook.errors import UserError

        def read(pid: int) -> None:
            until, good = time.monotonic() + 4, 0
            while time.monotonic() < until:
                try:
                    found, _ = checkpoint.newest(t.work / "run" / "checkpoints")
                    if found is not None:
                        checkpoint.load(found)
                        good += 1
                except UserError:
                    pass
                except Exception as error:
                    t.wrong(f"a reader met {type(error).__name__}: {error}")
                    break
            if good == 0:
                t.wrong("nothing could be read")
            _send("SIGTERM")(pid)

        words = [w for w in ENDLESS[stage] if "checkpoint_every" not in w]
        t.start(*words, f"checkpoint_every={every}", "hydra.run.dir=run",
                meanwhile=_when(t.work / "run" / "metrics.jsonl", read, 0.1))  # fmt: skip

    return Member(f"readers beside {stage}, saved every {every} steps", play)


BESIDE = ("pretrain", "metatrain", "metatrain, MAML", "pretrain, PPO")
KINDS = [
    Kind("paths: printed commands are pasted",
         [pasted("über/run 1", "pretrain"), pasted("a=b/c=3/0", "pretrain"),
          pasted("a,b/run", "finetune"), pasted("a'b/run", "finetune")], _draw_pasted),
    Kind("paths: sources typed otherwise or moved",
         [source("other folder", "evaluate learner"), source("moved", "finetune again"),
          source("slash", "finetune again"), source("absolute", "finetune again")],
         lambda rng: source(rng.choice(WAYS), rng.choice(SOURCED))),
    Kind("paths: pages elsewhere", [elsewhere("inspect-skills", "new"),
                                    elsewhere("inspect-tasks", "new")],
         lambda rng: elsewhere(rng.choice(["inspect-skills", "inspect-tasks"]), rng.choice(
             ["new", "nested", "there", "a file", "link", "outside", "file in a link"]))),
    Kind("sweeps", [sweep(("steps=64,128",)), formulas("'x','y'"),
                    sweep(("skill.num_skills=2,3",))], _draw_sweep),
    Kind("final tables", [table(("finetune", "task=goal_3_4", "strategy=scratch"))], _draw_table),
    Kind("settings below settings", [nested("gamma", "'5'", "hierarchy")], _draw_nested),
    Kind("names that are shown", [shown("a\nb", "checkpoint file"), shown("\x1b[2J", "lock")],
         lambda rng: shown(rng.choice(LETTERS), rng.choice(PLACES))),
    Kind("readers beside a run that saves", [beside("pretrain", 8)],
         lambda rng: beside(rng.choice(BESIDE), rng.randrange(8, 2000))),
]  # fmt: skip
