"""The normaliser against numpy, and its freezing."""

import copy
import math

import numpy as np
import pytest
import torch

from rl.normalize import Normalizer


def test_statistics_are_those_of_all_that_was_seen() -> None:
    rng = np.random.default_rng(0)
    norm = Normalizer(3, 10_000)
    seen = []
    for n in (1, 40, 7, 300):
        x = rng.normal([1.0, -50.0, 0.0], [0.1, 20.0, 3.0], (n, 2, 3)).astype(np.float32)
        seen.append(x.reshape(-1, 3))
        norm.observe(torch.from_numpy(x))
    data = np.concatenate(seen).astype(np.float64)
    assert int(norm.count) == len(data)
    assert np.allclose(norm.mean, data.mean(0), rtol=1e-4, atol=1e-4)
    assert np.allclose(norm.var, data.var(0), rtol=1e-3)
    got = norm(torch.from_numpy(seen[-1])).numpy()
    want = (seen[-1] - data.mean(0)) / np.sqrt(data.var(0))
    assert np.allclose(got, want, atol=2e-3)


def test_it_freezes() -> None:
    norm = Normalizer(1, 10)
    norm.observe(torch.tensor([[-1.0], [1.0]]).repeat(6, 1))  # 12: the batch that fills it counts
    before = norm(torch.tensor([[0.5]]))
    norm.observe(torch.full((50, 1), 9.0))
    assert torch.equal(norm(torch.tensor([[0.5]])), before) and int(norm.count) == 12


def test_far_from_what_was_seen_numbers_still_differ() -> None:
    norm = Normalizer(1, 10)
    norm.observe(torch.tensor([[-1.0], [1.0]]).repeat(5, 1))  # mean 0, standard deviation 1
    got = norm(torch.tensor([[9.5], [10.0], [20.0], [-1000.0]]))[:, 0]
    want = torch.tensor([9.5, 10.0, 10 * (1 + math.log(2)), -10 * (1 + math.log(100))])
    assert torch.allclose(got, want, rtol=1e-5)
    steps = norm(torch.linspace(-500, 500, 999)[:, None])[:, 0].diff()
    assert (steps > 0).all() and steps.max() < 1.01 * 1000 / 998  # rising, never steeper than 1


def test_statistics_saved_by_a_clipping_version_go_on_clipping() -> None:
    norm = Normalizer(1, 10)
    norm.observe(torch.tensor([[-1.0], [1.0]]).repeat(5, 1))
    saved = norm.state_dict()
    old = {k: v for k, v in saved.items() if k != "clips"}
    for state, want in ((old, 10.0), (saved, 10 * (1 + math.log(2)))):
        again = Normalizer(1, 10)
        again.load_state_dict(state)
        for _ in range(2):  # and so does what that one saves
            assert abs(float(again(torch.tensor([[20.0]]))) - want) < 1e-4
            state, again = again.state_dict(), Normalizer(1, 10)
            again.load_state_dict(state)


def test_without_steps_it_changes_nothing() -> None:
    norm = Normalizer(2, 0)
    norm.observe(torch.full((5, 2), 7.0))
    x = torch.tensor([[0.5, -3.0]])
    assert torch.allclose(norm(x), x, atol=1e-5)


def test_new_statistics_count_at_once() -> None:
    norm = Normalizer(1, 100)
    x = torch.tensor([[2.0]])
    norm(x)  # whatever it remembers from here must not survive
    norm.observe(torch.tensor([[1.0], [3.0]]))
    assert abs(float(norm(x))) < 1e-6
    norm.observe(torch.tensor([[7.0], [9.0]]))
    assert float(norm(x)) < -0.5


def test_a_loaded_one_goes_on_alike() -> None:
    norm, other = Normalizer(2, 30), Normalizer(2, 30)
    first = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)) + 3
    other(first)
    norm.observe(first)
    other.load_state_dict(copy.deepcopy(norm.state_dict()))
    assert torch.equal(norm(first), other(first))
    for n in (norm, other):
        n.observe(2 * first)
        n.observe(9 * first)  # frozen by now, in both
    assert torch.equal(norm(first), other(first)) and int(other.count) == 40


def test_without_steps_large_numbers_pass_as_they_are() -> None:
    x = torch.tensor([[1e4, -37.5]])
    assert Normalizer(2, 0)(x).equal(x)


@pytest.mark.parametrize("large", [3e38, -3.4e38, 1e25])
def test_numbers_whose_squares_float32_lacks_are_finite(large: float) -> None:
    """As an env's sentinel for "nothing is seen" may be."""
    norm = Normalizer(2, 1000)
    plain = torch.rand(8, 1, generator=torch.Generator().manual_seed(0))
    for k in range(3):
        odd = torch.full((8, 1), large) if k else torch.zeros(8, 1)
        norm.observe(torch.cat([plain, odd], 1))
        assert norm.mean.isfinite().all() and norm.var.isfinite().all()
    other = Normalizer(1, 1000)
    for _ in range(3):
        other.observe(plain)
    assert norm.mean[0] == pytest.approx(other.mean.item(), rel=1e-6)
    assert norm.var[0] == pytest.approx(other.var.item(), rel=1e-5)
    shown = norm(torch.tensor([[0.5, large], [0.5, 0.0]]))
    assert shown.isfinite().all() and shown[0, 1] != shown[1, 1]


def test_the_largest_number_there_is_is_finite_after_all() -> None:
    norm = Normalizer(1, 10)
    norm.observe(torch.zeros(10, 1))  # a standard deviation of 0.001
    most = torch.finfo(torch.float32).max
    low, high = norm(torch.tensor([[-most], [most]]))[:, 0].tolist()
    assert -1000 < low == -high < -800


def test_statistics_are_taken_where_they_are_kept() -> None:
    norm = Normalizer(2, 100).to("meta")  # a device that refuses tensors of another
    norm.observe(torch.ones(5, 2))
    assert norm._left == 95
