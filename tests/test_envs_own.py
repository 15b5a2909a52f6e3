"""Environments of one's own as worlds: a mistake is one line that names the env and the place."""

from __future__ import annotations

import re

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from envs.base import WorldError
from envs.gym import Gym
from logbook.cli import report
from logbook.errors import Exit
from rl.collect import to_world


class Plain(gymnasium.Env):
    """Stands still; `wrong` overrides one of its methods, or one of its parts."""

    def __init__(self, wrong=None, size=3, render_mode=None):
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,))
        self.action_space = spaces.Box(-1.0, 1.0, (2,))
        self.at = 0
        for name, part in (wrong or {}).items():
            setattr(self, name, part)

    def obs(self):
        return np.zeros(self.observation_space.shape)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return self.obs(), self.info()

    def info(self):
        return {}

    def step(self, act):
        self.at += 1
        return self.obs(), 0.0, False, False, self.info()


@pytest.fixture
def make():
    """Builds a world of Plain environments in which something is wrong."""
    made = []

    def build(num_envs=1, kwargs=None, entry_point=Plain, **wrong):
        made.append(f"Plain{len(made)}-v0")
        whole = {"wrong": wrong} if wrong else {}
        gymnasium.register(made[-1], entry_point=entry_point, kwargs=whole, max_episode_steps=50)
        return Gym(
            num_envs=num_envs,
            id=made[-1],
            kwargs=kwargs or {},
            max_episode_steps=None,
            threads=0,
            allow_import=False,
        )

    yield build
    for id in made:
        gymnasium.registry.pop(id)


def told(error):
    """The one line that a command says, and its exit code."""
    import contextlib
    import io

    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = report(error)
    assert said.getvalue().count("\n") == 1 and "Traceback" not in said.getvalue()
    return said.getvalue(), code


def after(steps, good, bad):
    """A part that is good for so many calls."""
    calls = []

    def part(*args, **kwargs):
        calls.append(1)
        return good(*args, **kwargs) if len(calls) <= steps else bad(*args, **kwargs)

    return part


ZEROS = np.zeros(3)
SHAPES = [
    ((1,), np.zeros(1)),
    ((), np.float64(3.0)),
    ((4,), np.zeros(4)),
    ((3, 1), np.zeros((3, 1))),
    ((1, 3), np.zeros((1, 3))),
    ((0,), []),
]


@pytest.mark.parametrize(("shape", "value"), SHAPES)
@pytest.mark.parametrize("good", [0, 1, 5])
def test_an_observation_of_another_shape_is_refused_whenever_it_comes(make, good, shape, value):
    """At the first reset, at the first step, and in the middle of an episode."""
    with pytest.raises(WorldError) as refusal:
        one = make(obs=after(good, lambda: ZEROS, lambda: value))
        one.reset(seed=0)
        for _ in range(6):
            one.step(np.zeros((1, 2), np.float32))
    line, code = told(refusal.value)
    assert f"shape {shape}" in line and "has (3,)" in line and "env.id=Plain0-v0" in line
    assert code == Exit.CONFIG


def test_a_shape_that_ravels_to_the_right_length_is_refused(make):
    space = spaces.Box(-1, 1, (2, 3))
    with pytest.raises(WorldError, match=r"shape \(3, 2\), its space has \(2, 3\)"):
        make(observation_space=space, obs=lambda: np.zeros((3, 2)))
    one = make(observation_space=space, obs=lambda: [[1, 2, 3], [4, 5, 6]])
    assert one.reset(seed=0)[0].tolist() == [[1, 2, 3, 4, 5, 6]]


NESTED = spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Discrete(3, start=2))


