"""DIAYN (Eysenbach et al. 2018, arXiv 1802.06070): skills that can be told apart.

r(s', z) = log q(z|s') - log p(z), with a fixed uniform p(z) over K skills (eq. 3, Algorithm 1).
Differences from the authors' code: the discriminator sees the next state, as in Algorithm 1 (their
code scores the current one), on a scale set by early statistics; the policy is one squashed
Gaussian, not a mixture of four; and the discriminator's view can be chosen. Of all observations the
reward is soon exhausted by motionless poses, so a view may be a weighted sum,
    r = sum_v w_v (log q_v(z|view_v) - log p(z)),
in which a first view states what should differ at the coarsest and later ones come in afterwards.
While learning, a batch is rewarded by the discriminators as they were before its own step on them:
one pass serves both, and nobody is praised for a lesson just taught.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl.adam import Adam
from rl.nets import Layer, mlp
from rl.normalize import Normalizer
from rl.ranges import AtLeast, Count, Rate
from rl.types import Batch, Metrics, WorldSpec
from skills.base import Skill
from skills.view import View

__all__ = ["DIAYN"]


class Discriminator(nn.Module):
    """log q(z|view of the successor) [..., K]."""

    def __init__(
        self, view: View, sizes: list[int], normalize_steps: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self._view = view
        self.normalizer = None if view.squashed else Normalizer(view.width, normalize_steps)
        self.net = mlp([view.width, *sizes], generator)

    def observe(self, rollout: Batch) -> None:
        """Grow the statistics of the view."""
        if self.normalizer is not None:
            self.normalizer.observe(self._view(rollout.next_obs, rollout.next_feat))

    def _trace(self, batch: Batch) -> list[Tensor]:
        x = self._view(batch.next_obs, batch.next_feat)
        if self.normalizer is not None:
            x = self.normalizer(x)
        return self.net.trace(x.reshape(1, -1, x.shape[-1]))

    def forward(self, batch: Batch) -> Tensor:
        return F.log_softmax(self._trace(batch)[-1], -1).view(batch.z.shape)

    def learn(self, batch: Batch, into: list[Layer]) -> Tensor:
        """What it thinks now; the gradient of -mean log q(z) is written to the layers `into`."""
        trace = self._trace(batch)
        log_q = F.log_softmax(trace[-1], -1)
        error = (log_q.exp() - batch.z.reshape(log_q.shape)) / log_q.shape[1]
        self.net.pull(trace, error, into)
        return log_q.view(batch.z.shape)


class DIAYN(Skill):
    """K one-hot skills. `view` is one view (skills/view.py) or a sum such as `motion + 0.3*obs`.

    The first view counts from the start; the others come in linearly while the env steps go from
    `ramp[0]` to `ramp[1]`.
    """

    def __init__(
        self,
        *,
        world: WorldSpec,
        device: torch.device,
        seed: int,
        num_skills: Annotated[int, AtLeast(2, "16")],
        view: str,
        ramp: list[float],
        hidden: list[Count],
        lr: Rate,
        normalize_steps: int,
    ) -> None:
        super().__init__(seed)
        if len(ramp) != 2 or not 0 <= ramp[0] <= ramp[1]:
            raise ValueError(f"skill.ramp={ramp} must be two env steps, first and last, in order")
        self.z_dim = num_skills
        self._log_k = math.log(num_skills)
        self._ramp = ramp
        self._steps = 0
        self._weights = []
        self._each: list[Discriminator] = []
        sizes = [*hidden, num_skills]
        for term in view.split("+"):
            weight, _, what = term.rpartition("*")
            self._weights.append(_number(weight, view))
            one = View(what, world)
            self._each.append(Discriminator(one, sizes, normalize_steps, self.generator))
        self.views = nn.ModuleList(self._each)
        self.to(device)
        self._opt = Adam(self.views.parameters(), lr)
        self._grads = [view.net.grads() for view in self._each]

    def sample_z(self, n: int) -> Tensor:
        """Uniformly, [n, K] one-hot."""
        index = torch.randint(self.z_dim, (n,), generator=self.generator)
        return F.one_hot(index, self.z_dim).float()

    def all_z(self) -> Tensor:
        """All of them, [K, K]."""
        return torch.eye(self.z_dim)

    def weights(self) -> list[float]:
        """What each view counts now."""
        first, last = self._ramp
        share = (self._steps - first) / max(last - first, 1.0)
        come = min(max(share, 0.0), 1.0)
        return [self._weights[0], *(w * come for w in self._weights[1:])]

    @torch.no_grad()
    def reward(self, batch: Batch) -> Tensor:
        """Nats by which the views know the skill better than chance, weighted, [...]."""
        total = torch.zeros_like(batch.rew)
        for weight, view in zip(self.weights(), self._each, strict=True):
            if weight:
                total += weight * ((view(batch) * batch.z).sum(-1) + self._log_k)
        return total

    def update(self, batch: Batch) -> Metrics:
        """One step of maximum likelihood on every view's discriminator."""
        return self.learn(batch)[1]

    @torch.no_grad()
    def learn(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """`update`, and the reward as it was before."""
        total, metrics = torch.zeros_like(batch.rew), {}
        own = batch.z.argmax(-1)
        for i, weight in enumerate(self.weights()):
            log_q = self._each[i].learn(batch, self._grads[i])
            nats = (log_q * batch.z).sum(-1) + self._log_k
            if weight:
                total += weight * nats
            tag = "" if len(self._each) == 1 else f"_view{i + 1}"
            metrics[f"discriminator_acc{tag}"] = (log_q.argmax(-1) == own).float().mean()
            metrics[f"mi_lower_bound{tag}"] = nats.mean()
        self._opt.step()
        return total, metrics

    def observe(self, rollout: Batch) -> Metrics:
        """Count the steps and grow the statistics of the views."""
        self._steps += rollout.rew.numel()
        for view in self._each:
            view.observe(rollout)
        return {}

    @torch.no_grad()
    def log_q(self, batch: Batch) -> Tensor:
        """The views' joint opinion [..., K]: their product, each raised to its full weight."""
        terms = [w * view(batch) for w, view in zip(self._weights, self._each, strict=True)]
        return F.log_softmax(torch.stack(terms).sum(0), -1)

    def get_extra_state(self) -> Any:
        """The steps seen, for the ramp."""
        return {"steps": self._steps}

    def set_extra_state(self, state: Any) -> None:
        """Undo `get_extra_state`."""
        self._steps = int(state["steps"])


def _number(text: str, view: str) -> float:
    try:
        return float(text) if text.strip() else 1.0
    except ValueError:
        raise ValueError(
            f"skill.view={view}: {text.strip()!r} is not a weight; try motion + 0.3*obs"
        ) from None
