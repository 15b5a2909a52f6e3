"""Replay: what goes in comes out, the oldest goes first, and what is not valid stays out."""

import psutil
import pytest
import torch

from rl.replay import Replay, _memory
from rl.types import Batch, WorldSpec

SPEC = WorldSpec("w", 3, 2, False, ("x",), ("m",))


def rollout(start: int, steps: int, worlds: int, valid: torch.Tensor | None = None) -> Batch:
    """Every number of a transition tells which transition it belongs to."""
    who = torch.arange(start, start + steps * worlds, dtype=torch.float32).view(steps, worlds)
    return Batch(
        obs=who[..., None] + torch.tensor([0.1, 0.2, 0.3]),
        act=who[..., None] + torch.tensor([0.4, 0.5]),
        next_obs=-who[..., None] - torch.tensor([0.1, 0.2, 0.3]),
        feat=2 * who[..., None],
        next_feat=3 * who[..., None],
        rew=who.clone(),
        terminated=who % 3 == 0,
        truncated=who % 3 == 1,
        z=10 * who[..., None] + torch.tensor([0.0, 1.0]),
        extras={} if valid is None else {"valid": valid},
    )


def make(size: int, seed: int = 0) -> Replay:
    return Replay(SPEC, 2, size, torch.device("cpu"), seed)


def test_a_draw_keeps_each_transition_together() -> None:
    replay = make(100)
    replay.add(rollout(0, 4, 5))
    batch = replay.draw(200)
    assert set(batch.rew.tolist()) == set(range(20))
    want = rollout(0, 20, 1).map(lambda x: x[:, 0])
    who = batch.rew.long()
    for name in ("obs", "act", "next_obs", "feat", "next_feat", "terminated", "truncated", "z"):
        assert torch.equal(getattr(batch, name), getattr(want, name)[who]), name


@pytest.mark.parametrize("chunks", [[7], [3, 4, 5, 6], [10, 1, 9, 10], [4, 8, 3]])
def test_the_last_rows_are_kept_and_all_are_reachable(chunks: list[int]) -> None:
    replay, total = make(10), 0
    for chunk in chunks:
        replay.add(rollout(total, chunk, 1))
        total += chunk
    assert len(replay) == min(total, 10) and replay.count == total
    drawn = set(replay.draw(1000).rew.long().tolist())
    assert drawn == set(range(max(0, total - 10), total))


def test_a_rollout_longer_than_the_replay_leaves_its_end() -> None:
    replay = make(10)
    replay.add(rollout(0, 4, 1))
    replay.add(rollout(4, 25, 1))
    assert set(replay.draw(1000).rew.long().tolist()) == set(range(19, 29))
    replay.add(rollout(29, 3, 1))
    assert set(replay.draw(1000).rew.long().tolist()) == set(range(22, 32))


def test_rows_that_are_not_valid_are_left_out() -> None:
    replay = make(100)
    replay.add(rollout(0, 2, 3, torch.tensor([[True, False, True], [False, True, True]])))
    assert replay.count == 4
    assert set(replay.draw(200).rew.tolist()) == {0.0, 2.0, 4.0, 5.0}


def test_draws_are_uniform() -> None:
    replay = make(10)
    replay.add(rollout(0, 10, 1))
    counts = torch.bincount(replay.draw(20000).rew.long(), minlength=10)
    assert (counts - 2000).abs().max() < 200


def test_a_loaded_replay_goes_on_alike() -> None:
    replay = make(10)
    replay.add(rollout(0, 13, 1))
    replay.draw(5)
    other = make(10, seed=9)
    state = replay.state_dict()
    state["rows"] = state["rows"].clone()
    other.load_state_dict(state)
    for one in (replay, other):
        one.add(rollout(13, 4, 1))
    assert torch.equal(replay.draw(64).obs, other.draw(64).obs)
    assert set(other.draw(500).rew.long().tolist()) == set(range(7, 17))


def test_another_width_is_refused() -> None:
    state = Replay(SPEC, 3, 10, torch.device("cpu"), 0).state_dict()
    with pytest.raises(ValueError, match="does not fit"):
        make(10).load_state_dict(state)


def test_what_fits_does_not_depend_on_who_else_runs() -> None:
    there, others = _memory(), bytearray(200 * 2**20)  # touched: zeros of a bytearray are written
    assert _memory() == there <= psutil.virtual_memory().total and len(others)
