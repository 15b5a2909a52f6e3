"""Trust region policy optimisation (Schulman et al. 2015, arXiv 1502.05477): its step.

Along the natural gradient x = F^-1 g as far as the quadratic model of the divergence allows,
beta = sqrt(2 delta / x'Fx) (appendix C), then back until loss and divergence are truly what they
should be. The step is a function of closures, so the loss may itself contain gradient steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_SHRINK = 0.8  # from one try of the line search to the next
_SMALL = 1e-10  # residual at which the linear system counts as solved


class Step(NamedTuple):
    """Where to, and what is known there; `kept` is False if no try was good and theta stays."""

    theta: Tensor
    loss: Tensor
    kl: Tensor
    kept: bool


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], b: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """An approximate solution x of F x = b, for a positive definite F known by its products.

    Second, F x, which comes for free.
    """
    x = torch.zeros_like(b)
    rest, along = b.clone(), b.clone()
    error = rest.dot(rest)
    for _ in range(steps):
        if float(error) < _SMALL:
            break
        image = product(along)
        length = error / along.dot(image)
        x += length * along
        rest -= length * image
        last, error = error, rest.dot(rest)
        along = rest + (error / last) * along
    return x, b - rest


def trust_region_step(
    theta: Tensor,
    gradient: Tensor,
    product: Callable[[Tensor], Tensor],
    evaluate: Callable[[Tensor], tuple[Tensor, Tensor]],
    *,
    loss: Tensor,
    max_kl: float,
    cg_steps: int,
    damping: float,
    backtracks: int,
) -> Step:
    """Lower a loss from theta [P], where its value and `gradient` are given.

    `product` multiplies a vector with the Hessian of the divergence at theta; `evaluate` gives loss
    and divergence of another theta. The divergence of the result never exceeds `max_kl`.
    """
    here = Step(theta, loss, torch.zeros_like(loss), False)
    if not float(gradient.abs().max()) > 0:  # nothing counts, or nothing differs
        return here
    unit = gradient / gradient.norm()
    way, image = conjugate_gradient(lambda v: product(v) + damping * v, unit, cg_steps)
    curvature = way.dot(image)
    full = way * (2 * max_kl / curvature.clamp_min(1e-20)).sqrt()
    for i in range(backtracks):
        there = theta - _SHRINK**i * full
        new_loss, kl = evaluate(there)
        if float(new_loss) < float(loss) and float(kl) <= max_kl:
            return Step(there, new_loss, kl, True)
    return here
