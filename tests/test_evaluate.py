"""Evaluation on a world and with skills whose every number is known beforehand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch.nn import functional as F

from envs.base import World
from pretrain import markup
from pretrain.evaluate import alarms, confused, evaluate, fano, numbers, recognised, visited
from pretrain.rollouts import Film, rollouts
from skills.base import Skill


class Line(World):
    """x moves by act (m); falls off at x >= 7. The start is x = 0.25 + a world's own 0..0.5."""

    feat_names = ("x", "x_velocity", "height")
    feat_units = ("m", "m/step", "m")
    motion = ("x_velocity",)
    plane = ("x", "height")

    def __init__(self, *, num_envs, max_episode_steps=20, render_mode=None):
        space = Box(-1, 1, (1,), np.float32)
        super().__init__(
            name="line",
            num_envs=num_envs,
            observation_space=space,
            action_space=space,
            max_episode_steps=max_episode_steps,
            render_mode=render_mode,
        )
        self.x, self.v = np.zeros(num_envs), np.zeros(num_envs)

    def _begin(self, ids):
        self.x[ids] = [0.25 + self._rngs[i].uniform(0, 0.5) for i in ids]
        self.v[ids] = 0

    def _advance(self, act):
        self.v = np.asarray(act, np.float64)[:, 0]
        self.x = self.x + self.v
        return self.v.copy(), self.x >= 7, self.x < -30

    def _observe(self):
        return self.x[:, None].astype(np.float32)

    def _feat(self):
        return np.stack([self.x, self.v, np.ones_like(self.x)], 1).astype(np.float32)

    def snapshot(self):
        return self.x[:, None].copy()


class Runner:
    """Skill k runs at SPEEDS[k] m a step."""

    speeds = torch.tensor([1.0, -0.5, 0.05, 0.05])

    def act(self, obs, z, explore):
        assert not explore
        return (z @ self.speeds)[:, None], {}


class Four(Skill):
    """Four one-hot skills; the posterior knows skills 0 and 1 and mixes 2 and 3 up."""

    z_dim = 4

    def __init__(self):
        super().__init__(0)
        self.seen = []

    def sample_z(self, n):
        return F.one_hot(torch.randint(4, (n,), generator=self.generator), 4).float()

    def all_z(self):
        return torch.eye(4)

    def log_q(self, batch):
        self.seen.append(batch)
        q = torch.full((*batch.shape, 4), 0.02)
        speed = batch.next_feat[..., 1]
        q[speed > 0.5, 0] = q[speed < 0, 1] = 0.94
        q[(speed > 0) & (speed < 0.5)] = torch.tensor([0.02, 0.02, 0.48, 0.48 + 1e-4])
        return q.log()


def look(skill=None, reps=2, steps=20, **kwargs):
    world = Line(num_envs=4 * reps, max_episode_steps=steps)
    return rollouts(world, Runner(), skill or Four(), torch.eye(4), reps, steps, 0, **kwargs)


def test_a_rollout_is_masked_from_its_end_on():
    taken = look()
    assert taken.feat.shape == (4, 2, 20, 3) and taken.alive.shape == (4, 2, 20)
    begun = taken.begun("x")
    assert begun.std() > 0  # the repetitions start differently
    assert taken.lengths()[0].tolist() == np.ceil(7 - begun[0]).tolist()  # 1 m a step up to 7 m
    assert (taken.lengths()[1:] == 20).all()
    assert taken.terminated.tolist() == [[True, True], [False] * 2, [False] * 2, [False] * 2]
    np.testing.assert_allclose(taken.returns()[0], taken.lengths()[0])
    np.testing.assert_allclose(taken.finals()[0, :, 0], begun[0] + taken.lengths()[0], rtol=1e-6)
    np.testing.assert_allclose(taken.means()[0, :, 1], 1.0)
    np.testing.assert_allclose(taken.named("x")[1, :, -1], begun[1] - 10, rtol=1e-6)


def test_the_discriminator_hears_only_what_was_lived():
    skill = Four()
    taken = look(skill)
    assert taken.judged is not None
    np.testing.assert_allclose(taken.judged.confusion[0], [1, 0, 0, 0])
    np.testing.assert_allclose(taken.judged.confusion[2], [0, 0, 0, 1])  # always taken for 3
    want = [math.log(0.94), math.log(0.94), math.log(0.48), math.log(0.4801)]
    np.testing.assert_allclose(taken.judged.log_q, want, rtol=1e-6)
    first = skill.seen[0]
    np.testing.assert_allclose(first.next_obs[:, 0] - first.obs[:, 0], first.act[:, 0], rtol=1e-5)
    np.testing.assert_allclose(first.next_feat[:, 0], first.next_obs[:, 0])
    np.testing.assert_allclose(first.feat[:, 0], first.obs[:, 0])


