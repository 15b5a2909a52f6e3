"""The adapter for Gymnasium ids, held against Gymnasium and against environments of our own."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from envs.gym import Gym


def world(id, num_envs=2, **changes):
    settings = {"max_episode_steps": None, "threads": 0, "allow_import": False, "kwargs": {}}
    return Gym(num_envs=num_envs, id=id, **(settings | changes))


class Odd(gymnasium.Env):
    """Counts its steps; spaces and quirks as asked."""

    made = 0
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, obs=None, act=None, quirk="", render_mode=None):
        self.observation_space = obs or spaces.Box(-np.inf, np.inf, (2, 2))
        self.action_space = act or spaces.Discrete(3, start=-1)
        self.quirk, self.render_mode, self.heard = quirk, render_mode, []
        Odd.made += 1
        self.offset = Odd.made if quirk == "fickle" else 0

    def _obs(self):
        if isinstance(self.observation_space, spaces.Box):
            value = np.nan if self.quirk == "nan" and self.t == 3 else self.t + self.offset
            return np.full(self.observation_space.shape, value, np.float64)
        self.observation_space.seed(self.t)
        return self.observation_space.sample()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._obs(), {}

    def step(self, act):
        self.t += 1
        self.heard.append(act)
        done = self.quirk == "both" and self.t == 2
        return self._obs(), 1, done, done or (self.quirk == "cut" and self.t == 2), {}

    def render(self):
        return np.full((512, 128, 3), self.t, np.uint8)


@pytest.fixture
def odd():
    """Registers an Odd with the given arguments and returns its id."""
    made = []

    def register(**kwargs):
        made.append(f"Odd{len(made)}-v0")
        gymnasium.register(made[-1], entry_point=Odd, kwargs=kwargs)
        return made[-1]

    yield register
    for id in made:
        gymnasium.registry.pop(id)


@pytest.mark.parametrize("id", ["Pendulum-v1", "CartPole-v1", "FrozenLake-v1", "Hopper-v5"])
def test_equals_the_environment_it_wraps(id):
    ours, theirs = world(id), [gymnasium.make(id) for _ in range(2)]
    flat = theirs[0].observation_space
    obs, _ = ours.reset(seed=11)
    for i, env in enumerate(theirs):
        want = spaces.flatten(flat, env.reset(seed=11 + i)[0])
        np.testing.assert_array_equal(obs[i], want.astype(np.float32))
    ours.action_space.seed(0)
    alive, ends = [True, True], 0
    for _ in range(250):
        act = ours.action_space.sample()
        obs, rew, terminated, truncated, info = ours.step(act)
        for i, env in enumerate(theirs):
            if alive[i]:  # only the first episodes have a seed of ours
                want = env.step(act[i])
                np.testing.assert_array_equal(
                    obs[i], spaces.flatten(flat, want[0]).astype(np.float32)
                )
                assert (rew[i], terminated[i], truncated[i]) == want[1:4]
                alive[i] = not (want[2] or want[3])
        ends += int((terminated | truncated).sum())
        if (terminated | truncated).any():
            obs, info = ours.reset(options={"reset_mask": terminated | truncated})
        assert obs.dtype == info["feat"].dtype == np.float32
    assert alive == [False, False] and ends >= 2


def test_time_limits_are_the_ids_own_or_ours():
    assert world("Pendulum-v1").max_episode_steps == 200
    short = world("Pendulum-v1", max_episode_steps=3)
    short.reset(seed=0)
    cuts = [short.step(np.zeros((2, 1), np.float32))[3].tolist() for _ in range(3)]
    assert cuts == [[False] * 2, [False] * 2, [True] * 2]


def test_an_environments_own_truncation_is_kept_apart_from_termination(odd):
    for quirk, want in (("cut", (False, True)), ("both", (True, False))):
        one = world(odd(quirk=quirk), 1)
        one.reset(seed=0)
        one.step(np.array([0]))
        _, _, terminated, truncated, _ = one.step(np.array([0]))
        assert (terminated[0], truncated[0]) == want


def test_discrete_actions_reach_an_environment_that_counts_from_elsewhere(odd):
    one = world(odd(), 3)
    assert one.single_action_space == spaces.Discrete(3) and one.world_spec.discrete
    assert one.world_spec.obs_dim == 4 and one.world_spec.act_dim == 3
    one.reset(seed=0)
    one.step(np.array([0, 1, 2]))
    assert [env.unwrapped.heard[-1] for env in one.envs] == [-1, 0, 1]


def test_nested_observations_are_flattened_in_gymnasiums_order(odd):
    space = spaces.Dict(
        a=spaces.Box(0, 1, (2, 3)), b=spaces.Tuple([spaces.Discrete(4), spaces.MultiBinary(2)])
    )
    one = world(odd(obs=space), 1)
    obs, info = one.reset(seed=0)
    space.seed(0)
    np.testing.assert_array_equal(obs[0], spaces.flatten(space, space.sample()).astype(np.float32))
    assert obs.shape == (1, 12) and one.world_spec.feat_names == tuple(
        f"obs_{k}" for k in range(12)
    )


def test_locomotion_tasks_give_place_and_speed():
    one = world("Ant-v5", 1)
    assert one.feat_names[:5] == ("x", "y", "x_velocity", "y_velocity", "obs_0")
    assert one.plane == ("x", "y") and one.world_spec.feat_dim == len(one.world_spec.feat_units)
    one.reset(seed=0)
    one.action_space.seed(0)
    for _ in range(5):
        *_, info = one.step(one.action_space.sample())
    data = one.envs[0].unwrapped.data
    np.testing.assert_allclose(info["feat"][0, :2], data.qpos[:2], rtol=1e-6)


def test_an_observation_that_is_no_number_ends_the_episode(odd):
    one = world(odd(quirk="nan"), 1)
    one.reset(seed=0)
    for _ in range(2):
        one.step(np.array([0]))
    obs, rew, terminated, truncated, info = one.step(np.array([0]))
    assert obs.tolist() == [[2, 2, 2, 2]] and rew[0] == 0 and info["unstable"].tolist() == [True]
    assert truncated[0] and not terminated[0] and one.unstable == 1


@pytest.mark.parametrize("id", ["Pendulum-v1", "CartPole-v1", "Ant-v5"])
def test_a_saved_world_goes_on_alike(id):
    first, second = world(id), world(id)
    first.reset(seed=5)
    first.action_space.seed(1)

    def advance(*worlds):
        act = first.action_space.sample()
        out = [w.step(act) for w in worlds]
        mask = out[0][2] | out[0][3]
        if mask.any():
            out += [w.reset(options={"reset_mask": mask}) for w in worlds]
        return out

    for _ in range(40):
        advance(first)
    second.load_state_dict(first.state_dict())
    for _ in range(60):
        a, b, *resets = advance(first, second)
        for x, y in zip(a[:4], b[:4], strict=True):
            np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(a[4]["feat"], b[4]["feat"])
        if resets:
            np.testing.assert_array_equal(resets[0][0], resets[1][0])


def test_an_episode_that_cannot_be_replayed_is_lost_and_the_next_begins(odd):
    id = odd(quirk="fickle")
    first, second = world(id), world(id)
    first.reset(seed=0)
    obs = first.step(np.array([0, 0]))[0]
    second.load_state_dict(first.state_dict())
    assert second.lost.tolist() == [True, True] and not first.lost.any()
    again, rew, terminated, truncated, info = second.step(np.array([1, 1]))
    np.testing.assert_array_equal(again, obs)
    assert truncated.all() and info["unstable"].all() and not terminated.any() and not rew.any()
    second.load_state_dict(second.state_dict())
    begun, _ = second.reset(options={"reset_mask": np.array([True, False])})
    assert second.lost.tolist() == [False, False] and (begun[0] != obs[0]).any()


def test_frames_come_small_and_only_if_asked_for(odd):
    id = odd()
    one = world(id, render_mode="rgb_array")
    one.reset(seed=0)
    one.step(np.array([0, 0]))
    rows = one.snapshot()
    assert rows.shape == (2, 256 * 64 * 3) and rows.dtype == np.uint8
    picture = one.draw(rows[0], 60, 40)
    assert picture.shape == (40, 60, 3) and (picture == 1).all()
    blind = world(id)
    blind.reset(seed=0)
    with pytest.raises(ValueError, match="render_mode"):
        blind.snapshot()


def test_an_environment_that_cannot_be_drawn_need_not_know_of_it(odd):
    class Blind(Odd):
        def __init__(self):
            super().__init__()

    id = odd()
    gymnasium.registry[id].entry_point = Blind
    assert world(id).reset(seed=0)[0].shape == (2, 4)
    with pytest.raises(ValueError, match=f"env.id={id} cannot be made here: .*render_mode") as e:
        world(id, render_mode="rgb_array")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({"act": spaces.MultiDiscrete([2, 2])}, "action space MultiDiscrete"),
        ({"act": spaces.Box(-np.inf, np.inf, (2,))}, "action space Box.*finite bounds"),
        ({"obs": spaces.Text(5)}, "observation space Text.*supported are Box"),
        ({"obs": spaces.Dict(a=spaces.Graph(spaces.Discrete(2), None))}, "observation space Dict"),
    ],
)
def test_unsupported_spaces_are_named(odd, kwargs, named):
    with pytest.raises(ValueError, match=named) as refusal:
        world(odd(**kwargs))
    assert "\n" not in str(refusal.value)


def test_unknown_ids_are_refused_with_the_nearest():
    for wrong, right in (("Pendulm-v1", "Pendulum-v1"), ("CartPole-v7", "CartPole-v1")):
        with pytest.raises(ValueError, match=f"{wrong}.*did you mean {right}"):
            world(wrong)
    with pytest.raises(ValueError, match=r"Nope-v0 is no .* id: to list them: python -c .*print"):
        world("Nope-v0")  # nothing is near


def test_an_id_that_names_a_module_does_not_import_it(tmp_path, monkeypatch):
    canary = tmp_path / "imported"
    (tmp_path / "stranger.py").write_text(f"open({str(canary)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="env.allow_import=true"):
        world("stranger:Thing-v0")
    assert not canary.exists()
    with pytest.raises(ValueError, match="Thing-v0"):
        world("stranger:Thing-v0", allow_import=True)
    assert canary.exists()


def test_refusing_an_id_needs_no_torch():
    code = (
        "import sys\nfrom envs.gym import Gym\n"
        "try:\n    Gym(num_envs=1, id='Nope-v0', max_episode_steps=None, threads=0,"
        " allow_import=False, kwargs={})\nexcept ValueError:\n    print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
