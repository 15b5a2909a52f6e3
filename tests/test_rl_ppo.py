"""PPO: its first ratio, what the clip does, what it leaves out, and its state."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from probes import Endless, Follow, collector, make_ppo
from torch import Tensor

from rl.ppo import PPO
from rl.types import Batch


@pytest.mark.parametrize("discrete", [False, True])
def test_the_first_ratio_is_one(discrete: bool) -> None:
    """Then nothing is clipped and the loss is minus the mean normalised advantage: zero."""
    ppo = make_ppo(Follow(discrete), normalize_steps=384)
    source = collector(Follow(discrete), ppo)
    for _ in range(3):  # also after the statistics and the policy have moved
        first = True
        for b in ppo.batches(source.collect(ppo.horizon)):
            metrics = ppo.update(b)
            kl, loss = float(metrics["approx_kl"]), float(metrics["policy_gradient_loss"])
            if first:
                assert abs(kl) < 1e-6 and abs(loss) < 1e-5
            first = False
        assert kl > 1e-5  # later ones are not
    assert int(ppo.normalizer.count) == 3 * 16 * 8


def test_the_clip_stops_the_gradient() -> None:
    """Once every good action is likelier and every bad one rarer than the clip allows: nothing."""
    ppo = make_ppo(Follow(True), value_coef=0.0)
    rollout = collector(Follow(True), ppo).collect(ppo.horizon)
    (b,) = list(make_ppo_whole(ppo).batches(rollout))
    gain = b.rew - b.extras["value"]
    gain = torch.where(gain > gain.mean(), 1.0, -1.0)
    moved = b.extras["log_prob"] - 0.5 * gain  # as if the policy had moved by 0.5 nats since
    ppo.update(replace(b, extras={**b.extras, "log_prob": moved}))
    assert all(float(p.grad.abs().max()) < 1e-7 for p in ppo.actor.parameters())
    ppo.update(b)
    assert any(float(p.grad.abs().max()) > 1e-4 for p in ppo.actor.parameters())


def test_no_step_is_praised_beyond_the_clip_and_every_one_is_blamed() -> None:
    """By hand: ratios 1.5 and 0.5, clip 0.2, advantages +-1: -(1.2 - 1.5 + 0.5 - 0.8) / 4."""
    ppo, b = made_up(4, [1.0, -1.0, 1.0, -1.0])
    b.extras["log_prob"] -= torch.tensor([1.5, 1.5, 0.5, 0.5]).log()
    assert float(ppo.update(b)["policy_gradient_loss"]) == pytest.approx(0.15, abs=1e-5)


def test_entropy_pulls_towards_chance() -> None:
    """Where nothing is to be gained, a bias b has the gradient c p (log p + H)."""
    ppo, b = made_up(1, [0.0], entropy=0.3, max_grad_norm=1e9)
    with torch.no_grad():
        ppo.actor.layers(ppo.actor.theta)[-1][1].add_(torch.tensor([0.0, 2.0]))
        head = ppo.actor(b.obs)[0, 0]
    log_p = head.log_softmax(-1)
    entropy = -(log_p.exp() * log_p).sum()
    metrics = ppo.update(b)
    assert float(metrics["entropy"]) == pytest.approx(float(entropy), abs=1e-6)
    want = 0.3 * log_p.exp() * (log_p + entropy)
    assert want.abs().min() > 0.01
    assert ppo.actor.theta.grad is not None
    torch.testing.assert_close(ppo.actor.layers(ppo.actor.theta.grad)[-1][1].flatten(), want)


def test_targets_look_as_far_ahead_as_lambda_says() -> None:
    """By hand, gamma and lambda 1/2: advantages 1.3125, 1.25, 1 beyond values 2, 4, 6."""
    ppo, b = made_up(1, [1.0, 2.0, 3.0], gamma=0.5, lam=0.5)
    for key, numbers in {"value": [2.0, 4.0, 6.0], "next_value": [4.0, 6.0, 8.0]}.items():
        b.extras[key] = torch.tensor(numbers)[:, None]
    b.terminated[:] = False
    with torch.no_grad():
        ppo.critic.theta.zero_()
    want = (3.3125**2 + 5.25**2 + 7.0**2) / 3
    assert float(ppo.update(b)["value_loss"]) == pytest.approx(want)


def made_up(worlds: int, rew: list[float], **changes: Any) -> tuple[PPO, Batch]:
    """A learner, and a slice [T, worlds] of steps that end at once, of no value, at ratio one."""
    ppo = make_ppo(Follow(True), **changes)
    paid = torch.tensor(rew).reshape(-1, worlds)
    obs = torch.full((*paid.shape, 1), 0.5)
    act = torch.eye(2)[torch.arange(paid.numel()) % 2].reshape(*paid.shape, 2)
    with torch.no_grad():
        log_prob = (ppo.actor(obs).log_softmax(-1) * act).sum(-1)
    no = torch.zeros(paid.shape, dtype=torch.bool)
    zero = torch.zeros(paid.shape)
    extras = {"log_prob": log_prob, "valid": ~no, "value": zero, "next_value": zero}
    z = torch.zeros(*paid.shape, 0)
    return ppo, Batch(obs, act, obs, obs, obs, paid, ~no, no, z, extras)


def make_ppo_whole(ppo: PPO) -> PPO:
    """The same learner, with one slice of all worlds."""
    ppo.epochs = ppo.minibatches = 1
    return ppo


def test_rows_that_are_not_valid_do_not_count() -> None:
    results = []
    for junk in (0.0, 1e3):
        ppo = make_ppo(Follow(False))
        rollout = collector(Follow(False), ppo).collect(ppo.horizon)
        valid = torch.ones_like(rollout.terminated)
        valid[:, 3] = False
        rew = rollout.rew.clone()
        rew[:, 3] = junk
        rollout = replace(rollout, rew=rew, extras={**rollout.extras, "valid": valid})
        for b in make_ppo_whole(ppo).batches(rollout):
            metrics = ppo.update(b)
        results.append((float(metrics["value_loss"]), ppo.actor.theta.detach().clone()))
    assert results[0][0] == results[1][0] and torch.equal(results[0][1], results[1][1])


def test_what_led_to_a_row_that_is_not_valid_does_not_hear_of_it() -> None:
    results = []
    for junk in (0.0, 1e3):
        ppo = make_ppo(Endless(False))
        rollout = collector(Endless(False), ppo).collect(ppo.horizon)
        valid = torch.ones_like(rollout.terminated)
        valid[7, 3] = False
        cut, rew = rollout.truncated.clone(), rollout.rew.clone()
        cut[7, 3], rew[7, 3] = True, junk
        extras = {**rollout.extras, "valid": valid}
        rollout = replace(rollout, rew=rew, truncated=cut, extras=extras)
        for b in make_ppo_whole(ppo).batches(rollout):
            ppo.update(b)
        results.append(torch.cat([ppo.actor.theta.detach(), ppo.critic.theta.detach()]))
    assert torch.equal(*results)


@pytest.mark.parametrize("key", ["horizon", "epochs", "minibatches"])
def test_counts_of_nothing_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"agent.{key}=0"):
        make_ppo(Follow(False), **{key: 0})


def test_every_world_is_in_one_slice_of_each_epoch() -> None:
    ppo = make_ppo(Follow(False), epochs=3, minibatches=3)
    rollout = collector(Follow(False), ppo).collect(4)
    rollout = replace(rollout, rew=torch.arange(8.0).expand(4, 8))
    slices = [b.rew[0].tolist() for b in ppo.batches(rollout)]
    assert len(slices) == 9
    for k in range(0, 9, 3):
        assert sorted(sum(slices[k : k + 3], [])) == list(range(8))
    assert slices[:3] != slices[3:6]


@pytest.mark.parametrize("discrete", [False, True])
def test_a_loaded_agent_goes_on_bit_for_bit(discrete: bool) -> None:
    def course(ppo: PPO, world: Any) -> list[Tensor]:
        source = collector(world, ppo)
        seen: list[Tensor] = []
        for _ in range(7):
            for b in ppo.batches(source.collect(ppo.horizon)):
                metrics = ppo.update(b)
                seen += [torch.as_tensor(metrics[k]) for k in ("value_loss", "approx_kl")]
        return [*seen, *(p.detach() for p in ppo.parameters())]

    ppo = make_ppo(Endless(discrete), seed=1, normalize_steps=1000)
    course(ppo, Endless(discrete))
    state = copy.deepcopy(ppo.state_dict())
    other = make_ppo(Endless(discrete), seed=2, normalize_steps=1000)
    other.load_state_dict(state)
    pairs = list(zip(course(ppo, Endless(discrete)), course(other, Endless(discrete)), strict=True))
    assert len(pairs) > 100 and all(torch.equal(a, b) for a, b in pairs)
