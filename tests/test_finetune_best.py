"""Adapting keeps the best it lived with: steps that made rounds worse are taken back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune.adapt import AdaptLearner, metatrained
from finetune.best import Best
from finetune.stage import assemble
from logbook.compose import compose
from tests.finetune_runs import metatrain_small, pretrain_small

CPU = torch.device("cpu")


def _hear(best: Best, memory: str, *returns: float, broken: bool = False) -> bool:
    return best.hear(memory, torch.tensor(returns, dtype=torch.float32), broken)


def test_rounds_told_by_hand() -> None:
    best = Best("start", 2.0)
    assert not _hear(best, "start", 0, 1, 2)
    best.leave()
    assert not _hear(best, "a", 3, 5, 7, 5) and best.memory == "a"
    best.leave()
    # Variances 1 of three and 8/3 of four: an error of 1.0 exactly, so that 3 is two of them less.
    assert not _hear(best, "b", 2.01, 3.01, 4.01) and best.memory == "a"
    best.leave()
    assert _hear(best, "c", 1.99, 2.99, 3.99) and best.memory == "a" and best.undone == 1
    # Lived with again, it is heard with all it had: eight episodes of mean 3.
    assert not _hear(best, "a", 1, 1, 1, 1) and best.undone == 1
    best.leave()
    assert not _hear(best, "d", 3.5, 3.5, 3.5) and best.memory == "d"
    best.leave()
    assert _hear(best, "e", 3.4, 3.4, 3.4) and best.memory == "d" and best.undone == 2
    assert not _hear(best, "d", 0, 0, 0), "the best does not fall behind itself"
    assert not _hear(best, "d", 0, 0, 0) and best.undone == 2, "nor where no step is taken"
    assert torch.equal(best.state_dict()["returns"], torch.tensor([3.5] * 3 + [0.0] * 6))


def test_a_round_that_broke_is_never_the_best() -> None:
    best = Best("start", 2.0)
    assert not _hear(best, "start", 0, 0, 0, broken=True), "there is nothing to go back to"
    best.leave()
    assert not _hear(best, "a", -9, -8, -7) and best.memory == "a"
    best.leave()
    assert _hear(best, "b", 0, 0, 0, broken=True) and best.memory == "a"
    assert not _hear(best, "a", 0, 0, 0, broken=True), "it may break by chance; that tells nothing"
    best.leave()
    assert not _hear(best, "c", -7, -7, -7) and best.memory == "c", "better than the honest -8"


def test_a_copy_goes_on_alike() -> None:
    for rounds in ([(0, 1), (5, 6)], [(0, 1), (5, 6), (0, 1)]):  # the last falls behind
        best, copy = Best("m", 2.0), Best("m", 2.0)
        for k, returns in enumerate(rounds):
            fell = _hear(best, str(k), *returns)
            if not fell:
                best.leave()
        copy.load_state_dict(best.state_dict())
        copy.memory = best.memory
        for k, returns in enumerate([(2, 3), (4, 5), (1, 2)]):
            assert _hear(best, str(k), *returns) == _hear(copy, str(k), *returns)
        assert best.undone == copy.undone and best.memory == copy.memory


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("best")
    source = pretrain_small(root / "skills")
    words = f"learner=maml tasks=skills from={source} steps=60 learner.hidden=[8]"
    return metatrain_small(root / "maml", f"{words} learner.meta_batch=2 learner.width=3")


def _learner(run: Path, more: str = "", width: int = 3) -> AdaptLearner:
    words = [f"from={run}", "task=goal_3_4", "strategy=adapt", "env.max_episode_steps=20"]
    config = compose("finetune", [*words, *more.split()]).config
    source = metatrained(run, CPU)
    source.learner.width = width  # type: ignore[misc]
    learner = assemble(config, source).learner
    assert isinstance(learner, AdaptLearner)
    return learner


def test_a_step_that_made_things_worse_is_taken_back(run: Path) -> None:
    learner = _learner(run)
    first = learner._memory.params
    learner.advance()
    assert learner.player()._start.params is first, "the newest is not lived with yet"  # type: ignore[union-attr]
    assert learner._memory.params is not first
    # Such acts are thrown against the box, away from the goal
    learner._memory = replace(learner._memory, params=learner._memory.params.clone())
    learner._memory.params[:, -4:-2] = -1e3
    ((_, told),) = learner.advance()
    assert learner._memory.params is first and learner.notes()["undone"] == told["undone"] == 1
    learner.advance()
    assert learner.updates == 2 and learner._memory.params is not first
    newest = _learner(run, "strategy.undo=null")
    newest.advance()
    assert newest.player()._start is newest._memory and "undone" not in newest.notes()  # type: ignore[union-attr]


def test_a_policy_that_breaks_the_world_is_not_looked_at(run: Path) -> None:
    """Steps that diverged pay nothing, where every honest one costs."""
    learner = _learner(run)
    learner.advance()
    good = learner._best.memory.params  # type: ignore[union-attr]
    world = learner.world
    step = world.step

    def diverging(act: Any) -> Any:
        obs, rew, terminated, truncated, info = step(act)
        lost = np.array([False, True, False])
        info = {**info, "unstable": lost}
        return obs, np.where(lost, 0.0, rew), terminated, truncated | lost, info

    world.step = diverging  # type: ignore[method-assign]
    learner.advance()
    assert learner._memory.params is good and learner.notes()["undone"] == 1


def test_one_episode_a_round_cannot_tell(run: Path) -> None:
    learner = _learner(run, width=1)
    for _ in range(3):
        learner.advance()
    assert learner.updates == 3 and learner.player()._start is learner._memory  # type: ignore[union-attr]


def test_nothing_is_taken_back_where_no_step_is_taken(run: Path) -> None:
    learner = _learner(run, "strategy.shots=0")
    for _ in range(60):
        learner.advance()
    assert learner.notes() == {"learner": "maml", "shots": 0, "steps_adapting": 0, "undone": 0}
