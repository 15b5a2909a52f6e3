"""Adaptation by gradient steps, all tasks at once, and how to look through it.

MAML (Finn et al. 2017, arXiv 1703.03400, eq. 1): params_k+1 = params_k - rate * grad L_k(params_k),
from params_0 = theta. So a gradient at params_k reaches theta through J' = prod (I - rate H_j),
where H_j are Hessians of the inner losses. They are never formed: rl/tangents.py multiplies with
them. Losses are functions of a net's output and tail alone, so their derivatives there are taken
by autograd, and a new loss is a formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from rl.policies import Categorical, Gaussian
from rl.tangents import Rows

Choice = Gaussian | Categorical


def choice(head: Tensor, tail: Tensor) -> Choice:
    """The distribution of a net's output [n, B, A]; its tail [n, 1, A] is a Gaussian's log-spread.

    A net without a tail speaks of discrete actions.
    """
    return Gaussian(head, tail) if tail.shape[-1] else Categorical(head)


@dataclass(frozen=True)
class Loss:
    """Something to be lowered, for each of n tasks alone. All fields are [n, ...]."""

    obs: Tensor  # [n, B, O]
    weight: Tensor  # [n, B]

    def __call__(self, head: Tensor, tail: Tensor) -> Tensor:
        """The losses [n] of nets that say head [n, B, A] with tail [n, 1, A or 0]."""
        raise NotImplementedError

    def part(self, ids: slice) -> Self:
        """The same for some of the tasks."""
        return replace(self, **{k.name: getattr(self, k.name)[ids] for k in fields(self)})


@dataclass(frozen=True)
class Surrogate(Loss):
    """-E[pi / pi_old * A], the likelihood ratio, rather than log pi * A.

    Their gradients agree at pi = pi_old. The Hessian of the ratio has the outer product of scores
    as well, which is how sampling enters into it (Rothfuss et al. 2018, arXiv 1810.06784, section
    5: the low-variance curvature estimator, H_1 + H_2).
    """

    act: Tensor  # [n, B, A]
    log_prob: Tensor  # [n, B]
    advantage: Tensor  # [n, B]

    def __call__(self, head: Tensor, tail: Tensor) -> Tensor:
        ratio = (choice(head, tail).log_prob(self.act) - self.log_prob).exp()
        return -(self.weight * self.advantage * ratio).sum(-1)


@dataclass(frozen=True)
class Clipped(Surrogate):
    """The surrogate of PPO (arXiv 1707.06347, eq. 7), with `clip` [n]."""

    clip: Tensor

    def __call__(self, head: Tensor, tail: Tensor) -> Tensor:
        ratio = (choice(head, tail).log_prob(self.act) - self.log_prob).exp()
        clip = self.clip[:, None]
        clipped = torch.minimum(torch.maximum(ratio, 1 - clip), 1 + clip)
        gain = torch.minimum(ratio * self.advantage, clipped * self.advantage)
        return -(self.weight * gain).sum(-1)


@dataclass(frozen=True)
class Regression(Loss):
    """The mean squared error of what the net says."""

    target: Tensor  # [n, B, A]

    def __call__(self, head: Tensor, tail: Tensor) -> Tensor:
        return (self.weight * (head - self.target).square().mean(-1)).sum(-1)


@dataclass(frozen=True)
class Divergence(Loss):
    """KL(old || new) in nats, times `scale` [n]."""

    head: Tensor  # [n, B, A]
    tail: Tensor  # [n, 1, A or 0]
    scale: Tensor

    @classmethod
    def from_now(
        cls, net: Rows, params: Tensor, obs: Tensor, weight: Tensor, scale: Tensor
    ) -> Self:
        """From the policies that params [n, P] make now, even where these move in place later."""
        return cls(obs, weight, net.trace(params, obs)[-1], net.tail(params).clone(), scale)

    def __call__(self, head: Tensor, tail: Tensor) -> Tensor:
        kl = choice(self.head, self.tail).kl(choice(head, tail))  # type: ignore[arg-type]
        return self.scale * (self.weight * kl).sum(-1)


class Slope:
    """A loss at params [n, P], with its gradient and products with its second derivatives."""

    def __init__(self, net: Rows, params: Tensor, loss: Loss) -> None:
        self._net, self._params = net, params
        self._trace = net.trace(params, loss.obs)
        self._at = (
            self._trace[-1].detach().requires_grad_(),
            net.tail(params).detach().clone().requires_grad_(),
        )
        with torch.enable_grad():
            values = loss(*self._at)
            self._outer = _grad(values.sum(), self._at, create_graph=True)
        self.values = values.detach()  # [n]
        head, tail = (g.detach() for g in self._outer)
        self.grad, self._deltas = net.pull(params, self._trace, head, tail)  # [n, P]

    def product(self, v: Tensor) -> Tensor:
        """The Hessian times v, row by row, [n, P]."""
        moves, head, tail = self._second(v)
        net, params = self._net, self._params
        return net.bend(params, self._trace, self._deltas, v, moves, head, tail)

    def gauss_newton(self, v: Tensor) -> Tensor:
        """The Gauss-Newton matrix times v; where the gradient is zero it is the Hessian."""
        _, head, tail = self._second(v)
        return self._net.pull(self._params, self._trace, head, tail)[0]

    def _second(self, v: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """How layers and the gradients at head and tail move along v."""
        moves = self._net.push(self._params, self._trace, v)
        along = moves[-1], self._net.tail(v)
        with torch.enable_grad():
            total = sum((g * d).sum() for g, d in zip(self._outer, along, strict=True))
        assert isinstance(total, Tensor)
        head, tail = _grad(total, self._at, retain_graph=True)
        return moves, head, tail


class Chain:
    """theta [P] and what n tasks made of it: `params[k]` [n, P] after k steps.

    Step k goes against the slope of `losses[k]` at a rate of `rates[k]`; a rate of 0 is no step.
    """

    def __init__(
        self, net: Rows, theta: Tensor, n: int, losses: Sequence[Loss], rates: Sequence[float]
    ) -> None:
        self.params = [theta.expand(n, -1)]
        self._rates = rates
        self._slopes: list[Slope | None] = []
        for loss, rate in zip(losses, rates, strict=True):
            now = self.params[-1]
            slope = Slope(net, now, loss) if rate else None
            self._slopes.append(slope)
            self.params.append(now if slope is None else now - rate * slope.grad)

    def pull(self, grads: Sequence[Tensor | None]) -> Tensor:
        """The gradient [P] at theta, summed over tasks, of gradients [n, P] at every params[k]."""
        back = torch.zeros_like(self.params[0])
        for k in range(len(self.params) - 1, -1, -1):
            if k < len(self._slopes):
                back = self._bend(k, back)
            grad = grads[k]
            if grad is not None:
                back = back + grad
        return back.sum(0)

    def push(self, v: Tensor) -> list[Tensor]:
        """How every params[k] [n, P] moves as theta moves along v [P]."""
        moves = [v.expand_as(self.params[0])]
        for k in range(len(self._slopes)):
            moves.append(self._bend(k, moves[-1]))
        return moves

    def _bend(self, k: int, v: Tensor) -> Tensor:
        """(I - rate H_k) v; H_k is symmetric, so this serves both ways."""
        slope = self._slopes[k]
        return v if slope is None else v - self._rates[k] * slope.product(v)


def values(net: Rows, params: Tensor, losses: Sequence[Loss]) -> list[Tensor]:
    """Losses [n] of the same observations at params [n, P], without gradients."""
    head = net.trace(params, losses[0].obs)[-1]
    return [loss(head, net.tail(params)) for loss in losses]


class Straight(Chain):
    """A chain seen as if steps did not depend on where they start: first-order MAML."""

    def _bend(self, k: int, v: Tensor) -> Tensor:
        return v


def _grad(
    total: Tensor,
    at: tuple[Tensor, Tensor],
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> tuple[Tensor, Tensor]:
    head, tail = torch.autograd.grad(
        total,
        at,
        create_graph=create_graph,
        retain_graph=retain_graph,
        materialize_grads=True,
    )
    return head, tail
