"""Learners by gradient steps: their gradients against finite differences and naive loops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from logbook.build import build
from logbook.config import node_of
from meta.evidence import Evidence
from meta.fomaml import FOMAML
from meta.gradient import GradientLearner
from meta.inner import Regression, Slope
from meta.maml import _Region
from rl.policies import Categorical, Gaussian
from rl.types import WorldSpec

A, O, N, B = 2, 3, 3, 14  # noqa: E741


def make(name: str, **over: Any) -> Any:
    node = node_of("learner", name)
    context = {"burn_in": None, "horizon": None, "seed": 3, "task_dim": 2}
    discrete = over.pop("discrete", False)
    context |= {key: over.pop(key) for key in list(over) if key in context}
    world = WorldSpec("toy", O, A, discrete, (), ())
    return build("learner", {**node, **over}, world=world, device=torch.device("cpu"), **context)


def evidence(discrete: bool, seed: int, n: int = N) -> Evidence:
    """Made-up samples, some of them invalid."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    weight = (torch.rand(n, B, generator=g) < 0.8).double()
    act = torch.eye(A).double()[draw(n, B, A).argmax(-1)] if discrete else draw(n, B, A)
    return Evidence(
        obs=draw(n, B, O),
        act=act,
        weight=weight / weight.sum(1, keepdim=True),
        rew=draw(n),
        log_prob=-1.5 + 0.3 * draw(n, B),
        advantage=draw(n, B),
        target=torch.zeros(n, B, 0, dtype=torch.float64),
    )


def small(cls: str, discrete: bool, **over: Any) -> Any:
    """A learner of a tiny net in float64, whose start is nothing special."""
    learner = make(cls, discrete=discrete, hidden=[5, 4], inner_lr=0.3, **over)
    g = torch.Generator().manual_seed(1)
    learner.theta = 0.5 * torch.randn(learner.net.size, generator=g, dtype=torch.float64)
    return learner


class Naive:
    """The same things by the book: one task after the other, autograd, no sharing of code."""

    def __init__(self, learner: GradientLearner, discrete: bool) -> None:
        self.sizes, self.discrete = [O, 5, 4, A], discrete

    def choice(self, theta: Tensor, obs: Tensor) -> Categorical | Gaussian:
        start = 0
        for i, (a, b) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            weight = theta[start : start + a * b].reshape(a, b)
            bias = theta[start + a * b : start + a * b + b]
            start += a * b + b
            obs = obs @ weight + bias
            if i < 2:
                obs = torch.where(obs > 0, obs, torch.zeros_like(obs))
        return Categorical(obs) if self.discrete else Gaussian(obs, theta[start:])

    def ratio(self, theta: Tensor, e: Evidence, i: int) -> Tensor:
        return (self.choice(theta, e.obs[i]).log_prob(e.act[i]) - e.log_prob[i]).exp()

    def adapt(self, theta: Tensor, e: Evidence, i: int, rate: float) -> Tensor:
        gain = (e.weight[i] * self.ratio(theta, e, i) * e.advantage[i]).sum()
        (grad,) = torch.autograd.grad(gain, theta, create_graph=True)
        return theta + rate * grad

    def kl(self, old: Tensor, new: Tensor, e: Evidence, i: int) -> Tensor:
        p, q = self.choice(old, e.obs[i]), self.choice(new, e.obs[i])
        if isinstance(p, Categorical):
            assert isinstance(q, Categorical)
            each = (p.log_p.exp() * (p.log_p - q.log_p)).sum(-1)
        else:
            assert isinstance(q, Gaussian)
            a = torch.distributions.Normal(p.mean, p.log_std.exp())
            b = torch.distributions.Normal(q.mean, q.log_std.exp())
            each = torch.distributions.kl_divergence(a, b).sum(-1)
        return (e.weight[i] * each).sum()


def parts(learner: Any, found: list[Evidence]) -> tuple[Any, list[Any], list[list[Any]]]:
    inner = [learner._loss(e) for e in found[:-1]]
    outer = learner._counted([learner._loss(e) for e in found])
    return learner._chains(found, inner), inner, outer


def gradient(learner: Any, found: list[Evidence]) -> tuple[Tensor, Tensor]:
    chains, _, outer = parts(learner, found)
    return learner._gradient(chains, outer)


