"""Worlds, tasks and families of one's own, installed by entry point; runs that are killed."""

from __future__ import annotations

import json
import random
import shlex
import sys
from typing import Any

import yaml

from battery.runs import BANDIT, FINETUNE, LEARNER, MINIMAL
from battery.starts import ROOT
from battery.trial import Kind, Member, Try


def install(t: Try, group: str, name: str, source: str, files: dict[str, str]) -> dict[str, str]:
    """Put a package with one entry point and a config folder into `work`; its variables."""
    t.leave = True
    t.write(f"own_{name}.py", source)
    info = f"own_{name}-1.0.dist-info"
    t.write(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: own-{name}\nVersion: 1.0\n")
    t.write(f"{info}/entry_points.txt", f"[autotelic.{group}]\n{name} = own_{name}:Own\n")
    for path, text in files.items():
        t.write(f"conf/{path}", text)
    return {"PYTHONPATH": f"{ROOT}:{t.work}"}


WORLD = '''
import numpy as np
from gymnasium.spaces import Box, Discrete
from envs.base import World

class Own(World):
    """A cart."""

    feat_names, feat_units = {feats}, {units}
    {more}

    def __init__(self, *, num_envs{args}):
        super().__init__(name="cart", num_envs=num_envs,
                         observation_space=Box(-9, 9, (2,), np.float32),
                         action_space={acts}, max_episode_steps={limit})
        self._at = np.zeros((num_envs, 2), np.float32)

    def _begin(self, ids):
        self._at[ids] = 0

    def _advance(self, act):
        push = np.asarray(act, np.float32).reshape(self.num_envs, -1)[:, 0]
        self._at[:, 1] = np.clip(push, -1, 1)
        self._at[:, 0] = np.clip(self._at[:, 0] + 0.1 * self._at[:, 1], -9, 9)
        no = np.zeros(self.num_envs, bool)
        return -np.abs(self._at[:, 0]), no, no

    def _observe(self):
        return self._at.copy()

    def _feat(self):
        return {feat}

    def _save(self):
        return {{"at": self._at.copy()}}

    def _load(self, state):
        self._at = np.array(state["at"])
'''


def world(args: tuple[str, ...], feats: int, acts: str, then: str) -> Member:
    """A world with whatever arguments of its own, through all stages."""

    def play(t: Try) -> None:
        names = ("x", "x_velocity")[:feats]
        known = {"max_episode_steps": "max_episode_steps", "mass": "12"}
        limit = known["max_episode_steps"] if "max_episode_steps" in args else "12"
        source = WORLD.format(
            feats=repr(names), units=repr(("m", "m/s")[:feats]), more="",
            args="".join(f", {a}" for a in args), acts=acts, limit=limit,
            feat=f"self._at[:, :{feats}].copy()",
        )  # fmt: skip
        values: dict[str, Any] = {"max_episode_steps": 15, "mass": 2.0, "threads": 0, "size": 3}
        node = yaml.safe_dump({"name": "cart", **{a: values[a] for a in args}})
        env = install(t, "envs", "cart", source, {"env/cart.yaml": f"# A cart.\n{node}"})
        end = t.start("pretrain", "--config-dir", "conf", "env=cart", *MINIMAL,
                      "skill.view=obs", "hydra.run.dir=run", env=env)  # fmt: skip
        t.worked(end)
        small = [w for w in LEARNER if not w.startswith(("tasks=", "steps="))] + ["steps=200"]
        words = {
            "skills": ["metatrain", "from=run", "tasks=skills", *small],
            "random_discriminator": ["metatrain", "from=run", "tasks=random_discriminator", *small],
            "mixture": ["metatrain", "from=run", "tasks=mixture", *small],
            "episode": ["metatrain", "from=run", "tasks=skills", "tasks.episode_steps=7", *small],
            "inspect-tasks": ["inspect-tasks", "run", "--steps=5", "--reps=1"],
            "inspect-skills": ["inspect-skills", "run", "--no-videos", "--steps=5", "--reps=1"],
            "finetune": ["finetune", "from=run", "task=native", "strategy=scratch", *FINETUNE],
            "resume": ["resume", "run"],
        }[then]
        end = t.start(*words, env=env)
        t.worked(end)
        if "threads" in end.err and "threads" not in args:
            t.wrong("it speaks of threads")

    return Member(f"world with {args}, {feats} feats, acts {acts}, {then}", play)


ACTS = ("Box(-1, 1, (1,), np.float32)", "Box(-0.3, 0.7, (2,), np.float32)", "Discrete(3)")


def _draw_world(rng: random.Random) -> Member:
    every = ("max_episode_steps", "mass", "threads", "size")
    args = tuple(a for a in every if rng.random() < 0.5)
    then = rng.choice(["skills", "random_discriminator", "mixture", "episode", "inspect-tasks",
                       "inspect-skills", "finetune", "resume"])  # fmt: skip
    return world(args, rng.choice([1, 2]), rng.choice(ACTS), then)


TASK = '''
import numpy as np
from finetune.task.base import Task

class Own(Task):
    """A band."""

    def __init__(self, *, world, low: float, high: float{args}):
        super().__init__(world, {title}, {ends})
        self._x, self._low, self._high = world.column("x"), low, high

    def judge(self, before, feat, act, rew, memory):
        x = feat[:, self._x]
        inside = (self._low <= x) & (x <= self._high)
        return {said}
'''
SAID = {
    "as it should": "inside.astype(np.float64), inside, memory",
    "float32": "inside.astype(np.float32), inside, memory",
    "no success": "inside.astype(np.float64), np.zeros(len(x), bool), memory",
    "two values": "inside.astype(np.float64), inside",
    "a number": "1.0, inside, memory",
    "NaN": "np.full(len(x), np.nan), inside, memory",
    "too short": "np.zeros(1), inside, memory",
    "too wide": "np.zeros((len(x), 2)), inside, memory",
    "raises": "{}['nothing']",
    "exits": "__import__('sys').exit(0)",
    "None": "None",
}
GOOD_TASKS = ("as it should", "float32", "no success")


def task(said: str, strategy: str, title: str, extra: bool) -> Member:
    """A task in Python, without a formula: learned, looked at and told; or one line."""

    def play(t: Try) -> None:
        source = TASK.format(args=", words: list[str]" * extra, title=repr(title),
                             ends=said == "no success", said=SAID[said])  # fmt: skip
        node: dict[str, Any] = {"name": "band", "low": 0.5, "high": 2.0}
        node |= {"words": ["a", "b"]} if extra else {}
        text = "# A band.\n" + yaml.safe_dump(node)
        env = install(t, "downstream", "band", source, {"task/band.yaml": text})
        t.take("skills")
        more = {"policy": ["strategy.steps=20"], "hierarchy": ["strategy.skill_steps=5"],
                "play": ["strategy.skill_steps=5"], "weights": ["strategy.warmup=40"],
                "all": ["strategy.members=[scratch]"]}  # fmt: skip
        end = t.start("finetune", "--config-dir", "conf", "from=skills", "task=band",
                      f"strategy={strategy}", *FINETUNE, *more.get(strategy, []),
                      "hydra.run.dir=fine", env=env)  # fmt: skip
        if said in GOOD_TASKS:
            t.worked(end)
            for name in ("summary.json", "report.html"):
                if not (t.work / "fine" / name).exists():
                    t.wrong(f"no {name}")
        else:
            t.refused(end, (2, 3), "task|band")

    return Member(f"task: {said}, {strategy}, title {title!r}, {extra}", play)


def _draw_task(rng: random.Random) -> Member:
    said = rng.choice(list(SAID) if rng.random() < 0.5 else GOOD_TASKS)
    strategy = rng.choice(["scratch", "policy", "hierarchy", "play", "weights", "all"])
    title = rng.choice(["band", "in the band/low", "über <b>", "", "a\nb", "x" * 300])
    return task(said, strategy, title, rng.random() < 0.5)


FAMILY = '''
from envs.tasks.arms import Arms

class Own(Arms):
    """Arms that lean."""

    task_names, task_units = ("p1", "p2"), ("chance", "chance")
    {more}

    def __init__(self, *, num_envs, seed, pulls: int, lean: float{args}):
        self._lean = lean
        super().__init__(name="lean", num_envs=num_envs, seed=seed, arms=2, pulls=pulls)

    def sample(self, n, rng, held_out):
        return rng.random((n, 2)) * [self._lean, 1.0]

    def means(self, tasks):
        return tasks.copy()
'''


def family(words: tuple[str, ...], how: str, extra: bool, baselines: str) -> Member:
    """A learner on a family of one's own is evaluated from its folder alone."""

    def play(t: Try) -> None:
        source = FAMILY.format(more=f"baselines = {baselines}", args=", words: list[str]" * extra)
        node: dict[str, Any] = {"name": "lean", "pulls": 4, "lean": 0.5}
        node |= {"words": ["a,b", "c d"]} if extra else {}
        files = {
            "tasks/lean.yaml": "# Arms that lean.\n" + yaml.safe_dump(node),
            "tasks/leaner.yaml": "# More.\n" + yaml.safe_dump(node | {"lean": 0.1}),
        }
        env = install(t, "tasks", "lean", source, files)
        small = [w for w in BANDIT if w != "tasks=bandit"]
        t.worked(t.start("metatrain", "--config-dir", "conf", "learner=rl2", "tasks=lean", *small,
                         "steps=600", "hydra.run.dir=run", env=env))  # fmt: skip
        run = "run"
        if how == "next":
            line = json.loads((t.work / "run" / "summary.json").read_text())["next"]
            return t.worked(t.start("sh", line, env=env))
        if how == "moved":
            (t.work / "run").rename(t.work / "moved")
            run = "moved"
        if how == "no yaml":
            (t.work / "conf").rename(t.work / "conf2")
        if how == "not installed":
            env = {}
            for path in t.work.glob("own_lean*"):
                path.rename(t.place / "tmp" / path.name)
            return t.refused(t.start("evaluate", run, *words, env=env), (2, 3, 5), "lean")
        if how == "resume":
            return t.worked(t.start("resume", run, env=env))
        folder = ["--config-dir", "conf"] if any("leaner" in w for w in words) else []
        end = t.start("evaluate", run, *words, *folder, env=env)
        if how == "no yaml" and folder:
            return t.refused(end, (2, 5))
        return t.worked(end)

    return Member(f"family: evaluate {' '.join(words)}, {how}, {extra}, {baselines}", play)


def _draw_family(rng: random.Random) -> Member:
    words = rng.choice([(), ("tasks=lean",), ("tasks.pulls=6",), ("tasks=leaner",), ("seed=3",),
                        ("tasks=lean", "tasks.lean=0.2"), ("tasks=leaner", "tasks.pulls=3"),
                        ("evaluate.tasks=3",)])  # fmt: skip
    how = rng.choice(["as it is", "as it is", "moved", "no yaml", "next", "resume",
                      "not installed"])  # fmt: skip
    return family(words, how, rng.random() < 0.5, rng.choice(["()", "('random',)"]))


def killed(env: str, agent: str, point: str, count: int, seed: int) -> Member:
    """Runs killed by SIGKILL end as if nothing had happened (scripts/kill_battery.py)."""

    def play(t: Try) -> None:
        words = [sys.executable, str(ROOT / "scripts" / "kill_battery.py"), "--env", env]
        words += ["--agent", agent, "--kills", "1", "--points", point, "--counts", str(count)]
        words += ["--fresh", "0", "--steps", "900", "--seed", str(seed)]
        end = t.start("sh", shlex.join(words), limit=400)
        if end.code:
            t.wrong(f"they did not end the same: {end.said[-400:]}")

    return Member(f"{env}, {agent}, killed at {point}:{count} and at random, seed {seed}", play)


def _draw_killed(rng: random.Random) -> Member:
    from logbook.killpoints import POINTS

    env = rng.choice(["point", "point", "hopper", "maze", "gym"])
    point = rng.choice(POINTS)
    return killed(env, rng.choice(["sac", "ppo"]), point, rng.choice([2, 3]), rng.randrange(1000))


KINDS = [
    Kind("own worlds", [world(("max_episode_steps", "mass"), 2, ACTS[0], "skills"),
                        world((), 1, ACTS[0], "random_discriminator")], _draw_world),
    Kind("own tasks in Python", [task("as it should", s, "band", False)
                                 for s in ("scratch", "policy", "all")], _draw_task),
    Kind("own families of tasks", [family((), "as it is", False, "()"),
                                   family(("tasks=lean",), "as it is", False, "()"),
                                   family((), "next", False, "()")], _draw_family),
    Kind("kills", [killed("point", "sac", "save.rename", 3, 0)], _draw_killed),
]  # fmt: skip