@pytest.mark.parametrize(
    ("space", "value", "words"),
    [
        (NESTED, {"a": np.zeros(2)}, "obs has no 'b'"),
        (NESTED, {"a": np.zeros(3), "b": 2}, r"obs\['a'\] has shape \(3,\), its space has \(2,\)"),
        (NESTED, {"a": np.zeros(2), "b": 1}, r"obs\['b'\] is 1, .* whole number from 2 to 4"),
        (NESTED, np.zeros(3), "obs is .*wants a dict of a, b"),
        (spaces.Discrete(4), 4, "obs is 4, .* from 0 to 3"),
        (spaces.Discrete(4), 1.5, "obs is 1.5, .* from 0 to 3"),
        (spaces.Discrete(4), None, "obs is None, .*"),
        (spaces.MultiDiscrete([2, 3]), [1, 3], r"obs is \[1, 3\], which is not in"),
        (spaces.MultiBinary(2), [1, 0, 1], r"obs has shape \(3,\), its space has \(2,\)"),
        (
            spaces.Tuple([spaces.Discrete(2)] * 2),
            (1,),
            "obs is a tuple of 1, its space wants a tuple of 2",
        ),
        (spaces.Box(-1, 1, (2,)), "word", "obs is 'word', its space wants numbers"),
        (spaces.Box(-1, 1, (2,)), [1, [2]], r"obs is \[1, \[2\]\], its space"),
        (spaces.Box(-1, 1, (2,)), None, "obs is None, its space wants numbers"),
    ],
)
def test_an_observation_that_is_not_of_its_space_is_named(make, space, value, words):
    with pytest.raises(WorldError, match=f"env.id=Plain0-v0: after a reset {words}"):
        make(observation_space=space, obs=lambda: value)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.nan, r"obs\[1\] is nan"),
        (np.inf, r"obs\[1\] is inf"),
        (1e39, r"obs\[1\] is 1e\+39, beyond float32"),
    ],
)
def test_an_episode_that_begins_with_no_number_is_refused(make, bad, words):
    one = make(obs=lambda: np.array([0.0, bad, 0.0]))
    with pytest.raises(WorldError, match=f"env.id=Plain0-v0: after a reset {words}"):
        one.reset(seed=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"obs": lambda: np.array([0.0, np.nan, 0.0])},
        {"obs": lambda: np.array([0.0, 1e39, 0.0])},
        {"obs": lambda: np.array([0.0, -np.inf, 0.0])},
        {"info": lambda: {"x_position": np.nan}},
        {"info": lambda: {"x_position": 1e300}},
        {"step": lambda act: (ZEROS, np.nan, False, False, {"x_position": 0.0})},
        {"step": lambda act: (ZEROS, 1e300, False, False, {"x_position": 0.0})},
        {"step": lambda act: (ZEROS, -np.inf, True, False, {"x_position": 0.0})},
    ],
)
def test_a_step_to_no_number_ends_the_episode_and_is_not_learned_from(make, wrong, recwarn):
    part, bad = next(iter(wrong.items()))
    good = {
        "obs": lambda: ZEROS,
        "info": lambda: {"x_position": 0.0},
        "step": lambda act: (ZEROS, 1.0, False, False, {"x_position": 0.0}),
    }
    parts = {"info": good["info"], part: after(3 if part == "step" else 5, good[part], bad)}
    one = make(**parts)
    one.reset(seed=0)
    for _ in range(2):
        one.step(np.zeros((1, 2), np.float32))
    obs, rew, terminated, truncated, info = one.step(np.zeros((1, 2), np.float32))
    assert info["unstable"].all() and truncated.all() and not terminated.any() and rew[0] == 0
    assert np.isfinite(obs).all() and np.isfinite(info["feat"]).all() and one.unstable == 1
    assert np.isfinite(one._feats).all() and not list(recwarn)