@pytest.mark.parametrize(
    ("discrete", "steps", "burn_in"), [(False, 1, None), (True, 2, None), (False, 2, 0)]
)
def test_meta_gradient_is_that_of_finite_differences(
    discrete: bool, steps: int, burn_in: int | None
) -> None:
    learner = small("maml", discrete, inner_steps=steps, burn_in=burn_in)
    found = [evidence(discrete, k) for k in range(steps + 1)]
    value, grad = gradient(learner, found)
    theta, near = learner.theta.clone(), torch.zeros_like(grad)
    for p in range(len(theta)):
        ends = []
        for sign in (1, -1):
            learner.theta = theta.clone()
            learner.theta[p] += sign * 1e-6
            ends.append(gradient(learner, found)[0])
        near[p] = (ends[0] - ends[1]) / 2e-6
    assert grad.norm() > 0.01
    assert torch.allclose(grad, near, atol=1e-7, rtol=1e-5)

    naive = Naive(learner, discrete)
    want = 0.0
    for i in range(N):
        now = theta.clone().requires_grad_()
        for k, e in enumerate(found):
            if k >= learner.burn_in:
                gain = (e.weight[i] * naive.ratio(now, e, i) * e.advantage[i]).sum()
                want -= float(gain.detach())
            if k < steps:
                now = naive.adapt(now, e, i, 0.3)
    assert float(value) == pytest.approx(want / N, rel=1e-9)


