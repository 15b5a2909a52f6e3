"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905), for continuous and discrete actions.

Soft target: y = r + gamma E_a'[min_i Q_i(s', a') - alpha log pi(a'|s')].
Differences from the authors' code: the policy's expectation is a sum over `atoms`
(rl/policies.py), one sample for a Gaussian and all actions for a categorical; observations are
normalised by statistics that freeze early; critics, policy and temperature step together, each
along a gradient taken before the step; the automatic temperature aims at an entropy of minus half
the action width (theirs: minus the width); and the log-spread is 3.5 tanh(raw) - 1.5 (theirs, and
Stable-Baselines3's: raw, cut off beyond -20 and 2), so that a new policy has a spread of 0.22
instead of 1, and that at a spread of 1 the same change of raw moves it 2.9 times as far. Stepping
together allows one pass through the twin critics for the actions that were taken and those that the
policy proposes, and one optimiser over one vector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from rl.adam import Adam
from rl.nets import Stack, mlp
from rl.normalize import Normalizer
from rl.policies import Atomic, Categorical, SquashedGaussian
from rl.ranges import Above, Count, Positive, Rate, Share
from rl.replay import Replay
from rl.returns import td_target
from rl.types import Batch, Metrics, State, WorldSpec

__all__ = ["SAC"]


class SAC(nn.Module):
    """Off-policy learner: every vector step of the worlds is followed by `updates` draws.

    `alpha` is the entropy temperature, or "auto" to hold the entropy at `target_entropy`
    (null: minus half the action width, or 0.6 log A for discrete actions). The first `start_steps`
    transitions are taken with uniformly random actions, and no update is made meanwhile; they lie
    in replay and are drawn by later ones.
    """

    horizon = 1

    def __init__(
        self,
        *,
        world: WorldSpec,
        z_dim: int,
        device: torch.device,
        seed: int,
        lr: Rate,
        gamma: Share,
        tau: Annotated[float, Above(0, "0.01", 1)],
        alpha: Positive | Literal["auto"],
        target_entropy: float | None,
        hidden: list[Count],
        batch_size: Count,
        updates: int,
        replay_size: Count,
        start_steps: int,
        normalize_steps: int,
    ) -> None:
        super().__init__()
        for key, value in {"batch_size": batch_size, "replay_size": replay_size}.items():
            if value < 1:
                raise ValueError(f"agent.{key}={value} must be at least 1")
        self.gamma, self.tau = gamma, tau
        self.batch_size, self.updates, self.start_steps = batch_size, updates, start_steps
        self._world, self._device = world, device
        init = torch.Generator().manual_seed(seed)
        self._noise = torch.Generator(device).manual_seed(seed + 1)
        self._policy: type[Atomic] = Categorical if world.discrete else SquashedGaussian
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
            width = world.act_dim
            target_entropy = 0.6 * math.log(width) if world.discrete else -width / 2
        self.target_entropy = target_entropy
        self.to(device)
        self._opt = Adam([self.actor.theta, self.critic.theta, self.log_alpha], lr)
        self._actor_grad, self._critic_grad = self.actor.grads(), self.critic.grads()
        self.replay = Replay(world, z_dim, replay_size, device, seed + 2)

    def reseed(self, seed: int) -> None:
        """Draw noise and batches from other streams from now on."""
        self._noise.manual_seed(seed)
        self.replay.reseed(seed + 1)

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
        choice = self._policy(self.actor.trace(x[None])[-1][0])
        return (choice.sample(self._noise) if explore else choice.mode()), {}

    def batches(self, rollout: Batch) -> Iterator[Batch]:
        """Remember the rollout, then draw `updates` batches [B] for each of its steps."""
        self.normalizer.observe(rollout.obs.to(self._device))
        self.replay.add(rollout)
        if self.replay.count < self.start_steps:
            return
        for _ in range(self.updates * len(rollout.rew)):
            yield self.replay.draw(self.batch_size)

    @torch.no_grad()
    def update(self, batch: Batch) -> Metrics:
        """One step on critics, policy and temperature, and the targets' moving average."""
        num = len(batch.rew)
        every = self.normalizer(torch.stack([batch.next_obs, batch.obs]))
        after, now = context = torch.cat([every, batch.z.expand(2, *batch.z.shape)], -1)
        alpha = self.log_alpha.exp()

        actor = self.actor.trace(context.view(1, 2 * num, -1))
        choice = self._policy(actor[-1][0])
        act, weight, log_prob = choice.atoms(self._noise)  # rows: at `after`, then at `now`

        future = torch.cat([after.expand(len(act), *after.shape), act[:, :num]], -1).flatten(0, 1)
        future_q = self.target.trace(future.expand(2, *future.shape))[-1]
        low = torch.minimum(*future_q).view(len(act), num)
        value = (weight[:, :num] * (low - alpha * log_prob[:, :num])).sum(0)
        gamma = batch.extras.get("discount", self.gamma)
        target = td_target(batch.rew, batch.terminated, value, gamma)

        # what was done, and below it what the policy would do
        acts = torch.cat([batch.act[None], act[:, num:]])
        x = torch.cat([now.expand(len(acts), *now.shape), acts], -1).flatten(0, 1)
        critic = self.critic.trace(x.expand(2, *x.shape))
        q = critic[-1][..., 0]
        error = q[:, :num] - target
        one, two = q[:, num:]
        weight, log_prob = weight[:, num:], log_prob[:, num:]
        soft = torch.minimum(one, two).view_as(weight) - alpha * log_prob  # to be raised
        entropy = -(weight * log_prob).sum(0).mean()

        # critic loss: sum_i mean (Q_i - y)^2; policy loss: -mean E_a[soft]
        pull = torch.empty_like(q)
        torch.mul(error, 2 / num, out=pull[:, :num])
        low_is_one = (one < two).to(q.dtype)
        share = weight.flatten() / -num
        torch.mul(share, low_is_one, out=pull[0, num:])
        torch.sub(share, pull[0, num:], out=pull[1, num:])
        if self._policy.moving:
            columns = slice(now.shape[-1], None)
            back = self.critic.pull(critic, pull[..., None], self._critic_grad, num, columns)
            moved = None if back is None else back.sum(0).view(len(act), num, -1)
        else:
            critic, moved = [h[:, :num] for h in critic], None
            self.critic.pull(critic, pull[:, :num, None], self._critic_grad)
        head = choice.pull(slice(num, None), moved, soft / -num, weight * (alpha / num))
        self.actor.pull([h[:, num:] for h in actor[:-1]], head[None], self._actor_grad)
        if self.automatic:  # the gradient of log_alpha * (entropy - target_entropy)
            torch.sub(entropy, self.target_entropy, out=self.log_alpha.grad)
        self._opt.step()
        self.target.theta.lerp_(self.critic.theta, self.tau)
        return {
            "critic_loss": error.square().sum() / num,
            "actor_loss": -(weight * soft).sum() / num,
            "ent_coef": alpha,
            "entropy": entropy,
            "q": q[:, :num].mean(),
        }

    def state_dict(self) -> State:  # type: ignore[override]
        """Networks, statistics, optimiser, replay and generators."""
        return {
            "nets": dict(super().state_dict()),
            "opt": self._opt.state_dict(),
            "replay": self.replay.state_dict(),
            "noise": self._noise.get_state(),
        }

    def load_state_dict(self, state: State) -> None:  # type: ignore[override]
        """Undo `state_dict`."""
        super().load_state_dict(state["nets"])
        self._opt.load_state_dict(state["opt"])
        self.replay.load_state_dict(state["replay"])
        self._noise.set_state(state["noise"].cpu())
