"""What the machine does to a run: terminals, encoders, OpenGL, limits, neighbours, signals."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from battery.runs import BANDIT, FINETUNE, MINIMAL, SKILLS
from battery.starts import ROOT
from battery.trial import Kind, Member, Try

# Terminals that close and signals that come

ENDLESS = {
    "pretrain": ["pretrain", *SKILLS, "steps=100000000", "checkpoint_every=90000000"],
    "pretrain, PPO": ["pretrain", *[w for w in SKILLS if "agent." not in w], "agent=ppo",
                      "agent.hidden=[16]", "agent.horizon=16", "steps=100000000",
                      "checkpoint_every=90000000"],
    "metatrain": ["metatrain", "learner=rl2", *BANDIT, "steps=100000000",
                  "checkpoint_every=90000000"],
    "metatrain, MAML": ["metatrain", "learner=maml", "tasks=point_goal", "steps=100000000",
                        "checkpoint_every=90000000", "log_every=1000", "learner.hidden=[8]",
                        "learner.meta_batch=2", "learner.width=2", "tasks.episode_steps=10",
                        "evaluate.baselines=false"],
    "finetune": ["finetune", "from=skills", "task=goal_3_4", "strategy=scratch", *FINETUNE,
                 "steps=100000000", "checkpoint_every=90000000", "evaluate.every=90000000"],
}  # fmt: skip
LONG = {
    "PPO, epochs": ["pretrain", "env=point", "agent=ppo", "agent.epochs=1000000", *MINIMAL[:3],
                    "atlas.videos=false"],
    "RL2, epochs": ["metatrain", "learner=rl2", *BANDIT, "learner.epochs=9000000000000000000"],
    "pulls": ["metatrain", "learner=rl2", *BANDIT, "tasks.pulls=9000000000000000000"],
    "SAC, updates": ["pretrain", "env=point", "agent.updates=100000000", *MINIMAL[:3],
                     "agent.start_steps=8", "atlas.videos=false"],
    "MAML, steps": ["metatrain", "learner=maml", "tasks=point_goal", "learner.inner_steps=1000000",
                    "learner.hidden=[8]", "learner.meta_batch=2", "learner.width=2"],
    "cg steps": ["metatrain", "learner=maml", "tasks=point_goal", "learner.cg_steps=100000000",
                 "learner.hidden=[8]", "learner.meta_batch=2", "learner.width=2"],
    "episode": ["metatrain", "learner=rl2", "tasks=point_goal", "tasks.episode_steps=1000000000"],
}  # fmt: skip


def _when(log: Path, act: Callable[[int], None], after: float) -> Callable[[int], None]:
    """Do something to a process once a file is there, and a little later."""

    def meanwhile(pid: int) -> None:
        until = time.monotonic() + 90
        while not log.exists() and time.monotonic() < until and Path(f"/proc/{pid}").exists():
            time.sleep(0.05)
        time.sleep(after)
        act(pid)

    return meanwhile


def _send(*signals: str) -> Callable[[int], None]:
    def act(pid: int) -> None:
        for name in signals:
            try:
                os.kill(pid, getattr(signal, name))
            except ProcessLookupError:
                return

    return act


def stopped(stage: str, signals: tuple[str, ...], after: float) -> Member:
    """A signal: what was learned is saved within seconds, and can be taken up."""

    def play(t: Try) -> None:
        if "finetune" in stage:
            t.take("skills")
        log = t.work / "run" / "metrics.jsonl"
        end = t.start(*ENDLESS[stage], "hydra.run.dir=run", limit=150,
                      meanwhile=_when(log, _send(*signals), after))  # fmt: skip
        if end.code not in (75, -2) and not end.hung:
            t.wrong(f"code {end.code}, want 75: {end.said[-300:]}")
        _saved(t)

    return Member(f"{' and '.join(signals)} in {stage} after {after:.1f} s", play)


def _saved(t: Try, least: int = 1) -> None:
    """The run says that it was stopped, and has a checkpoint behind its first."""
    status = json.loads((t.work / "run" / "status.json").read_text())
    kept = sorted((t.work / "run" / "checkpoints").glob("step-*"))
    if status.get("state") != "stopped":
        t.wrong(f"its status is {status.get('state')}")
    if not any(int(p.name[5:].partition(".")[0]) >= least for p in kept):
        t.wrong(f"nothing was saved: {[p.name for p in kept]}")


_TERMINAL = """
import os, pty, sys, time, json, pathlib
words, log, after = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]), float(sys.argv[3])
pid, master = pty.fork()
if pid == 0:
    os.execv(words[0], words)
