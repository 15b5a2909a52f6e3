"""Perceptrons: one flat vector, and a backward pass by hand that equals autograd's."""

import copy

import pytest
import torch
from torch import Tensor

from rl.nets import Stack, mlp


def plain(net: Stack, theta: Tensor, x: Tensor) -> Tensor:
    """The same perceptrons one by one, as a textbook writes them."""
    out = []
    for e in range(net.num):
        h = x
        for i, (weight, bias) in enumerate(net.layers(theta)):
            h = h @ weight[e] + bias[e]
            if i < len(net.sizes) - 2:
                h = h.relu()
        out.append(h)
    return torch.stack(out)


@pytest.mark.parametrize("num,out", [(1, 5), (2, 1), (3, 4)])
def test_stack_equals_separate_perceptrons(num: int, out: int) -> None:
    generator = torch.Generator().manual_seed(0)
    net = Stack(num, [7, 32, 16, out], generator)
    a = torch.randn(11, 3, generator=generator, requires_grad=True)
    b = torch.randn(11, 4, generator=generator)
    theta = net.theta.detach().clone().requires_grad_()
    c = a.detach().clone().requires_grad_()
    got, want = net(a, b), plain(net, theta, torch.cat([c, b], -1))
    assert torch.allclose(got, want, atol=1e-6)
    weight = torch.randn(want.shape, generator=generator)
    (got * weight).sum().backward()
    (want * weight).sum().backward()
    assert torch.allclose(net.theta.grad, theta.grad, atol=1e-5)
    assert torch.allclose(a.grad, c.grad, atol=1e-5)
    assert theta.grad.abs().max() > 0.1


def test_pull_learns_from_the_first_rows_and_answers_for_the_others() -> None:
    generator = torch.Generator().manual_seed(1)
    net = Stack(2, [6, 16, 16, 1], generator)
    x = torch.randn(9, 6, generator=generator)
    grad = torch.randn(2, 9, 1, generator=generator)
    into = torch.empty_like(net.theta)
    trace = net.trace(x.expand(2, 9, 6))
    back = net.pull(trace, grad, net.layers(into), learn=4, columns=slice(2, 6))
    theta = net.theta.detach().clone().requires_grad_()
    (plain(net, theta, x[:4]) * grad[:, :4]).sum().backward()
    assert torch.allclose(into, theta.grad, atol=1e-5)
    tail = x[4:].clone().requires_grad_()
    (plain(net, theta.detach(), tail) * grad[:, 4:]).sum().backward()
    assert torch.allclose(back.sum(0), tail.grad[:, 2:], atol=1e-5)


def test_mlp_takes_any_leading_shape_and_gain_scales_the_last_layer() -> None:
    net = mlp([4, 16, 2], torch.Generator().manual_seed(0))
    small = mlp([4, 16, 2], torch.Generator().manual_seed(0), gain=0.1)
    x = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    assert net(x).shape == (3, 5, 2)
    assert torch.allclose(net(x)[2, 1], net(x[2, 1][None])[0], atol=1e-6)
    assert torch.allclose(small(x), 0.1 * net(x), atol=1e-6)
    weight = net.layers(net.theta.detach())[0][0]
    assert weight.abs().max() <= 0.5 and weight.abs().max() > 0.45  # 1 / sqrt(4)


def test_a_copy_has_its_own_numbers() -> None:
    net = mlp([3, 8, 2], torch.Generator().manual_seed(0))
    x = torch.ones(1, 3)
    before = net(x).detach().clone()
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.theta.zero_()
    assert torch.equal(net(x), before)
    assert torch.equal(other(x), torch.zeros(1, 2))


def test_changing_the_parameter_between_forward_and_backward_is_refused() -> None:
    net = mlp([3, 8, 2], torch.Generator().manual_seed(0))
    loss = net(torch.ones(1, 3)).sum()
    with torch.no_grad():
        net.theta.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
