"""Locomotion families: their rewards, their endings, and the models of the dynamics."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from envs.mujoco import gymnasium_model
from logbook.errors import UserError
from tests.families import acts, family

Array = NDArray[Any]
RUNNERS = ("cheetah_direction", "cheetah_velocity", "ant_direction", "ant_velocity", "ant_goal")
DYNAMICS = {"walker_dynamics": "walker2d_v5.xml", "hopper_dynamics": "hopper.xml"}


# The runners


def expected(name: str, tasks: Any, before: Array, act: Array, contact: Array) -> Array:
    """The published rewards from positions alone: qpos before and after, and the act."""
    qpos, goal = tasks.world.qpos, tasks.tasks
    speed = (qpos[:, 0] - before[:, 0]) / 0.05
    cost = (act.astype(np.float64) ** 2).sum(1)
    rewards = {
        "cheetah_direction": goal[:, 0] * speed - 0.05 * cost,
        "cheetah_velocity": -abs(speed - goal[:, 0]) - 0.05 * cost,
        "ant_direction": goal[:, 0] * speed - 0.5 * cost + 1.0 - contact,
        "ant_velocity": 1.05 - abs(speed - goal[:, 0]) - 0.005 * cost - contact,
        "ant_goal": -abs(qpos[:, :2] - goal[:, -2:]).sum(1) - 0.1 * cost - contact,
    }
    return rewards[name]


@pytest.mark.parametrize("name", RUNNERS)
def test_rewards_are_the_published_formulas(name: str) -> None:
    tasks = family(name, 6, episode_steps=40)
    tasks.enter(tasks.sample(6, np.random.default_rng(1), held_out=False))
    tasks.reset()
    hit = 0.0
    for act in acts(tasks, 40):
        before = tasks.world.qpos.copy()
        obs, rew, terminated, truncated, info = tasks.step(act)
        assert obs.shape == (6, tasks.spec.obs_dim) and obs.dtype == np.float32
        contact = np.zeros(6)
        if name.startswith("ant"):
            contact = 5e-4 * (np.clip(tasks.world.batch.bind("cfrc_ext"), -1, 1) ** 2).sum((1, 2))
        hit = max(hit, contact.max())
        np.testing.assert_allclose(rew, expected(name, tasks, before, act, contact), atol=1e-5)
        np.testing.assert_allclose(info["feat"][:, 0], tasks.world.qpos[:, 0], atol=1e-6)
        ended = terminated | truncated
        if ended.any():
            tasks.reset(ended)
    assert truncated.any()
    assert (hit > 0) == name.startswith("ant")


@pytest.mark.parametrize(
    "name, low, high",
    [("ant_direction", 0.0, 1.0), ("ant_velocity", 0.2, 1.0), ("ant_goal", -np.inf, np.inf)],
)
def test_ants_end_at_the_heights_of_their_paper(name: str, low: float, high: float) -> None:
    tasks = family(name, 6)
    tasks.reset()
    heights = np.array([0.75, 0.12, -0.1, 1.01, 0.99, 0.21])
    tasks.world.qpos[:, 2] = heights  # a real ant is pushed out of the floor at once
    own, terminated = tasks.world._outcome(np.zeros((6, 8)), tasks.world.qpos.copy())
    np.testing.assert_array_equal(terminated, (heights < low) | (heights > high))
    np.testing.assert_array_equal(own, np.zeros(6))
    tasks.reset()
    tasks.world.qpos[:, 2] = [0.75, 0.7, 0.8, 2.0, 3.0, 0.75]
    _, _, terminated, _, _ = tasks.step(np.zeros((6, 8), np.float32))
    np.testing.assert_array_equal(terminated, tasks.world.qpos[:, 2] > high)


def test_a_family_over_directions_has_both() -> None:
    for name in ("cheetah_direction", "ant_direction"):
        tasks = family(name, 2)
        drawn = tasks.sample(1000, np.random.default_rng(0), held_out=True)
        assert set(drawn[:, 0]) == {-1.0, 1.0} and abs(drawn.mean()) < 0.1


def test_targets_and_goals_fill_their_ranges() -> None:
    rng = np.random.default_rng(0)
    for name, top in (("cheetah_velocity", 2.0), ("ant_velocity", 3.0)):
        drawn = family(name, 1).sample(2000, rng, held_out=False)
        assert 0 <= drawn.min() < 0.01 and top - 0.01 < drawn.max() <= top
        assert drawn.mean() == pytest.approx(top / 2, abs=0.06)
    far = np.hypot(*family("ant_goal", 1).sample(4000, rng, held_out=False).T)
    assert far.max() <= 3.0
    assert (far < 1.5).mean() == pytest.approx(0.25, abs=0.03)  # uniform in area


def test_obs_tell_the_place_where_they_should() -> None:
    for name, params, cols in (
        ("cheetah_direction", {"torso": True}, [0]),
        ("cheetah_velocity", {"torso": True}, [0]),
        ("ant_goal", {}, [0, 1]),
    ):
        tasks = family(name, 3, **params)
        obs, info = tasks.reset()
        np.testing.assert_array_equal(obs[:, -len(cols) :], info["feat"][:, cols])
        plain = 17 if "cheetah" in name else 105
        assert obs.shape[1] == tasks.spec.obs_dim == plain + len(cols)
        obs, _, _, _, info = tasks.step(acts(tasks, 1)[0])
        np.testing.assert_array_equal(obs[:, -len(cols) :], info["feat"][:, cols])
        assert obs[:, -len(cols) :].any()


def test_a_step_that_diverged_earns_nothing() -> None:
    tasks = family("cheetah_velocity", 3)
    tasks.enter(np.full((3, 1), 1.5))
    tasks.reset()
    tasks.world.qvel[1] = 1e12
    _, rew, terminated, truncated, info = tasks.step(np.zeros((3, 6), np.float32))
    assert info["unstable"].tolist() == truncated.tolist() == [False, True, False]
    assert rew[1] == 0.0 and not terminated.any() and (rew[[0, 2]] < -1.0).all()


# The dynamics


def changed(file: str, fields: dict[str, Array], i: int) -> mujoco.MjModel:
    """A model of its own with these fields, and everything derived from them by mj_setConst."""
    model = gymnasium_model(file)
    for key, values in fields.items():
        getattr(model, key)[:] = values[i]
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


@pytest.mark.parametrize("name", DYNAMICS)
def test_every_world_is_a_model_of_its_own_bit_for_bit(name: str) -> None:
    n = 5
    tasks = family(name, n)
    drawn = tasks.sample(n, np.random.default_rng(2), held_out=False)
    tasks.enter(tasks.sample(n, np.random.default_rng(1), held_out=False))  # leaves no trace
    tasks.reset()
    tasks.enter(drawn)
    tasks.reset()
    moves = acts(tasks, 30)
    fields = tasks.fields(drawn)
    models = [changed(DYNAMICS[name], fields, i) for i in range(n)]
    datas = [mujoco.MjData(model) for model in models]
    for i, (model, data) in enumerate(zip(models, datas, strict=True)):
        data.qpos[:], data.qvel[:] = tasks.world.qpos[i], tasks.world.qvel[i]
        mujoco.mj_forward(model, data)
    touched = np.zeros(n, np.bool_)
    alive = np.ones(n, np.bool_)
    for act in moves:
        before = tasks.world.qpos.copy()
        _, rew, terminated, truncated, _ = tasks.step(act)
        for i in np.flatnonzero(alive):
            datas[i].ctrl[:] = act[i]
            mujoco.mj_step(models[i], datas[i], tasks.world.frame_skip)
            np.testing.assert_array_equal(tasks.world.qpos[i], datas[i].qpos)
            np.testing.assert_array_equal(tasks.world.qvel[i], datas[i].qvel)
            touched[i] |= datas[i].ncon > 0
        speed = (tasks.world.qpos[:, 0] - before[:, 0]) / 0.008
        np.testing.assert_allclose(
            rew, speed + ~terminated - 1e-3 * (act.astype(np.float64) ** 2).sum(1), atol=1e-9
        )
        alive &= ~(terminated | truncated)
        if (terminated | truncated).any():
            tasks.reset(terminated | truncated)
    assert touched.sum() >= 3, "friction was put to the test"


@pytest.mark.parametrize("name", DYNAMICS)
def test_everything_mujoco_derives_follows(name: str) -> None:
    """Field for field against mj_setConst on a model that was changed by hand."""
    tasks = family(name, 3)
    drawn = tasks.sample(3, np.random.default_rng(4), held_out=False)
    tasks.enter(drawn)
    fields = tasks.fields(drawn)
    plain, moved = gymnasium_model(DYNAMICS[name]), set()
    for i in range(3):
        ours, theirs = tasks.world.batch.get_model(i), changed(DYNAMICS[name], fields, i)
        for key in dir(theirs):
            value = getattr(theirs, key)
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(getattr(ours, key), value, err_msg=key)
                if not np.array_equal(value, getattr(plain, key)):
                    moved.add(key)
        assert ours.stat.meaninertia == theirs.stat.meaninertia == plain.stat.meaninertia
    derived = {"body_subtreemass", "dof_M0", "dof_invweight0", "body_invweight0"}
    assert derived <= moved and {*fields} <= moved


def test_factors_are_drawn_as_in_the_benchmark() -> None:
    tasks = family("walker_dynamics", 1)
    assert tasks.task_dim == 28 and len(set(tasks.task_names)) == 28
    assert family("hopper_dynamics", 1).task_dim == 16
    drawn = np.log(tasks.sample(3000, np.random.default_rng(0), held_out=False))
    damping = np.array([name.startswith("damping") for name in tasks.task_names])
    assert damping.sum() == 6
    for part, base in ((~damping, 1.5), (damping, 1.3)):
        top = 3.0 * np.log(base)
        assert np.abs(drawn[:, part]).max() <= top
        np.testing.assert_allclose(drawn[:, part].std(0), top / np.sqrt(3), rtol=0.05)
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.eye(28), atol=0.08)


def test_factors_change_what_they_name_and_obs_do_not_tell() -> None:
    tasks = family("walker_dynamics", 2)
    plain = gymnasium_model("walker2d_v5.xml")
    ones = np.ones((1, 28))
    for key, values in tasks.fields(ones).items():
        np.testing.assert_array_equal(values[0], getattr(plain, key))
    for name, key, place in (
        ("mass_torso", "body_mass", (1,)),
        ("inertia_foot_left", "body_inertia", (7,)),
        ("damping_leg_joint", "dof_damping", (4,)),
        ("friction_floor", "geom_friction", (0,)),
    ):
        row = ones.copy()
        row[0, tasks.task_names.index(name)] = 2.0
        values = tasks.fields(row)
        np.testing.assert_array_equal(values[key][0][place], 2.0 * getattr(plain, key)[place])
        off = sum((v[0] != getattr(plain, k)).any(-1).sum() for k, v in values.items())
        assert off == 1
    rows = tasks.sample(2, np.random.default_rng(0), held_out=False)
    tasks.enter(rows)
    first, _ = tasks.reset()
    again = family("walker_dynamics", 2)
    again.enter(rows[::-1])
    np.testing.assert_array_equal(first, again.reset()[0])


@pytest.mark.parametrize("name", [*RUNNERS, *DYNAMICS, "point_goal", "point_corner"])
def test_a_loaded_copy_goes_on_bit_for_bit(name: str) -> None:
    tasks, copy = family(name, 4, seed=3), family(name, 4, seed=8)
    tasks.enter(tasks.sample(4, np.random.default_rng(0), held_out=False))
    tasks.reset()
    moves = acts(tasks, 24)
    for t, act in enumerate(moves):
        if t == 12:
            copy.load_state_dict(tasks.state_dict())
        results = [family.step(act) for family in ((tasks, copy) if t >= 12 else (tasks,))]
        ended = results[0][2] | results[0][3]
        ended[t % 4] = True  # a learner may also cut an episode
        results += [family.reset(ended) for family in ((tasks, copy) if t >= 12 else (tasks,))]
        if t >= 12:
            for ours, theirs in zip(results[::2], results[1::2], strict=True):
                for a, b in zip(ours[:-1], theirs[:-1], strict=True):
                    np.testing.assert_array_equal(a, b)
                np.testing.assert_array_equal(ours[-1]["feat"], theirs[-1]["feat"])


@pytest.mark.parametrize(
    "name, params",
    [
        ("point_goal", {"episode_steps": 0}),
        ("cheetah_velocity", {"fastest": 0.0}),
        ("ant_velocity", {"fastest": -1.0}),
        ("ant_goal", {"radius": 0.0}),
        ("hopper_dynamics", {"limit": 0.0}),
        ("walker_dynamics", {"episodes": 0}),
    ],
)
def test_values_out_of_range_are_refused(name: str, params: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=str(next(iter(params.values())))):
        family(name, 1, **params)
