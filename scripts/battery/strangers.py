"""Code of a stranger that a run folder or a config folder would have us run."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import yaml

from battery.runs import LEARNER
from battery.trial import Kind, Member, Try


class _Touch:
    """Unpickled, it leaves a trace."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def evil_modules(t: Try) -> None:
    """Modules and packages that leave a trace when imported, where commands are started."""
    for name in ("evil.py", "evil_pack/__init__.py", "hubconf.py"):
        t.write(name, t.evil + "def go(*a, **k): pass\n")


# Saved proposals


def _nodes(value: Any) -> list[dict[str, Any]]:
    """All dicts of a state that name something."""
    found = [value] if isinstance(value, dict) and "name" in value else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return found + [node for part in inner for node in _nodes(part)]


def _spoil(folder: Path, node: dict[str, Any] | None, name: str, which: int) -> None:
    """Save proposals anew, with another env node or one of the names in them changed."""
    from logbook import checkpoint

    [old] = checkpoint.listed(folder)
    state = checkpoint.load(old)
    if node is not None:
        state["env"] = node
    else:
        named = _nodes(state)
        named[which % len(named)]["name"] = name
    target = folder.with_name("new-proposals")
    saved = checkpoint.save(target, state, checkpoint.Manifest(0))
    for path in old.iterdir():
        path.unlink()
    for path in saved.iterdir():
        path.rename(old / path.name)


def proposals(command: str, node: dict[str, Any] | None, name: str = "", which: int = 0) -> Member:
    def play(t: Try) -> None:
        evil_modules(t)
        run = t.take("learner")
        _spoil(run / "proposals", node, name, which)
        if command == "metatrain":
            small = [w for w in LEARNER if w != "tasks=skills"]
            end = t.start(command, f"from={run / 'proposals'}", "tasks=skills", *small)
        elif command == "finetune":
            words = "task=goal_3_4 strategy=adapt steps=300 evaluate.video=false".split()
            end = t.start(command, "from=learner", *words)
        else:
            config = yaml.safe_load((run / "config.yaml").read_text())
            config |= {"from": "learner/proposals"}
            if command == "resume":
                config |= {"steps": 2400}
                (run / "proposals").rename(t.work / "elsewhere")
                config |= {"from": "elsewhere"}
            (run / "config.yaml").write_text(yaml.safe_dump(config))
            end = t.start(command, "learner")
        if name not in ("", "point", "gym") or (node and ":" in str(node.get("id"))):
            t.refused(end, (2, 5))

    what = f"env {node}" if node is not None else f"name {which} is {name}"
    return Member(f"{command}, {what}", play)


def gym(id: str, leave: Any = True, **more: Any) -> dict[str, Any]:
    return {
        "name": "gym",
        "id": id,
        "max_episode_steps": None,
        "allow_import": leave,
        "threads": 0,
        **more,
    }


READERS = ("metatrain", "inspect-tasks", "evaluate", "resume", "finetune")
IDS = ("this:Zen-v0", "evil:Own-v0", "evil_pack:ns/Own-v0", "this: Zen-v0", " this:x", "this:")


def _draw_proposals(rng: random.Random) -> Member:
    command = rng.choice(READERS)
    if rng.random() < 0.25:
        names = ["evil", "this", "os", "evil_pack", "../evil", "evil:go", ".evil", "__main__"]
        return proposals(command, None, rng.choice(names), rng.randrange(4))
    more = rng.choice([{}, {}, {"kwargs": {"x": 1}}, {"_target_": "evil.go"}])
    leave = rng.choice([True, False, "true", 1, None, "evil:Own-v0"])
    return proposals(command, gym(rng.choice(IDS), leave, **more))


# Config folders that say more than a config may

Carrier = tuple[str, str, tuple[str, ...]]
# A file, what it begins with, and the words that choose it. {} is the node.
CARRIERS: dict[str, Carrier] = {
    "preset": ("preset/nice.yaml", "# @package _global_\n", ("preset=nice", "env=point")),
    "env": ("env/nice.yaml", "# @package _global_\n", ("env=nice",)),
    "skill": ("skill/s.yaml", "# @package _global_\n", ("skill=s", "env=point")),
    "agent": ("agent/a.yaml", "# @package _global_\n", ("agent=a", "env=point")),
    "the command's own file": ("pretrain.yaml", "", ("env=point",)),
}  # fmt: skip
HIDDEN = {
    "job logging": "hydra/job_logging/none.yaml",
    "launcher": "hydra/launcher/basic.yaml",
    "sweeper": "hydra/sweeper/basic.yaml",
    "default": "hydra/default.yaml",
    "output": "hydra/output/default.yaml",
    "help": "hydra/help/default.yaml",
}


