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