os.set_blocking(master, False)
def drain():
    try:
        while os.read(master, 65536): pass
    except OSError: pass
until = time.time() + 90
while not log.exists() and time.time() < until:
    drain(); time.sleep(0.05)
until = time.time() + after
while time.time() < until:
    drain(); time.sleep(0.02)
os.close(master)
_, status = os.waitpid(pid, 0)
code = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
"""


def terminal(stage: str, after: float) -> Member:
    """The terminal is gone: that is a wish to stop, and nothing can be written to it."""

    def play(t: Try) -> None:
        if "finetune" in stage:
            t.take("skills")
        command, *words = ENDLESS[stage]
        modules = {"pretrain": "pretrain", "metatrain": "meta", "finetune": "finetune"}
        run = [sys.executable, "-m", modules[command], *words, "hydra.run.dir=run"]
        t.write("terminal.py", _TERMINAL)
        log = t.work / "run" / "metrics.jsonl"
        import shlex

        text = shlex.join([sys.executable, "terminal.py", json.dumps(run), str(log), str(after)])
        end = t.start("sh", text, limit=170)
        if end.code != 75 and not end.hung:
            t.wrong(f"code {end.code}, want 75: {end.said[-300:]}")
        _saved(t)

    return Member(f"the terminal of {stage} closes after {after:.1f} s", play)


def long_update(what: str, name: str) -> Member:
    """An update without end: refused before the start, or left within seconds of a signal."""

    def play(t: Try) -> None:
        act = _when(t.work / "run" / "status.json", _send(name), 6.0)
        end = t.start(*LONG[what], "hydra.run.dir=run", limit=100, meanwhile=act,
                      limits={"RLIMIT_DATA": 4 << 30})  # fmt: skip
        if end.code not in (75, -2, 130) and not end.hung:
            t.refused(end, (2, 3, 4))

    return Member(f"{name} in an update without end: {what}", play)


def _draw_stop(rng: random.Random) -> Member:
    after = round(rng.uniform(0.1, 2.0), 1)
    stage = rng.choice(list(ENDLESS))
    if rng.random() < 0.5:
        return terminal(stage, after)
    one = ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"]
    names = rng.choice([(rng.choice(one),), ("SIGHUP", "SIGTERM"), ("SIGTERM", "SIGTERM")])
    return stopped(stage, names, after)


# Encoders and OpenGL

ENCODERS = {
    "missing": None,
    "fails": "#!/bin/sh\nexit 3\n",
    "false": "#!/bin/false\n",
    "says much and fails": "#!/bin/sh\nseq 100000 >&2\nexit 1\n",
    "killed": "#!/bin/sh\nkill -9 $$\n",
    "killed later": "#!/bin/sh\nhead -c 100000 >/dev/null\nkill -9 $$\n",
    "produces nothing": "#!/bin/sh\ncat >/dev/null\nexit 0\n",
    "closes its input": "#!/bin/sh\nexec 0<&-\nsleep 1\nexit 0\n",
    "hangs": "#!/bin/sh\nsleep 100000\n",
    "hangs at the end": "#!/bin/sh\ncat >/dev/null\nsleep 100000\n",
    "ignores signals": "#!/bin/sh\ntrap '' TERM INT HUP PIPE\nsleep 100000\n",
    "not executable": "x",
    "not a program": "\x7fELF nothing",
    "a folder": "folder",
    "writes rubbish": '#!/bin/sh\ncat >/dev/null\nfor a; do last=$a; done\necho x > "$last"\n',
    "full disk": "#!/bin/sh\ncat >/dev/null\necho 'No space left on device' >&2\nexit 228\n",
}  # fmt: skip


def encoder(how: str, command: str) -> Member:
    """A film that cannot be made costs one line, and neither report nor page nor old page."""

    def play(t: Try) -> None:
        path = t.work / "bin" / "ffmpeg"
        path.parent.mkdir()
        text = ENCODERS[how]
        if text == "folder":
            path.mkdir()
        elif text is not None:
            path.write_text(text)
            path.chmod(0o644 if how == "not executable" else 0o755)
        env = {"IMAGEIO_FFMPEG_EXE": str(path), "AUTOTELIC_VIDEO_WAIT": "20"}
        if command == "pretrain":
            words = [w for w in SKILLS if "videos" not in w and "steps=1800" not in w]
            end = t.start("pretrain", *words, "steps=400", "atlas.frames=40",
                          "hydra.run.dir=run", env=env)  # fmt: skip
            pages = [t.work / "run" / n for n in ("summary.json", "report.html", "index.html")]
        elif command == "inspect-skills":
            run = t.take("skills")
            end = t.start("inspect-skills", "skills", "--steps=10", "--reps=1", env=env)
            pages = [run / "index.html", run / "report.html"]
        else:
            t.take("skills")
            small = [w for w in FINETUNE if "video" not in w]
            end = t.start("finetune", "from=skills", "task=goal_3_4", "strategy=scratch", *small,
                          "evaluate.video=true", "hydra.run.dir=run", env=env)  # fmt: skip
            pages = [t.work / "run" / n for n in ("summary.json", "report.html")]
        says = "" if how == "writes rubbish" else "video|film|encoder|ffmpeg"
        t.worked(end, says)  # whoever ends well is believed
        for page in pages:
            if not page.exists():
                t.wrong(f"{page.name} is lost")

    return Member(f"the encoder {how}, {command}", play)


GL = ("osmesa", "egl", "glfw", "glx", "bogus", "disable", "off", "OSMESA", " egl ", "0", "cgl",
      "wgl", "osmesa,egl", "\x1b", "é", "on")  # fmt: skip


def drawing(value: str, words: str, platform: str | None = None) -> Member:
    """A choice of OpenGL that cannot be had: no videos, one line, or a refusal in one line."""

    def play(t: Try) -> None:
        env = {"MUJOCO_GL": value, "PYOPENGL_PLATFORM": platform}
        if words == "inspect-skills":
            t.take("skills")
            end = t.start("inspect-skills", "skills", "--steps=5", "--reps=1", env=env, fresh=True)
        elif words == "doctor":
            end = t.start("doctor", env=env, fresh=True)
            if end.code not in (0, 3, 4):
                t.wrong(f"doctor ends with {end.code}")
            return
        else:
            small = [w for w in MINIMAL if "videos" not in w]
            small += ["atlas.videos=true", "atlas.frames=8"] if "video" in words else [
                "atlas.videos=false"]  # fmt: skip
            env_name = words.split()[0]
            end = t.start("pretrain", f"env={env_name}", *small, env=env, fresh=True)
        t.either(end, (2, 3, 4))

    return Member(f"MUJOCO_GL={value!r}, PYOPENGL_PLATFORM={platform}, {words}", play)


def _draw_drawing(rng: random.Random) -> Member:
    words = ["hopper", "hopper video", "dmc_reacher", "point video", "inspect-skills", "doctor",
             "cheetah", "dmc_walker video"]  # fmt: skip
    platform = rng.choice([None, None, None, "osmesa", "egl", "bogus"])
    return drawing(rng.choice(GL), rng.choice(words), platform)


# Divergence

DIVERGING = {
    "RL2": (["metatrain", "learner=rl2", *BANDIT, "steps=4000"], "learner.lr"),
    "LSTM": (["metatrain", "learner=rl2", "learner.cell=lstm", *BANDIT, "steps=4000"],
             "learner.lr"),
    "MDPs": (["metatrain", "learner=rl2", *[w for w in BANDIT if w != "tasks=bandit"],
              "tasks=tabular_mdp", "steps=4000"], "learner.lr"),
    "MAML": (["metatrain", "learner=maml", "tasks=point_goal", "steps=2000", "learner.width=3",
              "checkpoint_every=300", "log_every=300", "learner.meta_batch=2",
              "learner.hidden=[16]", "tasks.episode_steps=10", "evaluate.tasks=2",
              "evaluate.baselines=false"], "learner.inner_lr"),
    "PPO, discrete": (["pretrain", "env=gym", "env.id=CartPole-v1", "agent=ppo", "skill=rnd",
                       "steps=3000", "num_envs=4", "agent.horizon=16", "agent.hidden=[16]",
                       "checkpoint_every=500", "log_every=500", "atlas.videos=false"], "agent.lr"),
    "SAC, discrete": (["pretrain", "env=gym", "env.id=CartPole-v1", "skill=rnd", "steps=1500",
                       "num_envs=4", "agent.start_steps=50", "agent.batch_size=16",
                       "agent.hidden=[16]", "checkpoint_every=500", "log_every=500",
                       "atlas.videos=false"], "agent.lr"),
    "SAC": (["pretrain", *SKILLS], "agent.lr"),
    "controller": (["finetune", "from=skills", "task=goal_3_4", "strategy=hierarchy",
                    "strategy.controller.start_steps=4", "strategy.controller.batch_size=8",
                    "strategy.skill_steps=5", *FINETUNE], "strategy.controller.lr"),
    "play": (["finetune", "from=skills", "task=goal_3_4", "strategy=play",
              "strategy.controller.start_steps=4", "strategy.controller.batch_size=8",
              "strategy.skill_steps=5", *FINETUNE], "strategy.controller.lr"),
    "scratch": (["finetune", "from=skills", "task=goal_3_4", "strategy=scratch", *FINETUNE],
                "agent.lr"),
}  # fmt: skip


def diverging(what: str, rate: str) -> Member:
    """Too high a rate: rolled back, and given up in one line that says so; nothing is lost."""

    def play(t: Try) -> None:
        words, key = DIVERGING[what]
        if words[0] == "finetune":
            t.take("skills")
        end = t.start(*words, f"{key}={rate}", "hydra.run.dir=run")
        if end.code == 0:
            return
        lines = [x for x in end.err.splitlines() if x.startswith("error:")]
        if len(lines) != 1 or end.code != 2:
            t.wrong(f"code {end.code}, {len(lines)} lines of error: {end.err[-300:]}")
        elif "rate" not in lines[0]:
            t.wrong(f"it does not speak of the rate: {lines[0][:300]}")

    return Member(f"{what} with a rate of {rate}", play)


# Limits of the machine


def limited(command: str, limit: str, value: int) -> Member:
    """Few files, little memory: one line, and what was saved before is there."""

    def play(t: Try) -> None:
        if command == "pretrain":
            words = ["pretrain", "env=point", *MINIMAL, "hydra.run.dir=run"]
        else:
            t.take("skills", "run")
            words = ["inspect-skills", "run", "--no-videos", "--steps=5", "--reps=1"]
            if command == "finetune":
                words = ["finetune", "from=run", "task=goal_3_4", "strategy=scratch", *FINETUNE]
        end = t.start(*words, limits={limit: value}, fresh=True)
        t.either(end, (2, 3, 4))

    return Member(f"{limit} = {value}, {command}", play)


def _draw_limited(rng: random.Random) -> Member:
    limit, values = rng.choice([
        ("RLIMIT_NOFILE", [8, 9, 10, 11, 12, 13, 14, 15, 16, 20]),
        ("RLIMIT_AS", [400 << 20, 600 << 20, 900 << 20, 1500 << 20]),
        ("RLIMIT_FSIZE", [1000, 20_000, 100_000]),
        ("RLIMIT_STACK", [256 << 10, 1 << 20]),
    ])  # fmt: skip
    return limited(rng.choice(["pretrain", "inspect", "finetune"]), limit, rng.choice(values))


# Sizes that cannot fit

SIZES = (
    ("pretrain", "agent.batch_size"), ("pretrain", "agent.replay_size"), ("pretrain", "num_envs"),
    ("pretrain", "agent.hidden"), ("pretrain", "skill.hidden"), ("pretrain", "skill.num_skills"),
    ("pretrain", "agent.updates"), ("pretrain", "evaluate.reps"), ("pretrain", "evaluate.steps"),
    ("pretrain", "episode_steps"), ("pretrain", "env.max_episode_steps"),
    ("pretrain", "atlas.frames"), ("pretrain", "agent.start_steps"),
    ("metatrain", "tasks.arms"), ("metatrain", "tasks.pulls"), ("metatrain", "learner.hidden"),
    ("metatrain", "learner.meta_batch"), ("metatrain", "evaluate.tasks"),
    ("metatrain", "evaluate.horizon"), ("metatrain", "num_envs"), ("metatrain", "horizon"),
    ("metatrain", "learner.value_hidden"), ("metatrain", "learner.minibatches"),
    ("finetune", "strategy.controller.hidden"), ("finetune", "strategy.controller.batch_size"),
    ("finetune", "strategy.controller.replay_size"), ("finetune", "evaluate.episodes"),
    ("finetune", "agent.replay_size"), ("finetune", "num_envs"),
)  # fmt: skip


def size(command: str, key: str, value: str) -> Member:
    """A size beyond any machine: refused in one line before the run, or it does no harm."""

    def play(t: Try) -> None:
        given = f"[{value}]" if key.endswith("hidden") and "learner.hidden" != key else value
        words = {"pretrain": ["pretrain", *SKILLS, "steps=300"],
                 "metatrain": ["metatrain", "learner=rl2", *BANDIT, "steps=500"],
                 "finetune": ["finetune", "from=skills", "task=goal_3_4", "strategy=hierarchy",
                              *FINETUNE]}[command]  # fmt: skip
        if command == "finetune":
            t.take("skills")
        words = [w for w in words if w.split("=")[0] != key]
        end = t.start(*words, f"{key}={given}", "hydra.run.dir=run", limit=120,
                      limits={"RLIMIT_DATA": 6 << 30})  # fmt: skip
        t.either(end, (2, 3, 4), key.rpartition(".")[2])

    return Member(f"{command} {key}={value}", play)


# Neighbours

NEIGHBOUR = ('{"meta": {"learner": "x"}}', '{"meta": null}', '{"meta": []}', '{"meta": {}}', "[]",
             '{"meta": {"learner": 7, "tasks": "bandit", "curve": "x"}}', "null", "7", "{", "",
             '{"meta": {"learner": "scratch", "returns": [null]}}', "[" * 100_000,
             '{"meta": {"learner": "scratch", "returns_total": "x", "returns_total_95": [1]}}',
             '{"meta": {"learner": "\\u001b[2J"}}', '{"stage": 7, "meta": {"learner": {}}}',
             '{"meta": {"learner": "rl2", "adaptation": {"mean": [1e999]}}}')  # fmt: skip


def neighbour(text: str, how: str, file: str = "summary.json") -> Member:
    """What lies in a neighbour's folder cannot keep a run from ending."""

    def play(t: Try) -> None:
        t.take("bandit", "runs/scratch-bandit/base/0")
        t.take("bandit", "runs/rl2-bandit/base/0")
        own = t.work / "runs/rl2-bandit/base/0"
        config = yaml.safe_load((own / "config.yaml").read_text())
        config["steps"] = 2 * config["steps"]
        (own / "config.yaml").write_text(yaml.safe_dump(config))
        path = t.work / "runs/scratch-bandit/base/0" / file
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if how == "fifo":
            os.mkfifo(path)
        elif how == "zero":
            path.symlink_to("/dev/zero")
        elif how == "folder":
            path.mkdir()
        elif how == "merge":
            good = json.loads((t._runs.made("bandit") / file).read_text())
            try:
                good |= json.loads(text)
            except (ValueError, TypeError, RecursionError):
                good = {}
            path.write_text(json.dumps(good))
        else:
            path.write_text(text)
        t.worked(t.start("resume", own))
        if not (own / "report.html").exists():
            t.wrong("it has no report")

    shown = text[:40] if how in ("text", "merge") else ""
    return Member(f"a neighbour's {file} is {how} {shown}", play)