def payloads(x: Path, outside: Path, canary: Path) -> dict[str, dict[str, Any]]:
    """Nodes below `hydra:` that once ran code, wrote files, or might."""

    def call(target: str, **values: Any) -> dict[str, Any]:
        return {"callbacks": {"x": {"_target_": target, **values}}}

    def logs(factory: dict[str, Any]) -> dict[str, Any]:
        return {"version": 1, "handlers": {"x": factory}, "root": {"handlers": ["x"]}}

    file = str(canary)
    return {
        "hub": call("torch.hub.load", repo_or_dir=str(x), model="go", source="local"),
        "pickle": call("numpy.load", file=str(x / "p.npy"), allow_pickle=True),
        "open": call("builtins.open", file=file, mode="w"),
        "mkdir": call("os.mkdir", path=file),
        "makedirs": call("os.makedirs", name=file),
        "import": call("importlib.import_module", name="evil"),
        "handler": call("logging.FileHandler", filename=file),
        "process": call("subprocess.Popen", args=["touch", file]),
        "copy": call("shutil.copyfile", src="/etc/hostname", dst=file),
        "evil": call("evil.go"),
        "job logging": {"job_logging": logs({"()": "builtins.open", "file": file, "mode": "w"})},
        "log file": {"job_logging": logs({"class": "logging.FileHandler", "filename": file})},
        "hydra logging": {"hydra_logging": logs({"()": "evil.go"})},
        "sweep folder": {"sweep": {"dir": str(outside)}},
        "sweep subfolder": {"sweep": {"subdir": f"../../../../../../..{outside}"}},
        "run folder": {"run": {"dir": str(outside / "run")}},
        "launcher": {"launcher": {"_target_": "evil.go"}},
        "sweeper": {"sweeper": {"_target_": "builtins.open", "file": file, "mode": "w"}},
        "variables": {"job": {"env_set": {"PYTHONPATH": str(x)}}},
        "chdir": {"job": {"chdir": True}},
        "search path": {"searchpath": [f"file://{x}"]},
        "output": {"output_subdir": str(outside)},
        "mode": {"mode": "MULTIRUN"},
    }


PAYLOADS = tuple(payloads(Path(), Path(), Path()))


def config_folder(carrier: str, payload: str, many: bool, form: str = "node") -> Member:
    def play(t: Try) -> None:
        x = t.work / "x"
        evil_modules(t)
        t.write("x/hubconf.py", t.evil + "def go(*a, **k): pass\n")
        t.write("x/p.npy", pickle.dumps(_Touch(t.canary)))
        t.write("x/skill/s.yaml", "name: rnd\nhidden: [8]\nlr: 1e-3\n")
        node = payloads(x, t.outside, t.canary)[payload]
        file, head, words = CARRIERS[carrier]
        own = {"env": "name: point\n", "skill": "name: rnd\n", "agent": "name: sac\n"}
        if form == "package":  # the file's own package is Hydra's
            text = f"# @package hydra\n{yaml.safe_dump(node)}"
        elif form == "dots":
            first, inner = next(iter(node.items()))
            text = f"{head}hydra.{first}: {yaml.safe_dump(inner, default_flow_style=True)}"
        elif form == "defaults":
            inner = next(iter(node.values()))
            t.write("x/bad/b.yaml", yaml.safe_dump(inner))
            text = f"{head}defaults:\n  - /bad@hydra.{next(iter(node))}: b\n  - _self_\n"
        else:
            text = head + own.get(carrier, "") + yaml.safe_dump({"hydra": node})
        t.write(f"x/{file}", text)
        t.guard(x)
        flags = ["-m"] if many else []
        end = t.start("pretrain", "--config-dir", "x", *flags, *words, "device=cuda", "steps=64")
        if carrier == "the command's own file":
            t.refused(end, (2, 4, 5))  # ours is read, this one is not
        else:
            t.refused(end, (2, 5))

    many_words = "-m, " if many else ""
    return Member(f"{many_words}{payload} by {carrier}, as {form}", play)


def hidden_group(name: str, payload: str, many: bool) -> Member:
    def play(t: Try) -> None:
        evil_modules(t)
        node = payloads(t.work / "x", t.outside, t.canary)[payload]
        inner = next(iter(node.values()))
        text = yaml.safe_dump(inner if isinstance(inner, dict) else node)
        if name in ("default", "output"):
            text = "# @package _global_\n" + yaml.safe_dump({"hydra": node})
        t.write(f"x/{HIDDEN[name]}", text)
        flags = ["-m"] if many else []
        end = t.start("pretrain", "--config-dir", "x", *flags, "env=point", "device=cuda")
        t.refused(end, (2, 4, 5))

    return Member(f"{'-m, ' if many else ''}{payload} in {HIDDEN[name]}", play)


def _draw_folder(rng: random.Random) -> Member:
    many = rng.random() < 0.8
    if rng.random() < 0.2:
        return hidden_group(rng.choice(list(HIDDEN)), rng.choice(PAYLOADS), many)
    forms = ["node", "node", "package", "dots", "defaults"]
    carrier = rng.choice(list(CARRIERS))
    return config_folder(carrier, rng.choice(PAYLOADS), many, rng.choice(forms))


KINDS = [
    Kind(
        "saved proposals that name a module",
        [proposals(command, gym("this:Zen-v0")) for command in READERS[:4]],
        _draw_proposals,
    ),
    Kind(
        "config folders that set Hydra's own keys",
        [
            config_folder("preset", "hub", True),
            config_folder("preset", "pickle", True),
            config_folder("preset", "open", True),
            config_folder("env", "mkdir", True),
            config_folder("agent", "job logging", True),
            config_folder("preset", "sweep folder", True),
        ],
        _draw_folder,
    ),
]
