"""dm_control: the batched worlds and the adapter against the suite itself.

Observations and episode starts are equal to the last bit; rewards too, but for the exponential,
which numpy computes for arrays and single numbers with a difference in the last place.
"""

import importlib
import types
import warnings

import numpy as np
import pytest

from envs.dmc import Dmc
from envs.suite import tolerance
from finetune.world import TaskWorld
from logbook.build import build
from logbook.config import CONFIGS, read_yaml

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dm_control import manipulation, suite
    from dm_control.utils import rewards

BATCHED = [
    ("walker", "stand"),
    ("walker", "walk"),
    ("walker", "run"),
    ("cheetah", "run"),
    ("hopper", "stand"),
    ("hopper", "hop"),
    ("quadruped", "walk"),
    ("quadruped", "run"),
    ("reacher", "easy"),
    ("reacher", "hard"),
]
DOMAINS = sorted({domain for domain, _ in BATCHED})


def batched(domain, task, num_envs=2, max_episode_steps=1000):
    module = importlib.import_module(f"envs.dmc_{domain}")
    cls = getattr(module, module.__all__[0])
    return cls(num_envs=num_envs, max_episode_steps=max_episode_steps, threads=2, task=task)


def adapted(domain, task, num_envs=1, max_episode_steps=None, **task_kwargs):
    return Dmc(
        num_envs=num_envs,
        max_episode_steps=max_episode_steps,
        threads=0,
        domain=domain,
        task=task,
        task_kwargs=task_kwargs,
    )


def original(domain, task, seed):
    if domain == "manipulation":
        return manipulation.load(task, seed=seed)
    env = suite.load(domain, task, task_kwargs={"random": seed})
    env.physics._make_rendering_contexts = lambda: None  # escape opens a window where it can
    return env


def flat(said):
    return np.concatenate([np.ravel(part) for part in said.observation.values()], dtype=np.float32)


@pytest.mark.parametrize(("domain", "task"), BATCHED)
def test_batched_worlds_equal_the_suite(domain, task):
    """Observations, rewards and episode starts, given the suite's own random numbers."""
    n = 8 if domain == "reacher" else 2
    world = batched(domain, task, n)
    theirs = [original(domain, task, seed=i) for i in range(n)]
    world.reset(seed=0)
    world._rngs = [np.random.RandomState(i) for i in range(n)]  # the same draws, by the same names
    world.action_space.seed(0)
    rewarded = 0.0
    for _ in range(2):
        obs, _ = world.reset(options={"reset_mask": np.ones(n, np.bool_)})
        np.testing.assert_array_equal(obs, [flat(env.reset()) for env in theirs])
        for _ in range(120):
            act = world.action_space.sample()
            obs, rew, *_ = world.step(act)
            said = [env.step(a) for env, a in zip(theirs, act, strict=True)]
            np.testing.assert_array_equal(obs, [flat(s) for s in said])
            np.testing.assert_allclose(rew, [s.reward for s in said], rtol=1e-14)
            rewarded += rew.sum()
    assert rewarded > 0 or domain == "hopper"  # which lies on the ground under random actions


def test_the_jaco_arm_equals_the_task_it_takes_its_starts_from():
    world = batched("jaco", "reach_site", max_episode_steps=250)
    name = "reach_site_features"
    theirs = [original("manipulation", name, seed=i) for i in range(2)]
    world.reset(seed=0)
    world._rngs = [types.SimpleNamespace(integers=lambda _, i=i: i) for i in range(2)]
    world.action_space.seed(0)
    for _ in range(2):
        obs, info = world.reset(options={"reset_mask": np.ones(2, np.bool_)})
        for env, seed in zip(theirs, range(2), strict=True):
            env.random_state.seed(seed)
        np.testing.assert_array_equal(obs, [flat(env.reset()) for env in theirs])
        for _ in range(40):
            act = world.action_space.sample()
            obs, rew, *_, info = world.step(act)
            said = [env.step(a) for env, a in zip(theirs, act, strict=True)]
            np.testing.assert_array_equal(obs, [flat(s) for s in said])
            np.testing.assert_allclose(rew, [s.reward for s in said], rtol=1e-12, atol=1e-300)
    for feat, env in zip(info["feat"], theirs, strict=True):
        hand = env.physics.named.data.site_xpos["jaco_arm/jaco_hand/pinchsite"]
        target = env.physics.named.data.site_xpos["target_site"]
        want = [*hand, *target, np.linalg.norm(hand - target)]
        np.testing.assert_allclose(feat, want, atol=1e-6)


