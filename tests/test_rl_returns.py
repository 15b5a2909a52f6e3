"""Targets and advantages, with numbers worked by hand."""

import pytest
import torch

from rl.returns import gae, td_target


def column(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float32)[:, None]


def flags(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.bool)[:, None]


def test_td_target_bootstraps_unless_the_world_ended() -> None:
    rew = torch.tensor([1.0, 2.0, -1.0])
    ended = torch.tensor([False, True, False])
    target = td_target(rew, ended, torch.tensor([10.0, 10.0, 20.0]), 0.9)
    assert torch.allclose(target, torch.tensor([10.0, 2.0, 17.0]))


def test_td_target_discounts_each_transition_by_its_own_gamma_and_still_ends() -> None:
    rew = torch.tensor([1.0, 2.0, -1.0])
    ended = torch.tensor([False, True, False])
    gamma = torch.tensor([0.9, 0.9, 0.5])
    target = td_target(rew, ended, torch.tensor([10.0, 10.0, 20.0]), gamma)
    assert torch.allclose(target, torch.tensor([10.0, 2.0, 9.0]))


def test_gae_by_hand() -> None:
    # gamma 0.5, lambda 0.5. deltas: 1 + 0.5*4 - 2 = 1; 2 + 0.5*6 - 4 = 1; 3 + 0.5*8 - 6 = 1
    advantage = gae(
        column(1, 2, 3), flags(0, 0, 0), flags(0, 0, 0), column(2, 4, 6), column(4, 6, 8), 0.5, 0.5
    )
    # from the last row, which is a cut: 1; 1 + 0.25*1; 1 + 0.25*1.25
    assert torch.allclose(advantage, column(1.3125, 1.25, 1.0))


def test_gae_stops_at_the_end_of_the_world() -> None:
    # row 1 terminated: delta 2 - 4 = -2, and row 0 still sees it: 1 + 0.25*-2
    advantage = gae(
        column(1, 2, 3), flags(0, 1, 0), flags(0, 0, 0), column(2, 4, 6), column(4, 6, 8), 0.5, 0.5
    )
    assert torch.allclose(advantage, column(0.5, -2.0, 1.0))


def test_gae_bootstraps_at_a_time_limit_and_does_not_cross_it() -> None:
    # row 1 truncated: its true successor is worth 6, so delta is 1, but row 2 is another episode
    advantage = gae(
        column(1, 2, 3), flags(0, 0, 0), flags(0, 1, 0), column(2, 4, 6), column(4, 6, 8), 0.5, 0.5
    )
    assert torch.allclose(advantage, column(1.25, 1.0, 1.0))


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_gae_is_the_discounted_sum_of_surprises(lam: float) -> None:
    generator = torch.Generator().manual_seed(0)
    steps, worlds, gamma = 12, 5, 0.97
    rew, value, next_value = torch.randn(3, steps, worlds, generator=generator)
    terminated = torch.rand(steps, worlds, generator=generator) < 0.15
    truncated = (torch.rand(steps, worlds, generator=generator) < 0.15) & ~terminated
    assert terminated.any() and truncated.any()
    got = gae(rew, terminated, truncated, value, next_value, gamma, lam)
    for n in range(worlds):
        for t in range(steps):
            want, weight = 0.0, 1.0
            for k in range(t, steps):
                after = 0.0 if terminated[k, n] else gamma * float(next_value[k, n])
                want += weight * (float(rew[k, n]) + after - float(value[k, n]))
                weight *= gamma * lam
                if terminated[k, n] or truncated[k, n]:
                    break
            assert float(got[t, n]) == pytest.approx(want, abs=1e-5)
