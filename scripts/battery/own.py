"""Environments of one's own: written with mistakes, whims and needs, and taken through a stage."""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from battery.runs import FINETUNE, MINIMAL
from battery.trial import Ended, Kind, Member, Try

PARTS: dict[str, str] = {
    "top": "",
    "class": "metadata = {'render_modes': ['rgb_array'], 'render_fps': 10}",
    "obs_space": "spaces.Box(-9, 9, (3,), np.float32)",
    "act_space": "spaces.Box(-1, 1, (2,), np.float32)",
    "init": "def __init__(self, render_mode=None): self.render_mode = render_mode",
    "reset_head": "def reset(self, *, seed=None, options=None):\n        super().reset(seed=seed)",
    "start": "self.np_random.uniform(-1, 1, 3)",
    "reset": "return self.s.astype(np.float32), {}",
    "move": "self.s = np.clip(self.s + 0.1 * np.resize(np.asarray(act, float), 3), -9, 9)",
    "step": "return self.s.astype(np.float32), float(-abs(self.s).sum()), False, False, {}",
    "render": "def render(self): return np.zeros((32, 32, 3), np.uint8)",
    "register": "gymnasium.register('Own-v0', entry_point=Own, max_episode_steps=20)",
}


def source(change: Mapping[str, str]) -> str:
    """The module `own` with an environment in which some parts are other than they should be."""
    p = PARTS | dict(change)
    return f"""import gymnasium, numpy as np, os, sys, time, threading
from gymnasium import spaces
{p["top"]}
class Own(gymnasium.Env):
    {p["class"]}
    observation_space = {p["obs_space"]}
    action_space = {p["act_space"]}
    {p["init"]}
    {p["reset_head"]}
        self.t = 0
        self.s = {p["start"]}
        {p["reset"]}
    def step(self, act):
        self.t += 1
        {p["move"]}
        {p["step"]}
    {p["render"]}
{p["register"]}
"""


WORDS = ("env=gym", "env.id=own:Own-v0", "env.allow_import=true", "hydra.run.dir=run")


def pretrain(t: Try, change: Mapping[str, str], *more: str, small: tuple[str, ...] | None = None,
             **how: Any) -> Ended:  # fmt: skip
    """Write the environment and pretrain in it, in little time."""
    t.leave = True
    t.write("own.py", source(change))
    taken = {w.split("=")[0] for w in more}
    words = [w for w in (small or MINIMAL) if w.split("=")[0] not in taken]
    if any(w in ("skill=rnd", "skill=metra", "agent=ppo") for w in more):
        words = [w for w in words if not w.startswith(("agent.", "skill."))]
    return t.start("pretrain", *WORDS, *words, *more, **how)


def told(t: Try, end: Ended, says: str) -> None:
    """Refused in a line about the environment, or it worked and a word of it was said."""
    if end.code == 0:
        if not re.search(says, end.said, re.I):
            t.wrong(f"it worked, and no word matches {says!r}")
    else:
        t.refused(end, (2, 3, 4), "own:Own-v0|env=gym|env\\.")


def _change(**parts: str) -> dict[str, str]:
    return parts


# Shapes

OBS = ("np.zeros(1, np.float32)", "np.zeros(4, np.float32)", "np.float32(0)", "0.0", "None",
       "np.zeros((3, 1), np.float32)", "np.zeros((1, 3), np.float32)", "[0.0, 0.0]", "'abc'",
       "np.zeros(0, np.float32)", "{'a': np.zeros(3)}", "(np.zeros(3), np.zeros(3))",
       "np.array(['a', 'b', 'c'])", "np.zeros(3, complex)", "np.zeros(3, object)", "object()",
       "np.zeros((3, 3), np.float32)", "[[0.0], [0.0, 1.0]]", "b'abc'", "True",
       "np.ma.masked_array([0.0, 1, 2])[:2]")  # fmt: skip