@pytest.mark.parametrize("task", ["stand", "hop"])
def test_the_hopper_is_paid_as_in_the_suite_when_it_stands(task):
    world, theirs = batched("hopper", task, 1), original("hopper", task, 0)

    def stand(physics):
        physics.data.qvel[0] = 2.0

    theirs.task.initialize_episode = stand
    world._start = lambda rng: (np.zeros(7), np.array([2.0, 0, 0, 0, 0, 0, 0]))
    np.testing.assert_array_equal(world.reset(seed=0)[0][0], flat(theirs.reset()))
    paid = []
    for k in range(15):
        act = np.array([[0.06 * k, -0.3, 0.1, 0.0]], np.float32)
        _, rew, *_ = world.step(act)
        np.testing.assert_allclose(rew[0], theirs.step(act[0]).reward, rtol=1e-14)
        paid.append(rew[0])
    assert max(paid) > 0.1 and len(set(paid)) > 5


def test_the_walkers_flip_is_paid_as_urlb_pays_it():
    """Angular momentum of the torso's subtree, both soft bounds, on the suite's own physics."""
    world, theirs = batched("walker", "run", 1), original("walker", "run", seed=0)
    node = read_yaml(CONFIGS / "task" / "walker_flip.yaml")
    flip = TaskWorld(world, build("task", node, world=world.world_spec))
    world.reset(seed=0)
    world._rngs = [np.random.RandomState(0)]
    flip.reset(options={"reset_mask": np.ones(1, np.bool_)})
    theirs.reset()
    world.action_space.seed(0)
    spins = []
    for _ in range(120):
        act = world.action_space.sample()
        paid = flip.step(act)[1][0]
        theirs.step(act[0])
        physics = theirs.physics
        spins.append(physics.named.data.subtree_angmom["torso"][1])
        high = rewards.tolerance(physics.torso_height(), (1.2, np.inf), 0.6)
        stand = (3 * high + (1 + physics.torso_upright()) / 2) / 4
        move = rewards.tolerance(spins[-1], (5, np.inf), 5, "linear", 0)
        assert paid == pytest.approx(stand * (5 * move + 1) / 6, abs=1e-6)
    assert min(spins) < -1 and max(spins) > 1


@pytest.mark.parametrize("task", ["walker-walk", "reacher-easy"])
def test_episodes_last_as_long_as_the_suites(task):
    domain, task = task.split("-")
    world, theirs = batched(domain, task, 1), original(domain, task, 0)
    world.reset(seed=0)
    theirs.reset()
    act = np.zeros((1, *world.single_action_space.shape), np.float32)
    for _ in range(1000):
        said = theirs.step(act[0])
        *_, terminated, truncated, _ = world.step(act)
        assert not terminated[0] and truncated[0] == said.last()
        if said.last():
            break
    assert said.last() and said.discount == 1.0


