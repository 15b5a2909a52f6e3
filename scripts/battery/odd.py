"""Environments of one's own that break rules, are open once, show pictures, take arguments."""

from __future__ import annotations

import random
import shutil

import yaml

from battery.own import PARTS, pretrain, source, told
from battery.runs import FINETUNE, LEARNER, MINIMAL
from battery.trial import Kind, Member, Try

SELF = "self.s.astype(np.float32)"
MISTAKES: dict[str, dict[str, str]] = {
    "reset returns obs alone": {"reset": f"return {SELF}"},
    "reset returns three": {"reset": f"return {SELF}, {{}}, 1"},
    "reset returns None": {"reset": "return None"},
    "info is None": {"reset": f"return {SELF}, None"},
    "step's info is a list": {"step": f"return {SELF}, 0.0, False, False, []"},
    "reset without words": {"reset_head": "def reset(self):\n        pass", "start": "np.zeros(3)"},
    "reset with a seed alone": {"reset_head": "def reset(self, seed):\n        pass",
                                "start": "np.zeros(3)"},
    "the old step": {"step": f"return {SELF}, 0.0, False, {{}}"},
    "step returns None": {"step": "return None"},
    "step returns six": {"step": f"return {SELF}, 0.0, False, False, {{}}, 1"},
    "reward of shape (1,)": {"step": f"return {SELF}, np.zeros(1), False, False, {{}}"},
    "reward of shape (2,)": {"step": f"return {SELF}, np.zeros(2), False, False, {{}}"},
    "reward is None": {"step": f"return {SELF}, None, False, False, {{}}"},
    "reward is a word": {"step": f"return {SELF}, 'x', False, False, {{}}"},
    "terminated is an array": {"step": f"return {SELF}, 0.0, np.array([0, 1]), False, {{}}"},
    "terminated is None": {"step": f"return {SELF}, 0.0, None, False, {{}}"},
    "reset raises": {"reset": "raise ValueError('no such\\nlevel')"},
    "reset raises a key": {"reset": "return {}['x']"},
    "step raises": {"step": "raise RuntimeError('it broke')"},
    "step raises later": {"step": f"if self.t > 7: raise IndexError(3)\n        return {SELF}, 0.0,"
                          " False, False, {}"},
    "step raises with an escape": {"step": "raise RuntimeError('\\x1b[2J\\x07')"},
    "step exits": {"step": "sys.exit(0)"},
    "step exits later": {"step": f"if self.t > 7: sys.exit(0)\n        return {SELF}, 0.0, False,"
                         " False, {}"},
    "reset exits": {"reset": "sys.exit(0)"},
    "init exits": {"init": "def __init__(self, render_mode=None): sys.exit(0)"},
    "module exits": {"top": "sys.exit(0)"},
    "init raises": {"init": "def __init__(self, render_mode=None): raise KeyError('level')"},
    "init needs a word": {"init": "def __init__(self, level, render_mode=None): pass"},
    "module raises": {"top": "raise OSError('no licence')"},
    "module has a slip": {"top": "def f(:"},
    "module wants another": {"top": "import not_there_at_all"},
    "nothing registered": {"register": ""},
    "another id registered": {"register": "gymnasium.register('Owm-v0', entry_point=Own)"},
    "no class": {"register": "gymnasium.register('Own-v0', entry_point='own:Nothing')"},
    "not an environment": {"register": "gymnasium.register('Own-v0', entry_point=lambda **k: 7)"},
    "no spaces": {"obs_space": "None"},
    "no act space": {"act_space": "None"},
    "endless acts": {"act_space": "spaces.Box(-np.inf, np.inf, (2,))"},
    "integer acts": {"act_space": "spaces.Box(0, 5, (2,), np.int32)"},
    "many acts": {"act_space": "spaces.MultiDiscrete([2, 3])"},
    "turned box": {"act_space": "spaces.Box(1, -1, (2,))"},
    "no acts": {"act_space": "spaces.Box(-1, 1, (0,))"},
    "a text space": {"obs_space": "spaces.Text(3)"},
    "a sequence": {"obs_space": "spaces.Sequence(spaces.Discrete(2))"},
    "a graph": {"obs_space": "spaces.Graph(spaces.Discrete(2), None)"},
    "no observations": {"obs_space": "spaces.Box(-1, 1, (0,))", "reset": "return np.zeros(0), {}",
                        "step": "return np.zeros(0), 0.0, False, False, {}"},
    "spaces change": {"move": "self.observation_space = spaces.Box(-1, 1, (5,))",
                      "step": "return np.zeros(5, np.float32), 0.0, False, False, {}"},
    "ends at once": {"step": f"return {SELF}, 0.0, True, False, {{}}"},
    "close raises": {"render": PARTS["render"] + "\n    def close(self): raise RuntimeError('x')"},
    "prints much": {"move": "print('x' * 10000)"},
    "warns": {"move": "import warnings; warnings.warn('x')"},
    "positions are words": {"reset": f"return {SELF}, {{'x_position': 'a'}}",
                            "step": f"return {SELF}, 0., False, False, {{'x_position': 'a'}}"},
    "huge rewards": {"step": f"return {SELF}, 1e300, False, False, {{}}"},
    "huge observations": {"obs_space": "spaces.Box(-np.inf, np.inf, (3,))",
                          "reset": "return np.full(3, 3e38), {}",
                          "step": "return np.full(3, 3e38, np.float32), 0.0, False, False, {}"},
    "unix times": {"obs_space": "spaces.Box(-np.inf, np.inf, (3,))",
                   "reset": "return np.full(3, 1.7e9), {}",
                   "step": "return np.full(3, 1.7e9 + self.t), 0.0, False, False, {}"},
}  # fmt: skip
MAY_WORK = ("ends at once", "close raises", "prints much", "warns", "reward of shape (1,)",
            "huge rewards", "huge observations", "unix times", "positions are words",
            "step's info is a list", "info is None")  # fmt: skip


