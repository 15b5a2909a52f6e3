"""MAML: a start from which one gradient step on a new task goes far.

Finn, Abbeel & Levine 2017 (arXiv 1703.03400, eq. 1, algorithm 3): theta is to lower
sum_i L_i(theta - alpha grad L_i(theta)), by TRPO on the policies after adaptation. Differences from
the authors' code: inner losses are likelihood ratios (meta/inner.py), so the second-order term is
not that of log pi * A; products with the Hessian of the divergence are exact instead of finite
differences; and those of the adapted policy, where its own gradient is zero, are Gauss-Newton.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from meta.evidence import Evidence
from meta.gradient import Chains, GradientLearner, GradientSettings, Rounds
from meta.inner import Divergence, Loss, Slope, values
from rl.ranges import Above, AtLeast, Count
from rl.trpo import trust_region_step
from rl.types import Metrics

__all__ = ["MAML"]


@dataclass(frozen=True)
class MAMLSettings(GradientSettings):
    """The trust region."""

    max_kl: Annotated[float, Above(0, "0.01")]
    cg_steps: Count
    damping: Annotated[float, AtLeast(0, "1e-5")]
    backtracks: Count


class MAML(GradientLearner):
    """Second order, trust region: the adapted policies move by `max_kl` nats an update."""

    settings: MAMLSettings

    def _outer(self, evidence: list[Evidence]) -> Rounds:
        """What is to be low at the start and after every step."""
        return self._counted([self._loss(e) for e in evidence])

    def _reinforce(self, evidence: list[Evidence]) -> Metrics:
        inner = [self._loss(e) for e in evidence[:-1]]
        outer = self._outer(evidence)
        chains = self._chains(evidence, inner)
        loss, gradient = self._gradient(chains, outer)
        region = _Region(self, chains, inner, outer, evidence)
        step = trust_region_step(
            self.theta,
            gradient,
            region.product,
            region.evaluate,
            loss=loss,
            max_kl=self.settings.max_kl,
            cg_steps=self.settings.cg_steps,
            damping=self.settings.damping,
            backtracks=self.settings.backtracks,
        )
        self.theta.copy_(step.theta)
        return {
            "loss": loss,
            "gain": loss - step.loss,
            "kl": step.kl,
            "kept": float(step.kept),
            "gradient": gradient.norm(),
        }


class _Region:
    """How far the adapted policies are from those that made the evidence, as theta moves."""

    def __init__(
        self,
        learner: MAML,
        chains: Chains,
        inner: Sequence[Loss],
        outer: Rounds,
        evidence: list[Evidence],
    ) -> None:
        self._learner, self._inner, self._outer = learner, inner, outer
        self._chains, self._n = chains, len(evidence[0].rew)
        self._far: list[list[Divergence | None]] = []
        self._slopes: list[list[Slope | None]] = []
        net = learner.net
        counted = [learner.counts(k) for k in range(len(evidence))]
        for ids, chain in chains:
            far: list[Divergence | None] = []
            for params, e, counts in zip(chain.params, evidence, counted, strict=True):
                obs, scale = e.obs[ids], torch.full_like(e.rew[ids], 1 / max(1, sum(counted)))
                old = Divergence.from_now(net, params, obs, e.weight[ids], scale)
                far.append(old if counts else None)
            pairs = zip(chain.params, far, strict=True)
            self._slopes.append([None if d is None else Slope(net, p, d) for p, d in pairs])
            self._far.append(far)

    def product(self, v: Tensor) -> Tensor:
        """The Hessian of the divergence at the old theta, times v [P]."""
        total = torch.zeros_like(v)
        for (_, chain), slopes in zip(self._chains, self._slopes, strict=True):
            moves = chain.push(v)
            pairs = zip(slopes, moves, strict=True)
            total += chain.pull([None if s is None else s.gauss_newton(m) for s, m in pairs])
        return total / self._n

    def evaluate(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The outer loss and the divergence at another theta."""
        learner = self._learner
        loss, kl = torch.zeros_like(theta[0]), torch.zeros_like(theta[0])
        for (ids, _), far in zip(self._chains, self._far, strict=True):
            chain = learner._follow(theta, self._inner, ids)
            for params, losses, d in zip(chain.params, self._outer, far, strict=True):
                parts = [part.part(ids) for part in losses]
                both: list[Loss] = parts if d is None else [*parts, d]
                if both:
                    found = values(learner.net, params, both)
                    loss += sum(x.sum() for x in found[: len(parts)])
                    kl += sum(x.sum() for x in found[len(parts) :])
        return loss / self._n, kl / self._n