def test_travel_is_what_ends_beyond_five_metres():
    agent = Runner()
    agent.speeds = torch.tensor([0.275, -0.275, 0.225, 0.11])  # m a step: 5.5, -5.5, 4.5 and 2.2 m
    found, _ = evaluate(Line, agent, Four(), 0, steps=20)
    motion = found["motion"]
    assert (motion["forward"], motion["backward"], motion["still"]) == (1, 1, 0)


def test_nothing_is_known_of_a_skill_without_a_step_to_show():
    class Torn(Line):
        def step(self, actions):
            *moved, info = super().step(actions)
            return *moved, {**info, "unstable": np.arange(self.num_envs) % 4 != 1}

    world = Torn(num_envs=8, max_episode_steps=20)
    taken = rollouts(world, Runner(), Four(), torch.eye(4), 2, 20, 0)
    want = [-math.log(4), math.log(0.94), -math.log(4), -math.log(4)]
    np.testing.assert_allclose(taken.judged.log_q, want, rtol=1e-6)


def test_the_numbers_of_known_skills():
    found, taken = evaluate(Line, Runner(), Four(), 0, steps=20)
    skills = found["skills"]
    assert skills["count"] == 4 and skills["chance"] == 0.25
    assert skills["accuracy"] == pytest.approx(0.75)  # 2 is taken for 3, the rest is right
    nats = np.mean([math.log(p) for p in (0.94, 0.94, 0.48, 0.4801)]) + math.log(4)
    assert skills["mi_nats"] == pytest.approx(nats, rel=1e-5)
    assert skills["mi_ceiling_nats"] == pytest.approx(math.log(4))
    assert skills["effective"] == pytest.approx(math.exp(nats), rel=1e-5)
    motion = found["motion"]
    assert (motion["forward"], motion["backward"], motion["still"]) == (1, 1, 2)
    assert 0.6 < motion["accuracy"] < 1  # 0 and 1 surely, 2 and 3 by chance
    assert taken.rew.shape == (4, 12, 20)  # 48 rollouts
    assert found["displacement"]["per_skill"][1] == pytest.approx(-10, rel=1e-5)
    assert found["displacement"]["per_skill"][2] == pytest.approx(1, rel=1e-3)
    assert found["native_return"]["min"] == pytest.approx(-10)
    assert found["native_return"]["max"] == pytest.approx(7, abs=0.5)
    spread = found["feat_spread"]
    assert spread["x"]["of"] == "final" and spread["x_velocity"]["of"] == "mean"
    assert spread["x_velocity"]["min"] == pytest.approx(-0.5, rel=1e-5)
    assert spread["x_velocity"]["max"] == pytest.approx(1.0, rel=1e-5)
    # -10 to the start below, and the start to 7 above, with every metre between
    assert found["coverage"]["cells"] == 18
    assert 0 < found["coverage"]["random_cells"] < 18


def test_cells_are_counted_from_the_start_over_a_limited_number_of_rollouts():
    taken = look()
    assert visited(taken) == {(float(c),) for c in range(-10, 8)}
    assert visited(taken, 1) == {(float(c),) for c in range(8)}  # skill 0 alone


def test_near_duplicates_and_lost_skills_raise_alarms():
    taken = look()
    assert [(i, j) for i, j, _ in confused(taken)] == [(2, 3)]
    said = numbers(taken)["alarms"]
    assert "skills that look more like another: 2 (like 3)" in said
    assert any("near-duplicates" in line and line.endswith(": 2 and 3 (50%)") for line in said)
    assert not any("collapsed" in line or "poses" in line for line in said)


def test_collapse_poses_and_divergence_raise_alarms():
    taken = look()
    blind = replace(taken.judged, confusion=np.full((4, 4), 0.25), log_q=np.full(4, -math.log(4)))
    still = np.zeros_like(taken.feat) + taken.start[:, :, None]
    bad = replace(taken, judged=blind, feat=still, unstable=3)
    said = "\n".join(alarms(bad, numbers(bad, 2, 5)))
    for part in ("collapsed", "poses", "visit 2 cells, a random policy 5", "diverged in 3"):
        assert part in said


def test_a_bound_below_zero_is_said_to_say_nothing():
    taken = look()
    sure = replace(taken.judged, log_q=np.full(4, -3.0))  # right about most, and at a loss at times
    found = numbers(replace(taken, judged=sure))
    assert found["skills"]["mi_nats"] == pytest.approx(math.log(4) - 3)
    assert found["skills"]["effective"] == 1.0 and found["skills"]["accuracy"] == 0.75
    said = "\n".join(found["alarms"])
    assert "-1.61 nats, does not tell" in said and "count as distinct" not in said
    page = markup.tiles(found)
    assert "-1.61" in page and "says nothing" in page and "At least this much" not in page


def test_a_diverged_step_is_neither_learned_from_nor_counted():
    class Dash(Runner):
        speeds = torch.tensor([-1.0, 0.0, 0.0, 0.0])

    world = Line(num_envs=4, max_episode_steps=40)
    taken = rollouts(world, Dash(), Four(), torch.eye(4), 1, 40, 0)
    assert taken.unstable == 1  # at the 31st step, where x falls below -30
    assert taken.lengths()[0, 0] == 30 and taken.returns()[0, 0] == -30