def raises(error):
    def part(*args, **kwargs):
        raise error

    return part


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"reset": lambda seed=None, options=None: ZEROS}, "reset returned an array"),
        ({"reset": lambda seed=None, options=None: np.zeros(2)}, "reset returned an array"),
        (
            {"reset": lambda seed=None, options=None: (ZEROS, 1.0)},
            "its reset returned a tuple of 2",
        ),
        ({"reset": lambda seed=None, options=None: None}, "its reset returned None"),
        ({"reset": lambda: (ZEROS, {})}, "its reset raised TypeError: .*want reset"),
        ({"reset": lambda seed: (ZEROS, {})}, "its reset raised TypeError: .*want reset"),
        ({"step": lambda act: (ZEROS, 0.0, False, {})}, "its step .*want step"),
        ({"step": lambda act: (ZEROS, 0.0, False, False, None)}, "its step returned .*want step"),
        ({"step": lambda: None}, "its step raised TypeError: .*want step"),
        ({"step": lambda act: None}, "its step .*want step"),
        ({"step": lambda act: (ZEROS, None, False, False, {})}, "step's reward is None"),
        ({"step": lambda act: (ZEROS, "1", False, False, {})}, "step's reward is '1'"),
        ({"step": lambda act: (ZEROS, [1, 2], False, False, {})}, r"step's reward is \[1, 2\]"),
        ({"step": lambda act: (ZEROS, 0.0, "no", False, {})}, "step's terminated is 'no'"),
        ({"step": lambda act: (ZEROS, 0, False, [0, 1], {})}, r"step's truncated is \[0, 1\]"),
        ({"reset": raises(ValueError("port\n  gone"))}, "its reset raised ValueError: port gone$"),
        ({"step": raises(ZeroDivisionError("x"))}, "its step raised ZeroDivisionError: x$"),
        ({"step": raises(AssertionError())}, "its step raised AssertionError$"),
        ({"step": raises(SystemExit(0))}, "its step raised SystemExit: 0$"),
        ({"reset": raises(SystemExit("bye"))}, "its reset raised SystemExit: bye$"),
    ],
)
def test_what_reset_and_step_do_wrong_is_one_line(make, wrong, words):
    with pytest.raises(WorldError, match=words) as refusal:
        make(**wrong)
    line, code = told(refusal.value)
    assert line.startswith("error: env.id=Plain0-v0: ") and code == Exit.CONFIG


@pytest.mark.parametrize(
    "said",
    [
        (ZEROS, np.array([2.0]), np.array([False]), np.bool_(False), {}),
        (ZEROS.tolist(), np.float32(2), 0, np.array(False), {}),
        (torch.zeros(3), torch.tensor(2.0), torch.tensor(False), False, {}),
        (tuple(ZEROS), 2, False, np.int64(0), {}),
        (np.zeros(3, np.int8), np.array(2), False, False, {}),
    ],
)
def test_numbers_may_come_in_any_type(make, said):
    one = make(step=lambda act: said)
    one.reset(seed=0)
    obs, rew, terminated, truncated, info = one.step(np.zeros((1, 2), np.float32))
    assert rew.tolist() == [2.0] and obs.tolist() == [[0.0, 0.0, 0.0]]
    assert not terminated.any() and not truncated.any() and not info["unstable"].any()


def test_a_scalar_space_takes_scalars(make):
    one = make(observation_space=spaces.Box(-9, 9, ()), obs=lambda: 4.0)
    assert one.reset(seed=0)[0].tolist() == [[4.0]]


def test_a_signal_that_arrives_inside_an_environment_is_not_its_own(make):
    from logbook.errors import UserError

    with pytest.raises(UserError, match="^stopped$"):
        make(step=raises(UserError("stopped", Exit.AGAIN)))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"action_space": None}, "env.id=Plain0-v0 has no action_space: set self.action_space"),
        ({"observation_space": None}, "has no observation_space"),
        ({"observation_space": (3,)}, "has no observation_space"),
        ({"action_space": spaces.Box(0, np.inf, (1,))}, "Box of floats with finite bounds"),
        ({"action_space": spaces.Box(-np.inf, 0, (1,))}, "Box of floats with finite bounds"),
        ({"action_space": spaces.Box(-3e38, 3e38, (1,))}, "Box of floats with finite bounds"),
        ({"action_space": spaces.Box(0, 9, (1,), np.int64)}, "Box of floats with finite bounds"),
        ({"action_space": spaces.Dict(a=spaces.Discrete(2))}, "has the action space Dict"),
        ({"action_space": spaces.Tuple([spaces.Discrete(2)])}, "has the action space Tuple"),
        ({"action_space": spaces.MultiBinary(2)}, "has the action space MultiBinary"),
        ({"observation_space": spaces.Dict(a=spaces.Text(3))}, "has the observation space Dict"),
    ],
)
def test_spaces_that_are_missing_or_have_no_flat_form_are_refused(make, wrong, words):
    with pytest.raises(ValueError, match=words) as refusal:
        make(**wrong)
    assert "\n" not in str(refusal.value)