@pytest.mark.parametrize("domain", DOMAINS)
def test_feats_say_where_the_suites_agent_is(domain):
    task = dict(BATCHED)[domain]
    world = batched(domain, task, 3)
    world.reset(seed=0)
    world.action_space.seed(0)
    spec = world.world_spec
    before = None
    for _ in range(30):
        before = world.qpos.copy()
        *_, info = world.step(world.action_space.sample())
    feat = dict(zip(spec.feat_names, info["feat"].T, strict=True))
    assert set(spec.motion) | set(spec.plane) <= set(feat)
    if domain == "reacher":
        angle = np.cumsum(world.qpos, 1)
        for axis, of in (("x", np.cos), ("y", np.sin)):
            np.testing.assert_allclose(feat[f"finger_{axis}"], 0.12 * of(angle).sum(1), atol=1e-6)
        gap = np.hypot(feat["finger_x"] - feat["target_x"], feat["finger_y"] - feat["target_y"])
        np.testing.assert_allclose(feat["distance"], gap, atol=1e-6)
        return
    root = 1 if domain == "walker" else 0  # where x is in qpos
    np.testing.assert_allclose(feat["x"], world.qpos[:, root], atol=1e-6)
    speed = (world.qpos - before)[:, root] / world.dt
    np.testing.assert_allclose(feat["x_velocity"], speed, rtol=1e-4, atol=1e-5)
    # less than a second has passed: the mean is over the whole episode
    state = world.state_dict()["world"]["trail"]
    began = state["past"][0][:, root]
    mean = (world.qpos[:, root] - began) / (30 * world.dt)
    if 30 * world.dt < 1:
        np.testing.assert_allclose(feat["x_velocity_1s"], mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("domain", DOMAINS)
def test_saved_batched_worlds_go_on_alike_and_divergence_is_contained(domain):
    task = dict(BATCHED)[domain]
    first, second = batched(domain, task, 3), batched(domain, task, 3)
    first.reset(seed=4)
    first.action_space.seed(1)
    for _ in range(40):
        first.step(first.action_space.sample())
    second.load_state_dict(first.state_dict())
    for k in range(60):
        act = first.action_space.sample()
        other = act.copy()
        if k == 20:
            other[1] = np.nan
        a, b = first.step(act), second.step(other)
        same = [0, 2] if k >= 20 else [0, 1, 2]  # world 1 diverged in the second batch only
        for x, y in zip(a[:2], b[:2], strict=True):
            np.testing.assert_array_equal(x[same], y[same])
        np.testing.assert_array_equal(a[4]["feat"][same], b[4]["feat"][same])
        if k == 20:
            assert b[3].tolist() == b[4]["unstable"].tolist() == [False, True, False]
            assert np.isfinite(b[0]).all() and b[1][1] == 0
            second.reset(options={"reset_mask": b[3]})
        if k == 40:
            mask = np.array([True, False, True])
            a, b = (w.reset(options={"reset_mask": mask}) for w in (first, second))
            np.testing.assert_array_equal(a[0][mask], b[0][mask])


def test_cheetahs_begin_at_rest_on_the_ground():
    world = batched("cheetah", "run", 16)
    obs, _ = world.reset(seed=0)
    assert np.abs(world.qvel).max() < 0.5 and len(np.unique(obs, axis=0)) == 16


@pytest.mark.parametrize("x", [0.3, np.linspace(-3, 3, 61)])
def test_tolerance_is_the_suites(x):
    for shape in ("gaussian", "linear", "quadratic"):
        want = rewards.tolerance(np.asarray(x), (0.2, 0.7), 1.3, shape, 0.25)
        got = tolerance(np.asarray(x), 0.2, 0.7, margin=1.3, at_margin=0.25, shape=shape)
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(
        tolerance(np.asarray(x), 0, 1), rewards.tolerance(np.asarray(x), (0, 1))
    )
    with pytest.raises(ValueError, match="cosine"):
        tolerance(np.asarray(x), margin=1.0, shape="cosine")


def test_an_unknown_task_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="env.task=trot .*choose stand, walk, run"):
        batched("walker", "trot")
    with pytest.raises(ValueError, match="env.domain=cheeta .*did you mean cheetah"):
        adapted("cheeta", "run")
    with pytest.raises(ValueError, match="env.task=runn .*did you mean run"):
        adapted("cheetah", "runn")
    with pytest.raises(ValueError, match="env.task=reach_site .*did you mean reach_site_"):
        adapted("manipulation", "reach_site")