def test_methods_without_a_discriminator_are_recognised_by_what_they_do():
    class Mute(Four):
        log_q = None

    found, taken = evaluate(Line, Runner(), Mute(), 0, steps=20)
    assert taken.judged is None and found["skills"]["judge"] == "nearest centroid"
    assert 0.6 < found["skills"]["accuracy"] < 1
    assert found["skills"]["mi_nats"] == pytest.approx(fano(found["skills"]["accuracy"], 4))


def test_one_policy_without_z_has_nothing_to_tell_apart():
    class Stand:
        def act(self, obs, z, explore):
            assert z.shape == (len(obs), 0)
            return torch.zeros(len(obs), 1), {}

    found, taken = evaluate(Line, Stand(), Skill(0), 0, steps=5)
    assert found["skills"]["count"] == 1 and found["skills"]["accuracy"] is None
    assert found["skills"]["effective"] == 1.0 and found["coverage"]["cells"] == 1
    assert found["motion"]["still"] == 1 and taken.rew.shape == (1, 48, 5)


def test_a_continuous_z_is_sampled_for_coverage():
    class Sphere(Skill):
        z_dim = 2

        def all_z(self):
            return torch.tensor([[1.0, 0.0], [-1.0, 0.0]])

        def sample_z(self, n):
            return F.normalize(torch.randn(n, 2, generator=self.generator), dim=-1)

    class Along:
        asked = 0

        def act(self, obs, z, explore):
            self.asked += len(z) == 48 and bool((z[:, 1] != 0).all())
            return z[:, :1] / 20, {}

    agent, skill = Along(), Sphere(0)
    found, _ = evaluate(Line, agent, skill, 0, steps=20)
    assert agent.asked == 20
    assert found["coverage"]["cells"] == 3  # at most a metre either way from the first cell


def test_evaluation_leaves_the_trainings_generators_alone():
    skill = Four()
    before = skill.generator.get_state()
    torch.manual_seed(0)
    np.random.seed(0)
    evaluate(Line, Runner(), skill, 0, steps=3)
    assert torch.equal(skill.generator.get_state(), before)
    fresh = torch.Generator().manual_seed(0)
    assert torch.equal(torch.rand(1), torch.rand(1, generator=fresh))


def test_the_first_repetition_alone_repeats_itself():
    wide, alone = look(reps=3), look(reps=1)
    np.testing.assert_array_equal(wide.feat[:, 0], alone.feat[:, 0])


def test_snapshots_follow_the_first_repetition_and_freeze_at_the_end(monkeypatch):
    taken = look(every=2)
    assert taken.stride == 2 and taken.snapshots.shape == (4, 11, 1)
    path = np.concatenate([taken.begun("x")[:, :1], taken.named("x")[:, 0]], 1)
    np.testing.assert_allclose(taken.snapshots[:, :, 0], path[:, ::2], rtol=1e-6)
    monkeypatch.setattr(Film, "limit", 4 * 8 * 6)  # room for six snapshots of four worlds
    thin = look(every=1)
    assert thin.stride == 4
    np.testing.assert_allclose(thin.snapshots[:, :, 0], path[:, ::4], rtol=1e-6)


def test_recognition_knows_the_extremes():
    rng = np.random.default_rng(0)
    apart = np.arange(5.0)[:, None, None] * 100 + rng.normal(size=(5, 8, 2))
    assert recognised(apart) == 1.0
    assert recognised(rng.normal(size=(5, 200, 3))) == pytest.approx(0.2, abs=0.05)
    with_dead_column = np.concatenate([apart, np.ones((5, 8, 1))], -1)
    assert recognised(with_dead_column) == 1.0


def test_centroids_are_tested_on_what_they_were_not_made_of():
    """Two repetitions of pure noise: every skill would be its own nearest centroid."""
    noise = np.random.default_rng(1).normal(size=(200, 2, 3))
    assert recognised(noise) == pytest.approx(1 / 200, abs=0.02)


def test_fanos_bound_at_its_ends():
    assert fano(1.0, 8) == pytest.approx(math.log(8))
    assert fano(0.125, 8) == 0.0 and fano(0.0, 8) == 0.0
    assert fano(0.75, 2) == pytest.approx(
        math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    )


@pytest.mark.parametrize(
    "id, want", [("Reacher-v5", {}), ("CartPole-v1", {"max_episode_steps": 200})]
)
def test_training_episodes_are_cut_but_never_made_longer(id: str, want: dict[str, int]) -> None:
    """Reacher ends after 50 steps of its own, CartPole after 500."""
    from pretrain.stage import _cut, world_factory

    env = {"name": "gym", "id": id, "max_episode_steps": None, "threads": 0, "allow_import": False}
    env["kwargs"] = {}
    config = {"episode_steps": 200, "env": env}
    assert _cut(config, world_factory(config)) == want
