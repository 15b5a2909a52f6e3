"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905), for continuous and discrete actions.

Soft target: y = r + gamma E_a'[min_i Q_i(s', a') - alpha log pi(a'|s')].
Differences from the authors' code: twin critics are one stack of batched products; the policy's
expectation is a sum over `atoms` (rl/policies.py), one sample for a Gaussian and all actions for a
categorical; observations are normalised by statistics that freeze early.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from rl.nets import Stack, mlp
from rl.normalize import Normalizer
from rl.policies import Categorical, SquashedGaussian
from rl.replay import Replay
from rl.returns import td_target
from rl.types import Batch, Metrics, State, WorldSpec

__all__ = ["SAC"]


class SAC(nn.Module):
    """Off-policy learner: every vector step of the worlds is followed by `updates` draws.

    `alpha` is the entropy temperature, or "auto" to hold the entropy at `target_entropy`
    (null: minus the action width, or 0.6 log A for discrete actions). The first `start_steps`
    transitions are taken with uniformly random actions and not learned from.
    """

    horizon = 1

    def __init__(
        self,
        *,
        world: WorldSpec,
        z_dim: int,
        device: torch.device,
        seed: int,
        lr: float,
        gamma: float,
        tau: float,
        alpha: float | Literal["auto"],
        target_entropy: float | None,
        hidden: list[int],
        batch_size: int,
        updates: int,
        replay_size: int,
        start_steps: int,
        normalize_steps: int,
    ) -> None:
        super().__init__()
        self.gamma, self.tau = gamma, tau
        self.batch_size, self.updates, self.start_steps = batch_size, updates, start_steps
        self._world, self._device = world, device
        init = torch.Generator().manual_seed(seed)
        self._noise = torch.Generator(device).manual_seed(seed + 1)
        self._policy = Categorical if world.discrete else SquashedGaussian
        width = world.obs_dim + z_dim
        self.normalizer = Normalizer(world.obs_dim, normalize_steps)
        self.actor = mlp([width, *hidden, self._policy.head_per_act * world.act_dim], init, 0.1)
        sizes = [width + world.act_dim, *hidden, 1]
        self.critic = Stack(2, sizes, init)
        self.target = Stack(2, sizes, init)
        self.target.load_state_dict(self.critic.state_dict())
        self.target.requires_grad_(False)
        self.automatic = alpha == "auto"
        start = 0.1 if alpha == "auto" else float(alpha)
        if start <= 0:
            raise ValueError(f"agent.alpha={alpha} must be above 0, or auto")
        self.log_alpha = nn.Parameter(torch.tensor(math.log(start)), requires_grad=self.automatic)
        if target_entropy is None:
            discrete = 0.6 * math.log(world.act_dim) if world.discrete else 0.0
            target_entropy = discrete if world.discrete else -float(world.act_dim)
        self.target_entropy = target_entropy
        self.to(device)
        fused = {"lr": lr, "fused": True}
        self._actor_opt = torch.optim.Adam(self.actor.parameters(), **fused)
        self._critic_opt = torch.optim.Adam(self.critic.parameters(), **fused)
        self._alpha_opt = torch.optim.Adam([self.log_alpha], **fused) if self.automatic else None
        self.replay = Replay(world, z_dim, replay_size, device, seed + 2)

    @torch.no_grad()
    def act(self, obs: Tensor, z: Tensor, explore: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Actions [N, A] in [-1, 1] or one-hot; uniformly random while the replay is warming up."""
        if explore and self.replay.count < self.start_steps:
            shape = (len(obs), self._world.act_dim)
            noise = torch.rand(shape, generator=self._noise, device=self._device)
            if self._world.discrete:
                return torch.zeros_like(noise).scatter_(1, noise.argmax(1, keepdim=True), 1.0), {}
            return 2 * noise - 1, {}
        x = torch.cat([self.normalizer(obs.to(self._device)), z.to(self._device)], -1)
        choice = self._policy(self.actor(x))
        return (choice.sample(self._noise) if explore else choice.mode()), {}

    def batches(self, rollout: Batch) -> Iterator[Batch]:
        """Remember the rollout, then draw `updates` batches [B] for each of its steps."""
        self.normalizer.observe(rollout.obs.to(self._device))
        self.replay.add(rollout)
        if self.replay.count < self.start_steps:
            return
        for _ in range(self.updates * len(rollout.rew)):
            yield self.replay.draw(self.batch_size)

    def update(self, batch: Batch) -> Metrics:
        """One step on critics, policy and temperature, and the targets' moving average."""
        obs = torch.cat([self.normalizer(batch.obs), batch.z], -1)
        next_obs = torch.cat([self.normalizer(batch.next_obs), batch.z], -1)
        alpha = self.log_alpha.detach().exp()

        with torch.no_grad():
            value = self._soft_value(self.target, next_obs, alpha)[0]
            target = td_target(batch.rew, batch.terminated, value, self.gamma)
        q = self.critic(torch.cat([obs, batch.act], -1))[..., 0]
        critic_loss = (q - target).square().mean(1).sum()
        self._critic_opt.zero_grad(set_to_none=True)
        critic_loss.backward()
        self._critic_opt.step()

        self.critic.requires_grad_(False)
        value, entropy = self._soft_value(self.critic, obs, alpha)
        actor_loss = -value.mean()
        self._actor_opt.zero_grad(set_to_none=True)
        actor_loss.backward()
        self._actor_opt.step()
        self.critic.requires_grad_(True)

        entropy = entropy.detach().mean()
        if self._alpha_opt is not None:
            alpha_loss = self.log_alpha * (entropy - self.target_entropy)
            self._alpha_opt.zero_grad(set_to_none=True)
            alpha_loss.backward()
            self._alpha_opt.step()
        torch._foreach_lerp_(list(self.target.parameters()), list(self.critic.parameters()), self.tau)
        return {
            "critic_loss": critic_loss.detach(),
            "actor_loss": actor_loss.detach(),
            "ent_coef": alpha,
            "entropy": entropy,
            "q": q.detach().mean(),
        }

    def _soft_value(self, critic: Stack, obs: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """E_a[min_i Q_i(s, a) - alpha log pi(a|s)] and the entropy, both [B]."""
        act, weight, log_prob = self._policy(self.actor(obs)).atoms(self._noise)
        num = len(act)
        x = torch.cat([obs.expand(num, *obs.shape), act], -1).flatten(0, 1)
        q = critic(x)[..., 0].amin(0).view(num, -1)
        value = (weight * (q - alpha * log_prob)).sum(0)
        return value, -(weight * log_prob).sum(0)

    def state_dict(self) -> State:  # type: ignore[override]
        """Networks, statistics, optimisers, replay and generators."""
        return {
            "nets": dict(super().state_dict()),
            "actor_opt": self._actor_opt.state_dict(),
            "critic_opt": self._critic_opt.state_dict(),
            "alpha_opt": self._alpha_opt.state_dict() if self._alpha_opt else None,
            "replay": self.replay.state_dict(),
            "noise": self._noise.get_state(),
        }

    def load_state_dict(self, state: State) -> None:  # type: ignore[override]
        """Undo `state_dict`."""
        super().load_state_dict(state["nets"])
        self._actor_opt.load_state_dict(state["actor_opt"])
        self._critic_opt.load_state_dict(state["critic_opt"])
        if self._alpha_opt is not None:
            self._alpha_opt.load_state_dict(state["alpha_opt"])
        self.replay.load_state_dict(state["replay"])
        self._noise.set_state(state["noise"].cpu())
