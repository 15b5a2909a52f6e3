"""METRA (Park et al. 2023, arXiv 2310.08887): skills that travel far in a learned distance.

r(s, z, s') = (phi(s') - phi(s))^T z  with  |phi(s') - phi(s)|^2 <= 1 for adjacent states (eq. 9),
held by dual descent on lambda. Differences from the authors' code: the bound is on the squared
norm itself (theirs averages over the D dimensions, which allows sqrt(D)); phi sees a view in the
world's own units (theirs all of a state with fixed scales, in which x and y lie, so that their
policy sees those too, and ours does not); and the reward is multiplied by a constant so that the
learner's temperature has something to weigh. `violations` are strides beyond 1.1 squared.
Their bodies are other worlds, too: their ant and half-cheetah end after 200 steps and not before,
values do not reach beyond that end, and policy and phi alike see all positions and velocities (29
and 18 numbers, scaled by fixed constants). Ours are Gymnasium's v5, and values reach beyond a time
limit. The ant's episode ends where its torso leaves heights of 0.2 to 1 m; its 105 numbers have no
x and y, and 78 of them are contact forces, which the policy sees and phi does not
(configs/skill/metra.yaml). Theirs learns with networks of 2 x 1,024, at a rate of 1e-4 and one
update in 32 env steps; ours with smaller ones (configs/agent, too), at 1e-3 and one in 16.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl.adam import Adam
from rl.nets import mlp
from rl.ranges import Above, AtLeast, Count, Rate
from rl.types import Batch, Metrics, WorldSpec
from skills.base import Skill
from skills.view import View

__all__ = ["METRA"]


class METRA(Skill):
    """`discrete`: z is one of `dim` corners; else a direction on the unit sphere in R^dim.

    `shown` directions are looked at in evaluation when z is continuous (evenly spread on the
    circle if dim is 2). `slack` caps the reward for staying inside the constraint.
    """

    def __init__(
        self,
        *,
        world: WorldSpec,
        device: torch.device,
        seed: int,
        dim: Annotated[int, AtLeast(2)],
        discrete: bool,
        shown: Count,
        view: str,
        hidden: list[Count],
        lr: Rate,
        lam: Annotated[float, Above(0, "30")],
        lam_lr: Rate,
        slack: Annotated[float, AtLeast(0, "1e-3")],
        reward_scale: Annotated[float, Above(0, "10")],
    ) -> None:
        super().__init__(seed)
        self.z_dim = dim
        self._discrete, self._shown = discrete, shown
        self._slack, self._scale = slack, reward_scale
        self._view = View(view, world)
        self.phi = mlp([self._view.width, *hidden, dim], self.generator)
        self.log_lam = nn.Parameter(torch.tensor(math.log(lam)))
        self.to(device)
        self._opt = Adam(self.phi.parameters(), lr)
        self._lam_opt = Adam([self.log_lam], lam_lr)

    def sample_z(self, n: int) -> Tensor:
        """Uniform over the corners, or over the sphere, [n, dim]."""
        if self._discrete:
            index = torch.randint(self.z_dim, (n,), generator=self.generator)
            return F.one_hot(index, self.z_dim).float()
        return F.normalize(torch.randn(n, self.z_dim, generator=self.generator), dim=-1)

    def all_z(self) -> Tensor:
        """Every corner, or `shown` directions, [K, dim]."""
        if self._discrete:
            return torch.eye(self.z_dim)
        if self.z_dim == 2:
            angle = torch.arange(self._shown) * (2 * math.pi / self._shown)
            return torch.stack([angle.cos(), angle.sin()], -1)
        fixed = torch.Generator().manual_seed(0)
        return F.normalize(torch.randn(self._shown, self.z_dim, generator=fixed), dim=-1)

    def _direction(self, z: Tensor) -> Tensor:
        """z as a direction in phi space: corners are recentred and scaled by K / (K - 1)."""
        if not self._discrete:
            return z
        return (z - 1 / self.z_dim) * (self.z_dim / (self.z_dim - 1))

    def _stride(self, batch: Batch) -> Tensor:
        """phi(s') - phi(s), [..., dim]."""
        before = self._view(batch.obs, batch.feat)
        after = self._view(batch.next_obs, batch.next_feat)
        phi = self.phi(torch.stack([before, after]))
        return phi[1] - phi[0]

    @torch.no_grad()
    def reward(self, batch: Batch) -> Tensor:
        """Progress along z in phi space, [...]."""
        return self._scale * (self._stride(batch) * self._direction(batch.z)).sum(-1)

    def update(self, batch: Batch) -> Metrics:
        """One step on phi and on the multiplier of its constraint."""
        stride = self._stride(batch)
        progress = (stride * self._direction(batch.z)).sum(-1)
        length = stride.square().sum(-1)
        margin = (1 - length).clamp(max=self._slack)
        lam = self.log_lam.detach().exp()
        loss = -(progress + lam * margin).mean()
        self._opt.zero_grad()
        loss.backward()
        self._opt.step()
        lam_loss = self.log_lam * margin.detach().mean()
        self._lam_opt.zero_grad()
        lam_loss.backward()
        self._lam_opt.step()
        return {
            "progress": progress.detach().mean(),
            "stride": length.detach().mean(),
            "violations": (length.detach() > 1.1).float().mean(),
            "lambda": lam,
        }
