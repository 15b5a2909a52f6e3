"""Targets and advantages: the one place that knows what time limits mean.

`terminated` says the world ended: nothing comes after, the bootstrap is zero. `truncated` says we
stopped looking: the value of the true successor still counts, but the trace must not cross.
"""

from __future__ import annotations

import torch
from torch import Tensor


def td_target(rew: Tensor, terminated: Tensor, next_value: Tensor, gamma: float | Tensor) -> Tensor:
    """One-step target r + gamma V(s'), [...]; a time limit bootstraps like any other step.

    `gamma` may differ between transitions [...], where they last different numbers of steps.
    """
    if isinstance(gamma, Tensor):
        return torch.addcmul(rew, gamma * ~terminated, next_value)
    return torch.addcmul(rew, ~terminated, next_value, value=gamma)


def gae(
    rew: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    value: Tensor,
    next_value: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Generalised advantage estimates [T, N] (Schulman et al. 2016, eq. 16).

    `value` is V(obs) and `next_value` is V(next_obs) of the true successor, all [T, N]. The last
    row of a rollout is a cut as well: what follows it was not seen.
    """
    delta = td_target(rew, terminated, next_value, gamma) - value
    keep = gamma * lam * (~(terminated | truncated)).to(delta.dtype)
    advantage = torch.empty_like(delta)
    tail = torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        tail = torch.addcmul(delta[t], keep[t], tail, out=advantage[t])
    return advantage
