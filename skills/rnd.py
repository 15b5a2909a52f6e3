"""RND (Burda et al. 2018, arXiv 1810.12894): go where a fixed random network is hard to predict.

r(s') = |f_hat(s') - f(s')|^2 / running spread, with f random and f_hat trained on visited states.
Differences from the authors' code: no episodic/extrinsic split (there is no other reward), the
spread is that of errors and not of their discounted sums (as in URLB's version, and so is the
clipping to +-5), and the observation statistics freeze early.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rl.adam import Adam
from rl.nets import mlp
from rl.normalize import Normalizer
from rl.ranges import Count, Rate
from rl.types import Batch, Metrics, WorldSpec
from skills.base import Skill
from skills.view import View

__all__ = ["RND"]


class RND(Skill):
    """One policy drawn to novelty; no z."""

    def __init__(
        self,
        *,
        world: WorldSpec,
        device: torch.device,
        seed: int,
        view: str,
        hidden: list[Count],
        features: Count,
        lr: Rate,
        normalize_steps: int,
    ) -> None:
        super().__init__(seed)
        self._view = View(view, world)
        sizes = [self._view.width, *hidden, features]
        self.normalizer = Normalizer(self._view.width, normalize_steps)
        self.target = mlp(sizes, self.generator).requires_grad_(False)
        self.predictor = mlp(sizes, self.generator)
        self.spread = Normalizer(1, steps=10**12)  # of the error, never frozen: novelty wears off
        self.to(device)
        self._opt = Adam(self.predictor.parameters(), lr)

    def _error(self, batch: Batch) -> Tensor:
        x = self.normalizer(self._view(batch.next_obs, batch.next_feat)).clamp(-5, 5)
        return (self.predictor(x) - self.target(x)).square().mean(-1)

    @torch.no_grad()
    def reward(self, batch: Batch) -> Tensor:
        """Novelty [...], of order one."""
        return self._error(batch) * (self.spread.var[0] + 1e-8).rsqrt()

    def update(self, batch: Batch) -> Metrics:
        """Train the predictor on what was visited."""
        error = self._error(batch)
        loss = error.mean()
        self._opt.zero_grad()
        loss.backward()
        self._opt.step()
        self.spread.observe(error.detach()[..., None])
        return {"prediction_error": loss.detach()}

    def observe(self, rollout: Batch) -> Metrics:
        """Grow the observation statistics."""
        self.normalizer.observe(self._view(rollout.next_obs, rollout.next_feat))
        return {}
