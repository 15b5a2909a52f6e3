"""Adam over one vector: torch's own steps, and a state that goes on."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from rl.adam import Adam


def params(seed: int = 0) -> list[nn.Parameter]:
    g = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(size, generator=g)) for size in ((3, 5), (7,), ())]


def loss(ps: list[nn.Parameter]) -> Tensor:
    """Uneven in its parameters and in their parts."""
    return torch.stack([(k + 1) * (p - 0.3).pow(4).sum() for k, p in enumerate(ps)]).sum()


def walk(ps: list[nn.Parameter], opt: Adam | torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        opt.zero_grad()
        loss(ps).backward()
        opt.step()


def test_it_takes_the_steps_of_torch() -> None:
    """Bit for bit on one vector; of several, torch's kernel rounds the ends of each otherwise."""
    ours, theirs, start = params(), params(), params()
    walk(ours, Adam(ours, 0.05, eps=1e-5), 40)
    walk(theirs, torch.optim.Adam(theirs, lr=0.05, eps=1e-5, fused=True), 40)
    for a, b, before in zip(ours, theirs, start, strict=True):
        assert torch.allclose(a, b, atol=1e-6, rtol=1e-5)
        assert not torch.allclose(a, before, atol=0.1)
    one, other = params()[:1], params()[:1]
    walk(one, Adam(one, 0.05), 40)
    walk(other, torch.optim.Adam(other, lr=0.05, fused=True), 40)
    assert torch.equal(one[0], other[0])


def test_parameters_and_gradients_are_views_of_one_vector() -> None:
    ps = params()
    opt = Adam(ps, 0.1)
    loss(ps).backward()
    for vector, parts in ((opt.flat, ps), (opt.grad, [p.grad for p in ps])):
        want = torch.cat([p.detach().flatten() for p in parts if p is not None])
        assert torch.equal(vector, want) and want.abs().max() > 0
    ps[1].grad = None if ps[1].grad is None else ps[1].grad.mul_(0)
    assert not opt.grad[15:22].any() and opt.grad[:15].any()


def test_a_loaded_optimiser_goes_on_bit_for_bit() -> None:
    ours, other = params(), params(1)
    one, two = Adam(ours, 0.05), Adam(other, 0.05)
    walk(ours, one, 5)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    with torch.no_grad():
        two.flat.copy_(one.flat)
    walk(ours, one, 5)
    walk(other, two, 5)
    assert all(torch.equal(a, b) for a, b in zip(ours, other, strict=True))
