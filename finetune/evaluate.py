"""How good a policy is at the task: whole episodes without noise, in worlds of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from finetune.base import Player
from finetune.world import TaskWorld
from logbook.stats import mean_interval
from rl.collect import to_world

Array = NDArray[Any]


@dataclass(frozen=True)
class Score:
    """One episode in each of E worlds."""

    returns: Array  # [E], the task's reward summed over the episode
    success: Array  # [E] bool
    lengths: Array  # [E]
    snapshots: Array | None  # [T', S] of the first world, every `stride` steps

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def half(self) -> float:
        """Half of the 95 % interval of the mean over episodes."""
        middle, low, _ = mean_interval([self.returns])
        return middle - low

    def numbers(self) -> dict[str, float]:
        """What summary.json keeps."""
        return {
            "mean": round(self.mean, 4),
            "95": round(self.half, 4),
            "success": round(float(self.success.mean()), 4),
            "length": round(float(self.lengths.mean()), 2),
            "episodes": len(self.returns),
        }


def evaluate(
    world: TaskWorld, player: Player, seed: int, every: int = 0, episodes: int | None = None
) -> Score:
    """One episode of the player in every world of `world`, starts given by `seed`.

    More `episodes` than worlds are lived in turns. With `every`, snapshots of the first world are
    kept at that stride.
    """
    wanted, num = episodes or world.num_envs, world.num_envs
    turns = [_side_by_side(world, player, seed + i, every) for i in range(0, wanted, num)]
    if len(turns) == 1:
        return turns[0]
    return Score(
        np.concatenate([turn.returns for turn in turns])[:wanted],
        np.concatenate([turn.success for turn in turns])[:wanted],
        np.concatenate([turn.lengths for turn in turns])[:wanted],
        turns[0].snapshots,
    )


@torch.no_grad()
def _side_by_side(world: TaskWorld, player: Player, seed: int, every: int) -> Score:
    num = world.num_envs
    obs, _ = world.reset(seed=seed)
    player.begin(num)
    going = np.ones(num, np.bool_)
    returns, success = np.zeros(num), np.zeros(num, np.bool_)
    lengths = np.zeros(num, np.int64)
    kept = [np.array(world.snapshot()[0])] if every else []
    for t in range(world.world_spec.max_episode_steps):
        act = player.act(torch.from_numpy(obs)).float().cpu()
        obs, rew, terminated, truncated, info = world.step(to_world(act, world.single_action_space))
        returns[going] += rew[going]
        success |= going & info["success"]
        lengths += going
        if every and going[0] and (t + 1) % every == 0:
            kept.append(np.array(world.snapshot()[0]))
        done = terminated | truncated
        player.hear(torch.from_numpy(np.asarray(rew, np.float32)), torch.from_numpy(done))
        going &= ~done
        if not going.any():
            break
        if done.any():  # must be reset to step on; nobody looks at them any more
            obs, _ = world.reset(options={"reset_mask": done})
    return Score(returns, success, lengths, np.stack(kept) if kept else None)
