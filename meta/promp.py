"""ProMP: proximal meta-policy search. MAML that pays attention to how it samples, without TRPO.

Rothfuss et al. 2018 (arXiv 1810.06784, eqs. 13-15): J = J_CLIP(theta') - eta KL(pi_old, pi_theta)
with theta' = theta + alpha grad J_LR(theta), by several steps of Adam on the same trials. J_LR is
the likelihood ratio to the policy that sampled, so steps after the first adapt off-policy.
Difference from the authors' code: eta stays as it is, which is what their run scripts choose.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from meta.evidence import Evidence
from meta.gradient import GradientLearner, GradientSettings
from meta.inner import Clipped, Divergence, Loss
from rl.ranges import Count, Positive, Weight
from rl.types import Metrics

__all__ = ["ProMP"]


@dataclass(frozen=True)
class ProMPSettings(GradientSettings):
    """Steps on the same trials."""

    epochs: Count
    clip: Positive
    kl_coef: Weight


class ProMP(GradientLearner):
    """`epochs` steps a batch of trials, clipped at `clip`; `kl_coef` is eta."""

    settings: ProMPSettings

    def _reinforce(self, evidence: list[Evidence]) -> Metrics:
        inner = [self._loss(e) for e in evidence[:-1]]
        outer = self._counted([self._clipped(e) for e in evidence])
        if any(outer):
            for losses, near in zip(outer, self._near(evidence), strict=False):
                losses.append(near)
        metrics: Metrics = {}
        for epoch in range(self.settings.epochs):
            found = self._descend(evidence, inner, outer)
            metrics = metrics if epoch else found
        return metrics

    def _clipped(self, e: Evidence) -> Loss:
        clip = torch.full_like(e.rew, self.settings.clip)
        return Clipped(e.obs, e.weight, e.act, e.log_prob, e.advantage, clip)

    def _near(self, evidence: list[Evidence]) -> list[Loss]:
        """What keeps the policies that steps start from near those that sampled."""
        inner = [self._loss(e) for e in evidence[:-1]]
        every = slice(0, len(evidence[0].rew))
        chain = self._follow(self.theta, inner, every)
        found: list[Loss] = []
        for params, e in zip(chain.params, evidence[:-1], strict=False):
            scale = torch.full_like(e.rew, self.settings.kl_coef)
            found.append(Divergence.from_now(self.net, params, e.obs, e.weight, scale))
        return found
