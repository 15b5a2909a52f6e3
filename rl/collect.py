"""Experience: N worlds stepped with a policy that is shown z."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rl.types import Agent, Batch, State

Array = NDArray[Any]


class Steppable(Protocol):
    """What the collector asks of a world; envs/base.py fills it."""

    num_envs: int
    single_action_space: Any

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Array, dict[str, Any]]: ...

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]: ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...


def to_world(act: Tensor, space: Any) -> Array:
    """Actions [N, A] as the world wants them: one-hot to integers, [-1, 1] to the space's box.

    Never outside the box, which rounding alone would leave by a last digit.
    """
    if hasattr(space, "n"):
        return act.argmax(-1).cpu().numpy() + getattr(space, "start", 0)
    unit = act.detach().cpu().numpy().clip(-1.0, 1.0)
    half = (space.high - space.low) / 2
    given = (space.low + half * (unit + 1.0)).reshape(len(unit), *space.shape)
    return given.astype(space.dtype).clip(space.low, space.high)


class Collector:
    """Steps the worlds; each holds its z for `skill_steps` steps or until its episode ends.

    A change of z inside an episode is marked `truncated`: the trace of the old z ends there, with
    a bootstrap from the true successor.
    """

    def __init__(
        self,
        world: Steppable,
        agent: Agent,
        sample_z: Callable[[int], Tensor],
        *,
        seed: int | None,
        skill_steps: int | None,
    ) -> None:
        self.world = world
        self.agent = agent
        self.skill_steps = skill_steps
        self.episodes: list[tuple[float, int]] = []  # (native return, length), since last taken
        self._sample_z = sample_z
        obs, info = world.reset(seed=seed)
        self._obs = torch.from_numpy(obs)
        self._feat = torch.from_numpy(info["feat"])
        self._z = sample_z(world.num_envs)
        self._held = np.zeros(world.num_envs, np.int64)
        self._return = np.zeros(world.num_envs)
        self._length = np.zeros(world.num_envs, np.int64)

    @torch.no_grad()
    def collect(self, steps: int) -> Batch:
        """The next `steps` steps of every world, [T, N], on the CPU."""
        rows = [self._step() for _ in range(steps)]
        extras = {k: torch.stack([r.extras[k] for r in rows]) for k in rows[0].extras}
        names = ("obs", "act", "next_obs", "feat", "next_feat", "rew", "terminated", "truncated")
        stacked = {k: torch.stack([getattr(r, k) for r in rows]) for k in (*names, "z")}
        return Batch(**stacked, extras=extras)

    def _step(self) -> Batch:
        obs, feat, z = self._obs, self._feat, self._z
        act, extras = self.agent.act(obs, z, explore=True)
        act = act.cpu()
        space = self.world.single_action_space
        next_obs, rew, terminated, truncated, info = self.world.step(to_world(act, space))
        done = terminated | truncated
        self._return += rew
        self._length += 1
        self._held += 1
        switch = done.copy()
        if self.skill_steps is not None:
            switch |= self._held >= self.skill_steps
        row = Batch(
            obs=obs,
            act=act,
            next_obs=torch.from_numpy(next_obs),
            feat=feat,
            next_feat=torch.from_numpy(info["feat"]),
            rew=torch.from_numpy(rew.astype(np.float32)),
            terminated=torch.from_numpy(terminated),
            truncated=torch.from_numpy((truncated | switch) & ~terminated),
            z=z,
            extras={
                **{k: v.cpu() for k, v in extras.items()},
                "valid": torch.from_numpy(~info["unstable"]),
            },
        )
        self._obs, self._feat = row.next_obs, row.next_feat
        if switch.any():
            ids = np.flatnonzero(switch)
            self._z = self._z.clone()
            self._z[torch.from_numpy(ids)] = self._sample_z(len(ids))
            self._held[ids] = 0
        if done.any():
            ended = np.flatnonzero(done)
            self.episodes += [(float(self._return[i]), int(self._length[i])) for i in ended]
            self._return[ended] = 0.0
            self._length[ended] = 0
            fresh, info = self.world.reset(options={"reset_mask": done})
            self._obs, self._feat = torch.from_numpy(fresh), torch.from_numpy(info["feat"])
        return row

    def state_dict(self) -> State:
        """Where every world stands, and under which z."""
        return {
            "world": self.world.state_dict(),
            "obs": self._obs,
            "feat": self._feat,
            "z": self._z,
            "held": self._held.copy(),
            "return": self._return.copy(),
            "length": self._length.copy(),
            "episodes": [[r, n] for r, n in self.episodes],
        }

    def load_state_dict(self, state: State) -> None:
        """Undo `state_dict`."""
        self.world.load_state_dict(state["world"])
        self._obs, self._feat, self._z = state["obs"], state["feat"], state["z"]
        self._held = np.array(state["held"])
        self._return = np.array(state["return"])
        self._length = np.array(state["length"])
        self.episodes = [(float(r), int(n)) for r, n in state["episodes"]]
        rows = (self._obs, self._feat, self._z, self._held, self._return, self._length)
        if any(len(each) != self.world.num_envs for each in rows):
            raise ValueError(f"its collector is not one of {self.world.num_envs} worlds")
