"""A point among walls, with several layouts: where skills must find their way."""

from __future__ import annotations

import difflib

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from envs.base import Array
from envs.point import INK, Place, Point
from rl.ranges import Count

__all__ = ["Maze"]

GOAL = (166, 206, 170)
_HAIR = 1e-9  # m
# One character a cell of 1 m: # wall, S start, G goal. What lies outside is wall.
LAYOUTS = {
    "open": """
        ........G
        .........
        .........
        .........
        ....S....
        .........
        .........
        .........
        .........
    """,
    "u": """
        S....
        .....
        ####.
        .....
        G....
    """,
    "hallway": """
        S..............
        ..............G
    """,
    "cross": """
        ####G####
        ####.####
        ####.####
        ####.####
        ....S....
        ####.####
        ####.####
        ####.####
        ####.####
    """,
    "four_rooms": """
        S....#.....
        .....#.....
        ...........
        .....#.....
        .....#.....
        #.####.....
        .....###.##
        .....#.....
        .....#.....
        ...........
        .....#....G
    """,
    "spiral": """
        .........
        .#######.
        .#.....#.
        .#.###.#.
        .#.#S..#.
        .#.#####.
        .#.......
        .########
        ........G
    """,
    "large": """
        S...#.......
        .##.#.####.#
        .#....#....#
        .#.####.##..
        .........##.
        ##.####.....
        ...#....###.
        .#...##.#...
        .###.#..#.#G
    """,
}


class Maze(Point):
    """Position (x, y) in m, the origin in the middle of the layout, cells of 1 m.

    Obs, actions and feats are the open box's, with `size` half the layout's longer side. Walls
    stop the part of a move that runs into them, the rest slides along; nothing passes through a
    wall, nor between two that touch at a corner. Episodes begin within one step of the middle of
    S. Reward: 1 in the goal's cell, else 0. Never terminates.
    """

    def __init__(
        self,
        *,
        num_envs: int,
        max_episode_steps: Count,
        threads: int,
        layout: str,
        step_size: float,
        render_mode: str | None = None,
    ) -> None:
        if layout not in LAYOUTS:
            near = difflib.get_close_matches(layout, LAYOUTS, 1, 0.0)[0]
            raise ValueError(
                f"env.layout={layout} is unknown: did you mean {near}? Known: {', '.join(LAYOUTS)}"
            )
        if not 0 < step_size <= 0.5:  # a move then crosses one line between cells on each axis
            raise ValueError(f"env.step_size={step_size} must be above 0 and at most 0.5 m")
        cells = np.array([list(line) for line in LAYOUTS[layout].split()])[::-1].T  # [x, y]
        self._corner = -np.array(cells.shape) / 2  # of the layout, lower left, in m
        self._wall = np.pad(cells == "#", 1, constant_values=True)
        self._start_at = self._middle(cells == "S")
        self._goal = self._middle(cells == "G")
        super().__init__(
            num_envs=num_envs,
            max_episode_steps=max_episode_steps,
            threads=threads,
            size=max(cells.shape) / 2,
            step_size=step_size,
            render_mode=render_mode,
            name="maze",
        )

    def _middle(self, cell: Array) -> Array:
        return np.asarray(np.argwhere(cell)[0] + self._corner + 0.5)

    def _begin(self, ids: NDArray[np.int64]) -> None:
        super()._begin(ids)
        self._pos[ids] += self._start_at

    def _cell(self, pos: Array) -> NDArray[np.int64]:
        return np.floor(pos - self._corner).astype(np.int64) + 1  # 1: the padding

    def _moved(self, move: Array) -> Array:
        here, there = self._cell(self._pos), self._cell(self._pos + move)
        (x, y), (to_x, to_y) = here.T, there.T
        beside, above, across = self._wall[to_x, y], self._wall[x, to_y], self._wall[to_x, to_y]
        blocked = np.stack([beside, above], 1)
        turns = np.flatnonzero((to_x != x) & (to_y != y) & (across | (beside ^ above)))
        if len(turns):
            # Two lines between cells are crossed: the first decides which cell the second leads to.
            line = np.maximum(here[turns], there[turns]) + self._corner - 1
            share = (line - self._pos[turns]) / move[turns]
            second = (share[:, 0] < share[:, 1]).astype(np.int64)  # the axis whose line comes later
            passed = ~blocked[turns, 1 - second]
            blocked[turns[passed], second[passed]] = across[turns[passed]]
        free = self._pos + move
        if not blocked.any():
            return free
        # A wall's face belongs to one of the two cells it parts: stay a hair on this side of it.
        low = here - 1 + self._corner
        face = np.where(move > 0, low + 1 - _HAIR, low + _HAIR)
        return np.where(blocked, face, free)

    def _reward(self, before: Array) -> Array:
        inside = np.abs(self._pos - self._goal) < 0.5
        return np.asarray(inside[:, 0] & inside[:, 1], np.float64)

    def _draw_room(self, pen: ImageDraw.ImageDraw, at: Place) -> None:
        def fill(x: float, y: float, colour: tuple[int, int, int]) -> None:
            pen.rectangle((at(x, y + 1), at(x + 1, y)), colour)

        fill(self._goal[0] - 0.5, self._goal[1] - 0.5, GOAL)
        for x, y in np.argwhere(self._wall) - 1 + self._corner:
            fill(x, y, INK)

    def walls(self) -> Array:
        corners = np.argwhere(self._wall) - 1 + self._corner
        return np.concatenate([corners, np.ones_like(corners)], 1)
