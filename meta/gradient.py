"""What learners by gradient steps share: a start from which every task is a few steps away.

A round of a trial is one episode in `width` worlds of each task, and `adapt` is one step on it
(meta/inner.py), the same in training and afterwards, where trials may be longer. Where a family
says which act it asks for, losses are squared errors and the start moves by Adam, as in the MAML
paper's regression; elsewhere they are policy gradients, and how the start moves is the method's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from meta.evidence import Evidence, gather
from meta.inner import Chain, Loss, Regression, Slope, Surrogate, choice
from meta.trial import Last
from rl.normalize import Normalizer
from rl.ranges import Above, AtLeast, Count, Positive, Share
from rl.tangents import Rows
from rl.types import Batch, Metrics, State, WorldSpec

_GROUP = 2**19  # activations of a layer that are worked on at once: more fall out of the cache

Rounds = list[list[Loss]]  # losses at the start, after one step, after two, ...
Chains = list[tuple[slice, Chain]]  # of groups of tasks


@dataclass(frozen=True)
class Adapted:
    """The memory: where each of n tasks has got to."""

    params: Tensor  # [n, P]
    steps: int
    told: Tensor | None  # [n, D], for oracles


def surrogate(e: Evidence) -> Surrogate:
    """The policy gradient loss of a round."""
    return Surrogate(e.obs, e.weight, e.act, e.log_prob, e.advantage)


@dataclass(frozen=True)
class GradientSettings:
    """What all of them are told (configs/learner/shared/gradient.yaml)."""

    meta_batch: Count
    width: Count
    inner_lr: Annotated[float, AtLeast(0, "0.1")]
    inner_steps: int
    later: Annotated[float, AtLeast(0, "0.5")]
    hidden: list[Count]
    std: Annotated[float, Above(0, "1")]
    gain: Positive
    least_std: float
    normalize_steps: int
    gamma: Share
    lam: Share
    lr: Annotated[float, AtLeast(0, "1e-3")]  # 0 is a learner that does not learn

    def __post_init__(self) -> None:
        if not 0 <= self.least_std <= self.std:
            line = f"learner.least_std={self.least_std} must lie between 0 and std={self.std}"
            raise ValueError(line)


class GradientLearner:
    """Base class; a method says how its start learns from what rewards say (`_reinforce`).

    The objective is the sum over rounds burn_in to horizon - 1, each made by the params that the
    rounds before it led to. Steps are taken at `inner_lr` as long as training takes them (the first
    in any case), later ones at `later` times that. The published code halves the rate there. The
    start's Gaussian gets no narrower than `least_std`: a step's divergence grows as the spread
    shrinks, so that a rate fits one spread only.
    """

    told = False
    hears = False
    settings: GradientSettings
    chain: ClassVar[type[Chain]] = Chain

    def __init__(
        self,
        *,
        settings: GradientSettings,
        world: WorldSpec,
        task_dim: int,
        burn_in: int | None,
        horizon: int | None,
        device: torch.device,
        seed: int,
    ) -> None:
        self.settings, self._device = settings, device
        self.meta_batch, self.width = settings.meta_batch, settings.width
        self.horizon = settings.inner_steps + 1 if horizon is None else horizon
        self.burn_in = self.horizon - 1 if burn_in is None else burn_in
        if not 0 <= self.burn_in <= self.horizon or self.horizon < 1:
            raise ValueError(
                f"burn_in={self.burn_in} of horizon={self.horizon}: the objective counts episodes "
                "burn_in to horizon - 1 of a trial, so burn_in must lie between 0 and horizon"
            )
        least = settings.least_std
        self._least = math.log(least) if least else -math.inf
        width_in = world.obs_dim + (task_dim if self.told else 0)
        tail = 0 if world.discrete else world.act_dim
        self.net = Rows([width_in, *settings.hidden, world.act_dim], tail)
        init = torch.Generator().manual_seed(seed)
        self._noise = torch.Generator(device).manual_seed(seed + 1)
        self.theta = self.net.fresh(init, math.log(settings.std)).to(device)
        self.net.layers(self.theta[None])[-1][0].mul_(settings.gain)
        self._normalizer = Normalizer(world.obs_dim, settings.normalize_steps).to(device)
        self._adam = torch.optim.Adam([self.theta], lr=settings.lr)

    def rounds(self, horizon: int) -> Sequence[int]:
        """Every episode is followed by a step."""
        return [1] * horizon

    def rate(self, step: int) -> float:
        """How far step number `step` of a trial goes along the gradient."""
        trained = max(1, self.horizon - 1)
        inner_lr = self.settings.inner_lr
        return inner_lr if step < trained else inner_lr * self.settings.later

    def reseed(self, seed: int) -> None:
        """Draw from another stream from now on."""
        self._noise.manual_seed(seed)

    def begin(self, n: int, told: Tensor | None) -> Adapted:
        """The start as it is now, for n tasks: it moves in place when the learner learns."""
        told = None if told is None else told.to(self._device)
        return Adapted(self.theta.clone().expand(n, -1), 0, told)

    @torch.no_grad()
    def act(
        self, obs: Tensor, last: Last, memory: Adapted, explore: bool
    ) -> tuple[Tensor, dict[str, Tensor], Adapted]:
        """Actions [N, A], unsquashed (the world's box clips them), with their log-probability."""
        n = len(memory.params)
        x = self._normalizer(obs.to(self._device)).unflatten(0, (n, -1))
        if memory.told is not None:
            x = torch.cat([x, memory.told[:, None].expand(-1, x.shape[1], -1)], -1)
        said = choice(self.net.trace(memory.params, x)[-1], self.net.tail(memory.params))
        act = said.sample(self._noise) if explore else said.mode()
        return act.flatten(0, 1), {"log_prob": said.log_prob(act).flatten()}, memory

    def adapt(self, memory: Adapted, rollout: Batch) -> Adapted:
        """One step on a round [T, N], in every task at once."""
        rate, params = self.rate(memory.steps), memory.params
        if rate:
            loss = self._loss(self._gather(rollout, len(params)))
            params = params - rate * Slope(self.net, params, loss).grad
        return Adapted(params, memory.steps + 1, memory.told)

    def lend(self, memory: Adapted, n: int) -> Adapted:
        """The same: its params say what to do in any number of worlds."""
        return memory

    def pack(self, memory: Adapted) -> State:
        """Where it has got to; a task that was told is not kept."""
        return {"params": memory.params.clone(), "steps": memory.steps}

    def unpack(self, state: State) -> Adapted:
        """Undo `pack`."""
        return Adapted(state["params"].to(self._device), int(state["steps"]), None)

    @torch.no_grad()
    def update(self, trials: Sequence[Batch]) -> Metrics:
        """Move the start, by what the rounds of a trial [T, N] show."""
        n = trials[0].rew.shape[1] // self.width
        evidence = self._used([self._gather(rollout, n) for rollout in trials])
        if evidence[0].target.shape[-1] > 0:
            outer = self._counted([self._loss(e) for e in evidence])
            metrics = self._descend(evidence, [self._loss(e) for e in evidence[:-1]], outer)
        else:
            metrics = self._reinforce(evidence)
        self.net.tail(self.theta[None]).clamp_(min=self._least)
        self._observe(trials)
        return metrics

    def see_as(self, other: GradientLearner) -> None:
        """Take over the scale on which another sees observations."""
        self._normalizer.load_state_dict(other._normalizer.state_dict())

    def _observe(self, trials: Sequence[Batch]) -> None:
        """Take the scale of what was seen; after learning, which speaks of the old one."""
        for rollout in trials:
            self._normalizer.observe(rollout.obs.to(self._device))

    def _reinforce(self, evidence: list[Evidence]) -> Metrics:
        """Learn from rewards: the evidence of every round, the last of which none steps on."""
        raise NotImplementedError

    def _used(self, evidence: list[Evidence]) -> list[Evidence]:
        """The rounds that training makes use of."""
        return evidence

    def _loss(self, e: Evidence) -> Loss:
        """What a step in a task lowers, and what is to be low after it."""
        if e.target.shape[-1] > 0:
            return Regression(e.obs, e.weight, e.target)
        return surrogate(e)

    def counts(self, k: int) -> bool:
        """Whether the objective counts round k of those used."""
        return k >= self.burn_in

    def _counted(self, losses: Sequence[Loss]) -> Rounds:
        """The losses of the rounds that count."""
        return [[loss] if self.counts(k) else [] for k, loss in enumerate(losses)]

    def _descend(self, evidence: list[Evidence], inner: Sequence[Loss], outer: Rounds) -> Metrics:
        """One step of Adam on losses after adaptation."""
        loss, self.theta.grad = self._gradient(self._chains(evidence, inner), outer)
        self._adam.step()
        return {"loss": loss, "gradient": self.theta.grad.norm()}

    def _gradient(self, chains: Chains, outer: Rounds) -> tuple[Tensor, Tensor]:
        """The mean over tasks of the sum of the outer losses, and its gradient [P]."""
        total, grad = torch.zeros_like(self.theta[0]), torch.zeros_like(self.theta)
        for ids, chain in chains:
            grads: list[Tensor | None] = []
            for params, losses in zip(chain.params, outer, strict=True):
                slopes = [Slope(self.net, params, loss.part(ids)) for loss in losses]
                total += sum(slope.values.sum() for slope in slopes)
                grads.append(sum((s.grad for s in slopes[1:]), slopes[0].grad) if slopes else None)
            grad += chain.pull(grads)
        n = chains[-1][0].stop
        return total / n, grad / n

    def _chains(self, evidence: list[Evidence], inner: Sequence[Loss]) -> Chains:
        """What each group of tasks made of the start; a group's activations fit into the cache."""
        n, samples = evidence[0].weight.shape
        size = max(1, _GROUP // (samples * max(self.net.sizes)))
        groups = [slice(i, min(n, i + size)) for i in range(0, n, size)]
        return [(ids, self._follow(self.theta, inner, ids)) for ids in groups]

    def _follow(self, theta: Tensor, inner: Sequence[Loss], ids: slice) -> Chain:
        """What some of the tasks made of a start theta."""
        losses = [loss.part(ids) for loss in inner]
        n = ids.stop - ids.start
        return self.chain(self.net, theta, n, losses, [self.rate(k) for k in range(len(losses))])

    def _gather(self, rollout: Batch, n: int) -> Evidence:
        rollout = rollout.map(lambda x: x.to(self._device))
        obs = self._normalizer(rollout.obs)
        obs = torch.cat([obs, rollout.z], -1) if self.told else obs
        return gather(rollout, obs, n, self.settings.gamma, self.settings.lam)

    def state_dict(self) -> State:
        """The start, the optimiser, the generator."""
        return {
            "theta": self.theta,
            "adam": self._adam.state_dict(),
            "noise": self._noise.get_state(),
            "normalizer": dict(self._normalizer.state_dict()),
        }

    def load_state_dict(self, state: State) -> None:
        """Undo `state_dict`."""
        self.theta.copy_(_same(state, "theta", self.theta))
        adam, moments = self._adam.state_dict(), {}  # its settings are this learner's
        if state["adam"]["state"]:
            (saved,) = state["adam"]["state"].values()
            moments = {key: _same(saved, key, self.theta) for key in ("exp_avg", "exp_avg_sq")}
            moments["step"] = _same(saved, "step", torch.zeros(()))
            if not moments["step"] >= 1:
                raise ValueError(f"adam has taken {float(moments['step']):g} steps, want 1 or more")
        self._adam.load_state_dict({**adam, "state": {0: moments} if moments else {}})
        self._noise.set_state(state["noise"].cpu())
        if "normalizer" in state:  # runs that are older than it have none
            self._normalizer.load_state_dict(state["normalizer"])


def _same(state: State, key: str, like: Tensor) -> Tensor:
    """An entry of a saved state. Raises ValueError if it is not of the type and shape of `like`."""
    x: Tensor = state[key]
    if x.dtype != like.dtype or x.shape != like.shape:
        got, want = (f"{t.dtype} {list(t.shape)}" for t in (x, like))
        raise ValueError(f"{key} is {got}, not {want}")
    return x