SPACES = {
    "spaces.Box(-9, 9, (2, 3), np.float32)": ("np.zeros((3, 2), np.float32)",
                                              "np.zeros(6, np.float32)"),
    "spaces.Dict(a=spaces.Box(-9, 9, (2,)), b=spaces.Discrete(3))": (
        "{'a': np.zeros(3), 'b': 0}", "{'a': np.zeros(2)}", "{'a': np.zeros(2), 'b': 7}",
        "np.zeros(5)"),
    "spaces.Discrete(4)": ("9", "-1", "'a'", "1.5", "np.zeros(4)"),
    "spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (1,))))": ("(5, [0.0])", "(0,)", "0"),
    "spaces.MultiDiscrete([2, 3])": ("np.array([2, 3])", "np.array([0])", "np.array([-1, 0])"),
    "spaces.MultiBinary(3)": ("np.array([0, 1])", "np.array([[0, 1, 1]])"),
}  # fmt: skip
GOOD = {
    "spaces.Box(-9, 9, (2, 3), np.float32)": "np.zeros((2, 3), np.float32)",
    "spaces.Dict(a=spaces.Box(-9, 9, (2,)), b=spaces.Discrete(3))":
        "{'a': np.zeros(2, np.float32), 'b': 0}",
    "spaces.Discrete(4)": "1",
    "spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (1,))))":
        "(0, np.zeros(1, np.float32))",
    "spaces.MultiDiscrete([2, 3])": "np.array([0, 1])",
    "spaces.MultiBinary(3)": "np.array([0, 1, 1], np.int8)",
}  # fmt: skip


def shape(obs: str, where: str, space: str = "") -> Member:
    """An observation that is none of the space: refused, with what is wrong."""

    def play(t: Try) -> None:
        change = {"obs_space": space} if space else {}
        good = GOOD.get(space, "self.s.astype(np.float32)")
        late = "self.t == 3" if where == "step 3" else "True"
        first = obs if where == "reset" else good
        change["reset"] = f"return {first}, {{}}"
        if where != "reset":
            change["step"] = f"return ({obs} if {late} else {good}), 0.0, False, False, {{}}"
        else:
            change["step"] = f"return {good}, 0.0, False, False, {{}}"
        end = pretrain(t, change)
        t.refused(end, (2,), "own:Own-v0|env=gym")

    return Member(f"obs {obs} at {where}{' of ' + space if space else ''}", play)


def _draw_shape(rng: random.Random) -> Member:
    where = rng.choice(["reset", "step", "step 3"])
    if rng.random() < 0.4:
        space = rng.choice(list(SPACES))
        return shape(rng.choice(SPACES[space]), where, space)
    return shape(rng.choice(OBS), where)


# Numbers that are none

BAD = ("np.nan", "np.inf", "-np.inf", "1e39", "1e300")


def number(value: str, where: str, every: int) -> Member:
    """NaN or infinity, in an observation, a reward or a measurement: said, at least."""

    def play(t: Try) -> None:
        odd = f"np.array([0.0, {value}, 0.0])"
        good = "self.s.astype(np.float32)"
        change = {}
        if where == "reset":
            change["reset"] = f"return {odd}, {{}}"
        elif where == "obs":
            cond = f"self.t % {every} == 0"
            change["step"] = f"return ({odd} if {cond} else {good}), 0.0, False, False, {{}}"
        elif where == "reward":
            value_now = f"({value} if self.t % {every} == 0 else 0.0)"
            change["step"] = f"return {good}, {value_now}, False, False, {{}}"
        else:
            info = (
                f"{{'x_position': ({value} if self.t % {every} == 0 else 0.0), 'y_position': 0.}}"
            )
            change["reset"] = f"return {good}, {{'x_position': 0.0, 'y_position': 0.0}}"
            change["step"] = f"return {good}, 0.0, False, False, {info}"
        end = pretrain(t, change, "steps=256", "num_envs=4")
        told(t, end, "nan|finite|inf|unstable|large|learn")
        if end.code == 2 and "learning rate" in end.err:
            t.wrong("it blames the learning rate")

    return Member(f"{value} in {where}, every {every} steps", play)


# Pictures

