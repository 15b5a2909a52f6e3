"""Learning rates that blow up: two rollbacks, one line, and nothing saved that is no number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune.stage import finetune_stage
from logbook import checkpoint
from logbook.build import build
from logbook.compose import compose
from logbook.errors import UserError
from meta.stage import metatrain_stage
from pretrain.stage import pretrain_stage
from rl.policies import Categorical, Gaussian, SquashedGaussian
from rl.train import Means, train, unsound
from rl.types import Diverged
from tests.finetune_runs import config_of, pretrain_small

CARTPOLE = (
    "env=gym env.id=CartPole-v1 skill.num_skills=2 skill.hidden=[8] num_envs=2 steps=400 "
    "log_every=50 checkpoint_every=100 atlas.videos=false agent.hidden=[8] "
)
PPO = "agent=ppo agent.horizon=8 agent.minibatches=1 agent.epochs=2 "
SAC = "agent=sac agent.start_steps=8 agent.updates=1 agent.batch_size=8 agent.replay_size=400 "
RL2 = (
    "learner=rl2 tasks=bandit tasks.arms=3 tasks.pulls=4 learner.hidden=8 learner.meta_batch=6 "
    "learner.epochs=2 learner.minibatches=1 steps=600 log_every=100 checkpoint_every=200 "
)


@pytest.fixture(scope="module")
def skills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain_small(tmp_path_factory.mktemp("skills") / "run")


def _gives_up(stage: Any, config: dict[str, Any], folder: Path) -> None:
    with pytest.raises(UserError, match="given up: try a lower learning rate") as told:
        stage(config, folder)
    assert "clip" not in str(told.value) and "task." not in str(told.value)
    kept = list((folder / "checkpoints").iterdir())  # those that were set aside too
    assert kept and not any(unsound(checkpoint.load(path)) for path in kept)


@pytest.mark.parametrize("lr", ["1e20", "1e38"])
def test_memory_that_diverges_is_rolled_back(tmp_path: Path, lr: str) -> None:
    config = compose("metatrain", [*RL2.split(), f"learner.lr={lr}"]).config
    _gives_up(metatrain_stage, config, tmp_path / "run")


@pytest.mark.parametrize(("agent", "lr"), [(PPO, "1e30"), (SAC, "1e30"), (SAC, "1e38")])
def test_discrete_acts_that_diverge_are_rolled_back(tmp_path: Path, agent: str, lr: str) -> None:
    config = compose("pretrain", [*CARTPOLE.split(), *agent.split(), f"agent.lr={lr}"]).config
    _gives_up(pretrain_stage, config, tmp_path / "run")


@pytest.mark.parametrize("lr", ["1e12", "1e30"])
def test_a_controller_that_diverges_is_rolled_back(tmp_path: Path, skills: Path, lr: str) -> None:
    config = config_of(skills, "hierarchy", "run_forward", f"strategy.controller.lr={lr}")
    _gives_up(finetune_stage, config, tmp_path / "run")


@pytest.mark.parametrize("strategy", ["scratch", "policy"])
def test_acts_that_diverge_are_not_blamed_on_the_task(
    tmp_path: Path, skills: Path, strategy: str
) -> None:
    config = config_of(skills, strategy, "run_forward", "agent.lr=1e12 agent.start_steps=20")
    _gives_up(finetune_stage, config, tmp_path / "run")


def test_whoever_acts_on_nan_says_so() -> None:
    noise, head = torch.Generator().manual_seed(0), torch.full((3, 2), torch.nan)
    for choice in (Categorical(head), SquashedGaussian(head), Gaussian(head, torch.zeros(2))):
        for act in (lambda c=choice: c.sample(noise), choice.mode):
            with pytest.raises(Diverged, match="not a finite number"):
                act()
    huge = torch.full((3, 2), 3e38)  # finite, though their sum is not
    assert Gaussian(huge, torch.zeros(2)).mode() is huge


class Stumbling:
    """A round that fails, with learned numbers that are sound or not."""

    def __init__(self, weight: float) -> None:
        self.means, self.step, self.weight = Means(), 1, weight

    def advance(self) -> None:
        raise KeyError("a fault of ours")

    def row(self) -> dict[str, float]:
        return {}

    def reseed(self, seed: int) -> None: ...

    def state_dict(self) -> Any:
        return {"net": {"w": torch.tensor([1.0, self.weight])}, "rows": np.ones(2)}

    def load_state_dict(self, state: Any) -> None: ...


class Nobody:
    def tick(self, step: int) -> None: ...

    def log(self, step: int, row: object) -> None: ...

    def save(self, step: int, state: object) -> None: ...

    def stop_requested(self) -> bool:
        return False


def test_a_failure_is_a_divergence_only_where_numbers_are_lost() -> None:
    every: dict[str, Any] = {"steps": 9, "log_every": 9, "checkpoint_every": 9}
    with pytest.raises(KeyError):
        train(Stumbling(3e38), Nobody(), **every)
    with pytest.raises(Diverged, match="net.w is not a finite number"):
        train(Stumbling(float("inf")), Nobody(), **every)


def test_what_is_not_finite_is_found_wherever_it_lies() -> None:
    assert unsound({"a": [np.array([1.0, np.nan])], "b": np.array([np.inf]), "c": 1}) == ["b"]
    assert unsound({"a": {"b": torch.tensor([3e38, 3e38])}, "t": torch.tensor([True])}) == []


@pytest.mark.parametrize("paid", [1e300, -1e39, float("nan"), float("inf")])
def test_a_reward_that_float32_lacks_is_counted_and_not_learned_from(paid: float) -> None:
    node = compose("pretrain", ["env=point"]).config["env"]
    world = build("env", node, num_envs=3)
    world.reset(seed=0)
    real = world._advance

    def advance(act: Any) -> Any:
        rew, terminated, unstable = real(act)
        rew[1] = paid
        return rew, terminated, unstable

    world._advance = advance
    obs, rew, terminated, truncated, info = world.step(np.zeros((3, 2), np.float32))
    assert info["unstable"].tolist() == [False, True, False] and world.unstable == 1
    assert rew[1] == 0.0 and truncated[1] and np.isfinite(rew).all() and np.isfinite(obs).all()


@pytest.mark.parametrize("reward", ["1e300 * x_velocity", "-x * 1e39"])
def test_a_formula_that_pays_too_much_is_one_line(
    tmp_path: Path, skills: Path, reward: str
) -> None:
    config = config_of(skills, "scratch", "custom", f"task.reward='{reward.replace(' ', '')}'")
    with pytest.raises(UserError, match=r"task.reward: .*bound it, such as with clip"):
        finetune_stage(config, tmp_path / "run")
