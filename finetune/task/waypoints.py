"""A task of places to be visited in order, each paid once; it shows the next and the way there.

DIAYN's ant navigation (arXiv 1802.06070, section 4.2.2): "+1" for each waypoint reached. Which one
is next is not in obs, and where the agent is need not be either (an ant's are its pose and speed).
So the task shows both: one number per waypoint, 1 for the next, all 0 at the end; and the way to
the next, in m along each axis. Whoever learns at the level of the task sees them; skills, which
were trained without, do not.
"""

from __future__ import annotations

import numpy as np

from envs.expression import Expression
from finetune.task.base import Array, Task
from rl.types import WorldSpec

__all__ = ["Waypoints"]


class Waypoints(Task):
    """Places `at` [M][2] in the world's plane, m, each reached within `radius` m.

    `reward` may use two numbers besides the usual: `reached` (1 in the step that reaches the next
    place, else 0) and `to_go` (m to it; 0 once all are reached). Solved when all are reached.
    """

    can_succeed = True

    def __init__(
        self,
        *,
        world: WorldSpec,
        title: str,
        at: list[list[float]],
        radius: float,
        reward: str,
        ends: bool,
    ) -> None:
        super().__init__(world, title, ends)
        if len(world.plane) != 2 or not all(name in world.feat_names for name in world.plane):
            raise ValueError(
                f"task={title} needs a world with a map; {world.name} has {world.feat_names}"
            )
        if not at or any(len(place) != 2 for place in at):
            raise ValueError(f"task.at={at}: want places, such as task.at='[[3,0],[3,3]]'")
        if radius <= 0:
            raise ValueError(f"task.radius={radius}: want it above 0, for example task.radius=1")
        self._at = np.array([*at, at[-1]], np.float64)  # the last again: all are reached
        self._radius = radius
        self.places = np.array([(x, y, radius) for x, y in at], np.float64)
        self._plane = [world.feat_names.index(name) for name in world.plane]
        self._reward = Expression(reward, world, "task.reward", ("reached", "to_go"))
        self._count = len(at)
        self.width = self._count + 2

    def begin(self, n: int) -> Array:
        memory = np.zeros((n, self._count), np.float32)
        memory[:, 0] = 1.0
        return memory

    def show(self, feat: Array, memory: Array) -> Array:
        return np.concatenate([memory, self._way(feat, memory)], 1, dtype=np.float32)

    def _way(self, feat: Array, memory: Array) -> Array:
        """To the next place [N, 2], m; 0 once all are reached."""
        going = np.asarray(memory.any(1))
        following = np.where(going, memory.argmax(1), self._count)
        return np.where(going[:, None], self._at[following] - feat[:, self._plane], 0.0)

    def judge(
        self, before: Array, feat: Array, act: Array, rew: Array, memory: Array
    ) -> tuple[Array, Array, Array]:
        going = memory.any(1)
        to_go = np.sqrt(np.square(self._way(feat, memory)).sum(1))
        reached = going & (to_go <= self._radius)
        paid = self._reward(feat, act, before, rew, reached=reached.astype(float), to_go=to_go)
        after = memory.copy()
        after[reached, 1:] = memory[reached, :-1]
        after[reached, 0] = 0.0
        return paid, np.asarray(~after.any(1)), after
