"""Skill methods: one law for all of them, hand-worked rewards, and learning where it is known."""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from test_rl_nets import plain

from logbook.build import build
from logbook.config import node_of
from rl.types import Batch, WorldSpec
from skills.diayn import DIAYN
from skills.metra import METRA
from skills.rnd import RND
from skills.view import View

SPEC = WorldSpec(
    name="toy",
    obs_dim=3,
    act_dim=2,
    discrete=False,
    feat_names=("x", "y", "height"),
    feat_units=("m", "m", "m"),
    motion=("x",),
    plane=("x", "y"),
)
CPU = torch.device("cpu")
SKILLS = sorted(p.stem for p in Path("configs/skill").glob("*.yaml"))


def batch(z, obs=None, next_obs=None, feat=None, next_feat=None, generator=None):
    """Transitions under z [..., Z]; what is not given is drawn."""
    generator = generator or torch.Generator().manual_seed(7)
    lead = z.shape[:-1]

    def draw(given, width):
        return torch.randn(*lead, width, generator=generator) if given is None else given

    return Batch(
        obs=draw(obs, SPEC.obs_dim),
        act=draw(None, SPEC.act_dim),
        next_obs=draw(next_obs, SPEC.obs_dim),
        feat=draw(feat, SPEC.feat_dim),
        next_feat=draw(next_feat, SPEC.feat_dim),
        rew=torch.randn(lead, generator=generator),
        terminated=torch.zeros(lead, dtype=torch.bool),
        truncated=torch.zeros(lead, dtype=torch.bool),
        z=z,
    )


def make(name, seed=0, **changes):
    node = node_of("skill", name)
    return build("skill", {**node, **changes}, world=SPEC, device=CPU, seed=seed)


@pytest.mark.parametrize("name", SKILLS)
def test_a_rollout_is_seen_from_another_device(name):
    """Rollouts lie on the CPU, whatever the device that a method learns on."""
    node = node_of("skill", name)
    skill = build("skill", node, world=SPEC, device=torch.device("meta"), seed=0)
    skill.observe(batch(skill.sample_z(12).reshape(3, 4, -1)))


@pytest.mark.parametrize("name", SKILLS)
def test_the_law_of_skills(name):
    """Shapes, purity and independence of the leading shape, for every method there is."""
    skill = make(name)
    z = skill.sample_z(12)
    assert z.shape == (12, skill.z_dim)
    assert skill.all_z().shape[1] == skill.z_dim
    flat = batch(z)
    grid = flat.map(lambda x: x.reshape(3, 4, *x.shape[1:]))
    skill.observe(grid)
    skill.update(flat)
    before = {k: v.clone() for k, v in skill.named_parameters()}
    reward = skill.reward(flat)
    assert reward.shape == (12,) and reward.dtype == torch.float32
    assert not reward.requires_grad and torch.isfinite(reward).all()
    torch.testing.assert_close(skill.reward(grid), reward.reshape(3, 4), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(skill.reward(flat), reward, rtol=0, atol=0)
    for key, value in skill.named_parameters():
        assert torch.equal(value, before[key]), f"reward moved {key}"


@pytest.mark.parametrize("name", SKILLS)
def test_learning_is_updating_and_says_the_reward(name):
    one, two = make(name), make(name)
    for i in range(3):
        b = batch(one.sample_z(12), generator=torch.Generator().manual_seed(i))
        metrics = one.update(b)
        reward, others = two.learn(b)
        assert reward.shape == (12,) and not reward.requires_grad
        assert metrics.keys() == others.keys()
        assert all(torch.equal(metrics[k], others[k]) for k in metrics)
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("name", SKILLS)
def test_a_saved_skill_goes_on_bit_for_bit(name):
    """Optimisers, statistics and the generator are all in the state."""
    one, two = make(name, seed=1), make(name, seed=2)
    for i in range(5):
        b = batch(one.sample_z(32), generator=torch.Generator().manual_seed(i))
        one.observe(b)
        one.update(b)
    two.load_state_dict(deepcopy(one.state_dict()))
    for i in range(5):
        z = one.sample_z(32)
        assert torch.equal(z, two.sample_z(32))
        b = batch(z, generator=torch.Generator().manual_seed(50 + i))
        for skill in (one, two):
            skill.observe(b)
            skill.update(b)
        assert torch.equal(one.reward(b), two.reward(b))


@pytest.mark.parametrize("name", SKILLS)
def test_a_fresh_method_can_stand_as_far_along_its_schedule(name):
    """It takes the place in the schedule and nothing that was learned."""
    trained, fresh = make(name), make(name, seed=1)
    long = batch(trained.sample_z(400_000))
    trained.observe(long)
    trained.update(long.map(lambda x: x[:64]))
    before = {k: v.clone() for k, v in fresh.named_parameters()}
    seen = {k: v.clone() for k, v in fresh.named_buffers()}
    fresh.copy_schedule(trained)
    now, theirs = fresh.state_dict()["nets"], trained.state_dict()["nets"]
    for key, value in [*before.items(), *seen.items()]:
        assert torch.equal(now[key], value)
    places = [key for key in theirs if key.endswith("_extra_state")]
    assert all(now[key] == theirs[key] for key in places)
    if name == "diayn":
        assert places and fresh.weights() == trained.weights()


def test_views_pick_and_squash_columns():
    obs, feat = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[4.0, 5.0, 6.0]])
    assert View("height, obs", SPEC)(obs, feat).tolist() == [[6, 1, 2, 3]]
    assert View("plane, obs[:2]", SPEC)(obs, feat).tolist() == [[4, 5, 1, 2]]
    assert View("obs[1:]", SPEC).width == 2
    squashed = View("tanh(motion/2.0)", SPEC)
    assert squashed(obs, feat).item() == pytest.approx(math.tanh(4.0 / 2.0))
    with pytest.raises(ValueError, match="did you mean height"):
        View("heigth", SPEC)
    with pytest.raises(ValueError, match="scale must be a number above 0"):
        View("tanh(x/0)", SPEC)


