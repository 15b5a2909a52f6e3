"""Scratch: the same agent on the same task with nothing learned before. The control of all."""

from __future__ import annotations

import torch

from finetune.base import Learner, Setting, Strategy
from finetune.flat import FlatLearner

__all__ = ["Scratch"]


class Scratch(Strategy):
    """New networks, no z; the agent's own random steps come first."""

    def learner(self, setting: Setting) -> Learner:
        world = setting.make_world(num_envs=setting.num_envs)
        agent = setting.build_agent(world.world_spec, 0)
        return FlatLearner(world, agent, torch.zeros(0), setting.stream("world"), 0)
