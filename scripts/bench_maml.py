"""Seconds of an outer step of MAML with TRPO: ours, against a loop over tasks with double backward.

Both take the same step from the same made-up trials, which is checked. The loop is written as
public PyTorch code does it (pytorch-maml-rl): each task adapts through autograd with a graph, the
gradient of the mean divergence keeps its graph, and every product with its Hessian is a backward
pass through that. The two take turns, so that a busy machine troubles both alike.

With --peer FOLDER, which holds an unpacked pytorch-maml-rl (Deleu, MIT licence), its MAMLTRPO.step
joins the turns, with its own policy and episodes, from the same start on the same trials. Its cg
takes 10 iterations, its other settings are its defaults. It runs on today's torch as it is; changed
while it runs: maml_rl.samplers is an empty stand-in, so that no gym is needed; an event loop is
there before it asks for one; arguments of distributions are not validated, as in the torch it was
written for. Its inner loss is log pi * A, ours a likelihood ratio, so second order differs. Hence
the check: given a ratio inside and our settings of the trust region, it must go our way.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from logbook.build import build
from logbook.config import node_of
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
    parser.add_argument("--peer", type=_unpacked, metavar="FOLDER", help="holds pytorch-maml-rl")


def _unpacked(text: str) -> Path:
    """A folder with the peer's code."""
    folder = Path(text)
    if not (folder / "maml_rl/metalearners/maml_trpo.py").is_file():
        raise argparse.ArgumentTypeError(
            f"{text} lacks maml_rl/metalearners/maml_trpo.py; unpack pytorch-maml-rl there"
        )
    return folder


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Let the two, or three, take turns."""
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

    sides = {"ours": ours, "loop": theirs}
    notes = []
    with torch.no_grad():
        a, b = ours() - start, theirs() - start
        apart = float((a - b).norm() / b.norm())
        if not apart < 0.05:
            raise RuntimeError(f"the two took different steps, {apart} of their length apart")
        if options.peer:
            public = Public(options.peer, loop, evidence)
            notes.append(_compared(public, start, a))
            sides["peer"] = lambda: public.step(start)
        for threads in options.threads:
            torch.set_num_threads(threads)
            took: dict[str, list[float]] = {name: [] for name in sides}
            for _ in range(options.turns):
                for name, side in sides.items():
                    took[name].append(_seconds(side))
            best = {name: min(times) for name, times in took.items()}
            row = {"threads": threads} | {f"{name} s": t for name, t in best.items()}
            for name, median in (("loop", "x median turn"), ("peer", "x peer median turn")):
                if name in sides:
                    row[f"x {name}"] = best[name] / best["ours"]
                    ratios = [t / o for o, t in zip(took["ours"], took[name], strict=True)]
                    row[median] = statistics.median(ratios)
            rows.append(row)
    torch.set_num_threads(usual)
    tasks, samples = options.tasks, options.samples
    notes = [
        f"{tasks} tasks, {samples} + {samples} samples each, {options.hidden}, one inner step",
        f"matrix products: {precision}; ours and the loop's differ by {apart:.1e} of their length",
        *notes,
    ]
    return {"rows": rows, "notes": notes, "turns": took}


def _compared(public: Public, start: Tensor, ours: Tensor) -> str:
    """Check the peer's direction against our step, and say how far it is from it."""
    cosines, sizes = [], []
    region = public.region()
    for ratio, settings in ((False, {}), (False, region), (True, region)):
        step = public.step(start, ratio, **settings) - start
        cosines.append(float(F.cosine_similarity(step, ours, 0)))
        sizes.append(float(step.norm() / ours.norm()))
    if not cosines[-1] > 0.999:
        raise RuntimeError(f"the peer went another way than ours: cosine {cosines[-1]}")
    whats = ("its defaults", "our trust region", "and a ratio inside, as ours")
    found = zip(whats, cosines, sizes, strict=True)
    told = "; ".join(f"{what} {cos:.4f} ({size:.2f} x as long)" for what, cos, size in found)
    return f"cosine of the peer's step with ours: {told}"