def _draw_neighbour(rng: random.Random) -> Member:
    how = rng.choice(["text", "text", "merge", "fifo", "zero", "folder"])
    file = rng.choice(["summary.json"] * 4 + ["config.yaml", "run.json", "status.json"])
    if file != "summary.json" and how == "merge":
        how = "text"
    return neighbour(rng.choice(NEIGHBOUR), how, file)


# Runs that are taken away


def taken_away(what: str, stage: str) -> Member:
    """Something of a run is deleted while it runs: it is said, and nothing looks finished."""

    def play(t: Try) -> None:
        if stage == "finetune":
            t.take("skills")
        run = t.work / "run"

        def act(pid: int) -> None:
            path = run if what == "the folder" else run / what
            with_folder = path.is_dir()
            shutil.rmtree(path, ignore_errors=True) if with_folder else path.unlink(True)
            if what == "lock":
                _beside(t, pid, run)
            time.sleep(2)
            _send("SIGTERM")(pid)

        end = t.start(*ENDLESS[stage], "log_every=5000", "hydra.run.dir=run",
                      meanwhile=_when(run / "metrics.jsonl", act, 0.5))  # fmt: skip
        if what == "the folder" and end.code == 0:
            t.wrong("code 0, and no word")
        if what != "lock" and not end.err.strip():
            t.wrong("no word of it")

    return Member(f"{what} is deleted in {stage}", play)


