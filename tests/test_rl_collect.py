"""How long a skill is held, and what a change of skill looks like to a learner."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import envs
from rl.collect import Collector


class Still:
    """Does nothing, under any z."""

    def act(self, obs, z, explore):
        return torch.zeros(len(obs), 2), {}


@pytest.mark.parametrize(
    "hold, cuts", [(3, [2, 5, 7, 10, 13, 15]), (None, [7, 15]), (8, [7, 15]), (5, [4, 7, 12, 15])]
)
def test_a_skill_is_held_for_so_many_steps_or_until_the_episode_ends(hold, cuts):
    drawn = iter(range(100))
    world = envs.make_default("point", num_envs=1, max_episode_steps=8)
    collector = Collector(
        world,
        Still(),
        lambda n: torch.tensor([[float(next(drawn))] for _ in range(n)]),
        seed=0,
        skill_steps=hold,
    )
    taken = collector.collect(16)
    assert np.flatnonzero(taken.truncated[:, 0]).tolist() == cuts
    assert not taken.terminated.any()
    skills = np.cumsum([0] + [t in cuts for t in range(15)])
    assert taken.z[:, 0, 0].tolist() == skills.tolist()  # a new one in the step after each cut
    assert [length for _, length in collector.episodes] == [8, 8]
