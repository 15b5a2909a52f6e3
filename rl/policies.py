"""What a policy says: squashed and plain Gaussians, categoricals.

A `Choice` is a policy's answer for a batch of observations. For critics it offers `atoms`: actions
[S, B, A], their weights [S, B] and log-probabilities [S, B], such that an expectation over the
policy is the weighted sum over S. A Gaussian offers one reparameterised sample, a categorical all
of its actions, so that a learner written with atoms needs no case for either. `pull` takes a
gradient with respect to the atoms back to the network's head, without a graph. Who is asked to act
and has no finite numbers to say raises `Diverged`.
"""

from __future__ import annotations

import math
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from rl.types import Diverged

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def _squash(u: Tensor) -> Tensor:
    """log (1 - tanh(u)^2), in a form that does not overflow."""
    return 2 * (math.log(2) - u - F.softplus(-2 * u))


def _sound(x: Tensor) -> Tensor:
    """The same, or `Diverged`: what draws from NaN fails in ways that say nothing of the cause."""
    if not math.isfinite(float(x.sum())) and not bool(x.isfinite().all()):
        raise Diverged("what the policy says is not a finite number")
    return x


class Choice(Protocol):
    """The distribution over actions of a policy at a batch of observations."""

    def sample(self, generator: torch.Generator) -> Tensor:
        """Actions [..., A], without gradient."""
        ...

    def mode(self) -> Tensor:
        """The most likely actions [..., A]."""
        ...

    def log_prob(self, act: Tensor) -> Tensor:
        """Log-probability [...] of actions [..., A]."""
        ...

    def entropy(self) -> Tensor:
        """Entropy [...] in nats (of the unsquashed Gaussian, if squashed)."""
        ...


class Atomic(Choice, Protocol):
    """A choice whose expectations are sums over atoms."""

    head_per_act: ClassVar[int]  # width of the head per action width
    moving: ClassVar[bool]  # whether the atoms' actions depend on the head

    def __init__(self, head: Tensor) -> None: ...

    def atoms(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Actions [S, B, A], weights [S, B], log-probabilities [S, B]."""
        ...

    def pull(self, rows: slice, act: Tensor | None, weight: Tensor, log_prob: Tensor) -> Tensor:
        """The gradient [b, head] of a loss, given those at the atoms' `rows`.

        `act` [S, b, A] (None unless `moving`), `weight` and `log_prob` [S, b] are the gradients
        with respect to the last `atoms`.
        """
        ...


class SquashedGaussian:
    """tanh of a diagonal Gaussian; head [..., 2A] holds the mean and the raw log-spread.

    The log-spread is mapped into [-5, 2] by tanh, as in Yarats & Kostrikov's SAC.
    """

    head_per_act: ClassVar[int] = 2
    moving: ClassVar[bool] = True

    def __init__(self, head: Tensor) -> None:
        self.mean, raw = head.chunk(2, -1)
        self._bend = torch.tanh(raw)
        self.log_std = 3.5 * self._bend - 1.5

    def sample(self, generator: torch.Generator) -> Tensor:
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device)
        return _sound(torch.tanh(self.mean + self.log_std.exp() * noise))

    def mode(self) -> Tensor:
        return _sound(torch.tanh(self.mean))

    def atoms(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device)
        self._swing = self.log_std.exp() * noise
        u = self.mean + self._swing
        self._act = torch.tanh(u)
        log_prob = (-0.5 * noise.square() - self.log_std - _squash(u) - _LOG_SQRT_2PI).sum(-1)
        return self._act[None], torch.ones_like(log_prob)[None], log_prob[None]

    def pull(self, rows: slice, act: Tensor | None, weight: Tensor, log_prob: Tensor) -> Tensor:
        assert act is not None
        a, swing, bend = self._act[rows], self._swing[rows], self._bend[rows]
        log_prob = log_prob[0, :, None]
        mean = torch.addcmul(act[0] * (1 - a * a), a, log_prob, value=2.0)  # of u, and so of mean
        raw = (mean * swing - log_prob) * (3.5 - 3.5 * bend * bend)
        return torch.cat([mean, raw], -1)

    def log_prob(self, act: Tensor) -> Tensor:
        u = torch.atanh(act.clamp(-1 + 1e-6, 1 - 1e-6))
        noise = (u - self.mean) * (-self.log_std).exp()
        return -(0.5 * noise.square() + self.log_std + _squash(u) + _LOG_SQRT_2PI).sum(-1)

    def entropy(self) -> Tensor:
        return (self.log_std + 0.5 + _LOG_SQRT_2PI).sum(-1)


class Gaussian:
    """A diagonal Gaussian with a log-spread that does not depend on obs; for on-policy learners."""

    head_per_act = 1

    def __init__(self, head: Tensor, log_std: Tensor) -> None:
        self.mean = head
        self.log_std = log_std.expand_as(head)

    def sample(self, generator: torch.Generator) -> Tensor:
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device)
        return _sound(self.mean + self.log_std.exp() * noise)

    def mode(self) -> Tensor:
        return _sound(self.mean)

    def log_prob(self, act: Tensor) -> Tensor:
        noise = (act - self.mean) * (-self.log_std).exp()
        return -(0.5 * noise.square() + self.log_std + _LOG_SQRT_2PI).sum(-1)

    def entropy(self) -> Tensor:
        return (self.log_std + 0.5 + _LOG_SQRT_2PI).sum(-1)

    def kl(self, other: Gaussian) -> Tensor:
        """KL(self || other) [...] in nats."""
        ratio = self.log_std - other.log_std
        apart = (self.mean - other.mean) * (-other.log_std).exp()
        return (0.5 * ((2 * ratio).exp() + apart.square() - 1) - ratio).sum(-1)


class Categorical:
    """One of A actions, one-hot [..., A]; head [..., A] holds the logits."""

    head_per_act: ClassVar[int] = 1
    moving: ClassVar[bool] = False

    def __init__(self, head: Tensor) -> None:
        # over the first dimension it is several times as fast, since actions are few
        self.log_p = F.log_softmax(head.movedim(-1, 0), 0).movedim(0, -1)

    def sample(self, generator: torch.Generator) -> Tensor:
        p = _sound(self.log_p.exp()).contiguous()  # noise falls on places in memory
        flat = torch.multinomial(p.reshape(-1, p.shape[-1]), 1, generator=generator)
        return F.one_hot(flat.reshape(p.shape[:-1]), p.shape[-1]).to(p.dtype)

    def mode(self) -> Tensor:
        _sound(self.log_p.exp())
        return F.one_hot(self.log_p.argmax(-1), self.log_p.shape[-1]).to(self.log_p.dtype)

    def log_prob(self, act: Tensor) -> Tensor:
        return (self.log_p * act).sum(-1)

    def entropy(self) -> Tensor:
        return -(self.log_p.exp() * self.log_p).sum(-1)

    def kl(self, other: Categorical) -> Tensor:
        """KL(self || other) [...] in nats."""
        return (self.log_p.exp() * (self.log_p - other.log_p)).sum(-1)

    def atoms(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        num = self.log_p.shape[-1]
        every = torch.eye(num, device=self.log_p.device)
        act = every[:, None, :].expand(num, len(self.log_p), num)
        return act, self.log_p.exp().T, self.log_p.T

    def pull(self, rows: slice, act: Tensor | None, weight: Tensor, log_prob: Tensor) -> Tensor:
        log_p = self.log_p[rows]
        p = log_p.exp()
        grad = log_prob.T + weight.T * p  # with respect to log p
        return grad - p * grad.sum(-1, keepdim=True)
