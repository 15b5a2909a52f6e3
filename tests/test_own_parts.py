"""Parts of one's own, installed by entry point: a world, a task in Python, a family of tasks.

Each goes through the stages, its yaml in a folder that only some commands are told of.
"""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest

from envs.base import WorldError
from finetune.stage import finetune_stage
from finetune.world import TaskWorld
from logbook.build import build
from logbook.compose import compose
from logbook.config import CONFIGS, read_yaml
from logbook.errors import UserError
from meta.assess import assess
from meta.inspect_tasks import inspect
from meta.stage import metatrain_stage
from pretrain.stage import pretrain_stage

RAIL = '''
import numpy as np
from gymnasium.spaces import Box
from envs.base import World

class Rail(World):
    """A cart on a rail: neither threads nor a limit of its own on offer."""

    feat_names, feat_units = ("x", "x_velocity"), ("m", "m/step")
    motion, plane, body = ("x",), ("x", "x_velocity"), False

    def __init__(self, *, num_envs, mass):
        box = Box(-1.0, 1.0, (1,), np.float32)
        super().__init__(
            name="rail", num_envs=num_envs, observation_space=box, action_space=box,
            max_episode_steps=12,
        )
        self._mass = mass
        self._at = np.zeros((num_envs, 2), np.float32)

    def _begin(self, ids):
        self._at[ids] = 0.0

    def _advance(self, act):
        self._at[:, 1] = act[:, 0] / self._mass
        self._at[:, 0] += self._at[:, 1]
        none = np.zeros(self.num_envs, bool)
        return np.ones(self.num_envs), none, none

    def _observe(self):
        return self._at[:, :1] / 12

    def _feat(self):
        return self._at.copy()

    def _save(self):
        return {"at": self._at.copy()}

    def _load(self, state):
        self._at = np.array(state["at"])
'''
BAND = '''
import numpy as np
from finetune.task.base import Task

class Band(Task):
    """Paid while x lies in a band; no formula says so."""

    def __init__(self, *, world, low: float, high: float):
        super().__init__(world, "in the band/low", False)
        self._x, self._low, self._high = world.column("x"), low, high

    def judge(self, before, feat, act, rew, memory):
        x = feat[:, self._x]
        inside = (self._low <= x) & (x <= self._high)
        return inside.astype(np.float64), inside, memory
'''
LEAN = '''
from envs.tasks.arms import Arms

class Lean(Arms):
    """Arms that lean to one side."""

    task_names, task_units, baselines = ("p1", "p2"), ("chance", "chance"), ("random",)

    def __init__(self, *, num_envs, seed, pulls: int, lean: float, words: list[str]):
        self._lean = lean
        super().__init__(name="lean", num_envs=num_envs, seed=seed, arms=2, pulls=pulls)

    def sample(self, n, rng, held_out):
        return rng.random((n, 2)) * [self._lean, 1.0]

    def means(self, tasks):
        return tasks.copy()
'''
PARTS = {
    "rail": ("envs", "Rail", RAIL, {"env/rail.yaml": "name: rail\nmass: 2.0\n"}),
    "band": ("downstream", "Band", BAND, {"task/band.yaml": "name: band\nlow: 0.5\nhigh: 2.0\n"}),
    "lean": (
        "tasks",
        "Lean",
        LEAN,
        {
            "tasks/lean.yaml": "name: lean\npulls: 4\nlean: 0.5\nwords: ['a,b', 'c d']\n",
            "tasks/leaner.yaml": "name: lean\npulls: 4\nlean: 0.1\nwords: []\n",
        },
    ),
}
SMALL = (
    "num_envs=4 agent.hidden=[8] agent.batch_size=16 agent.updates=1 agent.start_steps=20 "
    "agent.replay_size=400 log_every=100 checkpoint_every=1000"
)


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    """The folder of the yaml; the packages are installed beside it."""
    folder = tmp_path_factory.mktemp("own")
    for name, (group, cls, source, configs) in PARTS.items():
        (folder / f"own_{name}.py").write_text(source)
        info = folder / f"own_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: own-{name}\nVersion: 1.0\n")
        entry = f"[autotelic.{group}]\n{name} = own_{name}:{cls}\n"
        (info / "entry_points.txt").write_text(entry)
        for path, text in configs.items():
            (folder / "conf" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "conf" / path).write_text(f"# {name}\n{text}")
    sys.path.insert(0, str(folder))
    yield str(folder / "conf")
    sys.path.remove(str(folder))