def test_diayn_rewards_nats_over_chance():
    """r = log q(z|s') - log p(z), summed over views by weight, from logits set by hand."""
    skill = make("diayn", num_skills=4, view="x + 0.5*obs", ramp=[0.0, 100.0])
    z = torch.eye(4)
    b = batch(z)
    logits = [torch.tensor([2.0, 0.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0, 0.0])]
    with torch.no_grad():
        for view, bias in zip(skill.views, logits, strict=True):
            last, its_bias = view.net.layers(view.net.theta)[-1]
            last.zero_()
            its_bias.copy_(bias)
    first = torch.log_softmax(logits[0], 0) + math.log(4)
    second = torch.log_softmax(logits[1], 0) + math.log(4)
    torch.testing.assert_close(skill.reward(b), first)  # the second view has not come in
    skill.observe(batch(torch.eye(4)[torch.arange(200) % 4]))
    torch.testing.assert_close(skill.reward(b), first + 0.5 * second)
    one, two = (torch.log_softmax(x, 0) for x in logits)
    joint = torch.log_softmax(one + 0.5 * two, 0)
    torch.testing.assert_close(skill.log_q(b)[0], joint)


def test_diayn_follows_the_gradient_of_its_likelihood_and_rewards_what_it_knew():
    """The hand-written step against autograd, on two views of different widths."""
    skill = make("diayn", num_skills=4, view="tanh(motion/0.3) + 0.5*obs", ramp=[0.0, 100.0])
    for i in range(20):
        g = torch.Generator().manual_seed(i)
        skill.observe(batch(skill.sample_z(32), generator=g))
        skill.update(batch(skill.sample_z(32), generator=g))
    flat = batch(skill.sample_z(40))
    grid = flat.map(lambda x: x.reshape(5, 8, *x.shape[1:]))
    losses, bounds = [], []
    thetas = [view.net.theta.detach().clone().requires_grad_() for view in skill.views]
    for view, theta in zip(skill.views, thetas, strict=True):
        x = view._view(flat.next_obs, flat.next_feat)
        x = x if view.normalizer is None else view.normalizer(x)
        log_q = torch.log_softmax(plain(view.net, theta, x)[0], -1)
        losses.append(torch.nn.functional.nll_loss(log_q, flat.z.argmax(-1)))
        bounds.append(math.log(4) - losses[-1].item())
    sum(losses).backward()
    before = skill.reward(grid)
    reward, metrics = skill.learn(grid)
    for view, theta in zip(skill.views, thetas, strict=True):
        assert theta.grad.abs().max() > 1e-3
        torch.testing.assert_close(view.net.theta.grad, theta.grad, rtol=1e-4, atol=1e-6)
        assert not torch.equal(view.net.theta, theta)
    assert reward.shape == (5, 8) and torch.equal(reward, before)
    assert not torch.equal(skill.reward(grid), before)
    got = [metrics[f"mi_lower_bound_view{i}"].item() for i in (1, 2)]
    assert got == pytest.approx(bounds, abs=1e-5)


def test_diayn_sees_the_successor_and_learns_who_made_it():
    """next_obs tells the skill, obs misleads: a discriminator of obs would stay at chance."""
    skill = make("diayn", num_skills=4, view="obs")
    for i in range(300):
        g = torch.Generator().manual_seed(i)
        z = skill.sample_z(64)
        told = z[:, :3] + 0.05 * torch.randn(64, 3, generator=g)
        b = batch(z, next_obs=told, generator=g)
        skill.observe(b)
        metrics = skill.update(b)
    assert metrics["discriminator_acc"] == 1.0
    assert skill.reward(b).mean() > 0.95 * math.log(4)
    wrong = batch(z.roll(1, -1), next_obs=told)
    assert skill.reward(wrong).mean() < 0


