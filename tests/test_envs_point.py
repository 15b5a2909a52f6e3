"""The open box and the mazes: moves against hand-worked numbers and against a slow walker."""

import numpy as np
import pytest

from envs.maze import LAYOUTS, Maze
from envs.point import DOT, Point


def box(num_envs=3, **changes):
    settings = {"max_episode_steps": 100, "threads": 0, "size": 10.0, "step_size": 0.2}
    return Point(num_envs=num_envs, **(settings | changes))


def maze(layout, num_envs=3, **changes):
    settings = {"max_episode_steps": 100, "threads": 0, "step_size": 0.5}
    return Maze(num_envs=num_envs, layout=layout, **(settings | changes))


def put(world, position):
    """Set every world's position through its state."""
    state = world.state_dict()
    state["world"]["position"] = np.array(position, np.float64)
    world.load_state_dict(state)


def test_a_step_moves_by_the_action_and_says_so():
    world = box()
    world.reset(seed=0)
    put(world, [[0, 0], [3, 4], [9.9, -9.9]])
    obs, rew, terminated, truncated, info = world.step(
        np.array([[1, -0.5], [0, -1], [1, -1]], np.float32)
    )
    after = np.array([[0.2, -0.1], [3, 3.8], [10, -10]])
    moved = np.array([[0.2, -0.1], [0, -0.2], [0.1, -0.1]])
    np.testing.assert_allclose(info["feat"], np.concatenate([after, moved], 1), atol=1e-6)
    np.testing.assert_allclose(obs, after / 10, atol=1e-7)
    gained = [np.hypot(0.2, 0.1), np.hypot(3, 3.8) - 5, np.hypot(10, 10) - np.hypot(9.9, 9.9)]
    np.testing.assert_allclose(rew, gained, atol=1e-12)
    assert not terminated.any() and not truncated.any()


def test_moves_longer_than_an_action_may_be_are_cut():
    world = box(1)
    world.reset(seed=0)
    put(world, [[0, 0]])
    *_, info = world.step(np.array([[50, -50]], np.float32))
    np.testing.assert_allclose(info["feat"][0, :2], [0.2, -0.2], atol=1e-7)


def test_episodes_begin_near_the_centre_and_end_by_time_alone():
    world = box(64, max_episode_steps=5)
    obs, info = world.reset(seed=3)
    assert np.abs(info["feat"][:, :2]).max() <= 0.2
    assert len(np.unique(obs, axis=0)) == 64
    ends = [world.step(np.ones((64, 2), np.float32))[2:4] for _ in range(5)]
    assert [bool(truncated.all()) for _, truncated in ends] == [False] * 4 + [True]
    assert not any(terminated.any() for terminated, _ in ends)


def test_an_action_that_is_no_number_ends_that_world_only():
    world = box()
    world.reset(seed=0)
    *_, truncated, info = world.step(np.array([[0, 0], [np.nan, 1], [1, 1]], np.float32))
    assert truncated.tolist() == info["unstable"].tolist() == [False, True, False]
    assert np.isfinite(world.snapshot()).all()


def test_an_episode_is_long_enough_for_every_corner():
    world = box()
    world.reset(seed=0)
    act = np.array([[1, 1], [-1, 1], [-1, -1]], np.float32)
    for _ in range(100):
        *_, info = world.step(act)
    np.testing.assert_allclose(info["feat"][:, :2], 10 * act, atol=1e-6)


def test_the_picture_shows_the_agent_where_it_is():
    world = box(1)
    world.reset(seed=0)
    picture = world.draw(np.array([5.0, -5.0]), 200, 200)
    assert picture.shape == (200, 200, 3) and picture.dtype == np.uint8
    red = np.argwhere((picture == DOT).all(2)).mean(0)  # row, column
    np.testing.assert_allclose(red, [100 + 47, 100 + 47], atol=1)


