"""Sizes that cannot be are one line, before torch is loaded."""

from __future__ import annotations

import pytest
import torch

from logbook.compose import compose
from logbook.errors import Exit, UserError
from rl.replay import Replay
from rl.types import WorldSpec


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("metatrain", "tasks.arms=1000000000"),
        ("metatrain", "tasks.arms=1e30"),
        ("metatrain", "tasks.pulls=9000000000000000000"),
        ("metatrain", "learner.hidden=1000000000"),
        ("metatrain", "learner.meta_batch=9000000000"),
        ("metatrain", "learner.epochs=9000000000000000000"),
        ("metatrain", "evaluate.tasks=1000000000"),
        ("metatrain", "num_envs=1000000000"),
        ("pretrain", "agent.batch_size=1000000000"),
        ("pretrain", "agent.hidden=[1000000000]"),
        ("pretrain", "agent.hidden=[300000,300000]"),
        ("pretrain", "skill.shown=9000000000000000000"),
        ("pretrain", "skill.hidden=[1000000000]"),
        ("pretrain", "agent.updates=9000000000000000000"),
        ("pretrain", "num_envs=1000000000"),
        ("pretrain", "evaluate.reps=1000000000"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(command: str, word: str) -> None:
    with pytest.raises(UserError) as told:
        compose(command, [word])
    assert word.partition("=")[0] in str(told.value) and "\n" not in str(told.value)
    assert told.value.code in (Exit.CONFIG, Exit.CAPABILITY)


def test_a_replay_of_pictures_is_refused_with_its_size() -> None:
    spec = WorldSpec("gym", 27648, 3, False, ("x",), ("m",))
    with pytest.raises(ValueError, match=r"agent.replay_size=.* bytes a row .*flattened.* GiB"):
        Replay(spec, 16, 10**9, torch.device("cpu"), 0)