RENDERS = {
    "no render_mode": {"init": "", "class": "", "render": ""},
    "None": {"render": "def render(self): return None"},
    "attribute": {"render": "def render(self): return self.nothing"},
    "runtime": {"render": "def render(self): raise RuntimeError('no\\nscreen')"},
    "value": {"render": "def render(self): raise ValueError"},
    "os": {"render": "def render(self): raise OSError(5, 'I/O')"},
    "key": {"render": "def render(self): return {}['frame']"},
    "memory": {"render": "def render(self): raise MemoryError"},
    "exit": {"render": "def render(self): sys.exit(0)"},
    "interrupt": {"render": "def render(self): raise BaseException('x')"},
    "assertion": {"render": "def render(self): assert False"},
    "stop": {"render": "def render(self): return next(iter([]))"},
    "recursion": {"render": "def render(self): return self.render()"},
    "import": {"render": "def render(self):\n        import nothing_there"},
    "flat": {"render": "def render(self): return np.zeros((32, 32), np.uint8)"},
    "four channels": {"render": "def render(self): return np.zeros((32, 32, 4), np.uint8)"},
    "channels first": {"render": "def render(self): return np.zeros((3, 32, 32), np.uint8)"},
    "floats": {"render": "def render(self): return np.full((32, 32, 3), 0.5)"},
    "nan": {"render": "def render(self): return np.full((32, 32, 3), np.nan)"},
    "empty": {"render": "def render(self): return np.zeros((0, 0, 3), np.uint8)"},
    "one pixel": {"render": "def render(self): return np.zeros((1, 1, 3), np.uint8)"},
    "wide": {"render": "def render(self): return np.zeros((1, 5000, 3), np.uint8)"},
    "a list": {"render": "def render(self): return [np.zeros((8, 8, 3), np.uint8)]"},
    "words": {"render": "def render(self): return 'frame'"},
    "changing": {"render": "def render(self): return np.zeros((8 + self.t, 8, 3), np.uint8)"},
    "failing later": {"render": "def render(self):\n        if self.t > 2: raise KeyError(1)\n"
                      "        return np.zeros((8, 8, 3), np.uint8)"},
    "refused mode": {"init": "def __init__(self, render_mode=None):\n"
                     "        if render_mode: raise ValueError('no screen here')\n"
                     "        self.render_mode = render_mode"},
    "only human": {"class": "metadata = {'render_modes': ['human']}"},
    "odd metadata": {"class": "metadata = None"},
    "odd rate": {"class": "metadata = {'render_modes': ['rgb_array'], 'render_fps': 'x'}"},
    "needs words": {"init": "def __init__(self, *, render_mode): self.render_mode = render_mode"},
    "close fails": {"render": PARTS["render"] + "\n    def close(self): raise RuntimeError('x')"},
}  # fmt: skip


def picture(how: str, command: str) -> Member:
    """A picture that cannot be drawn costs one line, never the run."""

    def play(t: Try) -> None:
        t.leave = True
        if command == "pretrain":
            end = pretrain(t, RENDERS[how], "atlas.videos=true", "atlas.frames=16")
            if how == "needs words":
                return t.either(end, (2,))
            pages = ["summary.json", "report.html", "index.html"]
        else:
            first = pretrain(t, RENDERS[how])
            if how == "needs words":
                return t.either(first, (2,))
            t.worked(first)
            if command == "inspect-skills":
                end = t.start("inspect-skills", "run", "--steps=5", "--reps=1")
                pages = ["report.html", "index.html"]
            else:
                small = [w for w in FINETUNE if "video" not in w and "steps=" not in w]
                end = t.start("finetune", "from=run", "task=native", "strategy=scratch", *small,
                              "steps=100", "evaluate.video=true", "hydra.run.dir=fine")  # fmt: skip
                pages = []
        t.worked(end)
        fine = ("floats", "one pixel", "changing", "wide", "four channels", "close fails", "flat",
                "odd rate", "odd metadata", "channels first", "only human")  # fmt: skip
        if how not in fine and not re.search("no videos|no film|video", end.said, re.I):
            t.wrong("no word of the videos")
        for page in pages:
            if not (t.work / "run" / page).exists():
                t.wrong(f"{page} is lost")
        return None

    return Member(f"render: {how}, {command}", play)