def test_metra_rewards_progress_along_z():
    """With phi set to 2x, 3y: r = scale * (2 dx, 3 dy) . z, and discrete z is recentred."""
    skill = make("metra", dim=2, view="x, y", hidden=[], reward_scale=10.0)
    with torch.no_grad():
        weight, bias = skill.phi.layers(skill.phi.theta)[0]
        weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
        bias.fill_(0.7)  # cancels
    feat = torch.zeros(1, 3)
    moved = torch.tensor([[0.1, -0.2, 5.0]])
    z = torch.tensor([[0.6, 0.8]])
    reward = skill.reward(batch(z, feat=feat, next_feat=moved)).item()
    assert reward == pytest.approx(10 * (0.6 * 0.2 - 0.8 * 0.6), abs=1e-6)
    corners = make("metra", dim=2, discrete=True, view="x, y", hidden=[], reward_scale=1.0)
    corners.phi.load_state_dict(skill.phi.state_dict())
    one = torch.tensor([[1.0, 0.0]])  # recentred and scaled by K / (K - 1): (1, -1)
    reward = corners.reward(batch(one, feat=feat, next_feat=moved)).item()
    assert reward == pytest.approx(0.2 + 0.6, abs=1e-6)


def test_metra_finds_the_longest_allowed_stride():
    """Steps of 0.5 m along z: phi must scale them to length 1, and hardly ever beyond."""
    skill = make("metra", dim=2, view="x, y", hidden=[64], lr=3e-3, lam_lr=3e-3)
    for i in range(1500):
        g = torch.Generator().manual_seed(i)
        z = skill.sample_z(128)
        feat = torch.cat([2 * torch.randn(128, 2, generator=g), torch.zeros(128, 1)], 1)
        moved = feat + torch.cat([0.5 * z, torch.zeros(128, 1)], 1)
        metrics = skill.update(batch(z, feat=feat, next_feat=moved))
    assert 0.85 < metrics["stride"] < 1.05
    assert 0.85 < metrics["progress"] < 1.1, "a bound on the mean over D would allow sqrt(2)"
    assert metrics["violations"] < 0.05


def test_rnd_tires_of_what_it_knows():
    """Novelty of visited states falls more than tenfold and stays high far away."""
    skill = make("rnd", normalize_steps=1000)
    g = torch.Generator().manual_seed(0)
    z = torch.zeros(256, 0)
    near = batch(z, next_obs=0.3 * torch.randn(256, 3, generator=g))
    far = batch(z, next_obs=3.0 + torch.randn(256, 3, generator=g))
    for _ in range(4):
        skill.observe(batch(z, next_obs=torch.randn(256, 3, generator=g)))
    first = skill._error(near).mean().item()
    skill.update(near)
    assert 0.3 < skill.reward(near).mean() < 10  # in units of its spread, whatever those of errors
    for _ in range(400):
        skill.update(near)
    assert skill._error(near).mean().item() < first / 10
    assert skill.reward(far).mean() > 5 * skill.reward(near).mean()


def test_rnd_sees_no_farther_than_five_spreads():
    """Statistics are 0 and 1 at first: all beyond 5 looks as 5 does, on either side."""
    skill = make("rnd", normalize_steps=1000)
    z, one = torch.zeros(3, 0), torch.tensor([[1.0, -1.0, 1.0]])
    rew = skill.reward(batch(z, next_obs=torch.tensor([[5.0], [60.0], [4.0]]) * one))
    assert rew[1] == pytest.approx(rew[0].item()) and rew[2] != pytest.approx(rew[0].item())


@pytest.mark.parametrize(
    "name, change, word",
    [
        ("diayn", {"num_skills": 1}, "num_skills=1"),
        ("diayn", {"ramp": [5.0, 1.0]}, "ramp"),
        ("diayn", {"view": "two*obs"}, "not a weight"),
        ("diayn", {"view": "obs[5:9]"}, "obs has 3 entries"),
        ("diayn", {"view": "tanh(x/1.2.3)"}, "number above 0"),
        ("diayn", {"view": "tanh(x/0)"}, "number above 0"),
        ("diayn", {"hidden": [0]}, r"skill.hidden=\[0\]: want 1 or more"),
        ("metra", {"dim": 1}, "dim=1"),
        ("metra", {"lam": 0.0}, "lam=0: want above 0"),
    ],
)
def test_what_cannot_work_is_said(name, change, word):
    from logbook.errors import UserError

    with pytest.raises(UserError, match=word):
        make(name, **change)


def test_classes_are_what_the_yamls_name():
    assert [type(make(n)) for n in ("diayn", "metra", "rnd")] == [DIAYN, METRA, RND]
