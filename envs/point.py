"""A point in an open square box: the smallest world in which skills can be seen to spread."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from envs.base import Array, World
from rl.ranges import Count
from rl.types import State

__all__ = ["Point"]

Place = Callable[[float, float], tuple[float, float]]
PAPER, GRID, INK = (255, 255, 255), (228, 228, 228), (60, 60, 60)
DOT, PLACE = (214, 69, 65), (178, 216, 190)


class Point(World):
    """Position (x, y) in [-size, size]^2 m; an action moves it by up to `step_size` m an axis.

    Obs [2]: position / size, so that it lies in [-1, 1] whatever the box. Episodes start within
    one step of the centre. Reward: metres gained away from the centre. Never terminates. Walls
    stop a move, they do not bounce it. `threads` is ignored: all N worlds are one array.
    """

    feat_names = ("x", "y", "x_velocity", "y_velocity")
    feat_units = ("m", "m", "m/step", "m/step")
    motion = ("x", "y")
    plane = ("x", "y")
    body = False  # nothing turns or bends

    def __init__(
        self,
        *,
        num_envs: int,
        max_episode_steps: Count,
        threads: int,
        size: float,
        step_size: float,
        render_mode: str | None = None,
        name: str = "point",
    ) -> None:
        if not 0 < step_size <= size:
            raise ValueError(
                f"env.step_size={step_size} must be above 0 and at most env.size={size}"
            )
        super().__init__(
            name=name,
            num_envs=num_envs,
            observation_space=Box(-1.0, 1.0, (2,), np.float32),
            action_space=Box(-1.0, 1.0, (2,), np.float32),
            max_episode_steps=max_episode_steps,
            render_mode=render_mode,
        )
        self.size = size
        self.step_size = step_size
        self._pos = np.zeros((num_envs, 2))
        self._vel = np.zeros((num_envs, 2))

    def _begin(self, ids: NDArray[np.int64]) -> None:
        start = [self._rngs[i].uniform(-self.step_size, self.step_size, 2) for i in ids]
        self._pos[ids] = start
        self._vel[ids] = 0.0

    def _advance(self, act: Array) -> tuple[Array, Array, Array]:
        before = self._pos
        move = np.clip(np.asarray(act, np.float64), -1.0, 1.0)
        move *= self.step_size
        unstable = np.isnan(move[:, 0] + move[:, 1])  # an action that is no number moves nobody
        if unstable.any():
            move[unstable] = 0.0
        self._pos = self._moved(move)
        self._vel = self._pos - before
        return self._reward(before), np.zeros(self.num_envs, np.bool_), unstable

    def _moved(self, move: Array) -> Array:
        """The positions [N, 2] after a displacement [N, 2] in m, stopped at walls."""
        return np.clip(self._pos + move, -self.size, self.size)

    def _reward(self, before: Array) -> Array:
        """The reward [N] of the step that led here from `before` [N, 2]."""
        return np.asarray(np.hypot(*self._pos.T) - np.hypot(*before.T))

    def _observe(self) -> Array:
        return (self._pos / self.size).astype(np.float32)

    def _feat(self) -> Array:
        return np.concatenate([self._pos, self._vel], 1, dtype=np.float32)

    def _save(self) -> State:
        return {"position": self._pos.copy(), "velocity": self._vel.copy()}

    def _load(self, state: State) -> None:
        self._pos = np.array(state["position"], np.float64)
        self._vel = np.array(state["velocity"], np.float64)

    def snapshot(self) -> Array:
        return self._pos.copy()

    def draw(self, row: Array, width: int, height: int) -> NDArray[np.uint8]:
        # Drawn at twice the size and shrunk: PIL's shapes have no smooth edges of their own.
        image = Image.new("RGB", (2 * width, 2 * height), PAPER)
        pen = ImageDraw.Draw(image)
        scale = 0.94 * min(width, height) / self.size  # pixels a metre, at twice the size

        def at(x: float, y: float) -> tuple[float, float]:
            return width + scale * x, height - scale * y

        self._draw_room(pen, at)
        for place_x, place_y, reach in self.places:
            left, top = at(place_x - reach, place_y + reach)
            right, bottom = at(place_x + reach, place_y - reach)
            pen.ellipse((left, top, right, bottom), PLACE, INK, 2)
        x, y = at(float(row[0]), float(row[1]))
        radius = max(6.0, 0.05 * min(width, height))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=DOT)
        return np.asarray(image.resize((width, height), Image.Resampling.BOX), np.uint8)

    def _draw_room(self, pen: ImageDraw.ImageDraw, at: Place) -> None:
        """Whatever does not move; `at` turns metres into pixels."""
        lines = np.arange(np.ceil(-self.size), np.floor(self.size) + 1)  # a line each metre
        for k in lines if len(lines) <= 64 else ():
            pen.line((at(k, -self.size), at(k, self.size)), GRID, 2)
            pen.line((at(-self.size, k), at(self.size, k)), GRID, 2)
        pen.rectangle((at(-self.size, self.size), at(self.size, -self.size)), None, INK, 4)