# Not a function of seed and acts

CHANCE = {
    "global numpy": {"start": "np.random.uniform(-1, 1, 3)"},
    "global random": {"top": "import random", "start": "np.full(3, random.random())"},
    "time": {"start": "np.full(3, time.time() % 1)"},
    "clock": {"move": "self.s = self.s + time.perf_counter() % 1"},
    "counted resets": {"top": "N = [0]", "start": "np.full(3, min(N.__setitem__(0, N[0] + 1) or "
                       "N[0], 80) / 10.0)"},
    "process id": {"start": "np.full(3, os.getpid() % 7 / 7.0)"},
    "memory of the last": {"reset_head": PARTS["reset_head"] + "\n        old = getattr(self, 's',"
                           " np.zeros(3))", "start": "old * 0.5 + self.np_random.uniform(0, 1, 3)"},
    "a thread": {"move": "self.s = self.s + (threading.get_ident() % 97 + time.time() % 1) / 99"},
    "randomness from the system": {"start": "np.frombuffer(os.urandom(3), np.uint8) / 255.0"},
    "a file": {"start": "np.full(3, (open('n', 'a').write('x') and os.path.getsize('n')) % 7 / 7)"},
    "no seed": {"reset_head": "def reset(self, *, seed=None, options=None):\n        pass",
                "start": "np.random.default_rng().uniform(-1, 1, 3)"},
    "ends at random": {"step": "return self.s.astype(np.float32), 0.0, bool(np.random.rand() < .2),"
                       " False, {}"},
    "reward at random": {"step": "return self.s.astype(np.float32), float(np.random.rand()), False,"
                         " False, {}"},
    "curriculum": {"top": "N = [0]", "move": "N[0] += 1; self.s = self.s + N[0] / 1000.0"},
}  # fmt: skip


def chance(what: str, how: str, agent: str) -> Member:
    """What was learned can be taken up, with a word that it is not exact."""

    def play(t: Try) -> None:
        more = ["num_envs=4", "episode_steps=20", f"agent={agent}"]
        if agent == "ppo":
            more += ["agent.hidden=[8]", "agent.horizon=8", "steps=200"]
        if how == "signal":
            import signal

            def meanwhile(pid: int) -> None:
                until = time.monotonic() + 90
                while not (t.work / "run/metrics.jsonl").exists() and time.monotonic() < until:
                    time.sleep(0.05)
                time.sleep(0.5)
                if Path(f"/proc/{pid}").exists():
                    os.kill(pid, signal.SIGTERM)

            end = pretrain(t, CHANCE[what], *more, "steps=3000", "log_every=32",
                           meanwhile=meanwhile)  # fmt: skip
            if end.code not in (0, 75):
                t.wrong(f"code {end.code}: {end.said[-200:]}")
            end = t.start("resume", "run")
        else:
            t.worked(pretrain(t, CHANCE[what], *more, "steps=200"))
            end = pretrain(t, CHANCE[what], *more, "steps=400")
        t.worked(end)
        summary = json.loads((t.work / "run" / "summary.json").read_text())
        # the episodes that were under way may be short, and end alike by chance
        deterministic = what in ("process id", "ends at random")
        if summary.get("exact") is not False and "warning" not in end.err and not deterministic:
            t.wrong("no word that it is not exact")

    return Member(f"chance from {what}, taken up by {how}, {agent}", play)


# Places that are told late

KEYS = ("x_position", "y_position", "x_velocity", "y_velocity")


