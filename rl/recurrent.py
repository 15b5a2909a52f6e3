"""Recurrent cells whose backward pass through time is written by hand: GRU and LSTM.

All numbers of a cell lie in one flat vector, as those of a `Stack` do. What does not depend on the
state is done for the whole sequence in one product, the gates of a step share one, and the
gradients of the weights are one product over all steps at the end. Gates are kept where they were
computed and overwritten by their gradients on the way back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_sigmoid_back = torch.ops.aten.sigmoid_backward.grad_input
_tanh_back = torch.ops.aten.tanh_backward.grad_input


@dataclass(frozen=True)
class Trace:
    """What a pass left behind; `pull` uses it up."""

    x: Tensor  # [T, N, I]
    states: Tensor  # [T + 1, N, H], the first of which is zero
    saved: tuple[Tensor, ...]

    @property
    def out(self) -> Tensor:
        """The output of every step [T, N, H]."""
        return self.states[1:]


class Cell(nn.Module):
    """Base of the cells: I inputs, H outputs, a state [N, S] whose first H columns are the output.

    `step` moves on by one step. `trace` runs a sequence from the zero state; `pull` takes the
    gradient with respect to its outputs back to the weights.
    """

    state_width: int
    """S."""

    def __init__(self, n_in: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        if min(n_in, width) < 1:
            raise ValueError(f"a cell of {width} units on {n_in} inputs: both must be at least 1")
        self.n_in, self.width = n_in, width
        self._shapes = self._weights()
        self.theta = nn.Parameter(torch.empty(sum(math.prod(s) for s in self._shapes)))
        self._views: dict[int, list[Tensor]] = {}
        self._begin(generator)

    @torch.no_grad()
    def _begin(self, generator: torch.Generator) -> None:
        """Biases of zero, orthogonal products of states, and inputs that bend the gates.

        With torch's smaller weights on inputs a cell starts out almost linear, and is long in
        finding out that an act and the reward that followed it must be looked at together.
        """
        bound = math.sqrt(6 / self.n_in)
        weights = self.views(self.theta.detach().zero_())
        matrices = [w for w in weights if w.ndim == 2]
        half = len(matrices) // 2
        for weight in matrices[:half]:  # of inputs
            weight.uniform_(-bound, bound, generator=generator)
        for weight in matrices[half:]:  # of the state
            for gate in weight.split(self.width, 1):
                noise = torch.randn(self.width, self.width, generator=generator)
                gate.copy_(torch.linalg.qr(noise)[0])

    def views(self, flat: Tensor) -> list[Tensor]:
        """The weights as views into a vector [P] of this cell's numbers."""
        found, start = [], 0
        for shape in self._shapes:
            stop = start + math.prod(shape)
            found.append(flat[start:stop].view(shape))
            start = stop
        return found

    def _current(self) -> list[Tensor]:
        """`views` of the parameter, looked up again only when it has moved."""
        theta = self.theta.detach()
        place = theta.data_ptr()
        if place not in self._views:
            self._views = {place: self.views(theta)}
        return self._views[place]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_views": {}}  # a copy has its own numbers

    def start(self, n: int) -> Tensor:
        """The state [n, S] of those who have seen nothing."""
        return self.theta.new_zeros(n, self.state_width)

    def step(self, x: Tensor, state: Tensor) -> Tensor:
        """The state [N, S] after an input [N, I]."""
        raise NotImplementedError

    def trace(self, x: Tensor) -> Trace:
        """Run over x [T, N, I] from the zero state."""
        raise NotImplementedError

    def pull(self, trace: Trace, grad: Tensor, into: Tensor) -> None:
        """Write to `into` [P] the gradient of a loss, given that [T, N, H] of the outputs.

        The trace is used up: a second call would find gradients where the gates were.
        """
        raise NotImplementedError

    def _weights(self) -> list[tuple[int, ...]]:
        """The shapes of all weights in `theta`: of inputs, as many of the state, of biases."""
        raise NotImplementedError