def _seconds(f: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def _problem(options: argparse.Namespace, obs: int, act: int) -> tuple[Any, list[Evidence]]:
    """A learner, and trials as its own policies would have made them."""
    node = node_of("learner", "maml")
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

    def policy(
        self, params: list[Tensor], obs: Tensor
    ) -> torch.distributions.Independent[torch.distributions.Normal]:
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
        rate = self.learner.settings.inner_lr
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
        old: list[torch.distributions.Independent[torch.distributions.Normal]] = []
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
            return _flat(image) + learner.settings.damping * v

        unit = gradient / gradient.norm()
        way, _ = conjugate_gradient(product, unit, learner.settings.cg_steps)
        way = (way * (2 * learner.settings.max_kl / way.dot(product(way))).sqrt()).detach()
        for k in range(learner.settings.backtracks):
            there = theta - 0.8**k * way
            new = [p.clone().requires_grad_() for p in self.split(there)]
            losses, kls = [], []
            for i in tasks:
                own = self.adapt(new, before, i, False)
                with torch.no_grad():
                    losses.append(self.surrogate(own, after, i))
                    policy = self.policy(own, after.obs[i])
                    kls.append(torch.distributions.kl_divergence(old[i], policy).mean())
            if (
                torch.stack(losses).mean() < loss
                and torch.stack(kls).mean() <= learner.settings.max_kl
            ):
                return there
        return theta


def _flat(grads: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([g.reshape(-1) for g in grads])


class Public:
    """pytorch-maml-rl's learner, and the trials as its sampler would have handed them over."""

    def __init__(self, folder: Path, loop: Loop, evidence: list[Evidence]) -> None:
        sys.path.insert(0, str(folder))
        sampler = ModuleType("maml_rl.samplers")
        vars(sampler)["MultiTaskSampler"] = object
        sys.modules[sampler.__name__] = sampler
        asyncio.set_event_loop(asyncio.new_event_loop())
        self.module: Any = importlib.import_module("maml_rl.metalearners.maml_trpo")
        policies = importlib.import_module("maml_rl.policies.normal_mlp")
        self.episodes = importlib.import_module("maml_rl.episode").BatchEpisodes
        sys.path.remove(str(folder))
        self.loop, widths = loop, [b for _, b in loop.shapes]
        self.policy = policies.NormalMLPPolicy(loop.shapes[0][0], widths[-1], tuple(widths[:-1]))
        self.learner = self.module.MAMLTRPO(self.policy, fast_lr=loop.learner.settings.inner_lr)
        layers = [f"layer{k}" for k in range(1, len(widths))] + ["mu"]
        names = [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]
        own = dict(self.policy.named_parameters())
        self.params = [own[name] for name in (*names, "sigma")]  # in our order
        self.before, self.after = (
            [self._future(e, i) for i in range(len(e.rew))] for e in evidence
        )

    def _future(self, e: Evidence, i: int) -> Any:
        """One task's episodes, [T, width, ...], as what has been waited for."""
        samples = e.weight.shape[1]
        width = math.gcd(samples, self.loop.learner.width)
        episodes = self.episodes(width)
        episodes._observations = e.obs[i].unflatten(0, (-1, width))
        episodes._actions = e.act[i].unflatten(0, (-1, width))
        episodes._advantages = e.advantage[i].unflatten(0, (-1, width))
        episodes._lengths = [samples // width] * width
        episodes.old_log_prob = e.log_prob[i].unflatten(0, (-1, width))  # for the check alone
        future = asyncio.get_event_loop().create_future()
        future.set_result(episodes)
        return future

    def region(self) -> dict[str, float]:
        """Our settings of the trust region, under its names."""
        ours = self.loop.learner
        told = ours.settings
        found = {"max_kl": told.max_kl, "cg_iters": told.cg_steps, "cg_damping": told.damping}
        return found | {"ls_max_steps": told.backtracks, "ls_backtrack_ratio": 0.8}

    def step(self, theta: Tensor, ratio: bool = False, **settings: float) -> Tensor:
        """Its outer step from our theta; with `ratio` its inner loss is replaced by ours."""
        for own, value in zip(self.params, self.loop.split(theta), strict=True):
            own.data.copy_(value.t())  # [out, in] there
        usual = self.module.reinforce_loss
        validates = torch.distributions.Distribution._validate_args
        torch.distributions.Distribution.set_default_validate_args(False)
        self.module.reinforce_loss = _ratio_loss if ratio else usual
        try:
            with torch.enable_grad():
                self.learner.step([self.before], self.after, **({"cg_iters": 10} | settings))
        finally:
            self.module.reinforce_loss = usual
            torch.distributions.Distribution.set_default_validate_args(validates)
        return torch.cat([own.detach().t().flatten() for own in self.params])


def _ratio_loss(policy: Any, episodes: Any, params: Any = None) -> Tensor:
    """The inner loss of ours, in the peer's words."""
    log_prob = policy(episodes.observations, params=params).log_prob(episodes.actions)
    return -((log_prob - episodes.old_log_prob).exp() * episodes.advantages).mean()