def stage(command, words, folder, conf=None):
    """One run as its command does it; its summary."""
    parts = {"pretrain": pretrain_stage, "metatrain": metatrain_stage, "finetune": finetune_stage}
    config = compose(command, words.split(), [conf] if conf else None).config
    parts[command](config, folder)
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def skills(conf, tmp_path_factory):
    folder = tmp_path_factory.mktemp("skills") / "run"
    words = f"env=rail skill.num_skills=2 skill.hidden=[8] steps=200 atlas.videos=false {SMALL}"
    words += " evaluate.reps=1 evaluate.steps=5"
    stage("pretrain", words, folder, conf)
    return folder


@pytest.mark.parametrize("kind", ["skills", "random_discriminator", "mixture"])
def test_a_world_that_takes_neither_threads_nor_a_limit_proposes_tasks(skills, tmp_path, kind):
    words = (
        f"learner=rl2 tasks={kind} from={skills} tasks.episode_steps=5 tasks.episodes=2 steps=60"
    )
    words += " learner.hidden=8 learner.meta_batch=2 learner.minibatches=1 evaluate.tasks=2"
    words += " evaluate.baselines=false log_every=100 checkpoint_every=1000"
    found = stage("metatrain", words, tmp_path / "run")
    assert found["meta"]["steps_by_shot"][0] == 12, "as long as its episodes are"
    if kind == "skills":
        assert inspect(tmp_path / "run", steps=4, reps=1) == 0


@pytest.mark.parametrize("strategy", ["scratch", "policy strategy.steps=20", "all"])
def test_a_task_without_a_formula_is_learned_and_told(skills, conf, tmp_path, strategy):
    words = f"from={skills} task=band strategy={strategy} steps=200 evaluate.every=100 {SMALL}"
    words += " evaluate.episodes=2 evaluate.video=true"
    if strategy == "all":
        words += " strategy.members=[scratch] evaluate.video=false"
    found = stage("finetune", words, tmp_path / "run", conf)
    numbers = found["strategies"]["scratch"] if strategy == "all" else found["finetune"]
    assert numbers["reward"] == numbers["task"] == "in the band/low"
    assert 0 <= numbers["final"]["success"] <= 1
    report = (tmp_path / "run" / "report.html").read_text()
    assert "in the band/low" in report and f"{strategy.split()[0]} on band" in report


@pytest.fixture(scope="module")
def learner(conf, tmp_path_factory):
    folder = tmp_path_factory.mktemp("learner") / "run"
    words = "learner=rl2 tasks=lean learner.hidden=8 learner.meta_batch=4 learner.minibatches=1"
    words += " steps=100 evaluate.tasks=2 log_every=100 checkpoint_every=1000"
    found = stage("metatrain", words, folder, conf)
    assert "tasks=lean" in found["next"]
    return folder


@pytest.mark.parametrize(
    ("words", "lean", "pulls"),
    [
        ("", 0.5, 4),
        ("tasks=lean", 0.5, 4),
        ("tasks=lean tasks.lean=0.2", 0.2, 4),
        ("tasks.pulls=7 seed=3 learner.lr=1e-4 evaluate.tasks=3", 0.5, 7),
    ],
)
def test_a_learner_on_a_family_of_ones_own_is_evaluated_without_its_yaml(
    learner, tmp_path, words, lean, pulls
):
    to = tmp_path / "numbers.json"
    assert assess(learner, words.split(), to=to) == 0
    found = json.loads(to.read_text())
    want = {"name": "lean", "pulls": pulls, "lean": lean, "words": ["a,b", "c d"]}
    assert found["family"] == want and len(found["meta"]["returns_by_shot"]) == pulls


def test_another_family_of_ones_own_comes_from_its_folder(learner, conf, tmp_path):
    to = tmp_path / "numbers.json"
    with pytest.raises(UserError, match="tasks=leaner: no such tasks"):
        assess(learner, ["tasks=leaner"], to=to)
    assert assess(learner, ["tasks=leaner", "tasks.pulls=5"], config_dirs=[conf], to=to) == 0
    family = json.loads(to.read_text())["family"]
    assert family == {"name": "lean", "pulls": 5, "lean": 0.1, "words": []}


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("tasks.plls=3", "tasks.plls: lean has no such key; did you mean tasks.pulls"),
        ("tasks.pulls=no", "tasks.pulls=no: want a whole number"),
        ("tasks.pulls=1,2", "tasks.pulls=1,2 asks for several"),
        ("tasks.name=bandit", "tasks.name: evaluate takes tasks from the run"),
        ("learner.lr=-1", "learner.lr=-1"),
        ("evaluate.tasks=0", "evaluate.tasks=0: want at least 1"),
        ("evaluate.x=0", "evaluate.x: no such key"),
        ("steps=9", "steps: evaluate takes tasks="),
        ("device=gpu", "device=gpu: want"),
    ],
)
def test_a_slip_in_what_is_evaluated_is_one_line(learner, word, line):
    with pytest.raises(UserError) as refusal:
        assess(learner, [word])
    assert line in str(refusal.value) and "\n" not in str(refusal.value)