@pytest.mark.parametrize("discrete", [False, True])
def test_promp_is_the_formula(discrete: bool) -> None:
    learner = small("promp", discrete, kl_coef=0.2, clip=0.3)
    found = [evidence(discrete, k) for k in range(2)]
    old = learner.theta.clone()
    outer = learner._counted([learner._clipped(e) for e in found])
    outer[0] += learner._near(found)
    learner.theta += 0.05 * torch.randn(
        len(old), generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )  # in place, as steps on the same batch move it
    value, grad = learner._gradient(learner._chains(found, [learner._loss(found[0])]), outer)

    naive, theta = Naive(learner, discrete), learner.theta.clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for i in range(N):
        e = found[1]
        ratio = naive.ratio(naive.adapt(theta, found[0], i, 0.3), e, i)
        clipped = ratio.clamp(0.7, 1.3)
        gain = (e.weight[i] * torch.minimum(ratio * e.advantage[i], clipped * e.advantage[i])).sum()
        total = total + (gain - 0.2 * naive.kl(old, theta, found[0], i)) / N
        assert (ratio != clipped).any()
    total.backward()
    assert theta.grad is not None
    assert float(value) == pytest.approx(-float(total.detach()), rel=1e-9)
    assert torch.allclose(grad, -theta.grad, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("discrete", [False, True])
def test_promp_takes_all_its_steps_along_the_formula(discrete: bool) -> None:
    """Five of Adam on one batch of trials, against autograd: the KL is to those that sampled."""
    eta, lr = 50.0, 0.03
    learner = small("promp", discrete, kl_coef=eta, clip=0.2, epochs=5)
    learner._adam = torch.optim.Adam([learner.theta], lr=lr)
    found = [evidence(discrete, k) for k in range(2)]
    naive, old = Naive(learner, discrete), learner.theta.clone()
    theta = old.clone().requires_grad_()
    adam = torch.optim.Adam([theta], lr=lr)
    clipped_once = False
    for _ in range(5):
        adam.zero_grad()
        loss = torch.zeros((), dtype=torch.float64)
        for i in range(N):
            e = found[1]
            ratio = naive.ratio(naive.adapt(theta, found[0], i, 0.3), e, i)
            within = ratio.clamp(0.8, 1.2)
            clipped_once |= bool((ratio != within).any())
            gain = torch.minimum(ratio * e.advantage[i], within * e.advantage[i])
            loss = loss + (eta * naive.kl(old, theta, found[0], i) - (e.weight[i] * gain).sum()) / N
        loss.backward()
        adam.step()
    learner._reinforce(found)
    assert clipped_once and float((theta - old).abs().max().detach()) > lr
    assert torch.allclose(learner.theta, theta.detach(), atol=1e-8, rtol=0)
    [state] = learner._adam.state.values()
    assert int(state["step"]) == 5


@pytest.mark.parametrize("rate", [0.3, 0.0])
def test_an_old_policy_stays_as_it_was_while_the_start_moves_in_place(rate: float) -> None:
    """Mean and spread, at the start and after a step, also where a step is none."""
    learner = small("promp", False, inner_steps=2)
    learner.settings = replace(learner.settings, inner_lr=rate)
    found = [evidence(False, k) for k in range(3)]
    near = learner._near(found)
    old = [(d.head.clone(), d.tail.clone()) for d in near]
    region = _Region(small("maml", False, burn_in=0), *parts(learner, found[:2]), found[:2])
    far = [d for some in region._far for d in some if d is not None]
    kept = [(d.head.clone(), d.tail.clone()) for d in far]
    memory, start = learner.begin(2, None), learner.theta.clone()
    learner.theta += 1.0
    for d, (head, tail) in [*zip(near, old, strict=True), *zip(far, kept, strict=True)]:
        assert torch.equal(d.head, head) and torch.equal(d.tail, tail)
    assert len(near) == 2 and len(far) == 2
    assert torch.equal(memory.params, start.expand(2, -1)), "a memory is not what is learned later"


@pytest.mark.parametrize("discrete", [False, True])
def test_trust_region_products_are_those_of_the_hessian(discrete: bool) -> None:
    learner = small("maml", discrete)
    found = [evidence(discrete, k) for k in range(2)]
    region = _Region(learner, *parts(learner, found), found)
    naive = Naive(learner, discrete)
    old = [
        naive.adapt(learner.theta.clone().requires_grad_(), found[0], i, 0.3).detach()
        for i in range(N)
    ]

    def divergence(theta: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for i in range(N):
            total = total + naive.kl(old[i], naive.adapt(theta, found[0], i, 0.3), found[1], i)
        return total / N

    hessian = torch.autograd.functional.hessian(divergence, learner.theta.clone())
    got = torch.stack([region.product(v) for v in torch.eye(len(hessian)).double()], 1)
    assert hessian.abs().max() > 0.01
    assert torch.allclose(got, hessian, atol=1e-9, rtol=1e-6)


def test_first_order_lacks_exactly_the_second() -> None:
    found = [evidence(False, k) for k in range(2)]
    full, straight = small("maml", False), small("fomaml", False)
    assert isinstance(straight, FOMAML)
    grad = gradient(full, found)[1]
    first = gradient(straight, found)[1]

    slope = Slope(full.net, full.theta.expand(N, -1), full._loss(found[0]))
    adapted = full.theta - 0.3 * slope.grad
    u = Slope(full.net, adapted, full._loss(found[1])).grad
    assert torch.allclose(first, u.mean(0))
    naive = Naive(full, False)
    for i in range(N):  # the Hessian of one task's inner loss, by autograd

        def inner(theta: Tensor, i: int = i) -> Tensor:
            e = found[0]
            return -(e.weight[i] * naive.ratio(theta, e, i) * e.advantage[i]).sum()

        hessian = torch.autograd.functional.hessian(inner, full.theta.clone())
        grad = grad + 0.3 * hessian @ u[i] / N
    assert torch.allclose(grad, first, atol=1e-12)


def test_steps_of_all_tasks_at_once_are_those_of_each() -> None:
    learner = small("maml", False)
    found = evidence(False, 0)
    loss = learner._loss(found)
    theta = learner.theta + 0.1 * torch.arange(N)[:, None]
    chain = Slope(learner.net, theta, loss).grad
    naive = Naive(learner, False)
    for i in range(N):
        want = naive.adapt(theta[i].clone().requires_grad_(), found, i, 1.0).detach()
        assert torch.allclose(theta[i] - chain[i], want, atol=1e-12)
    head = torch.zeros(N, B, A).double()
    mse = Regression(loss.obs, loss.weight, head + 3.0)
    assert torch.allclose(mse(head, head[:, :1]), torch.full((N,), 9.0).double())


def test_groups_of_tasks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = small("maml", False)
    found = [evidence(False, k) for k in range(2)]
    whole = gradient(learner, found)
    monkeypatch.setattr("meta.gradient._GROUP", 2 * B * 5)
    assert len(parts(learner, found)[0]) == 2
    split = gradient(learner, found)
    assert all(torch.allclose(a, b) for a, b in zip(whole, split, strict=True))


def test_earlier_episodes_are_credited_with_what_they_lead_to() -> None:
    learner = small("emaml", False, inner_steps=2)
    found = [evidence(False, k) for k in range(3)]
    outer = learner._outer(found)
    assert [len(losses) for losses in outer] == [1, 1, 1]  # two credits, and the last round itself
    rew = found[2].rew
    credit = (rew - rew.mean()) / rew.std(correction=0)
    for losses in outer[:2]:
        assert torch.allclose(losses[0].advantage[:, 0], credit, atol=1e-6)
        assert torch.allclose(losses[0].advantage[:, -1], credit, atol=1e-6)
