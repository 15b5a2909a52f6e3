"""Perceptrons with ReLU that differ from row to row, and products with their second derivatives.

Row i of `params` [n, P] holds all numbers of one net; a row's inputs are [B, in]. Nothing here
builds a graph: the passes are Pearlmutter's (1994), written by hand. Once `trace` and `pull` have
gone through a net, products with its second derivatives cost six matrix products a layer, and
those with a Gauss-Newton matrix four.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Layer = tuple[Tensor, Tensor]  # weight [n, in, out], bias [n, 1, out]


class Rows:
    """Nets of one shape, one a row. The last `tail` numbers of a row belong to no layer."""

    def __init__(self, sizes: Sequence[int], tail: int = 0) -> None:
        if min(sizes) < 1:
            raise ValueError(f"a network of widths {list(sizes)}: each must be at least 1")
        self.sizes = tuple(sizes)
        self._shapes = list(zip(sizes[:-1], sizes[1:], strict=True))
        self._tail = tail
        self.size = sum((i + 1) * o for i, o in self._shapes) + tail

    def fresh(self, generator: torch.Generator, tail: float = 0.0) -> Tensor:
        """A row [P]: weights uniform as Glorot & Bengio (2010) have it, biases zero."""
        params = torch.zeros(1, self.size)
        for weight, _ in self.layers(params):
            bound = math.sqrt(6 / sum(weight.shape[1:]))
            weight.uniform_(-bound, bound, generator=generator)
        params[:, self.size - self._tail :] = tail
        return params[0]

    def layers(self, params: Tensor) -> list[Layer]:
        """Weights and biases as views into params [n, P]."""
        found, start = [], 0
        for n_in, n_out in self._shapes:
            split = start + n_in * n_out
            weight = params[:, start:split].unflatten(1, (n_in, n_out))
            start = split + n_out
            found.append((weight, params[:, None, split:start]))
        return found

    def tail(self, params: Tensor) -> Tensor:
        """What belongs to no layer, [n, 1, tail]."""
        return params[:, None, self.size - self._tail :]

    def trace(self, params: Tensor, x: Tensor) -> list[Tensor]:
        """The input of every layer [n, B, in] for x [n, B, in], and last the output [n, B, out]."""
        trace = [x]
        for weight, bias in self.layers(params):
            x = torch.baddbmm(bias, x, weight)
            if len(trace) < len(self._shapes):
                x = x.relu_()
            trace.append(x)
        return trace

    def pull(
        self, params: Tensor, trace: list[Tensor], grad: Tensor, tail: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The gradient [n, P] of a loss whose gradients at output and tail these are.

        Second, the gradients [n, B, out] before every layer's ReLU, for `bend`.
        """
        flat = torch.empty(len(trace[0]), self.size, dtype=grad.dtype, device=grad.device)
        self.tail(flat).copy_(tail)
        here, into = self.layers(params), self.layers(flat)
        deltas = [grad]
        for i in range(len(self._shapes) - 1, -1, -1):
            weight, bias = into[i]
            torch.bmm(trace[i].mT, grad, out=weight)
            torch.sum(grad, 1, keepdim=True, out=bias)
            if i > 0:
                grad = _through(torch.bmm(grad, here[i][0].mT), trace[i])
                deltas.append(grad)
        return flat, deltas[::-1]

    def push(self, params: Tensor, trace: list[Tensor], v: Tensor) -> list[Tensor]:
        """How the output of every layer [n, B, out] moves as params move along v [n, P]."""
        moves: list[Tensor] = []
        for i, ((weight, _), (dw, db)) in enumerate(
            zip(self.layers(params), self.layers(v), strict=True)
        ):
            move = torch.baddbmm(db, trace[i], dw)
            if moves:
                move.baddbmm_(moves[-1], weight)
            moves.append(move if i == len(self._shapes) - 1 else _through(move, trace[i + 1]))
        return moves

    def bend(
        self,
        params: Tensor,
        trace: list[Tensor],
        deltas: list[Tensor],
        v: Tensor,
        moves: list[Tensor],
        grad: Tensor,
        tail: Tensor,
    ) -> Tensor:
        """How the gradient [n, P] of `pull` moves as params move along v [n, P].

        `moves` are those of `push`; `grad` and `tail` say how the gradients that `pull` was given
        move with them.
        """
        flat = torch.empty(len(trace[0]), self.size, dtype=grad.dtype, device=grad.device)
        self.tail(flat).copy_(tail)
        here, along, into = self.layers(params), self.layers(v), self.layers(flat)
        for i in range(len(self._shapes) - 1, -1, -1):
            weight, bias = into[i]
            torch.bmm(trace[i].mT, grad, out=weight)
            torch.sum(grad, 1, keepdim=True, out=bias)
            if i > 0:
                weight.baddbmm_(moves[i - 1].mT, deltas[i])
                back = torch.bmm(grad, here[i][0].mT).baddbmm_(deltas[i], along[i][0].mT)
                grad = _through(back, trace[i])
        return flat


def _through(grad: Tensor, h: Tensor) -> Tensor:
    """A gradient or a tangent through the ReLU that gave h, in place."""
    torch.ops.aten.threshold_backward.grad_input(grad, h, 0, grad_input=grad)
    return grad
