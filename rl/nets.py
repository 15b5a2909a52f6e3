"""Multi-layer perceptrons with ReLU between layers, single and stacked.

All numbers of a net lie in one flat vector, and its backward pass is written by hand: at the sizes
of this toolkit, dozens of graph nodes and of tensors to optimise cost as much as the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Layer = tuple[Tensor, Tensor]  # weight [E, in, out], bias [E, 1, out]
NARROW = 12  # columns up to which a product is several times as fast written as rows


class Stack(nn.Module):
    """E perceptrons of one shape, evaluated by batched products.

    The weights of the net are views into `theta` [P]: see `layers`. `gain` scales the last layer.
    Call it for results with gradients of first order, or `trace` and `pull` to do without a graph.
    """

    def __init__(
        self, num: int, sizes: Sequence[int], generator: torch.Generator, gain: float = 1.0
    ) -> None:
        super().__init__()
        if min(sizes) < 1:
            raise ValueError(f"a network of widths {list(sizes)}: each must be at least 1")
        self.num, self.sizes = num, tuple(sizes)
        widths = zip(sizes[:-1], sizes[1:], strict=True)
        self.theta = nn.Parameter(torch.empty(num * sum((i + 1) * o for i, o in widths)))
        self._views: dict[int, list[Layer]] = {}
        with torch.no_grad():
            for weight, bias in self.layers(self.theta.detach()):
                bound = 1 / math.sqrt(weight.shape[1])
                weight.uniform_(-bound, bound, generator=generator)
                bias.uniform_(-bound, bound, generator=generator)
            weight.mul_(gain)
            bias.mul_(gain)

    def layers(self, flat: Tensor) -> list[Layer]:
        """The weights and biases as views into a vector [P] of this net's numbers."""
        found, start = [], 0
        for n_in, n_out in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            split = start + self.num * n_in * n_out
            stop = split + self.num * n_out
            weight = flat[start:split].view(self.num, n_in, n_out)
            found.append((weight, flat[split:stop].view(self.num, 1, n_out)))
            start = stop
        return found

    def grads(self) -> list[Layer]:
        """`layers` of the parameter's gradient, for `pull` to write to."""
        assert self.theta.grad is not None
        return self.layers(self.theta.grad)

    def _current(self) -> list[Layer]:
        """`layers` of the parameter, looked up again only when it has moved."""
        theta = self.theta.detach()
        place = theta.data_ptr()
        if place not in self._views:
            self._views = {place: self.layers(theta)}
        return self._views[place]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_views": {}}  # a copy has its own numbers

    def trace(self, x: Tensor) -> list[Tensor]:
        """The input of every layer [E, B, in] for x [E, B, in], and last the output [E, B, out]."""
        layers = self._current()
        trace = [x]
        for i, (weight, bias) in enumerate(layers):
            if weight.shape[-1] == 1:  # batched products are slow at producing a column
                x = (x * weight.mT).sum(-1, keepdim=True).add_(bias)
            elif weight.shape[-1] <= NARROW:
                x = torch.baddbmm(bias.mT, weight.mT, x.mT).mT
            else:
                x = torch.baddbmm(bias, x, weight)
            if i < len(layers) - 1:
                x = x.relu_()
            trace.append(x)
        return trace

    def pull(
        self,
        trace: list[Tensor],
        grad: Tensor,
        into: list[Layer] | None,
        learn: int | None = None,
        columns: slice | None = None,
    ) -> Tensor | None:
        """Propagate the gradient [E, B, out] of a loss back through a trace.

        The gradient of the first `learn` rows (None: all) is written to the layers `into`. Returns
        the gradient [E, B - learn, columns] of the other rows' inputs (`learn` None: of all), if
        any `columns` are asked for.
        """
        layers = self._current()
        for i in range(len(layers) - 1, -1, -1):
            weight, h = layers[i][0], trace[i]
            thin = weight.shape[-1] == 1
            if into is not None:
                slot, bias_slot = into[i]
                g, above = grad[:, :learn], h[:, :learn]
                if weight.shape[-1] <= NARROW:
                    slot.copy_(torch.bmm(g.mT, above).mT)
                else:
                    torch.bmm(above.mT, g, out=slot)
                torch.sum(g, 1, keepdim=True, out=bias_slot)
            if i > 0:
                grad = grad * weight.mT if thin else torch.bmm(grad, weight.mT)
                # through the ReLU, in place: this gradient is ours
                torch.ops.aten.threshold_backward.grad_input(grad, h, 0, grad_input=grad)
        if columns is None:
            return None
        return torch.bmm(grad[:, learn or 0 :], layers[0][0][:, columns].mT)

    def forward(self, *parts: Tensor) -> Tensor:
        """Inputs [B, in], in one or several parts side by side, to [E, B, out]."""
        out: Tensor = _Pass.apply(self.theta, self, *parts)  # type: ignore[no-untyped-call]
        return out


class Perceptron(Stack):
    """One perceptron, [..., in] to [..., out]."""

    def __init__(self, sizes: Sequence[int], generator: torch.Generator, gain: float = 1.0) -> None:
        super().__init__(1, sizes, generator, gain)

    def forward(self, *parts: Tensor) -> Tensor:
        """Inputs [..., in], in one or several parts side by side, to [..., out]."""
        shape = parts[0].shape[:-1]
        if len(shape) != 1:
            parts = tuple(p.reshape(-1, p.shape[-1]) for p in parts)
        return super().forward(*parts).view(*shape, self.sizes[-1])


def mlp(sizes: Sequence[int], generator: torch.Generator, gain: float = 1.0) -> Perceptron:
    """A perceptron of the given widths; `gain` scales the last layer."""
    return Perceptron(sizes, generator, gain)


class _Pass(torch.autograd.Function):
    """A whole stack as one differentiable function of its parameter and its inputs."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, net: Stack, *parts: Tensor) -> Tensor:
        x = torch.cat(parts, -1) if len(parts) > 1 else parts[0]
        trace = net.trace(x.expand(net.num, *x.shape))
        ctx.net = net
        ctx.widths = [p.shape[-1] for p in parts]
        ctx.save_for_backward(theta, *trace[:-1])
        return trace[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        theta, *trace = ctx.saved_tensors
        net: Stack = ctx.net
        want_theta, _, *want = ctx.needs_input_grad
        flat = torch.empty_like(theta) if want_theta else None
        stops = [sum(ctx.widths[: k + 1]) for k in range(len(want))]
        first = next((k for k, w in enumerate(want) if w), None)
        start = 0 if first is None else stops[first] - ctx.widths[first]
        columns = None if first is None else slice(start, stops[-1])
        into = None if flat is None else net.layers(flat)
        back = net.pull(trace, grad, into, columns=columns)
        if back is None:
            return flat, None, *([None] * len(want))
        back = back[0] if len(back) == 1 else back.sum(0)
        grads = [
            back[:, stop - width - start : stop - start] if wanted else None
            for wanted, width, stop in zip(want, ctx.widths, stops, strict=True)
        ]
        return flat, None, *grads