def mistake(what: str, command: str) -> Member:
    """A mistake in the environment: one line that names it, and the place."""

    def play(t: Try) -> None:
        if command == "-m":
            t.leave = True
            t.write("own.py", source(MISTAKES[what]))
            end = t.start("pretrain", "-m", "env=gym", "env.id=own:Own-v0", "seed=0,1",
                          "env.allow_import=true", *MINIMAL)  # fmt: skip
            if end.code == 0 and what not in MAY_WORK:
                t.wrong("it worked")
            elif end.code not in (0, 2, 3):
                t.wrong(f"code {end.code}: {end.said[-200:]}")
            return
        words = ("skill=rnd",) if command == "rnd" else ()
        end = pretrain(t, MISTAKES[what], *words)
        if what in MAY_WORK and end.code == 0:
            return
        t.refused(end, (2, 3), "own|env=gym|env\\.id")

    return Member(f"{what}, {command}", play)


def not_found(id: str, says: str) -> Member:
    """A module in the current folder, or a name that is nearly right: the remedy is named."""

    def play(t: Try) -> None:
        t.leave = True
        t.write("hidden/own.py", source({}))
        end = t.start("pretrain", "env=gym", f"env.id={id}", "env.allow_import=true", *MINIMAL)
        t.refused(end, (2, 3), says)

    return Member(f"env.id={id} is not found", play)


def no_such(word: str, says: str) -> Member:
    def play(t: Try) -> None:
        t.refused(t.start("pretrain", word, "steps=64"), (2,), says)

    return Member(f"{word} is told as env=gym", play)


# Open once


def once(how: str, words: tuple[str, ...]) -> Member:
    """A simulator of which one may be open at a time (or few): each is closed before the next."""

    def play(t: Try) -> None:
        t.leave = True
        most = 1 if how != "few" else 3
        top = f"OPEN = [0]\nMOST = {most}"
        begin = "if OPEN[0] >= MOST: raise RuntimeError('port 5005 is in use')"
        begin += "\n        OPEN[0] += 1"
        if how == "lock":
            top = "import fcntl"
            begin = ("self.f = open('port', 'w')\n        fcntl.flock(self.f, fcntl.LOCK_EX | "
                     "fcntl.LOCK_NB)")  # fmt: skip
        init = f"def __init__(self, render_mode=None):\n        self.render_mode = render_mode\n        {begin}"  # noqa: E501
        close = "self.f.close()" if how == "lock" else "OPEN[0] -= 1"
        shut = f"\n    shut = False\n    def close(self):\n        if not self.shut: {close}\n        self.shut = True"  # noqa: E501
        change = {"top": top, "init": init, "render": PARTS["render"] + shut}
        end = pretrain(t, change, "num_envs=1" if how != "few" else "num_envs=3", *words)
        t.worked(end)

    return Member(f"open once ({how}), {' '.join(words)}", play)


# Pictures as observations