class Walks(Plain):
    """Stands at (5, 5) or walks from there; `says` are the keys of its infos."""

    def __init__(self, reset_says=(), step_says=(), pace=0.0, render_mode=None):
        super().__init__()
        self.says, self.pace = (reset_says, step_says), pace

    def info(self):
        x = 5.0 + self.pace * self.at
        every = {"x_position": x, "y_position": 5.0, "x_velocity": self.pace, "y_velocity": 0.0}
        return {key: every[key] for key in self.says[self.at > 0]}


BOTH = ("x_position", "y_position")
SPEEDS = ("x_velocity", "y_velocity")


@pytest.mark.parametrize(
    ("reset_says", "step_says", "names", "start"),
    [
        (BOTH, BOTH, ("x", "y"), [5.0, 5.0]),
        ((), BOTH, (), []),
        (BOTH, (), (), []),
        (("x_position",), BOTH, ("x",), [5.0]),
        (BOTH, ("y_position",), ("y",), [5.0]),
        ((), BOTH + SPEEDS, (), []),
        (BOTH, BOTH + SPEEDS, ("x", "y"), [5.0, 5.0]),
        (BOTH + SPEEDS, BOTH + SPEEDS, ("x", "y", *SPEEDS), [5.0, 5.0, 2.0, 0.0]),
    ],
)
def test_feats_after_a_reset_are_true_or_not_offered(make, reset_says, step_says, names, start):
    kwargs = {"reset_says": reset_says, "step_says": step_says, "pace": 2.0}
    one = make(entry_point=Walks, kwargs=kwargs)
    assert one.feat_names == (*names, "obs_0", "obs_1", "obs_2")
    _, info = one.reset(seed=0)
    assert info["feat"][0, : len(names)].tolist() == start


def test_a_measurement_that_comes_and_goes_is_refused(make):
    here, gone = lambda: {"x_position": 1.0}, lambda: {}
    one = make(info=after(4, here, gone))
    one.reset(seed=0)
    one.step(np.zeros((1, 2), np.float32))
    with pytest.raises(WorldError, match="a step's info has no x_position this time"):
        one.step(np.zeros((1, 2), np.float32))
    one = make(info=after(2, here, gone))
    with pytest.raises(WorldError, match="a reset's info has no x_position this time"):
        one.reset(seed=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("id", ["Ant-v4", "HalfCheetah-v4", "Humanoid-v4", "Hopper-v4", "Ant-v5"])
def test_places_that_mujoco_tasks_tell_with_steps_alone_are_measured_after_a_reset(id):
    settings = {"max_episode_steps": None, "threads": 0, "allow_import": False, "kwargs": {}}
    one = Gym(num_envs=1, id=id, **settings)
    assert {"x", "x_velocity"} <= set(one.feat_names)
    spec = one.world_spec
    for seed in range(3):
        _, info = one.reset(seed=seed)
        begun = info["feat"][0]
        assert begun[spec.column("x_velocity")] == 0  # the way of the last step: there was none
        act = np.zeros((1, spec.act_dim), np.float32)
        *_, info = one.step(act)
        way = info["feat"][0, spec.column("x_velocity")] * one.envs[0].unwrapped.dt
        moved = info["feat"][0, spec.column("x")] - begun[spec.column("x")]
        assert abs(way - moved) < 2e-4, "where it began is where its first step set out from"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_actions_never_leave_the_box(dtype):
    """Such as by one ulp at the end of an asymmetric one: Box(-2.69653, -0.916298)."""
    rng = np.random.default_rng(0)
    edges = np.sort(rng.uniform(-3, 3, (2000, 2)).round(3), 1)
    edges = np.concatenate([edges, [[-2.69653, -0.916298], [0.0, 0.1], [1.0, 1.0]]])
    space = spaces.Box(edges[:, 0].astype(dtype), edges[:, 1].astype(dtype), dtype=dtype)
    for value in (-7.0, -1.0, -0.3, 0.0, 0.999, 1.0, 7.0):
        act = to_world(torch.full((1, len(edges)), value), space)[0]
        assert space.contains(act), value
    inside = to_world(torch.full((1, len(edges)), 0.5), space)[0]
    np.testing.assert_allclose(inside, edges @ [0.25, 0.75], rtol=1e-5, atol=1e-6)


class Choosy(Plain):
    """Wants an argument, knows others, and writes into what it is given."""

    def __init__(self, name, maze=None, size=3, render_mode=None):
        if size < 0:
            raise ValueError(f"size {size} is below 0")
        super().__init__(size=size)
        self.given = (name, maze, size)
        if maze:
            maze["rows"].append("used")


def test_arguments_are_passed_on_as_they_stand(make):
    kwargs = {"name": None, "maze": {"rows": [[1, 0], "x"]}, "size": 4}
    two = make(2, kwargs, Choosy)
    want = (None, {"rows": [[1, 0], "x", "used"]}, 4)
    assert [env.unwrapped.given for env in two.envs] == [want, want]
    assert kwargs["maze"] == {"rows": [[1, 0], "x"]} and two.world_spec.obs_dim == 4


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({}, r"cannot be made here: .*'name'; give it with env\.kwargs\.name=VALUE"),
        ({"name": 1, "colour": 2}, r"with env\.kwargs\.colour=2: TypeError: .*'colour'$"),
        ({"name": 1, "size": -2}, r"with env\.kwargs\.size=-2: ValueError: size -2 is below 0$"),
        ({"name": 1, "size": "big"}, r"with env\.kwargs\..*: (TypeError|ValueError): "),
        ({"name": 1, "render_mode": "human"}, r"^env\.kwargs\.render_mode: .*videos set it"),
        ({"name": 1, "max_episode_steps": 3}, r"^env\.kwargs\.max_episode_steps: .*use env\.max_e"),
        ({"id": 1}, r"^env\.kwargs\.id: .*use env\.id"),
    ],
)
def test_arguments_that_do_not_fit_are_one_line(make, kwargs, words):
    with pytest.raises(ValueError, match=words) as refusal:
        make(1, kwargs, Choosy)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("error", [RuntimeError("no port"), KeyError("a"), SystemExit(0)])
