"""Multi-layer perceptrons, single and stacked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mlp(sizes: Sequence[int], generator: torch.Generator, gain: float = 1.0) -> nn.Sequential:
    """Linear layers of the given widths with ReLU between; `gain` scales the last layer."""
    layers: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        linear = nn.Linear(n_in, n_out)
        bound = 1 / math.sqrt(n_in)
        nn.init.uniform_(linear.weight, -bound, bound, generator=generator)
        nn.init.uniform_(linear.bias, -bound, bound, generator=generator)
        layers.append(linear)
        if i < len(sizes) - 2:
            layers.append(nn.ReLU())
        else:
            with torch.no_grad():
                linear.weight.mul_(gain)
                linear.bias.mul_(gain)
    return nn.Sequential(*layers)


class Stack(nn.Module):
    """E perceptrons of one shape, evaluated by batched products: [B, in] to [E, B, out]."""

    def __init__(self, num: int, sizes: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
            bound = 1 / math.sqrt(n_in)
            shape = (num, n_in, n_out)
            self.weights.append(torch.empty(shape).uniform_(-bound, bound, generator=generator))
            self.biases.append(
                torch.empty(num, 1, n_out).uniform_(-bound, bound, generator=generator)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, in] to [E, B, out]."""
        h = x.expand(len(self.weights[0]), *x.shape)
        last = len(self.weights) - 1
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(b, h, w)
            if i < last:
                h = F.relu(h)
        return h
