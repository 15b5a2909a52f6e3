"""RL²: a learner that is the memory of a recurrent policy.

Duan et al. 2016, arXiv 1611.02779; Wang et al. 2016, arXiv 1611.05763. The cell sees obs, and the
act, reward and done before it; its state lasts through all episodes of a trial and starts anew with
the next task. Learning is ordinary: PPO on whole trials, so that what is maximised is
E[sum over the trial of gamma^t r_t], of episodes `burn_in` to `horizon`. Advantages run across the
ends of episodes and stop at that of the trial.
Differences from the papers: PPO in place of TRPO or A3C; the baseline is a perceptron on what the
cell remembers and the time, not a cell of its own; and, where a config asks for them, the options
below that make a memory of many states and acts learnable within minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from meta.trial import Last, counted
from rl.adam import Adam
from rl.nets import mlp
from rl.normalize import Normalizer
from rl.policies import Categorical, Choice, Gaussian
from rl.ranges import AtLeast, Count, Positive, Share, Weight
from rl.recurrent import GRU, LSTM, Cell
from rl.returns import gae
from rl.types import Batch, Metrics, State, WorldSpec

__all__ = ["RL2"]

CELLS: dict[str, type[Cell]] = {"gru": GRU, "lstm": LSTM}


class RL2(nn.Module):
    """One recurrent policy for a family: `epochs` passes over a trial in `minibatches` slices.

    `entropy` and `lr` go linearly to `entropy_end` and `lr_end` over `total_steps`. Without
    `see_reward` the cell is shown zeros for rewards, and can do no better than guess. `reward_bins`
    are edges between levels of reward: which one it fell in is then shown as a one-hot as well.
    Over the first share `grow` of the run trials grow from 10 episodes to `horizon`: what is worth
    knowing is found out sooner in short ones.

    Where what an act pays depends on the state: `memory_steps` is how long units remember at the
    start (rl/recurrent.py); with `see_before` the cell is shown the obs before as well, and with
    `heads_see_obs` actor and critic see obs beside the memory. The actor is a perceptron of
    `actor_hidden` widths. A further net like it guesses the reward of each discrete act, and
    `predict_reward` times the squared error of the one taken, in units of the spread of rewards,
    is added to the loss (an auxiliary task as in Jaderberg et al. 2016, arXiv 1611.05397).
    """

    told = False
    hears = True
    width = 1

    def __init__(
        self,
        *,
        world: WorldSpec,
        episodes: int,
        burn_in: int | None,
        horizon: int | None,
        device: torch.device,
        seed: int,
        total_steps: int,
        cell: Literal["gru", "lstm"],
        hidden: Count,
        value_hidden: list[Count],
        meta_batch: Count,
        epochs: Count,
        minibatches: Count,
        lr: Annotated[float, AtLeast(0, "1e-3")],
        lr_end: Weight,
        gamma: Share,
        lam: Share,
        clip: Positive,
        entropy: Weight,
        entropy_end: Weight,
        value_coef: Weight,
        max_grad_norm: Positive,
        see_reward: bool,
        reward_bins: list[float] | None,
        grow: Annotated[float, AtLeast(0, "0.1", 1)],
        normalize_steps: int,
        memory_steps: Annotated[float, AtLeast(1, "100", 1e6)] | None,
        see_before: bool,
        heads_see_obs: bool,
        actor_hidden: list[Count],
        predict_reward: Weight,
    ) -> None:
        super().__init__()
        self.burn_in = 0 if burn_in is None else burn_in
        self.horizon = episodes if horizon is None else horizon
        if self.horizon < 1 or self.burn_in < 0:
            raise ValueError(
                f"burn_in={burn_in}, horizon={horizon}: want 0 <= burn_in, 1 <= horizon"
            )
        if self.burn_in > self.horizon:
            raise ValueError(
                f"burn_in={self.burn_in} is beyond horizon={self.horizon}: "
                "no episode of a trial would count"
            )
        if predict_reward and not world.discrete:
            raise ValueError(
                f"learner.predict_reward={predict_reward}: {world.name} has continuous acts, "
                "and only rewards of discrete ones are guessed; set it to 0"
            )
        self._full, self._grow = self.horizon, grow
        self.meta_batch, self.epochs, self.minibatches = meta_batch, epochs, minibatches
        self.gamma, self.lam, self.clip = gamma, lam, clip
        self.entropy, self.lr = (entropy, entropy_end), (lr, lr_end)
        self.value_coef, self.max_grad_norm = value_coef, max_grad_norm
        self.see_reward, self.bins = see_reward, reward_bins
        self._world, self._device, self._total = world, device, total_steps
        self._steps = 0
        self.horizon = self._grown()
        init = torch.Generator().manual_seed(seed)
        self._noise = torch.Generator(device).manual_seed(seed + 1)
        self._order = torch.Generator().manual_seed(seed + 2)
        # Large numbers are made small, small ones stay: a one-hot or a constant is left in peace.
        self.obs_normalizer = Normalizer(world.obs_dim, normalize_steps, floor=1.0)
        self.rew_normalizer = Normalizer(1, normalize_steps, floor=0.01)
        bins = len(reward_bins) + 1 if reward_bins else 0
        self.see_before, self.heads_see_obs = see_before, heads_see_obs
        self.predict_reward = predict_reward
        shown = world.obs_dim * (2 if see_before else 1)
        self.cell = CELLS[cell](shown + world.act_dim + 2 + bins, hidden, init, memory_steps)
        seen = hidden + (world.obs_dim if heads_see_obs else 0)
        self.actor = mlp([seen, *actor_hidden, world.act_dim], init, 0.1)
        self.log_std = nn.Parameter(torch.full((world.act_dim,), -0.5))
        self.critic = mlp([seen + 1, *value_hidden, 1], init, 0.1)
        if predict_reward:
            self.guess = mlp([seen, *actor_hidden, world.act_dim], init, 0.1)
        self.unit: Tensor
        self.register_buffer("unit", torch.ones(()))  # of what the critic says
        self.to(device)
        self._opt = Adam(self.parameters(), lr, eps=1e-5)

    def rounds(self, horizon: int) -> Sequence[int]:
        return [horizon]

    def _grown(self) -> int:
        """The horizon by now: from 10 episodes on it grows by the same factor in the same time."""
        least = max(10, self.burn_in + 1)
        if least >= self._full or self._steps >= self._grow * self._total:
            return self._full
        return round(least * (self._full / least) ** (self._steps / (self._grow * self._total)))

    def reseed(self, seed: int) -> None:
        """Draw noise and minibatches from other streams from now on."""
        self._noise.manual_seed(seed)
        self._order.manual_seed(seed + 1)

    def begin(self, n: int, told: Tensor | None) -> Tensor:
        nothing = self.cell.start(n)
        before = nothing.new_zeros(n, self._world.obs_dim if self.see_before else 0)
        return torch.cat([nothing, before], 1)

    def adapt(self, memory: Tensor, rollout: Batch) -> Tensor:
        return memory

    def lend(self, memory: Tensor, n: int) -> Tensor:
        return memory.expand(n, -1).clone()

    def pack(self, memory: Tensor) -> State:
        return {"cell": memory}

    def unpack(self, state: State) -> Tensor:
        cell: Tensor = state["cell"].to(self._device)
        return cell

    @torch.no_grad()
    def act(
        self, obs: Tensor, last: Last, memory: Tensor, explore: bool
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        state, before = memory.tensor_split([self.cell.state_width], 1)
        x = self._input(obs, last.act, last.rew, last.done, before)
        memory = self.cell.step(x, state)
        choice = self._choice(self._seen(memory[:, : self.cell.width], x))
        if self.see_before:
            memory = torch.cat([memory, obs.to(memory)], 1)
        if not explore:
            return choice.mode(), {}, memory
        act = choice.sample(self._noise)
        return act, {"log_prob": choice.log_prob(act).cpu()}, memory

    def _input(self, obs: Tensor, act: Tensor, rew: Tensor, done: Tensor, before: Tensor) -> Tensor:
        """What the cell is shown [..., I] of the moment and of the step before it, obs first."""
        to = self._device
        rew = rew if self.see_reward else torch.zeros_like(rew)
        seen = self.obs_normalizer(obs.to(to)), self.rew_normalizer(rew[..., None].to(to))
        parts = [*seen, act.to(to).clamp(-1, 1), done[..., None].to(to)]
        if self.bins:
            edges = torch.tensor(self.bins, device=to)
            place = torch.bucketize(rew.to(to), edges)
            parts.append(nn.functional.one_hot(place, len(edges) + 1).to(parts[0].dtype))
        if self.see_before:
            parts.append(self.obs_normalizer(before.to(to)))
        return torch.cat(parts, -1)

    def _seen(self, out: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        """What the heads see: the cell's output, and obs if they are to."""
        return (out, x[..., : self._world.obs_dim]) if self.heads_see_obs else (out,)

    def _choice(self, seen: tuple[Tensor, ...]) -> Choice:
        head = self.actor(*seen)
        return Categorical(head) if self._world.discrete else Gaussian(head, self.log_std)

    def update(self, trials: Sequence[Batch]) -> Metrics:
        (trial,) = trials
        trial = trial.map(lambda x: x.to(self._device))
        done = (trial.terminated | trial.truncated).to(trial.rew.dtype)
        earlier = (_before(y) for y in (trial.act, trial.rew, done, trial.obs))
        x = self._input(trial.obs, *earlier)
        time = torch.linspace(0, 1, len(x), device=self._device)[:, None, None]
        valid = trial.extras["valid"]
        counts = valid & counted(trial, self.burn_in)
        after = torch.cat([valid[1:], torch.zeros_like(valid[:1])])
        parts = {
            "x": x,
            "time": time.expand(*done.shape, 1),
            "act": trial.act,
            "log_prob": trial.extras["log_prob"],
            "rew": torch.where(counts, trial.rew, 0.0),
            "paid": self.rew_normalizer(torch.where(valid, trial.rew, 0.0)[..., None])[..., 0],
            "learn": _ahead(counts) & valid,  # with nothing to come, nothing can be learned
            "end": ~_ahead(after),
            "cut": ~after,
        }
        self._measure(parts)
        done_share = min(1.0, self._steps / max(1, self._total))
        lr, entropy = (a + done_share * (b - a) for a, b in (self.lr, self.entropy))
        self._opt.lr = lr
        metrics: dict[str, Tensor] = {}
        for _ in range(self.epochs):
            order = torch.randperm(x.shape[1], generator=self._order).to(self._device)
            for ids in order.chunk(min(self.minibatches, len(order))):
                some = {k: v.index_select(1, ids) for k, v in parts.items()}
                metrics = self._improve(entropy, some)
        # after learning: the ratio starts at one
        self.obs_normalizer.observe(trial.obs)
        self.rew_normalizer.observe(trial.rew[..., None])
        self._steps += int(valid.sum())  # as the loop counts
        self.horizon = self._grown()
        return {**metrics, "lr": lr, "entropy_coef": entropy}

    @torch.no_grad()
    def _measure(self, parts: dict[str, Tensor]) -> None:
        """Let the critic's unit follow the size of returns, and what it says stay as it is."""
        zero = torch.zeros_like(parts["rew"])
        total = gae(parts["rew"], parts["end"], parts["cut"], zero, zero, self.gamma, 1.0)
        share = parts["learn"] / parts["learn"].sum().clamp_min(1)
        size = (total.square() * share).sum().sqrt().clamp_min(1e-3)
        new = size if self._steps == 0 else torch.lerp(self.unit, size, 0.05)
        for weight in self.critic.layers(self.critic.theta)[-1]:
            weight.mul_(self.unit / new)
        self.unit.copy_(new)

    def _improve(self, entropy_coef: float, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        """One clipped step on a slice [T, n] of the trials."""
        share = parts["learn"] / parts["learn"].sum().clamp_min(1)
        trace = self.cell.trace(parts["x"])
        out = trace.out.detach().requires_grad_()
        seen = self._seen(out, parts["x"])
        value = self.critic(*seen, parts["time"])[..., 0]
        with torch.no_grad():
            now = value * self.unit
            after = torch.cat([now[1:], torch.zeros_like(now[:1])])
            advantage = gae(
                parts["rew"], parts["end"], parts["cut"], now, after, self.gamma, self.lam
            )
            target = (advantage + now) / self.unit
            mean = (advantage * share).sum()
            std = ((advantage - mean).square() * share).sum().sqrt()
            advantage = (advantage - mean) / (std + 1e-8)
        choice = self._choice(seen)
        log_ratio = choice.log_prob(parts["act"]) - parts["log_prob"]
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        policy_loss = -(torch.minimum(ratio * advantage, clipped * advantage) * share).sum()
        entropy = (choice.entropy() * share).sum()
        value_loss = ((value - target).square() * share).sum()
        loss = policy_loss - entropy_coef * entropy + self.value_coef * value_loss
        guessing: dict[str, Tensor] = {}
        if self.predict_reward:
            guess = (self.guess(*seen) * parts["act"]).sum(-1)
            error = ((guess - parts["paid"]).square() * share).sum()
            loss = loss + self.predict_reward * error
            guessing = {"reward_loss": error.detach()}
        self._opt.zero_grad()
        loss.backward()
        assert out.grad is not None and self.cell.theta.grad is not None
        self.cell.pull(trace, out.grad, self.cell.theta.grad)
        grad = self._opt.grad
        grad.mul_((self.max_grad_norm / (grad.norm() + 1e-6)).clamp_max(1.0))
        self._opt.step()
        with torch.no_grad():
            kl = ((ratio - 1 - log_ratio) * share).sum()
        return {
            "policy_gradient_loss": policy_loss.detach(),
            "value_loss": value_loss.detach(),
            "entropy": entropy.detach(),
            "approx_kl": kl,
            "value": (now * share).sum(),
            **guessing,
        }

    def see_as(self, other: RL2) -> None:
        """Take over the scale on which another sees observations and rewards."""
        self.obs_normalizer.load_state_dict(other.obs_normalizer.state_dict())
        self.rew_normalizer.load_state_dict(other.rew_normalizer.state_dict())

    def state_dict(self) -> State:  # type: ignore[override]
        """Networks, statistics, optimiser, generators and how far annealing is."""
        return {
            "nets": dict(super().state_dict()),
            "opt": self._opt.state_dict(),
            "noise": self._noise.get_state(),
            "order": self._order.get_state(),
            "steps": self._steps,
        }

    def load_state_dict(self, state: State) -> None:  # type: ignore[override]
        """Undo `state_dict`."""
        super().load_state_dict(state["nets"])
        self._opt.load_state_dict(state["opt"])
        self._noise.set_state(state["noise"].cpu())
        self._order.set_state(state["order"].cpu())
        self._steps = int(state["steps"])
        self.horizon = self._grown()


def _before(x: Tensor) -> Tensor:
    """What was so one step earlier [T, ...]; zero before the first."""
    return torch.cat([torch.zeros_like(x[:1]), x[:-1]])


def _ahead(mask: Tensor) -> Tensor:
    """Where the mask holds now or later [T, N]."""
    return mask.flip(0).cumsum(0).flip(0) > 0