def test_whatever_a_constructor_raises_is_one_line(make, error):
    with pytest.raises(ValueError, match=f"Plain0-v0 cannot be made here: {type(error).__name__}"):
        make(entry_point=raises(error))


def test_a_module_in_this_folder_is_told_how_to_be_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"max_episode_steps": None, "threads": 0, "allow_import": True, "kwargs": {}}
    with pytest.raises(ValueError, match="if a folder holds it: put PYTHONPATH=FOLDER before"):
        Gym(num_envs=1, id="mine_own:mine/Own-v0", **settings)
    (tmp_path / "mine_own.py").write_text("")
    with pytest.raises(ValueError, match="lies in this folder: put PYTHONPATH=. before"):
        Gym(num_envs=1, id="mine_own:mine/Own-v0", **settings)


def test_an_environment_that_fails_to_close_hurts_nobody(make):
    make(close=raises(RuntimeError("no"))).close()
    make(close=raises(SystemExit(0))).close()


@pytest.mark.parametrize(
    ("space", "value", "words"),
    [
        (spaces.Box(0, 255, (9, 8, 3), np.uint8), 0, r"images of shape \(9, 8, 3\) become 216 num"),
        (spaces.Dict(a=spaces.Box(0, 255, (4, 4), np.uint8)), 0, r"images of shape \(4, 4\)"),
        (spaces.Box(-np.inf, np.inf, (2,)), 1.7e9, r"obs\[0\] is 1.7e\+09, .* steps of 128 apart"),
        (spaces.Box(-np.inf, np.inf, (2,)), 3e7, r"obs\[0\] is 3e\+07, .* steps of 2 apart"),
        (spaces.Box(-np.inf, np.inf, (2,)), 1e6, None),
        (spaces.Box(0, 255, (7,), np.uint8), 9, None),
    ],
)
def test_what_is_taken_and_may_not_be_meant_is_remarked(make, space, value, words):
    inner = space["a"] if isinstance(space, spaces.Dict) else space
    obs = np.full(inner.shape, value, inner.dtype if inner.dtype == np.uint8 else np.float64)
    one = make(
        observation_space=space, obs=lambda: {"a": obs} if isinstance(space, spaces.Dict) else obs
    )
    if words is None:
        assert not one.remarks
    else:
        (line,) = one.remarks
        assert re.search(words, line) and line.startswith("env.id=Plain0-v0: ")
