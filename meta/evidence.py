"""What a round of a trial says about each task: samples side by side, with advantages.

Advantages are generalised (rl/returns.py) over a baseline that is linear in features of obs and
time (Duan et al. 2016, arXiv 1604.06778), fitted to each task and round alone, then normalised for
each task. An episode's time limit is its end here: time is among the features, so the values of
what comes before an end know that it comes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rl.returns import gae
from rl.types import Batch

_RIDGE = 1e-4  # of features whose variance is 1


@dataclass(frozen=True)
class Evidence:
    """A round in n tasks: B samples each, of which the invalid ones weigh nothing."""

    obs: Tensor  # [n, B, O], what the policy saw
    act: Tensor  # [n, B, A]
    weight: Tensor  # [n, B], sums to 1 for each task
    rew: Tensor  # [n], the mean reward of a step
    log_prob: Tensor  # [n, B], of act when it was sampled
    advantage: Tensor  # [n, B]
    target: Tensor  # [n, B, A] the acts that were asked for; A is 0 if none were


def by_task(x: Tensor, n: int) -> Tensor:
    """[T, N, ...] as [n, T * width, ...]."""
    return x.unflatten(1, (n, -1)).transpose(0, 1).flatten(1, 2)


def gather(rollout: Batch, obs: Tensor, n: int, gamma: float, lam: float) -> Evidence:
    """The evidence in a round [T, N] of n tasks; `obs` [T, N, O] is what the policy saw."""
    valid = rollout.extras["valid"]
    weight = by_task(valid.to(obs.dtype), n)
    weight = weight / weight.sum(1, keepdim=True).clamp_min(1.0)
    seen = by_task(obs, n)
    rew = torch.where(valid, rollout.rew, 0.0).to(obs.dtype)
    target = rollout.extras.get("target")
    if target is None:
        advantage = _advantage(rollout, rew, seen, weight, gamma, lam)
    else:
        advantage = torch.zeros_like(weight)
    return Evidence(
        obs=seen,
        act=by_task(rollout.act, n).to(obs.dtype),
        weight=weight,
        rew=(by_task(rew, n) * weight).sum(1),
        log_prob=by_task(rollout.extras["log_prob"], n).to(obs.dtype),
        advantage=advantage,
        target=seen[..., :0] if target is None else by_task(target, n).to(obs.dtype),
    )


def _advantage(
    rollout: Batch, rew: Tensor, seen: Tensor, weight: Tensor, gamma: float, lam: float
) -> Tensor:
    """Advantages [n, B] of mean 0 and spread 1 for each task."""
    n, steps = len(seen), len(rew)
    ends = rollout.terminated | rollout.truncated
    ends[:-1] |= ~rollout.extras["valid"][1:]  # what led to such a row does not hear of it
    ends[-1] = True
    never = torch.zeros_like(ends)
    zero = torch.zeros_like(rew)
    returns = gae(rew, ends, never, zero, zero, gamma, 1.0)
    fitted = _fit(_features(seen, weight, steps), by_task(returns, n), weight)
    value = fitted.unflatten(1, (steps, -1)).transpose(0, 1).flatten(1, 2)
    after = torch.cat([value[1:], zero[:1]])
    advantage = by_task(gae(rew, ends, never, value, after, gamma, lam), n)
    advantage = advantage - (advantage * weight).sum(1, keepdim=True)
    spread = (advantage.square() * weight).sum(1, keepdim=True).sqrt()
    return advantage / (spread + 1e-8)


def _features(seen: Tensor, weight: Tensor, steps: int) -> Tensor:
    """Obs, its square, time to the third power and 1: [n, B, 2O + 4], of comparable size."""
    share = weight[..., None]
    mean = (seen * share).sum(1, keepdim=True)
    spread = ((seen - mean).square() * share).sum(1, keepdim=True).sqrt()
    x = ((seen - mean) / (spread + 1e-8)).clamp(-10, 10)
    time = torch.linspace(-1, 1, steps, dtype=seen.dtype, device=seen.device)
    time = time.repeat_interleave(seen.shape[1] // steps)[:, None]
    clock = torch.cat([time, time**2, time**3, torch.ones_like(time)], -1)
    return torch.cat([x, x.square(), clock.expand(len(seen), *clock.shape)], -1)


def _fit(features: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """The ridge regression of y [n, B] on features [n, B, D], evaluated where it was fitted."""
    weighted = features * weight[..., None]
    gram = (weighted.mT @ features).double()
    gram.diagonal(dim1=1, dim2=2).add_(_RIDGE)
    cross = (weighted.mT @ y[..., None]).double()
    coef = torch.linalg.solve(gram, cross).to(y.dtype)
    return (features @ coef)[..., 0]
