"""Seconds of an outer step of MAML with TRPO: ours, against a loop over tasks with double backward.

Both take the same step from the same made-up trials, which is checked. The loop is written as
public PyTorch code does it (pytorch-maml-rl): each task adapts through autograd with a graph, the
gradient of the mean divergence keeps its graph, and every product with its Hessian is a backward
pass through that. The two take turns, so that a busy machine troubles both alike.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from torch.nn import functional as F

from logbook.build import build
from meta.evidence import Evidence
from rl.matmul import choose_matmul
from rl.trpo import conjugate_gradient
from rl.types import WorldSpec

_ROOT = Path(__file__).resolve().parent.parent


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this section."""
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--samples", type=int, default=2000, help="of a task, before and after")
    parser.add_argument("--hidden", type=int, nargs="*", default=[64, 64])
    parser.add_argument("--widths", type=int, nargs=2, default=[20, 6], help="of obs and act")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Let the two take turns."""
    rows, usual = [], torch.get_num_threads()
    precision = choose_matmul()  # as the commands do
    learner, evidence = _problem(options, *options.widths)
    start = learner.theta.clone()
    loop = Loop(learner, options.hidden)

    def ours() -> Tensor:
        learner.theta.copy_(start)
        learner._reinforce(evidence)
        return learner.theta

    def theirs() -> Tensor:
        return loop.step(start, evidence)

    with torch.no_grad():
        a, b = ours() - start, theirs() - start
        apart = float((a - b).norm() / b.norm())
        if not apart < 0.05:
            raise RuntimeError(f"the two took different steps, {apart} of their length apart")
        for threads in options.threads:
            torch.set_num_threads(threads)
            took: dict[str, list[float]] = {"ours": [], "loop": []}
            for _ in range(options.turns):
                took["ours"].append(_seconds(ours))
                took["loop"].append(_seconds(theirs))
            ratios = [t / o for o, t in zip(took["ours"], took["loop"], strict=True)]
            best = {name: min(times) for name, times in took.items()}
            rows.append(
                {
                    "threads": threads,
                    "ours s": best["ours"],
                    "loop s": best["loop"],
                    "x loop": best["loop"] / best["ours"],
                    "x median turn": statistics.median(ratios),
                }
            )
    torch.set_num_threads(usual)
    tasks, samples = options.tasks, options.samples
    notes = [
        f"{tasks} tasks, {samples} + {samples} samples each, {options.hidden}, one inner step",
        f"matrix products: {precision}; the steps of the two differ by {apart:.1e} of their length",
    ]
    return {"rows": rows, "notes": notes, "turns": took}


def _seconds(f: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def _problem(options: argparse.Namespace, obs: int, act: int) -> tuple[Any, list[Evidence]]:
    """A learner, and trials as its own policies would have made them."""
    node = yaml.safe_load((_ROOT / "configs/learner/maml.yaml").read_text("utf-8"))
    node |= {"hidden": options.hidden, "meta_batch": options.tasks}
    world = WorldSpec("made up", obs, act, False, (), ())
    context = {"burn_in": None, "horizon": None, "task_dim": 1, "seed": 0}
    learner = build("learner", node, world=world, device=torch.device("cpu"), **context)
    g = torch.Generator().manual_seed(0)
    n, samples = options.tasks, options.samples
    memory, found = learner.begin(n, None), []
    for _ in range(2):
        seen = torch.randn(n, samples, obs, generator=g)
        chosen, extras, _ = learner.act(seen.flatten(0, 1), None, memory, True)
        chosen = chosen.unflatten(0, (n, -1))
        wish = torch.randn(n, 1, act, generator=g)
        good = -(chosen - wish).square().sum(-1)
        good = (good - good.mean(1, keepdim=True)) / good.std(1, keepdim=True)
        e = Evidence(
            obs=seen,
            act=chosen,
            weight=torch.full((n, samples), 1 / samples),
            rew=torch.zeros(n),
            log_prob=extras["log_prob"].unflatten(0, (n, -1)),
            advantage=good,
            target=seen[..., :0],
        )
        found.append(e)
        memory = type(memory)(Loop(learner, options.hidden).adapted(learner.theta, e), 1, None)
    return learner, found


class Loop:
    """The reference: one task after the other, everything by autograd."""

    def __init__(self, learner: Any, hidden: list[int]) -> None:
        self.learner = learner
        sizes = [learner.net.sizes[0], *hidden, learner.net.sizes[-1]]
        self.shapes = list(zip(sizes[:-1], sizes[1:], strict=True))

    def split(self, theta: Tensor) -> list[Tensor]:
        """A vector as separate weights [in, out] and biases, and the log-spread last."""
        found, start = [], 0
        for a, b in self.shapes:
            found.append(theta[start : start + a * b].view(a, b))
            found.append(theta[start + a * b : start + a * b + b])
            start += a * b + b
        return [*found, theta[start:]]

    def policy(self, params: list[Tensor], obs: Tensor) -> torch.distributions.Distribution:
        """A diagonal Gaussian."""
        for i in range(len(self.shapes)):
            obs = F.linear(obs, params[2 * i].T, params[2 * i + 1])
            if i < len(self.shapes) - 1:
                obs = F.relu(obs)
        normal = torch.distributions.Normal(obs, params[-1].exp(), validate_args=False)
        return torch.distributions.Independent(normal, 1, validate_args=False)

    def surrogate(self, params: list[Tensor], e: Evidence, i: int) -> Tensor:
        """The policy gradient loss of one task."""
        ratio = (self.policy(params, e.obs[i]).log_prob(e.act[i]) - e.log_prob[i]).exp()
        return -(ratio * e.advantage[i]).mean()

    def adapt(self, params: list[Tensor], e: Evidence, i: int, graph: bool) -> list[Tensor]:
        """One task's step."""
        loss = self.surrogate(params, e, i)
        grads = torch.autograd.grad(loss, params, create_graph=graph)
        rate = self.learner.inner_lr
        return [p - rate * g for p, g in zip(params, grads, strict=True)]

    def adapted(self, theta: Tensor, e: Evidence) -> Tensor:
        """Where all tasks' steps lead, [n, P]."""
        with torch.enable_grad():
            params = [p.clone().requires_grad_() for p in self.split(theta)]
            rows = [self.adapt(params, e, i, False) for i in range(len(e.rew))]
        return torch.stack([torch.cat([p.detach().flatten() for p in row]) for row in rows])

    def step(self, theta: Tensor, evidence: list[Evidence]) -> Tensor:
        """An outer step of TRPO."""
        with torch.enable_grad():
            return self._step(theta, *evidence)

    def _step(self, theta: Tensor, before: Evidence, after: Evidence) -> Tensor:
        learner, tasks = self.learner, range(len(before.rew))
        params = [p.clone().requires_grad_() for p in self.split(theta)]
        old: list[torch.distributions.Distribution] = []
        losses, kls = [], []
        for i in tasks:
            own = self.adapt(params, before, i, True)
            policy = self.policy(own, after.obs[i])
            fixed = torch.distributions.Normal(
                policy.base_dist.loc.detach(),
                policy.base_dist.scale.detach(),
                validate_args=False,
            )
            old.append(torch.distributions.Independent(fixed, 1, validate_args=False))
            ratio = (policy.log_prob(after.act[i]) - after.log_prob[i]).exp()
            losses.append(-(ratio * after.advantage[i]).mean())
            kls.append(torch.distributions.kl_divergence(old[i], policy).mean())
        loss, kl = torch.stack(losses).mean(), torch.stack(kls).mean()
        gradient = _flat(torch.autograd.grad(loss, params, retain_graph=True))
        slope = _flat(torch.autograd.grad(kl, params, create_graph=True))

        def product(v: Tensor) -> Tensor:
            image = torch.autograd.grad(slope.dot(v), params, retain_graph=True)
            return _flat(image) + learner.damping * v

        unit = gradient / gradient.norm()
        way, _ = conjugate_gradient(product, unit, learner.cg_steps)
        way = (way * (2 * learner.max_kl / way.dot(product(way))).sqrt()).detach()
        for k in range(learner.backtracks):
            there = theta - 0.8**k * way
            new = [p.clone().requires_grad_() for p in self.split(there)]
            losses, kls = [], []
            for i in tasks:
                own = self.adapt(new, before, i, False)
                with torch.no_grad():
                    losses.append(self.surrogate(own, after, i))
                    policy = self.policy(own, after.obs[i])
                    kls.append(torch.distributions.kl_divergence(old[i], policy).mean())
            if torch.stack(losses).mean() < loss and torch.stack(kls).mean() <= learner.max_kl:
                return there
        return theta


def _flat(grads: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([g.reshape(-1) for g in grads])
