"""Exact answers for Bernoulli arms with a uniform prior, by dynamic programming over counts."""

from __future__ import annotations

import functools
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FEW_PULLS = 12  # of any number of arms
PAIR_PULLS = 120  # of two arms
INDEX_PULLS = 120  # of the Gittins index, whose table grows with the third power
SAME = 1e-12  # values that differ by less are equal: the rest is rounding


class Choices(Protocol):
    """A Bayes-optimal policy and what it earns."""

    value: float

    def best(self, won: Array, lost: Array) -> Array:
        """One for every arm worth pulling and zero for others [N, k], after won, lost [N, k]."""
        ...


def bayes_optimal_value(arms: int, pulls: int) -> float:
    """The most that `pulls` pulls of arms with chances ~ U(0, 1) can earn in the mean."""
    return optimal_choices(arms, pulls).value


@functools.lru_cache(maxsize=8)
def optimal_choices(arms: int, pulls: int) -> Choices:
    """The Bayes-optimal policy. Raises `ValueError` where its table would be too large."""
    if arms == 2 and pulls <= PAIR_PULLS:
        return Pair(pulls)
    if pulls <= FEW_PULLS:
        return Multiset(arms, pulls)
    raise ValueError(
        f"no exact optimum for {arms} arms and {pulls} pulls: there is one for at most "
        f"{FEW_PULLS} pulls, or {PAIR_PULLS} of 2 arms"
    )


class Pair:
    """Two arms: an array of values for every t, the pulls behind.

    Its cell [n, a, b]: n pulls were of the first arm, which won a; the second won b of t - n.
    """

    def __init__(self, pulls: int) -> None:
        value = np.zeros((pulls + 1,) * 3)
        self._prefer: list[Array] = []  # 1 for the first arm, -1 for the second, 0 for either
        for t in range(pulls - 1, -1, -1):
            n, a, b = np.ogrid[: t + 1, : t + 1, : t + 1]
            # Cells with more wins than pulls are never read; the bound keeps them finite.
            first = np.minimum((a + 1) / (n + 2), 1.0)
            second = np.minimum((b + 1) / (t - n + 2), 1.0)
            neither, one = value[1:, :-1, :-1], value[1:, 1:, :-1]
            pull_first = first * (1.0 + one) + (1.0 - first) * neither
            neither, one = value[:-1, :-1, :-1], value[:-1, :-1, 1:]
            pull_second = second * (1.0 + one) + (1.0 - second) * neither
            gain = pull_first - pull_second
            self._prefer.append((np.sign(gain) * (np.abs(gain) > SAME)).astype(np.int8))
            value = np.maximum(pull_first, pull_second)
        self._prefer.reverse()
        self.value = float(value[0, 0, 0])

    def best(self, won: Array, lost: Array) -> Array:
        t = int(won[0].sum() + lost[0].sum())
        prefer = self._prefer[t][won[:, 0] + lost[:, 0], won[:, 0], won[:, 1]]
        return np.stack([prefer >= 0, prefer <= 0], 1).astype(np.float64)


State = tuple[tuple[int, int], ...]
"""(won, lost) of every arm that was pulled, sorted: which arm is which makes no difference."""


class Multiset:
    """Any number of arms: the value of a state does not change when arms change places.

    A state is looked up by the sum of one random 64-bit word for each arm's (won, lost), which
    does not depend on the order of arms; that no two states agree is checked.
    """

    def __init__(self, arms: int, pulls: int) -> None:
        levels: list[set[State]] = [{()}]
        for _ in range(pulls - 1):
            after = {
                s for state in levels[-1] for arm in _kinds(state, arms) for s in _after(state, arm)
            }
            levels.append(after)
        value: dict[State, float] = {}
        choice: dict[State, tuple[int, int]] = {}
        for level in reversed(levels):
            for state in level:
                value[state], choice[state] = max(
                    (self._worth(value, state, arm), arm) for arm in _kinds(state, arms)
                )
        self.value = value[()]
        rng = np.random.default_rng(0)
        self._words = rng.integers(0, 1 << 64, (pulls + 1, pulls + 1), np.uint64, endpoint=False)
        self._words[0, 0] = 0  # so that arms never pulled add nothing
        states = list(choice)
        keys = np.array(
            [sum(int(self._words[arm]) for arm in s) % (1 << 64) for s in states], np.uint64
        )
        order = np.argsort(keys)
        self._keys = keys[order]
        self._choices = np.array([choice[s] for s in states])[order]
        if (self._keys[1:] == self._keys[:-1]).any():
            raise ValueError(f"two states of {arms} arms and {pulls} pulls share a key")

    @staticmethod
    def _worth(value: dict[State, float], state: State, arm: tuple[int, int]) -> float:
        won, lost = arm
        mean = (won + 1) / (won + lost + 2)
        win, loss = _after(state, arm)
        return mean * (1.0 + value.get(win, 0.0)) + (1.0 - mean) * value.get(loss, 0.0)

    def best(self, won: Array, lost: Array) -> Array:
        key = self._words[won, lost].sum(1, dtype=np.uint64)
        choice = self._choices[np.searchsorted(self._keys, key)]
        same = (won == choice[:, :1]) & (lost == choice[:, 1:])
        return same.astype(np.float64)


def _kinds(state: State, arms: int) -> set[tuple[int, int]]:
    """The arms that differ."""
    return set(state) | ({(0, 0)} if len(state) < arms else set())


def _after(state: State, arm: tuple[int, int]) -> tuple[State, State]:
    """The state after that arm has won, and after it has lost."""
    rest = list(state)
    if arm in rest:
        rest.remove(arm)
    won, lost = arm
    return tuple(sorted([*rest, (won + 1, lost)])), tuple(sorted([*rest, (won, lost + 1)]))


@functools.lru_cache(maxsize=4)
def gittins_index(pulls: int) -> list[Array]:
    """The Gittins index of an arm, [won, lost] for 1 to `pulls` pulls left, item m - 1 for m left.

    It is the sure wage at which pulling the arm, with the right to change to the wage for good,
    is worth as much as the wage from now on: found on a grid of wages, between whose points the
    worth is taken as linear. Finite-horizon index of Niño-Mora (INFORMS J. Computing 23(2), 2011).
    """
    if pulls > INDEX_PULLS:
        raise ValueError(f"no Gittins index for {pulls} pulls: at most {INDEX_PULLS}")
    wages = np.linspace(0.0, 1.0, 201)
    gain = np.zeros((pulls + 1, pulls + 1, len(wages)))  # over the wage, with no pulls left
    tables: list[Array] = []
    for left in range(1, pulls + 1):
        size = pulls - left + 1
        won, lost = np.ogrid[:size, :size]
        mean = ((won + 1) / (won + lost + 2))[..., None]
        go_on = mean * (1.0 + gain[1:, :-1]) + (1.0 - mean) * gain[:-1, 1:] - wages
        above = (go_on > 0).sum(-1)[..., None] - 1  # it falls with the wage, to below zero at 1
        high = np.take_along_axis(go_on, above, -1)[..., 0]
        low = np.take_along_axis(go_on, above + 1, -1)[..., 0]
        tables.append((above[..., 0] + high / (high - low)) * wages[1])
        gain = np.maximum(go_on, 0.0)
    return tables
