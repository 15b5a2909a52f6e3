"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347).

Clipped surrogate (eq. 7) with generalised advantages. Differences from the usual code: a minibatch
is a slice of worlds over the whole rollout, [T, n], so that rewards and advantages are computed
afresh at every draw (an intrinsic reward may have moved since the last one).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from rl.adam import Adam
from rl.nets import mlp
from rl.normalize import Normalizer
from rl.policies import Categorical, Choice, Gaussian
from rl.ranges import Count, Positive, Rate, Share, Weight
from rl.returns import gae
from rl.types import Batch, Metrics, State, WorldSpec

__all__ = ["PPO"]


class PPO(nn.Module):
    """On-policy learner: rollouts of `horizon` steps, `epochs` passes in `minibatches` slices."""

    def __init__(
        self,
        *,
        world: WorldSpec,
        z_dim: int,
        device: torch.device,
        seed: int,
        lr: Rate,
        gamma: Share,
        lam: Share,
        clip: Positive,
        entropy: Weight,
        value_coef: Weight,
        max_grad_norm: Positive,
        hidden: list[Count],
        horizon: Count,
        epochs: Count,
        minibatches: Count,
        normalize_steps: int,
    ) -> None:
        super().__init__()
        counts = {"horizon": horizon, "epochs": epochs, "minibatches": minibatches}
        for key, value in counts.items():
            if value < 1:
                raise ValueError(f"agent.{key}={value} must be at least 1")
        self.gamma, self.lam, self.clip = gamma, lam, clip
        self.entropy, self.value_coef, self.max_grad_norm = entropy, value_coef, max_grad_norm
        self.horizon, self.epochs, self.minibatches = horizon, epochs, minibatches
        self._world, self._device = world, device
        init = torch.Generator().manual_seed(seed)
        self._noise = torch.Generator(device).manual_seed(seed + 1)
        self._order = torch.Generator().manual_seed(seed + 2)
        width = world.obs_dim + z_dim
        self.normalizer = Normalizer(world.obs_dim, normalize_steps)
        self.actor = mlp([width, *hidden, world.act_dim], init, 0.1)
        self.log_std = nn.Parameter(torch.full((world.act_dim,), -0.5))
        self.critic = mlp([width, *hidden, 1], init)
        self.to(device)
        self._opt = Adam(self.parameters(), lr, eps=1e-5)

    def _input(self, obs: Tensor, z: Tensor) -> Tensor:
        return torch.cat([self.normalizer(obs.to(self._device)), z.to(self._device)], -1)

    def _choice(self, x: Tensor) -> Choice:
        head = self.actor(x)
        return Categorical(head) if self._world.discrete else Gaussian(head, self.log_std)

    def reseed(self, seed: int) -> None:
        """Draw noise and minibatches from other streams from now on."""
        self._noise.manual_seed(seed)
        self._order.manual_seed(seed + 1)

    @torch.no_grad()
    def act(self, obs: Tensor, z: Tensor, explore: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Actions [N, A], unsquashed (the world's box clips them), with their log-probability."""
        x = self._input(obs, z)
        choice = self._choice(x)
        if not explore:
            return choice.mode(), {}
        act = choice.sample(self._noise)
        return act, {"log_prob": choice.log_prob(act), "value": self.critic(x)[..., 0]}

    def batches(self, rollout: Batch) -> Iterator[Batch]:
        """`epochs` times, the rollout in `minibatches` slices of worlds, [T, n] each."""
        rollout = rollout.map(lambda x: x.to(self._device))
        with torch.no_grad():
            next_value = self.critic(self._input(rollout.next_obs, rollout.z))[..., 0]
        rollout = replace(rollout, extras={**rollout.extras, "next_value": next_value})
        num = rollout.rew.shape[1]
        for _ in range(self.epochs):
            order = torch.randperm(num, generator=self._order).to(self._device)
            for ids in order.chunk(min(self.minibatches, num)):
                yield rollout.map(lambda x, ids=ids: x[:, ids])  # type: ignore[misc]
        self.normalizer.observe(rollout.obs)  # after learning: the ratio starts at one

    def update(self, batch: Batch) -> Metrics:
        """One clipped step on a slice [T, n]."""
        extras = batch.extras
        value, valid = extras["value"], extras["valid"].float()
        share = valid / valid.sum().clamp_min(1.0)
        cut = batch.truncated.clone()
        cut[:-1] |= ~extras["valid"][1:]  # nor does what led to such a row hear of it
        advantage = gae(
            batch.rew,
            batch.terminated,
            cut,
            value,
            extras["next_value"],
            self.gamma,
            self.lam,
        )
        target = advantage + value
        mean = (advantage * share).sum()
        std = ((advantage - mean).square() * share).sum().sqrt()
        advantage = (advantage - mean) / (std + 1e-8)

        x = self._input(batch.obs, batch.z)
        choice = self._choice(x)
        log_ratio = choice.log_prob(batch.act) - extras["log_prob"]
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        policy_loss = -(torch.minimum(ratio * advantage, clipped * advantage) * share).sum()
        entropy = (choice.entropy() * share).sum()
        value_loss = ((self.critic(x)[..., 0] - target).square() * share).sum()
        loss = policy_loss - self.entropy * entropy + self.value_coef * value_loss
        self._opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters(), self.max_grad_norm)
        self._opt.step()
        with torch.no_grad():
            kl = ((ratio - 1 - log_ratio) * share).sum()
        return {
            "policy_gradient_loss": policy_loss.detach(),
            "value_loss": value_loss.detach(),
            "entropy": entropy.detach(),
            "approx_kl": kl,
            "value": (value * share).sum(),
        }

    def state_dict(self) -> State:  # type: ignore[override]
        """Networks, statistics, optimiser and generators."""
        return {
            "nets": dict(super().state_dict()),
            "opt": self._opt.state_dict(),
            "noise": self._noise.get_state(),
            "order": self._order.get_state(),
        }

    def load_state_dict(self, state: State) -> None:  # type: ignore[override]
        """Undo `state_dict`."""
        super().load_state_dict(state["nets"])
        self._opt.load_state_dict(state["opt"])
        self._noise.set_state(state["noise"].cpu())
        self._order.set_state(state["order"].cpu())
