"""The trust region: linear systems, the bound, and what happens when nothing helps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rl.policies import Categorical, Gaussian
from rl.trpo import conjugate_gradient, trust_region_step


def positive(n: int, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(n, n, generator=g, dtype=torch.float64)
    return root @ root.T + 0.1 * torch.eye(n)


def test_conjugate_gradient_solves_in_as_many_steps_as_there_are_unknowns() -> None:
    f, b = positive(6), torch.arange(6).double()
    x, _ = conjugate_gradient(lambda v: f @ v, b, 6)
    assert torch.allclose(f @ x, b, atol=1e-6)
    early, image = conjugate_gradient(lambda v: f @ v, b, 2)
    assert torch.allclose(f @ early, image)
    assert 1e-3 < float((f @ early - b).norm()) < float(b.norm())


def take(loss, f: Tensor, start: Tensor, max_kl: float, kl=None):  # type: ignore[no-untyped-def]
    theta = start.clone().requires_grad_()
    value = loss(theta)
    (grad,) = torch.autograd.grad(value, theta)
    kl = kl or (lambda there: 0.5 * (there - start) @ f @ (there - start))
    return trust_region_step(
        start,
        grad,
        lambda v: f @ v,
        lambda there: (loss(there), kl(there)),
        loss=value.detach(),
        max_kl=max_kl,
        cg_steps=10,
        damping=0.0,
        backtracks=15,
    )


def test_a_linear_loss_moves_to_the_edge_along_the_natural_gradient() -> None:
    f, g = positive(4), torch.tensor([1.0, -2.0, 0.5, 3.0]).double()
    start = torch.zeros(4).double()
    below = 0.5 * (1 - 1e-6)  # so that the edge itself is within the bound
    step = take(lambda x: g @ x, f, start, 0.01, kl=lambda x: below * x @ f @ x)
    want = -torch.linalg.solve(f, g)
    want *= (0.02 / (want @ f @ want)).sqrt()
    assert step.kept and torch.allclose(step.theta, want, rtol=1e-5)
    assert float(step.kl) == pytest.approx(0.01, rel=1e-5)
    assert float(step.loss) == pytest.approx(float(g @ want))


def test_the_bound_holds_where_the_quadratic_model_is_wrong() -> None:
    f, start = torch.eye(3).double(), torch.zeros(3).double()
    step = take(lambda x: x.sum(), f, start, 0.01, kl=lambda x: x.square().sum() * 2)
    assert step.kept and 0 < float(step.kl) <= 0.01
    assert float(step.kl) > 0.01 * 0.8**2  # and is used as far as the search is fine


def test_where_no_try_is_good_nothing_moves() -> None:
    f, start = torch.eye(2).double(), torch.ones(2).double()
    never = take(lambda x: x.sum(), f, start, 0.01, kl=lambda x: torch.tensor(1.0))
    assert not never.kept and torch.equal(never.theta, start) and float(never.kl) == 0
    flat = take(lambda x: 0 * x.sum(), f, start, 0.01)
    assert not flat.kept and torch.equal(flat.theta, start)


def test_divergences_are_those_of_torch() -> None:
    g = torch.Generator().manual_seed(0)
    mean, other, log_std, wide = torch.randn(4, 5, 3, generator=g)
    ours = Gaussian(mean, log_std).kl(Gaussian(other, wide))
    normal = torch.distributions.Normal
    p, q = normal(mean, log_std.exp()), normal(other, wide.exp())
    assert torch.allclose(ours, torch.distributions.kl_divergence(p, q).sum(-1), rtol=1e-4)
    flat = Categorical(mean).kl(Categorical(other))
    one, two = (
        torch.distributions.Categorical(logits=mean),
        torch.distributions.Categorical(logits=other),
    )
    assert torch.allclose(flat, torch.distributions.kl_divergence(one, two), rtol=1e-4)