def place(at_reset: tuple[str, ...], at_step: tuple[str, ...], where: float) -> Member:
    """It stands still at (where, where): no way was made, one cell was visited."""

    def play(t: Try) -> None:
        def info(keys: tuple[str, ...]) -> str:
            items = [f"'{k}': {where if 'position' in k else 0.0}" for k in keys]
            return "{" + ", ".join(items) + "}"

        change = {
            "start": "np.zeros(3)",
            "move": "",
            "reset": f"return self.s.astype(np.float32), {info(at_reset)}",
            "step": f"return self.s.astype(np.float32), 0.0, False, False, {info(at_step)}",
        }
        end = pretrain(t, change)
        t.either(end, (2,))
        if end.code == 0:
            summary = json.loads((t.work / "run" / "summary.json").read_text())
            ways = (summary.get("displacement") or {}).get("per_skill") or []
            cells = (summary.get("coverage") or {}).get("cells")
            if any(abs(way) > 1e-6 for way in ways) or cells not in (None, 0, 1):
                t.wrong(f"it stands still: displacement {ways}, cells {cells}")

    return Member(f"reset tells {at_reset}, step {at_step}, at {where}", play)


def _draw_place(rng: random.Random) -> Member:
    some = [tuple(k for k in KEYS if rng.random() < p) for p in (0.3, 0.8)]
    if rng.random() < 0.3:
        some.reverse()
    return place(some[0], some[1], rng.choice([5.0, -3.25, 100.0, 0.75, 12345.0]))


# Boxes of acts


def box(low: str, high: str, dtype: str, words: tuple[str, ...]) -> Member:
    """No act ever leaves the box, by however little."""

    def play(t: Try) -> None:
        change = {
            "act_space": f"spaces.Box(np.array({low}), np.array({high}), dtype=np.{dtype})",
            "move": "assert self.action_space.contains(act), (act, act.dtype)",
        }
        t.worked(pretrain(t, change, *words, "steps=400", "num_envs=4"))

    return Member(f"box {low} to {high}, {dtype}, {' '.join(words)}", play)


def _draw_box(rng: random.Random) -> Member:
    n = rng.randint(1, 4)
    ends = [sorted(round(rng.uniform(-3, 3), rng.choice([1, 3, 6])) for _ in "ab")
            for _ in range(n)]  # fmt: skip
    ends = [[a, b if b > a else a + 0.5] for a, b in ends]
    words = rng.choice([("agent=ppo", "agent.hidden=[8]", "agent.horizon=16"), ("agent=sac",),
                        ("skill=rnd",)])  # fmt: skip
    return box(str([a for a, _ in ends]), str([b for _, b in ends]),
               rng.choice(["float32", "float64"]), words)  # fmt: skip


KINDS = [
    Kind("own environment: wrong shapes",
         [shape("np.zeros(1, np.float32)", "reset"), shape("np.zeros(4, np.float32)", "step"),
          shape("np.zeros((3, 2), np.float32)", "reset", next(iter(SPACES)))], _draw_shape),
    Kind("own environment: not finite",
         [number("np.nan", "obs", 1), number("np.nan", "reset", 1), number("np.nan", "obs", 10),
          number("1e39", "obs", 1), number("np.nan", "x_position", 1)],
         lambda rng: number(rng.choice(BAD), rng.choice(["reset", "obs", "reward", "x_position"]),
                            rng.choice([1, 2, 3, 5, 7, 10]))),
    Kind("own environment: pictures that fail",
         [picture("no render_mode", "pretrain"), picture("None", "pretrain"),
          picture("attribute", "pretrain"), picture("runtime", "inspect-skills")],
         lambda rng: picture(rng.choice(list(RENDERS)), rng.choice(
             ["pretrain", "pretrain", "inspect-skills", "finetune"]))),
    Kind("own environment: no function of its seed",
         [chance("global numpy", "more steps", "sac"), chance("global numpy", "signal", "sac")],
         lambda rng: chance(rng.choice(list(CHANCE)), rng.choice(["more steps", "signal"]),
                            rng.choice(["sac", "sac", "ppo"]))),
    Kind("own environment: places told late", [place((), ("x_position", "y_position"), 5.0)],
         _draw_place),
    Kind("own environment: boxes that are not even",
         [box("[-2.69653]", "[-0.916298]", "float32",
              ("agent=ppo", "agent.hidden=[8]", "agent.horizon=16"))], _draw_box),
]  # fmt: skip
