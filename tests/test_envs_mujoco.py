"""Gymnasium's locomotion worlds, batched: equal to Gymnasium's own, safe when physics diverges."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")  # read once, when mujoco is imported

import gymnasium
import mujoco
import numpy as np
import pytest

import envs
from envs.mujoco import Trail, gymnasium_model

IDS = {
    "cheetah": "HalfCheetah-v5",
    "ant": "Ant-v5",
    "hopper": "Hopper-v5",
    "walker2d": "Walker2d-v5",
    "humanoid": "Humanoid-v5",
    "swimmer": "Swimmer-v5",
}
ROOT = Path(envs.__file__).parent.parent


def build(name: str, num_envs: int, **params: Any) -> Any:
    return envs.make(name, num_envs=num_envs, **{"threads": 1, "max_episode_steps": 1000, **params})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", IDS)
def test_equal_to_gymnasium_step_for_step(name: str) -> None:
    limit, n = 70, 3
    world = build(name, n, max_episode_steps=limit, threads=2)
    peers = [gymnasium.make(IDS[name], max_episode_steps=limit) for _ in range(n)]
    for peer, space in ((peers[0], world.single_action_space),):
        np.testing.assert_array_equal(peer.action_space.low, space.low)
        np.testing.assert_array_equal(peer.action_space.high, space.high)
        assert peer.unwrapped.dt == world.dt
    obs, _ = world.reset(seed=7)
    for i, peer in enumerate(peers):
        np.testing.assert_array_equal(obs[i], peer.reset(seed=7 + i)[0].astype(np.float32))
    world.action_space.seed(0)
    ends = 0
    for _ in range(150):
        act = world.action_space.sample()
        obs, rew, terminated, truncated, info = world.step(act)
        for i, peer in enumerate(peers):
            peer_obs, peer_rew, ended, cut, told = peer.step(act[i])
            np.testing.assert_array_equal(obs[i], peer_obs.astype(np.float32))
            assert abs(rew[i] - peer_rew) < 1e-12
            assert terminated[i] == ended and truncated[i] == (cut and not ended)
            assert info["feat"][i, 0] == np.float32(told["x_position"])
        ended = terminated | truncated
        if ended.any():
            ends += ended.sum()
            obs, _ = world.reset(options={"reset_mask": ended})
            for i in np.flatnonzero(ended):
                np.testing.assert_array_equal(obs[i], peers[i].reset()[0].astype(np.float32))
    assert ends >= 2 * n


@pytest.mark.parametrize("name", IDS)
def test_feats_say_where_and_how_fast(name: str) -> None:
    world = build(name, 2)
    world.reset(seed=0)
    world.action_space.seed(1)
    places, feats = [world.qpos[:, 0].copy()], []
    for _ in range(40):
        _, _, terminated, _, info = world.step(0.3 * world.action_space.sample())
        places.append(world.qpos[:, 0].copy())
        feats.append(dict(zip(world.feat_names, info["feat"].T, strict=True)))
        if terminated.any():
            break
    last, back = feats[-1], min(len(feats), round(1 / world.dt))
    speed = (places[-1] - places[-2]) / world.dt
    pace = (places[-1] - places[-1 - back]) / (back * world.dt)
    np.testing.assert_allclose(last["x"], places[-1], rtol=1e-6)
    np.testing.assert_allclose(last["x_velocity"], speed, rtol=1e-5)
    np.testing.assert_allclose(last["x_velocity_1s"], pace, rtol=1e-5)
    assert abs(pace).max() > 1e-4 and not np.allclose(speed, pace, rtol=0.01)


def test_attitude_of_a_free_body() -> None:
    world = build("ant", 2)
    world.reset(seed=0)
    half = np.pi / 8
    world.qpos[0, 3:7] = 2 * np.cos(half), 0, 0, 2 * np.sin(half)  # yaw 45 degrees, norm 2
    world.qpos[1, 3:7] = np.cos(half), np.sin(half), 0, 0  # roll 45 degrees
    feat = dict(zip(world.feat_names, world._feat().T, strict=True))
    np.testing.assert_allclose(feat["yaw"], [np.pi / 4, 0], atol=1e-6)
    np.testing.assert_allclose(feat["upright"], [1, np.sqrt(0.5)], atol=1e-6)


def test_trail_is_the_mean_over_the_last_second() -> None:
    trail = Trail(2, 1, 0.25)
    trail.begin(np.array([0, 1]), np.zeros((2, 1)))
    assert trail.velocity().tolist() == [[0.0], [0.0]]
    for x in (1.0, 3.0, 6.0, 10.0, 15.0):
        trail.push(np.array([[x], [-x]]))
    assert trail.velocity().tolist() == [[14.0], [-14.0]]  # from 1 to 15 in the last four steps
    trail.begin(np.array([1]), np.array([[5.0]]))
    trail.push(np.array([[21.0], [6.0]]))
    assert trail.velocity().tolist() == [[18.0], [4.0]]  # world 1 is only 0.25 s old


@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e13])
@pytest.mark.parametrize("name", ["cheetah", "ant", "humanoid"])
def test_divergence_ends_the_episode_and_stays_alone(name: str, poison: float) -> None:
    world, healthy = build(name, 3), build(name, 3)
    world.reset(seed=0), healthy.reset(seed=0)
    world.action_space.seed(0)
    mask = np.array([False, True, False])
    for count in (1, 2):  # MuJoCo's counters start again at each, so the second is the harder
        for _ in range(5):
            act = world.action_space.sample()
            kept, _, _, _, told = world.step(act)
            healthy.step(act)
        world.qvel[1] = poison
        act = world.action_space.sample()
        obs, rew, terminated, truncated, info = world.step(act)
        fine, fine_rew, *_ = healthy.step(act)
        assert info["unstable"].tolist() == truncated.tolist() == mask.tolist()
        assert not terminated.any() and world.unstable == count
        assert rew[1] == 0.0
        np.testing.assert_array_equal(obs[1], kept[1])
        np.testing.assert_array_equal(info["feat"][1], told["feat"][1])
        np.testing.assert_array_equal(obs[[0, 2]], fine[[0, 2]])
        np.testing.assert_array_equal(rew[[0, 2]], fine_rew[[0, 2]])
        obs, _ = world.reset(options={"reset_mask": mask})
        healthy.reset(options={"reset_mask": mask})
        assert np.isfinite(obs).all()


def test_divergence_in_the_middle_of_a_step_is_seen() -> None:
    world = build("cheetah", 2)
    world.reset(seed=0)
    act = np.zeros((2, 6), np.float32)
    act[1] = np.nan
    obs, rew, _, truncated, info = world.step(act)
    assert info["unstable"].tolist() == truncated.tolist() == [False, True]
    assert np.isfinite(obs).all() and np.isfinite(rew).all()


@pytest.mark.parametrize("file", ["half_cheetah.xml", "ant.xml"])
def test_a_loaded_model_is_the_one_that_mujoco_loads(file: str) -> None:
    home = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
    ours, theirs = gymnasium_model(file), mujoco.MjModel.from_xml_path(str(home / file))
    for name in dir(theirs):
        value = getattr(theirs, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(ours, name), value, err_msg=name)


def test_loading_is_silent_and_leaves_no_file(tmp_path: Path) -> None:
    code = (
        "import envs, numpy as np\n"
        "w = envs.make_default('cheetah', num_envs=1, threads=1)\n"
        "w.reset(seed=0); print('ready', flush=True)\n"
        "w.qvel[0] = np.nan; w.step(w.action_space.sample())\n"
    )
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    before, after = (done.stdout + done.stderr).split("ready", 1)
    assert "WARNING" not in before and "settotalmass" not in after
    assert list(tmp_path.iterdir()) == []


def test_importing_worlds_does_not_import_torch_or_mujoco() -> None:
    code = "import sys, envs; assert not {'torch', 'mujoco', 'dm_control'} & set(sys.modules)"
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=path, check=True)


@pytest.mark.parametrize("name", IDS)
def test_a_picture_follows_the_agent_and_changes_nothing(name: str) -> None:
    world, undrawn = build(name, 1), build(name, 1)
    world.reset(seed=0), undrawn.reset(seed=0)
    world.action_space.seed(0)
    act = world.action_space.sample()
    row = world.snapshot()[0]
    far, near = row.copy(), row.copy()
    far[0] -= 5000.0  # an even number of the floor's 1 m squares, and far off the end of it
    near[0] += 0.5
    try:
        here = world.draw(row, 120, 120).astype(int)
    except RuntimeError as reason:
        pytest.skip(str(reason))
    there, along = world.draw(far, 120, 120).astype(int), world.draw(near, 120, 120).astype(int)
    assert np.mean(abs(here - there) > 12) < 0.02  # the same picture
    assert np.mean(abs(here - along) > 12) > 0.02  # the floor has moved
    blue = here[..., 2] - here[..., 0]  # floor and sky are blue, agents are not
    agent = np.argwhere(blue < 0)
    assert len(agent) > 40
    assert agent.min() > 2 and agent.max() < 117  # all of it in the picture
    np.testing.assert_array_equal(world.step(act)[0], undrawn.step(act)[0])
    world.close()
