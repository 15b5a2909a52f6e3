"""DIAYN (Eysenbach et al. 2018, arXiv 1802.06070): skills that can be told apart.

r(s, z) = log q(z|s) - log p(z), with a fixed uniform p(z) over K skills.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl.nets import mlp
from rl.normalize import Normalizer
from rl.types import Batch, Metrics, WorldSpec
from skills.base import Skill
from skills.view import View

__all__ = ["DIAYN"]


class Discriminator(nn.Module):
    """log q(z|view of the next state) [..., K]."""

    def __init__(self, view, world, num, hidden, normalize_steps, generator, squash=None):
        super().__init__()
        self.view = View(view, world)
        self.squash = squash
        self.normalizer = Normalizer(self.view.width, normalize_steps)
        self.net = mlp([self.view.width, *hidden, num], generator)

    def seen(self, batch: Batch) -> Tensor:
        x = self.view(batch.next_obs, batch.next_feat)
        return x if self.squash is None else torch.tanh(x / self.squash)

    def forward(self, batch: Batch) -> Tensor:
        x = self.seen(batch)
        if self.squash is None:
            x = self.normalizer(x)
        return F.log_softmax(self.net(x), -1)


class DIAYN(Skill):
    def __init__(self, *, world: WorldSpec, device, seed: int, num_skills: int, view: str, hidden: list[int], lr: float,
                 normalize_steps: int, ramp: list[float], squash=None, clip=0.0) -> None:
        super().__init__(seed)
        self.z_dim = num_skills
        self._log_k = math.log(num_skills)
        self._ramp = ramp
        self.clip = clip
        self.weights, parts = [], []
        for part in view.split("+"):
            weight, _, name = part.rpartition("*")
            self.weights.append(float(weight or 1))
            parts.append(Discriminator(name.strip(), world, num_skills, hidden, normalize_steps, self.generator,
               squash if "motion" in name else None))
        self.parts = nn.ModuleList(parts)
        self.register_buffer("seen", torch.zeros(()))
        self._opt = torch.optim.Adam(self.parts.parameters(), lr=lr, fused=True)

    def sample_z(self, n):
        i = torch.randint(self.z_dim, (n,), generator=self.generator)
        return F.one_hot(i, self.z_dim).float()

    def all_z(self):
        return torch.eye(self.z_dim)

    def w(self):
        a, b = self._ramp
        f = min(max((float(self.seen) - a) / max(b - a, 1e-9), 0.0), 1.0)
        return [self.weights[0]] + [x * f for x in self.weights[1:]]

    @torch.no_grad()
    def reward(self, batch):
        total = 0
        for w, part in zip(self.w(), self.parts):
            if w:
                lq = (part(batch) * batch.z).sum(-1)
                total = total + w * (lq + self._log_k)
        return total

    def update(self, batch):
        loss, out = 0, {}
        target = batch.z.argmax(-1).flatten()
        for i, part in enumerate(self.parts):
            lq = part(batch).flatten(0, -2)
            ce = F.nll_loss(lq, target)
            loss = loss + ce
            out[f"acc{i}"] = (lq.detach().argmax(-1) == target).float().mean()
            out[f"nats{i}"] = self._log_k - ce.detach()
        self._opt.zero_grad(set_to_none=True)
        loss.backward()
        self._opt.step()
        return out

    def observe(self, rollout):
        self.seen += rollout.rew.numel()
        for part in self.parts:
            part.normalizer.observe(part.seen(rollout))
        return {}