class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014, arXiv 1406.1078) as cuDNN and torch have it.

    r, z = sigmoid(x W + h U + b);  n = tanh(x W_n + b_n + r (h U_n + c));  h' = (1 - z) n + z h.
    """

    @property
    def state_width(self) -> int:  # type: ignore[override]
        return self.width

    def _weights(self) -> list[tuple[int, ...]]:
        i, h = self.n_in, self.width
        return [(i, 2 * h), (i, h), (h, 2 * h), (h, h), (2 * h,), (h,), (h,)]

    def step(self, x: Tensor, state: Tensor) -> Tensor:
        w, w_n, u, u_n, b, b_n, c = self._current()
        r, z = torch.addmm(b, x, w).addmm_(state, u).sigmoid_().chunk(2, -1)
        n = torch.addcmul(torch.addmm(b_n, x, w_n), r, torch.addmm(c, state, u_n))
        return torch.lerp(_tanh_(n), state, z)

    @torch.no_grad()
    def trace(self, x: Tensor) -> Trace:
        w, w_n, u, u_n, b, b_n, c = self._current()
        steps, num, h = len(x), x.shape[1], self.width
        flat = x.reshape(-1, self.n_in)
        rz = torch.addmm(b, flat, w).view(steps, num, 2 * h)
        n = torch.addmm(b_n, flat, w_n).view(steps, num, h)
        m = torch.empty_like(n)  # h U_n + c
        states = n.new_empty(steps + 1, num, h)
        states[0] = 0
        state = states[0]
        for rz_, n_, m_, next_ in zip(rz, n, m, states[1:], strict=True):
            rz_.addmm_(state, u).sigmoid_()
            torch.addmm(c, state, u_n, out=m_)
            n_.addcmul_(rz_[:, :h], m_)
            state = torch.lerp(_tanh_(n_), state, rz_[:, h:], out=next_)
        return Trace(x, states, (rz, n, m))

    @torch.no_grad()
    def pull(self, trace: Trace, grad: Tensor, into: Tensor) -> None:
        _, _, u, u_n, *_ = self._current()
        h = self.width
        rz, n, m = trace.saved
        back = torch.zeros_like(grad[0])  # with respect to the state after a step, from later ones
        own, spare = torch.empty_like(back), torch.empty_like(back)
        rows = zip(trace.states[:-1], grad, rz, n, m, strict=True)
        for state, grad_, rz_, n_, m_ in reversed(list(rows)):
            r_, z_ = rz_[:, :h], rz_[:, h:]
            back.add_(grad_)
            torch.sub(state, n_, out=spare).mul_(back)
            torch.mul(back, z_, out=own)
            _sigmoid_back(spare, z_, grad_input=z_)
            back.sub_(own)
            _tanh_back(back, n_, grad_input=n_)
            torch.mul(n_, m_, out=spare)
            torch.mul(n_, r_, out=m_)
            _sigmoid_back(spare, r_, grad_input=r_)
            own.addmm_(rz_, u.mT).addmm_(m_, u_n.mT)
            back, own = own, back
        w, w_n, u, u_n, b, b_n, c = self.views(into)
        rz, n, m = rz.view(-1, 2 * h), n.view(-1, h), m.view(-1, h)
        x, state = trace.x.reshape(-1, self.n_in), trace.states[:-1].view(-1, h)
        torch.mm(x.mT, rz, out=w)
        torch.mm(x.mT, n, out=w_n)
        torch.mm(state.mT, rz, out=u)
        torch.mm(state.mT, m, out=u_n)
        torch.sum(rz, 0, out=b)
        torch.sum(n, 0, out=b_n)
        torch.sum(m, 0, out=c)


class LSTM(Cell):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), with a forget gate that starts open.

    i, f, o = sigmoid(x W + h U + b), g = tanh(...);  c' = f c + i g;  h' = o tanh(c').
    The state is h and c side by side.
    """

    def __init__(self, n_in: int, width: int, generator: torch.Generator) -> None:
        super().__init__(n_in, width, generator)
        with torch.no_grad():
            self.views(self.theta.detach())[2][width : 2 * width] += 1.0

    @property
    def state_width(self) -> int:  # type: ignore[override]
        return 2 * self.width

    def _weights(self) -> list[tuple[int, ...]]:
        i, h = self.n_in, self.width
        return [(i, 4 * h), (h, 4 * h), (4 * h,)]

    def step(self, x: Tensor, state: Tensor) -> Tensor:
        w, u, b = self._current()
        h = self.width
        a = torch.addmm(b, x, w).addmm_(state[:, :h], u)
        i, f, o = a[:, : 3 * h].sigmoid_().chunk(3, -1)
        c = torch.mul(f, state[:, h:]).addcmul_(i, _tanh_(a[:, 3 * h :]))
        return torch.cat([o * torch.tanh(c), c], -1)

    @torch.no_grad()
    def trace(self, x: Tensor) -> Trace:
        w, u, b = self._current()
        steps, num, h = len(x), x.shape[1], self.width
        gates = torch.addmm(b, x.reshape(-1, self.n_in), w).view(steps, num, 4 * h)
        states, c = gates.new_empty(2, steps + 1, num, h)
        states[0] = c[0] = 0
        bent = torch.empty_like(c[1:])  # tanh(c)
        for t, a in enumerate(gates):
            a.addmm_(states[t], u)
            i, f, o = a[:, : 3 * h].sigmoid_().chunk(3, -1)
            torch.mul(f, c[t], out=c[t + 1]).addcmul_(i, _tanh_(a[:, 3 * h :]))
            torch.mul(o, torch.tanh(c[t + 1], out=bent[t]), out=states[t + 1])
        return Trace(x, states, (gates, c, bent))

    @torch.no_grad()
    def pull(self, trace: Trace, grad: Tensor, into: Tensor) -> None:
        _, u, _ = self._current()
        gates, c, bent = trace.saved
        back, back_c = grad.new_zeros(2, *grad.shape[1:])
        spare, d_i, d_f = grad.new_empty(3, *grad.shape[1:])
        for t in range(len(grad) - 1, -1, -1):
            i, f, o, g = gates[t].chunk(4, -1)
            back.add_(grad[t])
            torch.mul(back, o, out=spare)
            _tanh_back(spare, bent[t], grad_input=spare)
            back_c.add_(spare)
            torch.mul(back, bent[t], out=spare)
            _sigmoid_back(spare, o, grad_input=o)
            torch.mul(back_c, g, out=d_i)
            torch.mul(back_c, i, out=spare)
            _tanh_back(spare, g, grad_input=g)
            torch.mul(back_c, c[t], out=d_f)
            back_c.mul_(f)
            _sigmoid_back(d_i, i, grad_input=i)
            _sigmoid_back(d_f, f, grad_input=f)
            torch.mm(gates[t], u.mT, out=back)
        w, u, b = self.views(into)
        gates = gates.view(-1, 4 * self.width)
        torch.mm(trace.x.reshape(-1, self.n_in).mT, gates, out=w)
        torch.mm(trace.states[:-1].reshape(-1, self.width).mT, gates, out=u)
        torch.sum(gates, 0, out=b)


def _tanh_(x: Tensor) -> Tensor:
    """tanh in place, by way of the sigmoid, which is three times as fast."""
    return x.mul_(2.0).sigmoid_().mul_(2.0).sub_(1.0)
