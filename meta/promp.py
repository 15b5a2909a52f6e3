"""ProMP: proximal meta-policy search. MAML that pays attention to how it samples, without TRPO.

Rothfuss et al. 2018 (arXiv 1810.06784, eqs. 13-15): J = J_CLIP(theta') - eta KL(pi_old, pi_theta)
with theta' = theta + alpha grad J_LR(theta), by several steps of Adam on the same trials. J_LR is
the likelihood ratio to the policy that sampled, so steps after the first adapt off-policy.
Difference from the authors' code: eta stays as it is, which is what their run scripts choose.
"""

from __future__ import annotations

import torch

from meta.evidence import Evidence
from meta.gradient import GradientLearner
from meta.inner import Clipped, Divergence, Loss
from rl.types import Metrics, WorldSpec

__all__ = ["ProMP"]


class ProMP(GradientLearner):
    """`epochs` steps a batch of trials, clipped at `clip`; `kl_coef` is eta."""

    def __init__(
        self,
        *,
        world: WorldSpec,
        task_dim: int,
        burn_in: int | None,
        horizon: int | None,
        device: torch.device,
        seed: int,
        meta_batch: int,
        width: int,
        inner_lr: float,
        inner_steps: int,
        later: float,
        hidden: list[int],
        std: float,
        gamma: float,
        lam: float,
        lr: float,
        epochs: int,
        clip: float,
        kl_coef: float,
        normalize_steps: int,
        gain: float,
        least_std: float,
    ) -> None:
        super().__init__(
            world=world,
            task_dim=task_dim,
            burn_in=burn_in,
            horizon=horizon,
            device=device,
            seed=seed,
            meta_batch=meta_batch,
            width=width,
            inner_lr=inner_lr,
            inner_steps=inner_steps,
            later=later,
            hidden=hidden,
            std=std,
            gamma=gamma,
            lam=lam,
            lr=lr,
            normalize_steps=normalize_steps,
            gain=gain,
            least_std=least_std,
        )
        if epochs < 1:
            raise ValueError(f"learner.epochs={epochs} must be at least 1")
        self.epochs, self.clip, self.kl_coef = epochs, clip, kl_coef

    def _reinforce(self, evidence: list[Evidence]) -> Metrics:
        inner = [self._loss(e) for e in evidence[:-1]]
        outer = self._counted([self._clipped(e) for e in evidence])
        if any(outer):
            for losses, near in zip(outer, self._near(evidence), strict=False):
                losses.append(near)
        metrics: Metrics = {}
        for epoch in range(self.epochs):
            found = self._descend(evidence, inner, outer)
            metrics = metrics if epoch else found
        return metrics

    def _clipped(self, e: Evidence) -> Loss:
        clip = torch.full_like(e.rew, self.clip)
        return Clipped(e.obs, e.weight, e.act, e.log_prob, e.advantage, clip)

    def _near(self, evidence: list[Evidence]) -> list[Loss]:
        """What keeps the policies that steps start from near those that sampled."""
        inner = [self._loss(e) for e in evidence[:-1]]
        every = slice(0, len(evidence[0].rew))
        chain = self._follow(self.theta, inner, every)
        found: list[Loss] = []
        for params, e in zip(chain.params, evidence[:-1], strict=False):
            scale = torch.full_like(e.rew, self.kl_coef)
            found.append(Divergence.from_now(self.net, params, e.obs, e.weight, scale))
        return found