def _beside(t: Try, pid: int, run: Path) -> None:
    """Resume the run in a second process: after a while no two may be at it."""
    again = [sys.executable, "-m", "pretrain.resume", str(run)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        again, env=env, cwd=t.work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as second:
        until = time.monotonic() + 60
        while second.poll() is None and _alive(pid) and time.monotonic() < until:
            time.sleep(0.2)
        if second.poll() is None and _alive(pid):
            t.wrong("two processes are at one run")
        second.kill()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _draw_taken(rng: random.Random) -> Member:
    what = rng.choice(["lock", "the folder", "metrics.jsonl", "checkpoints", "config.yaml",
                       "run.json", "status.json", "tb"])  # fmt: skip
    return taken_away(what, rng.choice(list(ENDLESS)))


RATES = ("1e3", "1e8", "1e12", "1e20", "1e30", "1e38")
KINDS = [
    Kind("terminals that close and signals",
         [terminal(stage, 0.5) for stage in ("pretrain", "metatrain", "finetune")], _draw_stop),
    Kind("updates without end", [long_update("PPO, epochs", "SIGTERM"),
                                 long_update("RL2, epochs", "SIGTERM"),
                                 long_update("pulls", "SIGTERM")],
         lambda rng: long_update(rng.choice(list(LONG)), rng.choice(
             ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"]))),
    Kind("encoders that fail", [encoder(how, "pretrain") for how in
                                ("false", "missing", "killed", "fails", "hangs")],
         lambda rng: encoder(rng.choice(list(ENCODERS)), rng.choice(
             ["pretrain", "inspect-skills", "finetune"]))),
    Kind("OpenGL that is not there", [drawing("osmesa", "hopper"),
                                      drawing("bogus", "inspect-skills"),
                                      drawing("osmesa", "doctor")], _draw_drawing),
    Kind("divergence", [diverging("RL2", "1e20"), diverging("PPO, discrete", "1e30"),
                        diverging("controller", "1e3"), diverging("scratch", "1e12")],
         lambda rng: diverging(rng.choice(list(DIVERGING)), rng.choice(RATES))),
    Kind("limits of the machine", [limited("pretrain", "RLIMIT_NOFILE", 10),
                                   limited("pretrain", "RLIMIT_AS", 600 << 20)], _draw_limited),
    Kind("sizes that cannot fit", [size("pretrain", "agent.batch_size", "1000000000"),
                                   size("metatrain", "learner.hidden", "1000000000"),
                                   size("metatrain", "tasks.arms", "1000000000")],
         lambda rng: size(*rng.choice(SIZES), rng.choice(
             ["1000000000", "9000000000000000000", "1000000000000", "1e30"]))),
    Kind("neighbours' files", [neighbour(NEIGHBOUR[0], "text"), neighbour("", "fifo")],
         _draw_neighbour),
    Kind("runs that are taken away", [taken_away("lock", "pretrain"),
                                      taken_away("the folder", "pretrain"),
                                      taken_away("metrics.jsonl", "pretrain")], _draw_taken),
]  # fmt: skip
