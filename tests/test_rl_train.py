"""The means between two rows of a log, and what is never saved."""

from __future__ import annotations

import copy

import pytest
import torch

from rl.train import Diverged, Means, train


def test_every_name_has_the_mean_of_its_own_values() -> None:
    means = Means()
    means.add("skill", {})
    assert not means
    for k in range(4):
        means.add("train", {"loss": torch.tensor(float(k)), "rate": 0.1})
    means.add("train", {"loss": torch.tensor(10.0, requires_grad=True)})  # now without the rate
    means.add("skill", {"loss": torch.tensor(7)})
    assert means
    row = means.take()
    assert row == {
        "train/loss": 16 / 5,
        "train/rate": pytest.approx(0.1, abs=1e-12),
        "skill/loss": 7,
    }
    assert not means and means.take() == {}


def test_a_value_may_be_changed_after_it_was_counted() -> None:
    means, value = Means(), torch.tensor(1.0)
    for _ in range(2):
        means.add("a", {"b": value})
        value.add_(5)
    assert means.take() == {"a/b": 3.5}


def test_saved_sums_stand_still_and_go_on_exactly() -> None:
    means, other = Means(), Means()
    values = torch.rand(9, generator=torch.Generator().manual_seed(0))
    for v in values[:5]:
        means.add("a", {"b": v, "c": v * v})
    saved = means.state_dict()
    kept = copy.deepcopy(saved)
    for v in values[5:]:
        means.add("a", {"b": v, "c": v * v})
    assert all(torch.equal(saved["sums"][k], v) for k, v in kept["sums"].items())
    other.load_state_dict(saved)
    for v in values[5:]:
        other.add("a", {"b": v, "c": v * v})
    row = means.take()
    assert row == other.take() and row["a/b"] == pytest.approx(values.double().mean().item())


class Diverging:
    """Loses its mind in round four."""

    def __init__(self) -> None:
        self.means, self.step = Means(), 0

    def advance(self) -> None:
        self.step += 1
        self.means.add("train", {"loss": torch.tensor(float("nan") if self.step >= 4 else 1.0)})

    def row(self) -> dict[str, float]:
        return self.means.take()

    def reseed(self, seed: int) -> None: ...

    def state_dict(self) -> dict[str, int]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None: ...


class Book:
    """Remembers what was saved and written, and asks to stop after `stop` steps."""

    def __init__(self, stop: int) -> None:
        self.saved: list[int] = []
        self.rows: list[int] = []
        self._stop, self._now = stop, 0

    def tick(self, step: int) -> None:
        self._now = step

    def log(self, step: int, row: object) -> None:
        self.rows.append(step)

    def save(self, step: int, state: object) -> None:
        self.saved.append(step)

    def stop_requested(self) -> bool:
        return self._now >= self._stop


@pytest.mark.parametrize("every, stop", [(2, 99), (99, 5)])
def test_what_has_diverged_is_not_saved(every: int, stop: int) -> None:
    book = Book(stop)
    with pytest.raises(Diverged, match="train/loss is not a finite number at step"):
        train(Diverging(), book, steps=20, log_every=50, checkpoint_every=every)
    assert book.saved == ([2] if every == 2 else [])


def test_a_row_that_is_no_number_is_not_written() -> None:
    book = Book(99)
    with pytest.raises(Diverged, match="train/loss is not a finite number at step 4"):
        train(Diverging(), book, steps=20, log_every=1, checkpoint_every=99)
    assert book.rows == [1, 2, 3] and book.saved == []
