"""Stage 1 learns on a world whose answer is known: an open box has room for every skill."""

from __future__ import annotations

import math

import torch

from logbook.compose import compose
from logbook.config import node_of
from pretrain.evaluate import evaluate
from pretrain.stage import assemble, world_factory


def config(skill, **changes):
    """A composed config for the point box, small and quick."""
    words = [f"skill={skill}", "env=point", "num_envs=32", "device=cpu", "episode_steps=50"]
    node = compose("pretrain", words).config | {"skill": node_of("skill", skill)}
    node["agent"] |= {"hidden": [64, 64], "start_steps": 1000, "normalize_steps": 1000}
    node["skill"] |= changes
    return node


def learned(node, rounds):
    training = assemble(node)
    for _ in range(rounds):
        training.advance()
    numbers, _ = evaluate(world_factory(node), training.agent, training.skill, 5, reps=4, steps=50)
    return numbers


def test_diayn_divides_the_box():
    torch.manual_seed(123)  # must not matter: no learner draws from the global generator
    node = config("diayn", num_skills=4, view="obs", normalize_steps=1000)
    numbers = learned(node, 350)
    assert numbers["skills"]["accuracy"] > 0.9
    assert numbers["skills"]["mi_nats"] > 0.8 * math.log(4)


def test_untrained_skills_are_near_chance():
    """The same measure on a policy that has not learned: the check above can fail."""
    node = config("diayn", num_skills=4, view="obs", normalize_steps=1000)
    assert learned(node, 1)["skills"]["accuracy"] < 0.6


def test_metra_covers_more_than_chance():
    numbers = learned(config("metra"), 150)
    assert numbers["coverage"]["cells"] > 1.5 * numbers["coverage"]["random_cells"]
