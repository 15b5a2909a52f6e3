"""Weights: start from the pretrained networks, without looking for a skill.

What URLB calls fine-tuning without a skill search: z is held at the mean of all skills, so the
policy begins as none of them. Tells how much of a gain is the weights' and how much the skill's.
"""

from __future__ import annotations

from finetune.base import Learner, Setting, Strategy
from finetune.flat import FlatLearner, constant_z

__all__ = ["Weights"]


class Weights(Strategy):
    """`warmup` env steps of the policy come before the first update; `fresh` names new networks."""

    def __init__(self, *, warmup: int, fresh: list[str]) -> None:
        self._warmup, self._fresh = warmup, tuple(fresh)

    def learner(self, setting: Setting) -> Learner:
        world = setting.make_world(num_envs=setting.num_envs)
        agent = setting.heir(world.world_spec, self._fresh)
        z = constant_z(setting.source.skill.all_z())
        return FlatLearner(world, agent, z, setting.stream("world"), self._warmup)