def test_settings_that_cannot_work_are_refused_with_their_values():
    with pytest.raises(ValueError, match="step_size=30"):
        box(step_size=30)
    with pytest.raises(ValueError, match="step_size=0.7"):
        maze("u", step_size=0.7)
    with pytest.raises(ValueError, match="layout=four_room .*did you mean four_rooms"):
        maze("four_room")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_cell_of_a_layout_can_be_walked_to(layout):
    rows = LAYOUTS[layout].split()
    assert len({len(row) for row in rows}) == 1
    text = "".join(rows)
    assert text.count("S") == text.count("G") == 1 and set(text) <= set("#.SG")
    free = {(r, c) for r, row in enumerate(rows) for c, cell in enumerate(row) if cell != "#"}
    found, edge = set(), [next((r, c) for r, c in free if rows[r][c] == "S")]
    while edge:
        r, c = edge.pop()
        found.add((r, c))
        near = {(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)}
        edge += (near & free) - found
    assert found == free


def crawl(world, start, move, pieces=2000):
    """The same move in tiny pieces; an axis that meets a wall stops. Slow, and plainly right."""
    x, y = start
    dx, dy = move[0] / pieces, move[1] / pieces
    wall, corner = world._wall, world._corner

    def solid(x, y):
        return wall[int(np.floor(x - corner[0])) + 1, int(np.floor(y - corner[1])) + 1]

    for _ in range(pieces):
        dx = 0.0 if solid(x + dx, y) else dx
        x += dx
        dy = 0.0 if solid(x, y + dy) else dy
        y += dy
    return x, y


@pytest.mark.parametrize("layout", ["four_rooms", "spiral", "large"])
def test_walls_stop_a_move_as_they_stop_a_crawl(layout):
    n = 100
    world = maze(layout, n)
    world.reset(seed=0)
    rng = np.random.default_rng(1)
    free = np.argwhere(~world._wall) - 1 + world._corner
    start = free[rng.integers(len(free), size=n)] + rng.uniform(0, 1, (n, 2))
    act = rng.choice([-1, 1], (n, 2)) * rng.uniform(0.5, 1, (n, 2))
    put(world, start)
    *_, info = world.step(act)
    want = [crawl(world, *pair) for pair in zip(start, 0.5 * act, strict=True)]
    np.testing.assert_allclose(info["feat"][:, :2], want, atol=6e-4)
    assert (np.abs(info["feat"][:, 2:] - 0.5 * act) > 1e-3).any(1).mean() > 0.1  # walls were met


def test_no_gap_where_two_walls_touch_at_a_corner():
    world = maze("spiral", 1)
    world._wall[:] = False
    world._wall[3, 4] = world._wall[4, 3] = True  # two cells that share one corner
    corner = np.array([3.0, 3.0]) + world._corner
    world.reset(seed=0)
    put(world, [corner - 0.1])
    *_, info = world.step(np.ones((1, 2), np.float32))
    np.testing.assert_allclose(info["feat"][0, :2], corner, atol=1e-6)


def test_nobody_enters_a_wall_or_jumps_a_cell_in_a_long_walk():
    world = maze("large", 128, max_episode_steps=10**6)
    world.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(60):
        heading = rng.uniform(-2, 2, (128, 2))
        for _ in range(10):
            before = world._cell(world.snapshot())
            world.step(np.clip(heading, -1, 1))
            cell = world._cell(world.snapshot())
            assert not world._wall[cell[:, 0], cell[:, 1]].any()
            assert np.abs(cell - before).max() <= 1


def test_the_goal_pays_only_inside_its_cell():
    world = maze("hallway", 2)
    world.reset(seed=0)
    put(world, world._goal + np.array([[0, 0], [-2, 0]]))
    _, rew, *_ = world.step(np.zeros((2, 2), np.float32))
    assert rew.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("make", [box, lambda n: maze("four_rooms", n)], ids=["point", "maze"])
def test_a_saved_world_goes_on_alike(make):
    world, copy = make(4), make(4)
    world.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(30):
        world.step(rng.uniform(-1, 1, (4, 2)))
    copy.load_state_dict(world.state_dict())
    mask = np.array([True, False, True, False])
    for k in range(20):
        act = rng.uniform(-1, 1, (4, 2))
        a, b = world.step(act), copy.step(act)
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[4]["feat"], b[4]["feat"])
        if k == 10:
            a, b = (w.reset(options={"reset_mask": mask}) for w in (world, copy))
            np.testing.assert_array_equal(a[0], b[0])