def pixels(size: tuple[int, ...], replay: str, words: tuple[str, ...]) -> Member:
    """Pictures go into replay as they are: too many for the memory are refused before training."""

    def play(t: Try) -> None:
        shape = f"{size}"
        change = {
            "obs_space": f"spaces.Box(0, 255, {shape}, np.uint8)",
            "reset": f"return np.zeros({shape}, np.uint8), {{}}",
            "step": f"return np.zeros({shape}, np.uint8), 0.0, False, False, {{}}",
        }
        end = pretrain(t, change, f"agent.replay_size={replay}", *words,
                       limits={"RLIMIT_DATA": 6 << 30})  # fmt: skip
        count = 1
        for n in size:
            count *= n
        if count * float(replay) * 4 > 64 << 30:
            t.refused(end, (2, 3, 4), "replay")
        else:
            told(t, end, "pixel|image|picture|flat")

    return Member(f"pictures {size}, replay of {replay}, {' '.join(words)}", play)


# Arguments

ARGUMENTS = (
    ("FrozenLake-v1", "is_slippery=false", 0), ("FrozenLake-v1", "map_name=8x8", 0),
    ("FrozenLake-v1", "map_name=9x9", 2), ("FrozenLake-v1", "desc=[SF,FG]", 0),
    ("Pendulum-v1", "g=3.7", 0), ("Pendulum-v1", "g=x", 2), ("Pendulum-v1", "nope=1", 2),
    ("Pendulum-v1", "render_mode=human", 2), ("Pendulum-v1", "id=x", 2),
    ("Pendulum-v1", "max_episode_steps=5", 2), ("Pendulum-v1", "g=null", 2),
    ("CartPole-v1", "sutton_barto_reward=true", 0), ("Taxi-v4", "is_rainy=true", 0),
    ("Taxi-v3", "is_rainy=true", 0), ("CliffWalking-v1", "is_slippery=true", 0),
    ("HalfCheetah-v5", "exclude_current_positions_from_observation=false", 0),
    ("HalfCheetah-v5", "xml_file=nowhere.xml", 2), ("HalfCheetah-v5", "frame_skip=0", 2),
    ("HalfCheetah-v5", "frame_skip=x", 2), ("Blackjack-v1", "natural=true", 0),
    ("MountainCarContinuous-v0", "goal_velocity=0.01", 0), ("Acrobot-v1", "x={a: [1, {b: 2}]}", 2),
    ("MountainCarContinuous-v0", "goal_velocity=[1]", 0), ("Pendulum-v1", "g.x=1", 2),
)  # fmt: skip


def argument(id: str, word: str, code: int, then: str) -> Member:
    """An argument of the environment's own, passed on as it stands."""

    def play(t: Try) -> None:
        words = ["env=gym", f"env.id={id}", f"env.kwargs.{word}", *MINIMAL, "hydra.run.dir=run"]
        end = t.start("pretrain", *words)
        if code:
            return t.refused(end, (2, 3), "env\\.id|env\\.kwargs|kwargs")
        if "no registered" in end.err or "Deprecated" in end.err:
            return t.refused(end, (2,))
        t.worked(end)
        key = word.partition("=")[0]
        if key not in (t.work / "run" / "config.yaml").read_text():
            t.wrong("it is not in the saved config")
        if then == "stranger":  # the same folder elsewhere: arguments reach the author's code
            shutil.rmtree(t.place / "state")
            (t.place / "state").mkdir()
            config = yaml.safe_load((t.work / "run/config.yaml").read_text())
            config["steps"] = 128
            (t.work / "run/config.yaml").write_text(yaml.safe_dump(config))
            return t.refused(t.start("resume", "run"), (5,), "allow")
        if then:
            small = {"finetune": ["from=run", "task=native", "strategy=scratch", *FINETUNE],
                     "inspect-skills": ["run", "--no-videos", "--steps=5", "--reps=1"],
                     "resume": ["run"]}[then]  # fmt: skip
            t.worked(t.start(then, *small))
        return None

    return Member(f"{id} env.kwargs.{word}, then {then or 'nothing'}", play)


# All stages

STAGES = {
    "resume": ("resume", "run"),
    "inspect-skills": ("inspect-skills", "run", "--no-videos", "--steps=5", "--reps=1"),
    "finetune": ("finetune", "from=run", "task=native", "strategy=scratch", *FINETUNE,
                 "hydra.run.dir=fine"),
    "metatrain": ("metatrain", "from=run", *LEARNER, "steps=200", "hydra.run.dir=meta"),
    "inspect-tasks": ("inspect-tasks", "run", "--steps=5", "--reps=1"),
}  # fmt: skip
AFTER = {
    "evaluate": ("evaluate", "meta"),
    "inspect-tasks, learner": ("inspect-tasks", "meta", "--steps=5", "--reps=1"),
    "adapt": ("finetune", "from=meta", "task=native", "strategy=adapt", "steps=100",
              "evaluate.video=false"),
    "compare": ("compare", "run"),
    "resume, learner": ("resume", "meta"),
}  # fmt: skip


