"""Policies against torch.distributions, and their gradients by hand against autograd."""

import math

import pytest
import torch
from torch import Tensor, distributions
from torch.nn import functional as F

from rl.policies import Categorical, Gaussian, SquashedGaussian


def squashed(policy: SquashedGaussian) -> distributions.Distribution:
    base = distributions.Normal(policy.mean, policy.log_std.exp())
    tanh = distributions.TanhTransform(cache_size=1)
    return distributions.Independent(distributions.TransformedDistribution(base, tanh), 1)


def test_squashed_gaussian_agrees_with_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    policy = SquashedGaussian(torch.randn(64, 6, generator=generator, dtype=torch.float64))
    assert policy.log_std.min() >= -5 and policy.log_std.max() <= 2
    act, weight, log_prob = policy.atoms(generator)
    assert act.shape == (1, 64, 3) and torch.equal(weight, torch.ones(1, 64))
    want = squashed(policy).log_prob(act[0])
    inner = act[0].abs().amax(-1) < 0.9999  # torch's inverse of tanh clamps beyond
    assert inner.sum() > 30
    assert torch.allclose(log_prob[0][inner], want[inner], atol=1e-4)
    assert torch.allclose(policy.log_prob(act[0])[inner], want[inner], atol=1e-4)


def test_squashed_gaussian_by_hand() -> None:
    # mean 0.3, raw log-spread 0: log_std = -1.5; at u = mean: act = tanh 0.3
    policy = SquashedGaussian(torch.tensor([[0.3, 0.0]]))
    act = torch.tensor([[math.tanh(0.3)]])
    want = -0.5 * math.log(2 * math.pi) + 1.5 - math.log(1 - math.tanh(0.3) ** 2)
    assert policy.log_prob(act).item() == pytest.approx(want, abs=1e-5)
    assert torch.allclose(policy.mode(), act)


def test_squashed_gaussian_is_finite_far_out() -> None:
    policy = SquashedGaussian(torch.tensor([[40.0, 9.0], [-40.0, 9.0]]))
    act, _, log_prob = policy.atoms(torch.Generator().manual_seed(0))
    assert torch.isfinite(log_prob).all() and torch.equal(act[0], torch.tensor([[1.0], [-1.0]]))
    assert torch.isfinite(policy.log_prob(act[0])).all()


def test_gaussian_agrees_with_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    policy = Gaussian(torch.randn(8, 3, generator=generator), torch.tensor([-0.5, 0.1, 0.7]))
    act = policy.sample(generator)
    normal = distributions.Independent(distributions.Normal(policy.mean, policy.log_std.exp()), 1)
    assert torch.allclose(policy.log_prob(act), normal.log_prob(act), atol=1e-5)
    assert torch.allclose(policy.entropy(), normal.entropy(), atol=1e-5)


def test_categorical_atoms_are_the_expectation() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=generator)
    policy = Categorical(logits)
    act, weight, log_prob = policy.atoms(generator)
    assert act.shape == (4, 5, 4) and weight.shape == (4, 5)
    assert torch.allclose(weight.sum(0), torch.ones(5), atol=1e-6)
    table = torch.randn(4, generator=generator)  # the worth of each action
    want = (F.softmax(logits, -1) * table).sum(-1)
    assert torch.allclose((weight * (act @ table)).sum(0), want, atol=1e-6)
    assert torch.allclose(-(weight * log_prob).sum(0), policy.entropy(), atol=1e-6)
    for s in range(4):
        assert torch.allclose(policy.log_prob(act[s]), log_prob[s])


def test_categorical_samples_with_its_probabilities() -> None:
    p = torch.tensor([0.1, 0.6, 0.3])
    policy = Categorical(p.log().expand(20000, 3))
    drawn = policy.sample(torch.Generator().manual_seed(0))
    assert torch.equal(drawn.sum(-1), torch.ones(20000))
    assert torch.allclose(drawn.mean(0), p, atol=0.015)
    assert torch.equal(policy.mode()[0], torch.tensor([0.0, 1.0, 0.0]))


@pytest.mark.parametrize("kind", [SquashedGaussian, Categorical])
def test_pull_equals_autograd(kind: type) -> None:
    def loss(act: Tensor, weight: Tensor, log_prob: Tensor) -> Tensor:
        return (weight * ((act * slope).sum(-1) + 0.7 * log_prob * mix)).sum()

    generator = torch.Generator().manual_seed(3)
    head = torch.randn(10, 8, generator=generator, requires_grad=True)
    policy = kind(head)
    atoms = [x[:, 4:] for x in policy.atoms(generator)]
    slope = torch.randn(atoms[0].shape, generator=generator)
    mix = torch.rand(atoms[1].shape, generator=generator)
    (want,) = torch.autograd.grad(loss(*atoms), head)
    leaves = [x.detach().requires_grad_() for x in atoms]
    seeds = torch.autograd.grad(loss(*leaves), leaves)
    with torch.no_grad():
        got = policy.pull(slice(4, None), seeds[0] if kind.moving else None, seeds[1], seeds[2])
    assert torch.equal(want[:4], torch.zeros(4, 8))
    assert torch.allclose(got, want[4:], atol=1e-5)
    assert want.abs().max() > 0.1
