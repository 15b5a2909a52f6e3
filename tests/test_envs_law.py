"""The law that every world of configs/env/ keeps."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")  # read once, when mujoco is imported

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import envs

CONFIGS = sorted((Path(envs.__file__).parent.parent / "configs" / "env").glob("*.yaml"))
NAMES = [path.stem for path in CONFIGS]
LOOPED = {"gym", "dmc"}  # adapters: not registered, and their frames must be asked for
OUTCOME = ("obs", "rew", "terminated", "truncated", "feat")


def build(name: str, num_envs: int, **params: Any) -> Any:
    return envs.make_default(name, num_envs=num_envs, **{"threads": 1, **params})


def actions(world: Any, steps: int, seed: int = 0) -> list[Any]:
    world.action_space.seed(seed)
    return [world.action_space.sample() for _ in range(steps)]


def follow(world: Any, acts: list[Any]) -> dict[str, Any]:
    """Step, reset what ends, and return everything that was returned, [T, N, ...]."""
    told: dict[str, list[Any]] = {key: [] for key in OUTCOME}
    for act in acts:
        obs, rew, terminated, truncated, info = world.step(act)
        for key, value in zip(
            OUTCOME, (obs, rew, terminated, truncated, info["feat"]), strict=True
        ):
            told[key].append(value.copy())
        ended = terminated | truncated
        if ended.any():
            obs, info = world.reset(options={"reset_mask": ended})
            told["obs"].append(obs)
            told["feat"].append(info["feat"])
    return {key: np.stack(values) for key, values in told.items()}


def assert_same(a: dict[str, Any], b: dict[str, Any], rows: Any = slice(None)) -> None:
    for key in OUTCOME:
        np.testing.assert_array_equal(a[key][:, rows], b[key][:, rows], err_msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_config_states_only_what_the_class_takes(name: str) -> None:
    node = yaml.safe_load(CONFIGS[NAMES.index(name)].read_text())
    assert node["name"] in envs.names()
    assert {"max_episode_steps", "threads"} <= set(node)


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_types(name: str) -> None:
    world = build(name, 3)
    spec = world.world_spec
    assert world.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert len(spec.feat_names) == len(spec.feat_units) == len(set(spec.feat_names)) > 0
    assert set(spec.motion) | set(spec.plane) <= set(spec.feat_names)
    assert len(spec.plane) in (0, 2)
    obs, info = world.reset(seed=0)
    assert obs.shape == (3, spec.obs_dim) and obs.dtype == np.float32
    for act in actions(world, 5):
        obs, rew, terminated, truncated, info = world.step(act)
        assert obs in world.observation_space
        assert rew.shape == (3,) and rew.dtype == np.float64 and np.isfinite(rew).all()
        assert terminated.dtype == truncated.dtype == info["unstable"].dtype == bool
        assert not (terminated & truncated).any() and not info["unstable"].any()
        assert info["feat"].shape == (3, spec.feat_dim) and info["feat"].dtype == np.float32
        assert np.isfinite(info["feat"]).all()
        if (terminated | truncated).any():
            world.reset(options={"reset_mask": terminated | truncated})
    if name not in LOOPED:
        assert len(world.snapshot()) == 3
    world.close()


@pytest.mark.parametrize("name", NAMES)
def test_seed_decides_and_neighbours_do_not(name: str) -> None:
    wide, narrow = build(name, 3), build(name, 2)
    first, _ = wide.reset(seed=5)
    assert not np.array_equal(first[0], first[1])
    narrow.reset(seed=5)
    acts = actions(wide, 12)
    told = follow(wide, acts)
    other = follow(narrow, [act[:2] for act in acts])
    assert_same({key: value[:, :2] for key, value in told.items()}, other)
    again, _ = wide.reset(seed=5)
    np.testing.assert_array_equal(first, again)
    assert_same(told, follow(wide, acts))
    elsewhere, _ = wide.reset(seed=6)
    np.testing.assert_array_equal(elsewhere[:2], first[1:])
    wide.reset()
    assert not np.array_equal(wide.reset()[0], elsewhere)  # no seed: the generators go on


@pytest.mark.parametrize("name", NAMES)
def test_reset_touches_only_its_rows_and_steps_do_not_reset(name: str) -> None:
    world = build(name, 3, max_episode_steps=4)
    world.reset(seed=0)
    for act in actions(world, 3):
        obs, _, terminated, truncated, info = world.step(act)
        assert not (terminated | truncated).any()
    kept, feat = obs.copy(), info["feat"].copy()
    obs, info = world.reset(options={"reset_mask": np.array([False, True, False])})
    np.testing.assert_array_equal(obs[[0, 2]], kept[[0, 2]])
    np.testing.assert_array_equal(info["feat"][[0, 2]], feat[[0, 2]])
    assert not np.array_equal(obs[1], kept[1])
    begun = obs.copy()
    obs, _, terminated, truncated, _ = world.step(actions(world, 1, 1)[0])
    assert not terminated.any() and truncated.tolist() == [True, False, True]  # the time limit
    assert not np.array_equal(obs[0], begun[0])
    with pytest.raises(RuntimeError, match=r"worlds \[0, 2\] have ended"):
        world.step(world.action_space.sample())
    with pytest.raises(ValueError, match="reset_mask"):
        world.reset(options={"reset_mask": np.array([True])})


@pytest.mark.parametrize("name", NAMES)
def test_the_true_successor_is_returned_at_the_end(name: str) -> None:
    short, long = build(name, 2, max_episode_steps=3), build(name, 2, max_episode_steps=9)
    short.reset(seed=1), long.reset(seed=1)
    for act in actions(short, 3):
        (obs, rew, *_, info), (obs_, rew_, *_, info_) = short.step(act), long.step(act)
    np.testing.assert_array_equal(obs, obs_)
    np.testing.assert_array_equal(rew, rew_)
    np.testing.assert_array_equal(info["feat"], info_["feat"])


@pytest.mark.parametrize("name", NAMES)
def test_saved_worlds_go_on_bit_for_bit(name: str) -> None:
    steps = 100 if name in ("ant", "humanoid", "dmc_quadruped") else 30
    world = build(name, 2)
    world.reset(seed=0)
    follow(world, actions(world, steps + 7))  # deep in contact, mid-episode, some ends behind
    state = world.state_dict()
    acts = actions(world, steps, 1)
    told = follow(world, acts)
    copy = build(name, 2)
    copy.reset(seed=9)
    follow(copy, actions(copy, 3, 2))
    copy.load_state_dict(state)
    assert_same(told, follow(copy, acts))
    with pytest.raises(ValueError, match="num_envs=2"):
        build(name, 3).load_state_dict(state)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in LOOPED])
def test_threads_do_not_matter(name: str) -> None:
    one, two = build(name, 4), build(name, 4, threads=2)
    one.reset(seed=0), two.reset(seed=0)
    acts = actions(one, 15)
    assert_same(follow(one, acts), follow(two, acts))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in LOOPED])
def test_registered_with_gymnasium(name: str) -> None:
    single = gymnasium.make(f"autotelic/{name}-v0", threads=1, max_episode_steps=50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(infinity|symmetric)")  # advice
        check_env(single.unwrapped, skip_render_check=True)
    batch = gymnasium.make_vec(f"autotelic/{name}-v0", num_envs=3, threads=1)
    assert type(batch) is type(single.unwrapped.batched)
    obs, _ = batch.reset(seed=4)
    alone, _ = single.reset(seed=4)
    np.testing.assert_array_equal(obs[0], alone)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in LOOPED])
def test_pictures(name: str) -> None:
    world = build(name, 1, render_mode="rgb_array")
    world.reset(seed=0)
    row = world.snapshot()[0]
    try:
        frame = world.draw(row, 96, 64)
    except RuntimeError as reason:
        pytest.skip(str(reason))
    assert frame.shape == (64, 96, 3) and frame.dtype == np.uint8
    assert frame.std() > 5
    np.testing.assert_allclose(frame, world.draw(row, 96, 64), atol=4)  # drivers round as they like
    world.close()


@pytest.mark.parametrize("wrong", ["ceetah", "os.path", "../cheetah", "base", "_x", ""])
def test_unknown_names_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="did you mean 'cheetah'|choose one of ant, cheetah,"):
        envs.make(wrong, num_envs=1)