def stages(id: str, leave: str, command: str, who: str) -> Member:
    """The person who typed leave need not type it again; a stranger's folder has none."""

    def play(t: Try) -> None:
        t.leave = True
        module = id.partition(":")[0]
        t.write("own.py", source({}))
        t.write("pack/__init__.py", "")
        t.write("pack/own.py", source({}))
        said = {"typed key": ["env.allow_import=true"], "flag": ["--allow-import"]}[leave]
        small = [w for w in MINIMAL if "steps=64" not in w or "=" in w.split("steps")[0]]
        words = ["env=gym", f"env.id={id}", *small, "hydra.run.dir=run", "steps=64"]
        t.worked(t.start("pretrain", *words, *said))
        if command in AFTER and AFTER[command][-1] != "run":
            t.worked(t.start(*STAGES["metatrain"]))
        then = list(STAGES.get(command) or AFTER[command])
        if who == "moved":
            (t.work / "run").rename(t.work / "moved")
            then = [w.replace("from=run", "from=moved") if w != "run" else "moved" for w in then]
        if who == "edited":  # leave for one id is none for another
            path = t.work / "run" / "config.yaml"
            path.write_text(path.read_text().replace(module + ":", "evil:"))
            t.write("evil.py", t.evil)
        if who == "stranger":
            shutil.rmtree(t.place / "state")
            (t.place / "state").mkdir()
            for name in ("own.py", "pack/own.py"):
                t.write(name, t.evil + source({}))
        end = t.start(*then)
        if who in ("stranger", "edited"):
            t.leave = False
            if command in ("compare",) or (command == "resume" and end.code == 0):
                return
            if who == "edited" and command in AFTER:
                return
            t.refused(end, (5, 2), "allow|import|another config")
        else:
            t.worked(end)

    return Member(f"{id} by {leave}, {command}, {who}", play)


def _draw_stages(rng: random.Random) -> Member:
    id = rng.choice(["own:Own-v0", "pack.own:Own-v0"])
    command = rng.choice([*STAGES, *AFTER])
    who = rng.choice(["the same", "the same", "moved", "stranger", "edited"])
    if command in AFTER and who == "moved":
        who = "the same"
    return stages(id, rng.choice(["typed key", "flag"]), command, who)


def _draw_mistake(rng: random.Random) -> Member:
    return mistake(rng.choice(list(MISTAKES)), rng.choice(["alone", "alone", "rnd", "-m"]))


SIZES = ((96, 96, 3), (8, 8, 3), (64, 64, 1), (210, 160, 3), (4, 84, 84), (32, 32))
KINDS = [
    Kind("own environment: mistakes",
         [mistake("reset returns obs alone", "alone"), mistake("reset without words", "alone"),
          mistake("the old step", "alone"), mistake("reward of shape (2,)", "alone"),
          mistake("step exits", "alone"),
          not_found("hidden_mod:Own-v0", "PYTHONPATH|module"),
          no_such("env=HalfCheetah-v5", "env\\.id=HalfCheetah-v5")], _draw_mistake),
    Kind("own environment: open once", [once("one", ())],
         lambda rng: once(rng.choice(["one", "lock", "few"]), tuple(
             w for w in ("skill=rnd", "atlas.early=32", "atlas.videos=true", "evaluate.reps=2",
                         "seed=3") if rng.random() < 0.4))),
    Kind("own environment: pictures are observed", [pixels((96, 96, 3), "1000000", ())],
         lambda rng: pixels(rng.choice(SIZES), rng.choice(["500", "1000000", "100000000"]),
                            rng.choice([(), ("seed=3",), ("num_envs=1",)]))),
    Kind("environment arguments", [argument("FrozenLake-v1", "is_slippery=false", 0, ""),
                                   argument("Pendulum-v1", "nope=1", 2, "")],
         lambda rng: argument(*rng.choice(ARGUMENTS), rng.choice(
             ["", "finetune", "inspect-skills", "resume", "stranger"]))),
    Kind("own environment: all stages",
         [stages("own:Own-v0", "typed key", "finetune", "the same"),
          stages("own:Own-v0", "typed key", "metatrain", "the same"),
          stages("own:Own-v0", "flag", "evaluate", "the same")], _draw_stages),
]  # fmt: skip
