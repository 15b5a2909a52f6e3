"""SAC's hand-written step against autograd, its temperature, and its state."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from probes import Endless, Follow, collector, make_sac
from test_rl_nets import plain
from torch import Tensor

from rl.policies import Categorical, SquashedGaussian
from rl.sac import SAC
from rl.types import Batch, WorldSpec

CPU = torch.device("cpu")


def batch(num: int, discrete: bool, seed: int = 0) -> Batch:
    """Random transitions of a world with 3 observations, 2 actions and 2 skills."""
    g = torch.Generator().manual_seed(seed)
    act = torch.tanh(torch.randn(num, 2, generator=g))
    if discrete:
        act = torch.eye(2)[torch.randint(2, (num,), generator=g)]
    return Batch(
        obs=torch.randn(num, 3, generator=g),
        act=act,
        next_obs=torch.randn(num, 3, generator=g),
        feat=torch.zeros(num, 1),
        next_feat=torch.zeros(num, 1),
        rew=torch.randn(num, generator=g),
        terminated=torch.rand(num, generator=g) < 0.3,
        truncated=torch.rand(num, generator=g) < 0.3,
        z=torch.eye(2)[torch.randint(2, (num,), generator=g)],
    )


def agent(discrete: bool, seed: int = 0, **changes: Any) -> SAC:
    """A SAC for `batch`, some updates old, with targets that differ from its critics."""
    params: dict[str, Any] = {"lr": 1e-2, "gamma": 0.9, "tau": 0.1, "alpha": "auto"}
    params |= {"target_entropy": -0.7, "hidden": [16, 16], "batch_size": 8, "updates": 1}
    params |= {"replay_size": 50, "start_steps": 0, "normalize_steps": 100}
    spec = WorldSpec("w", 3, 2, discrete, ("x",), ("m",))
    sac = SAC(world=spec, z_dim=2, device=CPU, seed=seed, **params | changes)
    sac.normalizer.observe(3 * batch(100, discrete).obs + 1)
    for k in range(5):
        sac.update(batch(32, discrete, 10 + k))
    return sac


def textbook(sac: SAC, b: Batch, discrete: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Losses and gradients as the paper has them, by autograd."""
    generator = torch.Generator()
    generator.set_state(sac._noise.get_state())
    kind = Categorical if discrete else SquashedGaussian
    thetas = [sac.actor.theta, sac.critic.theta, sac.log_alpha]
    pi, q, log_alpha = [t.detach().clone().requires_grad_() for t in thetas]
    norm = sac.normalizer
    spread = (norm.var + 1e-6).sqrt()
    obs = torch.cat([((b.obs - norm.mean) / spread).clamp(-10, 10), b.z], -1)
    after = torch.cat([((b.next_obs - norm.mean) / spread).clamp(-10, 10), b.z], -1)
    policy = kind(plain(sac.actor, pi, torch.cat([after, obs]))[0])
    act, weight, log_prob = policy.atoms(generator)
    alpha, num = log_alpha.detach().exp(), len(b.rew)

    def soft(net: Any, theta: Tensor, where: Tensor, rows: slice) -> Tensor:
        total = torch.zeros(num)
        for a, w, lp in zip(act[:, rows], weight[:, rows], log_prob[:, rows], strict=True):
            low = plain(net, theta, torch.cat([where, a], -1))[..., 0].amin(0)
            total = total + w * (low - alpha * lp)
        return total

    with torch.no_grad():
        future = soft(sac.target, sac.target.theta, after, slice(0, num))
        y = b.rew + 0.9 * torch.where(b.terminated, torch.zeros(()), future)
    values = plain(sac.critic, q, torch.cat([obs, b.act], -1))[..., 0]
    critic_loss = (values[0] - y).square().mean() + (values[1] - y).square().mean()
    actor_loss = -soft(sac.critic, sac.critic.theta.detach(), obs, slice(num, None)).mean()
    entropy = -(weight * log_prob)[:, num:].sum(0).mean()
    alpha_loss = log_alpha * (entropy.detach() - sac.target_entropy)
    (critic_loss + actor_loss + alpha_loss).backward()
    grads = {"actor": pi.grad, "critic": q.grad, "alpha": log_alpha.grad}
    losses = {"critic_loss": critic_loss, "actor_loss": actor_loss, "entropy": entropy}
    return grads, losses | {"q": values.mean(), "ent_coef": alpha}  # type: ignore[return-value]


@pytest.mark.parametrize("discrete", [False, True])
def test_the_step_follows_the_textbook_gradient(discrete: bool) -> None:
    sac, b = agent(discrete), batch(64, discrete)
    assert not torch.equal(sac.target.theta, sac.critic.theta)
    grads, losses = textbook(sac, b, discrete)
    before = {k: v.clone() for k, v in sac.state_dict()["nets"].items()}
    metrics = sac.update(b)
    for name, want in losses.items():
        assert torch.allclose(torch.as_tensor(metrics[name]), want, atol=1e-5), name
    split = sac.actor.theta.numel(), sac.critic.theta.numel(), 1
    got = dict(zip(("actor", "critic", "alpha"), sac._opt.grad.split(split), strict=True))
    for name, want in grads.items():
        assert want.abs().max() > 1e-3, name
        assert torch.allclose(got[name], want.flatten(), atol=1e-5, rtol=1e-4), name
    moved = 0.9 * before["target.theta"] + 0.1 * sac.critic.theta
    assert torch.allclose(sac.target.theta, moved, atol=1e-6)


