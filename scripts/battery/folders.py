"""Run folders whose files are links, special files, or hold what no run writes."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
from pathlib import Path

import yaml

from battery.runs import FINETUNE, LEARNER
from battery.trial import Ended, Kind, Member, Try

# What each command reads: which run it is given, and the words after it.
COMMANDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "resume": ("half", "resume RUN", ()),
    "resume, finished": ("skills", "resume RUN", ()),
    "resume, fine-tuning": ("finetuned", "resume RUN", ()),
    "resume, learner": ("learner", "resume RUN", ()),
    "inspect-skills": ("skills", "inspect-skills RUN", ("--no-videos", "--reps=1", "--steps=5")),
    "inspect-tasks": ("learner", "inspect-tasks RUN", ("--steps=5", "--reps=1")),
    "inspect-tasks, skills": ("skills", "inspect-tasks RUN", ("--steps=5", "--reps=1")),
    "evaluate": ("learner", "evaluate RUN", ()),
    "evaluate, bandit": ("bandit", "evaluate RUN", ()),
    "compare": ("skills", "compare RUN", ()),
    "compare, fine-tuning": ("finetuned", "compare RUN", ()),
    "finetune": ("skills", "finetune from=RUN", ("task=goal_3_4", "strategy=policy",
                                                 "strategy.steps=20", *FINETUNE)),
    "finetune, adapt": ("learner", "finetune from=RUN",
                        ("task=goal_3_4", "strategy=adapt", "steps=300", "evaluate.video=false")),
    "metatrain": ("skills", "metatrain from=RUN", tuple(LEARNER)),
}  # fmt: skip
WRITERS = ("resume", "resume, finished", "resume, fine-tuning", "resume, learner",
           "inspect-skills", "inspect-tasks", "inspect-tasks, skills")  # fmt: skip


def take(t: Try, command: str, to: str = "theirs") -> Path:
    """The run that a command is tried on; one to be resumed wants more steps than it has."""
    run = t.take(COMMANDS[command][0], to)
    if command.startswith("resume") and "finished" not in command:
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["steps"] = 4 * config["steps"]  # one round of a learner is many
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run


def begin(t: Try, command: str, run: str | Path = "theirs", **more: object) -> Ended:
    """Start a command on a run."""
    _, words, rest = COMMANDS[command]
    flags = () if words.split()[0] == "resume" else rest
    typed = [w.replace("RUN", str(run)) for w in words.split()]
    return t.start(*typed, *flags, **more)  # type: ignore[arg-type]


# Links

FILES = ("lock", "metrics.jsonl", "status.json", "run.json", "versions.json", "overrides.txt",
         "config.yaml", "summary.json", "report.html", "FAILED")  # fmt: skip
FOLDERS = ("checkpoints", "tb")
OF_COMMAND = {
    "inspect-skills": ("index.html", "report.html", "videos", "videos/map.png", "summary.json"),
    "inspect-tasks": ("tasks", "tasks.html", "tasks.json", "proposals", "tasks/task_0.png"),
    "inspect-tasks, skills": ("tasks", "tasks.html", "tasks.json"),
    "resume": ("videos", "index.html", "videos/map.png"),
    "resume, learner": ("proposals", "held_out", "adaptation.png", "held_out/family.json"),
    "evaluate": ("proposals", "held_out"),
}


def _put_link(t: Try, run: Path, name: str, target: str) -> None:
    """Replace a file or folder of a run by a link to something outside."""
    path = run / name
    if "*" in name:  # the newest of several
        path = sorted(run.glob(name))[-1]
    folder = path.is_dir()
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif folder:
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    goal = t.outside / ("folder" if folder else "notes.txt")
    if target == "other kind":
        goal = t.outside / ("notes.txt" if folder else "folder")
    if target == "new":
        goal = t.outside / "new.txt"
    if target == "chain":
        (run / "hop").symlink_to(goal)
        goal = run / "hop"
    if target == "hard" and not folder:
        os.link(goal, path)
    elif target == "relative":
        path.symlink_to(os.path.relpath(goal, path.parent))
    elif target == "itself":
        path.symlink_to(path.name)
    else:
        path.symlink_to(goal)


def link(name: str, target: str, command: str) -> Member:
    def play(t: Try) -> None:
        run = take(t, command)
        _put_link(t, run, name, target)
        t.either(begin(t, command), (5,))

    return Member(f"{name} is a link ({target}), {command}", play)


def around(where: str, command: str) -> Member:
    """A run folder that is itself a link, or lies under one: that is how scratch disks are used."""

    def play(t: Try) -> None:
        run = take(t, command, "disk/theirs")
        (t.work / "disk").rename(t.place / "tmp" / "disk")
        if where == "itself":
            (t.work / "theirs").symlink_to(t.place / "tmp" / "disk" / run.name)
            given = "theirs"
        elif where == "relative":
            (t.work / "theirs").symlink_to("../tmp/disk/theirs")
            given = "theirs"
        else:
            (t.work / "runs").symlink_to(t.place / "tmp" / "disk")
            given = "runs/theirs"
        t.worked(begin(t, command, given))

    return Member(f"the run folder lies behind a link ({where}), {command}", play)


def _draw_link(rng: random.Random) -> Member:
    if rng.random() < 0.12:
        where = rng.choice(["itself", "relative", "under"])
        return around(where, rng.choice(["resume", "inspect-skills", "finetune", "evaluate"]))
    command = rng.choice([*WRITERS, *WRITERS, *COMMANDS])
    inner = ["checkpoints/step-*", "checkpoints/step-*/manifest.json",
             "checkpoints/step-*/state.json", "tb/events*", "checkpoints/.tmp-old"]  # fmt: skip
    names = [*FILES, *FOLDERS, *OF_COMMAND.get(command, ()) * 2, *inner]
    kinds = ["plain", "plain", "relative", "chain", "new", "hard", "other kind", "itself"]
    name = rng.choice(names)
    if name == "checkpoints/.tmp-old":
        return link("checkpoints/.tmp-old", "plain", command)
    return link(name, rng.choice(kinds), command)


# Special files

SPECIAL = ("fifo", "zero", "random", "socket", "device", "folder", "sparse", "tty", "mem")


def _put_special(path: Path, kind: str) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    links = {"zero": "/dev/zero", "random": "/dev/urandom", "tty": "/dev/tty",
             "mem": "/proc/self/mem"}  # fmt: skip
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, 0o666 | stat.S_IFSOCK)
    elif kind == "device" and os.geteuid() == 0:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # another /dev/zero
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(6 << 30)
    else:
        path.symlink_to(links.get(kind, "/dev/zero"))


def special(name: str, kind: str, command: str) -> Member:
    def play(t: Try) -> None:
        run = take(t, command)
        path = sorted(run.glob(name))[-1] if "*" in name else run / name
        _put_special(path, kind)
        end = begin(t, command)
        t.either(end, (2, 3, 5) if kind == "folder" else (5,))
        if end.seconds > 90 and not end.hung:
            t.wrong(f"it took {end.seconds:.0f} s")

    return Member(f"{name} is special ({kind}), {command}", play)


def _draw_special(rng: random.Random) -> Member:
    command = rng.choice(list(COMMANDS))
    inner = ["checkpoints/step-*/manifest.json", "checkpoints/step-*/state.json",
             "checkpoints/step-*/*.safetensors", "checkpoints", "tb", "videos"]  # fmt: skip
    names = [*FILES, *OF_COMMAND.get(command, ()), *inner]
    return special(rng.choice(names), rng.choice([*SPECIAL, "fifo", "zero"]), command)


# Small files that hold something else

DEEP = "[" * 100_000
ODD: dict[str, bytes] = {
    "deep": DEEP.encode(),
    "deep objects": b'{"a":' * 50_000,
    "a word": b'"x"',
    "null": b"null",
    "a list": b"[1, 2]",
    "a number": b"7",
    "nothing": b"",
    "not text": b"\xff\xfe\x00\x80",
    "NUL": b'{"stage": "pre\x00train"}',
    "a mark": b'\xef\xbb\xbf{"stage": "pretrain"}',
    "a long number": b'{"step": ' + b"9" * 5000 + b"}",
    "cut": b'{"stage": "pret',
    "twice": b'{"stage": "finetune", "stage": "pretrain"}',
    "lone surrogate": b'{"stage": "\\ud800"}',
    "escapes": b'{"stage": "\\u001b[2J\\u0007", "state": "\\u001b[31m"}',
}
FIELDS = {
    "status.json": ("state", "step", "steps", "time"),
    "run.json": ("schema", "stage", "identity"),
    "versions.json": ("sessions",),
    "summary.json": ("stage", "steps", "exact", "skills", "coverage", "next", "env", "seed",
                     "native_return", "finetune", "meta", "wall_s", "motion"),
    "held_out/family.json": ("name", "episodes"),
}  # fmt: skip
VALUES = ("null", "-1", "1e999", "NaN", "[]", "{}", '"x"', "true", "9" * 400, '["a"]',
          '{"a": {"b": null}}', "1e308", '[{"versions": 3}]', '"\\u001b[2J"')  # fmt: skip


def small_file(name: str, content: str, command: str, field: str = "", value: str = "") -> Member:
    def play(t: Try) -> None:
        run = take(t, command)
        path = run / name
        path.parent.mkdir(exist_ok=True)
        if field:
            found = json.loads(path.read_text()) if path.exists() else {}
            text = json.dumps(found | {field: "@"}).replace('"@"', value)
            path.write_text(text)
        else:
            path.write_bytes(ODD[content])
        t.either(begin(t, command), (2, 5))

    what = f"{field} = {value[:20]}" if field else content
    return Member(f"{name} holds {what}, {command}", play)


def _draw_small(rng: random.Random) -> Member:
    command = rng.choice(list(COMMANDS))
    if rng.random() < 0.5:
        name = rng.choice(list(FIELDS))
        return small_file(name, "", command, rng.choice(FIELDS[name]), rng.choice(VALUES))
    names = [*FIELDS, "overrides.txt", "metrics.jsonl", "config.yaml", "lock"]
    return small_file(rng.choice(names), rng.choice(list(ODD)), command)


def saved_config(key: str, value: object, command: str) -> Member:
    """A saved config with one value that no run would have."""

    def play(t: Try) -> None:
        run = take(t, command)
        config = yaml.safe_load((run / "config.yaml").read_text())
        *parents, last = key.split(".")
        node = config
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        t.either(begin(t, command), (2, 5))

    return Member(f"config.yaml says {key}: {str(value)[:30]}, {command}", play)


def _draw_config(rng: random.Random) -> Member:
    keys = ["from", "steps", "seed", "env", "env.name", "skill", "agent.hidden", "task.reward",
            "task", "strategy", "tasks", "learner.hidden", "num_envs", "name", "device",
            "evaluate", "env.max_episode_steps", "tasks.name", "learner.name"]  # fmt: skip
    values = [None, 0, -1, 7, "", "x", [], {}, [None], 1e308, True, "..", "/", "theirs",
              "/dev/zero", {"name": None}, {"name": ["x"]}, 2**62, "a\nb", "\x1b[2J"]  # fmt: skip
    return saved_config(rng.choice(keys), rng.choice(values), rng.choice(list(COMMANDS)))


KINDS = [
    Kind(
        "links in a run folder",
        [
            link("lock", "plain", "resume, finished"),
            link("metrics.jsonl", "plain", "resume"),
            link("checkpoints", "plain", "resume"),
            link("tb", "plain", "resume"),
            link("videos", "plain", "resume"),
        ],
        _draw_link,
    ),
    Kind(
        "special files in a run folder",
        [
            special("status.json", "fifo", "resume"),
            special("run.json", "fifo", "finetune"),
            special("versions.json", "fifo", "resume"),
            special("status.json", "zero", "resume"),
            special("run.json", "fifo", "compare"),
        ],
        _draw_special,
    ),
    Kind(
        "small files of a run",
        [
            small_file("run.json", "deep", "resume"),
            small_file("status.json", "", "resume", "step", "1e999"),
            small_file("overrides.txt", "not text", "resume"),
            special("metrics.jsonl", "zero", "resume"),
        ],
        _draw_small,
    ),
    Kind(
        "saved configs with odd values",
        [saved_config("from", None, "resume, fine-tuning")],
        _draw_config,
    ),
]