@pytest.mark.parametrize(("domain", "task"), suite.ALL_TASKS)
def test_every_task_of_the_suite_loads_and_steps(domain, task):
    world = adapted(domain, task, max_episode_steps=2)
    obs, info = world.reset(seed=0)
    world.action_space.seed(0)
    act = world.action_space.sample()
    _, rew, _, truncated, after = world.step(act)
    assert np.isfinite(obs).all() and np.isfinite(rew).all() and not truncated[0]
    assert after["feat"].shape == (1, world.world_spec.feat_dim)
    assert not np.array_equal(info["feat"], after["feat"]) or domain == "finger"
    assert world.step(act)[3][0]


@pytest.mark.parametrize(
    ("domain", "task"),
    [
        ("cheetah", "run"),
        ("ball_in_cup", "catch"),
        ("manipulator", "bring_ball"),
        ("quadruped", "escape"),
        ("manipulation", "reach_site_features"),
    ],
)
def test_the_adapter_equals_the_task_and_resumes(domain, task):
    world, again, theirs = adapted(domain, task), adapted(domain, task), original(domain, task, 9)
    obs, _ = world.reset(seed=9)
    np.testing.assert_array_equal(obs[0], flat(theirs.reset()))
    world.action_space.seed(0)
    for k in range(30):
        act = world.action_space.sample()
        obs, rew, *_ = out = world.step(act)
        said = theirs.step(act[0])
        np.testing.assert_array_equal(obs[0], flat(said))
        assert rew[0] == said.reward
        if k >= 15:
            twin = again.step(act)
            np.testing.assert_array_equal(twin[0], obs)
            np.testing.assert_array_equal(twin[4]["feat"], out[4]["feat"])
        elif k == 14:
            again.load_state_dict(world.state_dict())
    mask = np.ones(1, np.bool_)
    a, b = (w.reset(options={"reset_mask": mask}) for w in (world, again))
    np.testing.assert_array_equal(a[0], b[0])


def test_the_adapter_tells_time_limits_endings_and_divergence_apart():
    world, theirs = adapted("manipulation", "reach_site_features"), None
    assert world.max_episode_steps == 250  # 10 s of 0.04 s
    world.reset(seed=0)
    theirs = original("manipulation", "reach_site_features", 0)
    theirs.reset()
    still = np.zeros((1, 9), np.float32)
    for _ in range(250):
        _, _, terminated, truncated, _ = world.step(still)
        said = theirs.step(still[0])
        assert truncated[0] == said.last()
    assert truncated[0] and not terminated[0]

    solved = adapted("lqr", "lqr_2_1")  # ends when the state is 0
    solved.reset(seed=0)
    physics = solved.envs[0].physics
    physics.data.qpos[:] = physics.data.qvel[:] = 0.0
    physics.forward()
    _, _, terminated, truncated, _ = solved.step(np.zeros((1, 1), np.float32))
    assert terminated[0] and not truncated[0]

    wild = adapted("walker", "walk")
    before, _ = wild.reset(seed=0)
    obs, rew, terminated, truncated, info = wild.step(np.full((1, 6), np.nan, np.float32))
    assert info["unstable"][0] and truncated[0] and not terminated[0] and rew[0] == 0
    np.testing.assert_array_equal(obs, before)


def test_arguments_reach_the_suites_task():
    assert adapted("cheetah", "run", time_limit=0.5).max_episode_steps == 50
    slow = adapted("cheetah", "run", environment_kwargs={"control_timestep": 0.02})
    assert slow.dt == 0.02
    for kwargs, words in [
        ({"wheels": 3}, r"env.task_kwargs.wheels=3: TypeError: .*'wheels'"),
        ({"random": 3}, "env.task_kwargs.random: episodes are seeded by the run"),
    ]:
        with pytest.raises(ValueError, match=words):
            adapted("cheetah", "run", **kwargs)
    with pytest.raises(ValueError, match="env.task_kwargs.x: manipulation tasks take no arguments"):
        adapted("manipulation", "reach_site_features", x=1)