def test_a_fixed_temperature_stays_and_an_automatic_one_seeks_its_entropy() -> None:
    fixed = agent(False, alpha=0.2)
    fixed.update(batch(32, False))
    assert fixed.log_alpha.exp().item() == pytest.approx(0.2)
    for target, rises in ((50.0, True), (-50.0, False)):
        sac = agent(False, target_entropy=target)
        before = sac.log_alpha.item()
        sac.update(batch(32, False))
        assert (sac.log_alpha.item() > before) == rises
    with pytest.raises(ValueError, match=r"agent.alpha=0 must be above 0"):
        agent(False, alpha=0)


@pytest.mark.parametrize(
    ("discrete", "width", "want"), [(False, 6, -3.0), (True, 4, 0.6 * math.log(4))]
)
def test_the_default_entropy_can_be_reached(discrete: bool, width: int, want: float) -> None:
    """Half the action width below zero; of n choices 0.6 of the log n that is the most there is."""
    spec = WorldSpec("w", 3, width, discrete, ("x",), ("m",))
    params: dict[str, Any] = {"lr": 1e-3, "gamma": 0.9, "tau": 0.1, "alpha": "auto"}
    params |= {"target_entropy": None, "hidden": [4], "batch_size": 8, "updates": 1}
    params |= {"replay_size": 10, "start_steps": 0, "normalize_steps": 0}
    sac = SAC(world=spec, z_dim=2, device=CPU, seed=0, **params)
    assert sac.target_entropy == pytest.approx(want)
    assert not discrete or sac.target_entropy < math.log(width)


def test_automatic_temperature_holds_the_entropy() -> None:
    world = Follow(False)
    sac = make_sac(world, alpha="auto", target_entropy=-1.0, lr=1e-2)
    source = collector(world, sac)
    seen = [sac.update(b)["entropy"] for _ in range(130) for b in sac.batches(source.collect(1))]
    assert float(torch.stack(seen[-100:]).mean()) == pytest.approx(-1.0, abs=0.15)  # type: ignore[arg-type]


def test_truncation_does_not_change_a_target() -> None:
    sac, other, b = agent(False), agent(False), batch(32, False)
    flipped = Batch(**{**vars(b), "truncated": ~b.truncated})
    assert torch.equal(sac.update(b)["critic_loss"], other.update(flipped)["critic_loss"])  # type: ignore[arg-type]


@pytest.mark.parametrize("discrete", [False, True])
def test_a_loaded_agent_goes_on_bit_for_bit(discrete: bool) -> None:
    def course(sac: SAC, world: Any) -> list[Tensor]:
        source = collector(world, sac)
        seen: list[Tensor] = []
        for _ in range(50):
            for b in sac.batches(source.collect(1)):
                seen.append(torch.as_tensor(sac.update(b)["q"]))
        return [*seen, sac.actor.theta.detach(), sac.critic.theta.detach(), sac.target.theta]

    settings = {"updates": 1, "start_steps": 8, "normalize_steps": 600, "alpha": "auto"}
    sac = make_sac(Endless(discrete), seed=1, **settings)
    course(sac, Endless(discrete))
    state = copy.deepcopy(sac.state_dict())
    other = make_sac(Endless(discrete), seed=2, **settings)
    other.load_state_dict(state)
    pairs = list(zip(course(sac, Endless(discrete)), course(other, Endless(discrete)), strict=True))
    assert len(pairs) == 53 and all(torch.equal(a, b) for a, b in pairs)
    assert torch.equal(sac.log_alpha, other.log_alpha)


def test_reseeding_changes_the_course() -> None:
    sac, other = agent(False), agent(False)
    other.reseed(77)
    obs, z = torch.zeros(4, 3), torch.zeros(4, 2)
    assert not torch.equal(sac.act(obs, z, True)[0], other.act(obs, z, True)[0])
    assert torch.equal(sac.act(obs, z, False)[0], other.act(obs, z, False)[0])


@pytest.mark.parametrize("key", ["batch_size", "replay_size"])
def test_counts_of_nothing_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"agent.{key}=0"):
        make_sac(Follow(False), **{key: 0})


def test_warming_up_is_uniform_and_not_learned_from() -> None:
    sac = make_sac(Follow(False), start_steps=100)
    act, _ = sac.act(torch.zeros(4000, 1), torch.zeros(4000, 0), explore=True)
    assert act.min() < -0.99 and act.max() > 0.99 and abs(float(act.mean())) < 0.05
    source = collector(Follow(False), sac)
    drawn = [len(list(sac.batches(source.collect(1)))) for _ in range(14)]
    assert drawn == [0] * 12 + [4] * 2  # 8 worlds: 104 transitions after 13 steps
