"""Downstream tasks: every yaml fits a world, rewards equal their formulas and dm_control's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs import make_default
from envs.suite import tolerance
from finetune.task.formula import Formula
from finetune.task.waypoints import Waypoints
from finetune.world import TaskWorld
from logbook.build import build
from logbook.config import CONFIGS, read_yaml
from logbook.errors import UserError

NODES = {p.stem: dict(read_yaml(p)) for p in sorted((CONFIGS / "task").glob("*.yaml"))}
WORLD_OF = {
    "stand": "dmc_walker",
    "walker": "dmc_walker",
    "quadruped": "dmc_quadruped",
    "reach": "dmc_reacher",
    "goal": "point",
    "waypoints": "point",
}


def task_world(node: str, env: str, n: int = 3, **over: Any) -> TaskWorld:
    world = make_default(env, num_envs=n, **over)
    return TaskWorld(world, build("task", NODES[node], world=world.world_spec))


def formula(world: Any, reward: str, success: str | None = None, ends: bool = False) -> TaskWorld:
    made = Formula(world=world.world_spec, title="t", reward=reward, success=success, ends=ends)
    return TaskWorld(world, made)


def acts(world: TaskWorld, rng: np.random.Generator) -> np.ndarray:
    low, high = world.single_action_space.low, world.single_action_space.high
    shape = (world.num_envs, *low.shape)
    return rng.uniform(low, high, shape).astype(np.float32)


@pytest.mark.parametrize("task", NODES)
def test_every_task_has_a_title_and_fits_a_world(task: str) -> None:
    env = WORLD_OF.get(task.partition("_")[0], "cheetah")
    env = "dmc_jaco" if task.startswith("reach_") else env
    world = task_world(task, env)
    world.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(3):
        _, rew, *_, info = world.step(acts(world, rng))
        assert rew.shape == info["success"].shape == (3,)
        assert np.isfinite(rew).all()
    assert NODES[task]["title"] == task
    assert world.taken == 9
    world.close()


def test_reward_equals_the_formula_on_the_worlds_own_numbers() -> None:
    world = task_world("run_forward", "cheetah")
    twin = make_default("cheetah", num_envs=3)
    rng = np.random.default_rng(1)
    world.reset(seed=5)
    twin.reset(seed=5)
    speed = twin.feat_names.index("x_velocity")
    for _ in range(10):
        act = acts(world, rng)
        _, rew, *_ = world.step(act)
        _, own, *_, info = twin.step(act)
        want = info["feat"][:, speed].astype(np.float64) - 0.05 * (act.astype(float) ** 2).sum(1)
        np.testing.assert_allclose(rew, want, rtol=1e-12)
        assert np.abs(rew - own).max() > 1e-3, "it is not the world's own reward"


@pytest.mark.parametrize(
    "task, env, own, near",
    [
        ("walker_stand", "dmc_walker", {"task": "stand"}, 1e-6),
        ("native", "dmc_walker", {"task": "run"}, 0.0),
        ("native", "dmc_quadruped", {"task": "run"}, 0.0),
        ("reach", "dmc_jaco", {}, 1e-4),
    ],
)
def test_urlb_tasks_equal_dm_controls_rewards(
    task: str, env: str, own: dict[str, str], near: float
) -> None:
    """The batched worlds' own rewards equal dm_control's step for step (tests of envs)."""
    world = task_world(task, env, 2, **own)
    twin = make_default(env, num_envs=2, **own)
    world.reset(seed=2)
    twin.reset(seed=2)
    rng = np.random.default_rng(0)
    for _ in range(12):
        act = acts(world, rng)
        _, rew, *_ = world.step(act)
        _, want, *_ = twin.step(act)
        np.testing.assert_allclose(rew, want, atol=near, rtol=0)
    world.close()
    twin.close()


@pytest.mark.parametrize(
    "corner, x, y",
    [("top_left", -1, 1), ("top_right", 1, 1), ("bottom_left", -1, -1), ("bottom_right", 1, -1)],
)
def test_jacos_corners_are_urlbs(corner: str, x: int, y: int) -> None:
    spec = make_default("dmc_jaco", num_envs=1).world_spec
    task = build("task", NODES[f"reach_{corner}"], world=spec)
    off = np.array([[0.03, 0, 0], [0, 0.06, 0], [0, 0, 0.1], [0.2, 0, 0]])
    feat = np.zeros((4, len(spec.feat_names)), np.float32)
    feat[:, :3] = np.array([0.09 * x, 0.09 * y, 0.001]) + off
    none = np.zeros(4)
    act = np.zeros((4, spec.act_dim))
    paid, success, _ = task.judge(feat, feat, act, none, task.begin(4))
    want = tolerance(np.array([0.03, 0.06, 0.1, 0.2]), 0.0, 0.05, margin=0.05)
    np.testing.assert_allclose(paid, want, atol=1e-5)
    assert success.tolist() == [True, False, False, False]


def test_success_ends_an_episode_only_if_asked() -> None:
    for ends in (False, True):
        inner = make_default("point", num_envs=2, step_size=0.5)
        world = formula(inner, "0", "x > 1", ends)
        world.reset(seed=0)
        act = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
        ended = np.zeros(2, bool)
        for _ in range(5):
            _, _, terminated, truncated, info = world.step(act)
            ended |= terminated
            if terminated.any():
                assert (info["success"] == terminated).all() and not truncated.any()
                break
        assert ended.tolist() == [ends, False] and world.solved.tolist() == [True, False]
        world.reset(options={"reset_mask": np.array([True, False])})
        assert not world.solved.any()


@pytest.mark.parametrize("env", ["point", "ant"])
def test_pictures_of_waypoints_show_the_places(env: str) -> None:
    inner = make_default(env, num_envs=1)
    node = {**NODES["waypoints"], "at": [[2.0, 0.0]], "radius": 1.2}
    world = TaskWorld(inner, build("task", node, world=inner.world_spec))
    try:
        world.reset(seed=0)
        row = world.snapshot()[0]
        try:
            shown = world.draw(row, 96, 64).astype(int)
        except RuntimeError as reason:
            pytest.skip(str(reason))
        inner.places = np.zeros((0, 3))
        changed = np.argwhere((shown != world.draw(row, 96, 64)).any(-1))
        assert 20 < len(changed) < 96 * 64 / 4
        assert (changed[:, 1] > 96 / 2).all()  # +x is to the right
    finally:
        world.close()


def test_waypoints_are_paid_once_and_in_order() -> None:
    inner = make_default("point", num_envs=2, step_size=0.5)
    task = Waypoints(
        world=inner.world_spec,
        title="w",
        at=[[3.0, 0.0], [3.0, 3.0]],
        radius=1.01,
        reward="reached - 0.001*to_go",
        ends=True,
    )
    world = TaskWorld(inner, task)
    obs, info = world.reset(seed=0)
    assert obs.shape == (2, 6) and world.world_spec.obs_dim == 6
    assert (obs[:, 2:4] == [1, 0]).all()
    assert np.allclose(obs[:, 4:], [3, 0] - info["feat"][:, :2])
    right, up = [1.0, 0.0], [0.0, 1.0]
    # World 0 goes right, then up; world 1 goes up first, where the second place does not pay yet.
    ways = [([right] * 6 + [up] * 6), ([up] * 6 + [right] * 6)]
    paid, stages = np.zeros(2), []
    for t in range(12):
        act = np.array([ways[0][t], ways[1][t]], np.float32)
        obs, rew, terminated, _, info = world.step(act)
        x, y = info["feat"][0, :2]
        paid += rew > 0.5
        stages.append(obs[:, 2:4].copy())
        following = np.array([[3.0, 0.0] if s[0] else [3.0, 3.0] for s in stages[-1]])
        going = stages[-1].any(1, keepdims=True)
        assert np.allclose(obs[:, 4:], going * (following - info["feat"][:, :2]), atol=1e-6)
        if terminated[0]:
            assert np.hypot(x - 3, y - 3) <= 1.01
            break
    assert paid.tolist() == [2, 0]
    assert stages[-1][0].tolist() == [0, 0] and stages[-1][1].tolist() == [1, 0]
    assert any(s[0].tolist() == [0, 1] for s in stages)
    saved = world.state_dict()
    again = TaskWorld(make_default("point", num_envs=2, step_size=0.5), task)
    again.reset(seed=1)
    again.load_state_dict(saved)
    assert again.taken == world.taken and again.solved.tolist() == [True, False]
    mask = np.array([True, False])
    one, info = world.reset(options={"reset_mask": mask})
    two, _ = again.reset(options={"reset_mask": mask})
    assert np.array_equal(one, two) and one[:, 2:4].tolist() == [[1, 0], [1, 0]]
    assert np.allclose(one[0, 4:], [3, 0] - info["feat"][0, :2])


def test_a_world_without_the_feat_is_refused_with_the_feats_it_has() -> None:
    spec = make_default("point", num_envs=1).world_spec
    with pytest.raises(UserError, match="height at column 1 is no feat of point.*It has x, y"):
        build("task", NODES["jump"], world=spec)
    with pytest.raises(UserError, match="task.ends=true needs task.success"):
        build("task", {**NODES["jump"], "reward": "x", "ends": True}, world=spec)
