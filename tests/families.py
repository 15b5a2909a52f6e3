"""Families of tasks as their configs describe them, and random acts for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.tasks.base import Tasks
from logbook.build import build
from logbook.config import CONFIGS, read_yaml

Array = NDArray[Any]


def family(name: str, num_envs: int, seed: int = 0, **params: Any) -> Any:
    """A family of configs/tasks, with some parameters changed."""
    node = read_yaml(CONFIGS / "tasks" / f"{name}.yaml")
    return build("tasks", node | params, num_envs=num_envs, seed=seed)


def acts(tasks: Tasks, steps: int, seed: int = 0) -> Array:
    """Acts [steps, N, ...] drawn evenly from the box."""
    space = tasks.single_action_space
    shape = (steps, tasks.num_envs, *space.shape)
    return np.random.default_rng(seed).uniform(space.low, space.high, shape).astype(np.float32)