def test_only_what_a_world_takes_is_given_to_it(conf):
    from logbook.heritage import world_factory

    make = world_factory({"env": {"name": "rail", "mass": 1.0}})
    assert make(num_envs=2, max_episode_steps=3, threads=1).max_episode_steps == 12
    with pytest.raises(UserError, match="env.mas: rail has no such key"):
        make(num_envs=2, mas=3)
    with pytest.raises(UserError, match="env.threads: rail has no such key"):
        build("env", {"name": "rail", "mass": 1.0, "threads": 1}, num_envs=1)


@pytest.mark.parametrize(
    ("hook", "bad", "told"),
    [
        ("_observe", np.nan, r"obs\[0\] was nan after 2"),
        ("_observe", np.inf, r"obs\[0\] was inf after 2"),
        ("_feat", np.nan, "x_velocity was nan after 2"),
        ("_advance", 1e39, r"the reward was 1e\+39 after 2"),
    ],
)
def test_a_step_of_a_world_to_no_number_is_not_learned_from(conf, monkeypatch, hook, bad, told):
    world = build("env", {"name": "rail", "mass": 1.0}, num_envs=3)
    plain, strange = getattr(world, hook), False

    def hooked(*args):
        found = plain(*args)
        row = np.array(found[0] if hook == "_advance" else found, np.float64)
        if strange:
            row.reshape(3, -1)[1, -1] = bad
        return (row, *found[1:]) if hook == "_advance" else row

    monkeypatch.setattr(world, hook, hooked)
    world.reset(seed=0)
    act = np.full((3, 1), 0.5, np.float32)
    before, _, _, _, shown = world.step(act)
    strange = True
    obs, rew, terminated, truncated, info = world.step(act)
    assert info["unstable"].tolist() == truncated.tolist() == [False, True, False]
    assert not terminated.any() and rew.tolist() == [1.0, 0.0, 1.0] and world.unstable == 1
    assert np.isclose(obs[[0, 2]], 1 / 12).all() and (obs[1] == before[1]).all()
    assert (info["feat"][1] == shown["feat"][1]).all()
    assert re.match(told, world.trouble)
    if hook != "_advance":
        with pytest.raises(WorldError, match=r"env=rail: after a reset \S+ is (nan|inf); an ep"):
            world.reset()
    strange = False
    world.reset(options={"reset_mask": truncated})
    assert not world.step(act)[4]["unstable"].any()


def test_steps_of_a_world_that_are_dropped_are_counted_and_told(
    skills, conf, tmp_path, monkeypatch, capsys
):
    plain, steps = sys.modules["own_rail"].Rail._observe, iter(range(10**6))

    def sometimes(self):
        obs = plain(self)
        obs[0] *= np.nan if self._age[0] and next(steps) % 5 == 0 else 1.0
        return obs

    monkeypatch.setattr(sys.modules["own_rail"].Rail, "_observe", sometimes)
    words = f"env=rail skill.num_skills=2 skill.hidden=[8] steps=200 atlas.videos=false {SMALL}"
    found = stage("pretrain", words + " evaluate.reps=1 evaluate.steps=5", tmp_path / "run", conf)
    assert 5 <= found["steps_dropped"] <= 20
    assert "obs[0] was nan after" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("np.ones((len(x), 2)), inside, memory", r"a reward of shape \(4, 2\), want \(4,\)"),
        ("x, True, memory", r"a success of shape \(\), want \(4,\)"),
        ("x, inside, memory[:1]", r"a memory of shape \(1, 0\), want \(4, 0\)"),
        ("x, inside", "judge: .*values to unpack"),
        ("x.nothing, inside, memory", "judge: AttributeError"),
        ("__import__('sys').exit(3)", "judge: SystemExit: 3"),
    ],
)
def test_what_a_task_of_ones_own_does_wrong_is_one_line(wrong: str, told: str) -> None:
    space: dict = {}
    exec(BAND.replace("inside.astype(np.float64), inside, memory", wrong), space)
    inner = build("env", read_yaml(CONFIGS / "env" / "point.yaml"), num_envs=4)
    world = TaskWorld(inner, space["Band"](world=inner.world_spec, low=0.0, high=1.0))
    world.reset(seed=0)
    with pytest.raises(UserError, match=told):
        world.step(np.zeros((4, 2), np.float32))
