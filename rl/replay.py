"""Replay memory: one packed row per transition, so that a draw is one gather."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch

from rl.types import Batch, State, WorldSpec


def _memory() -> float:
    """Bytes that this machine or container has, or endless where the system does not say.

    Not those that are free just now: what fits must not depend on who else runs.
    """
    most = float("inf")
    for path, unit in (("/proc/meminfo", 1024), ("/sys/fs/cgroup/memory.max", 1)):
        with suppress(OSError, ValueError, IndexError), open(path) as file:
            first = file.readline().removeprefix("MemTotal:")
            most = min(most, float(unit * int(first.split()[0])))
    return most


class Replay:
    """The last `size` transitions on `device`; draws come from a generator of its own.

    Rows hold raw observations and the native reward: intrinsic rewards are computed at each draw.
    """

    def __init__(
        self, world: WorldSpec, z_dim: int, size: int, device: torch.device, seed: int
    ) -> None:
        self.size = size
        self.count = 0  # transitions ever added
        self._generator = torch.Generator(device).manual_seed(seed)
        o, a, f = world.obs_dim, world.act_dim, world.feat_dim
        widths = {"obs": o, "z": z_dim, "act": a, "next_obs": o, "feat": f, "next_feat": f}
        self._slices: dict[str, slice] = {}
        start = 0
        for name, width in widths.items():
            self._slices[name] = slice(start, start + width)
            start += width
        self._rew = start  # then: reward, terminated, truncated
        wanted, there = 4 * size * (start + 3), _memory()
        if device.type == "cpu" and wanted > there:  # zeros take none until they are written to
            raise ValueError(
                f"agent.replay_size={size} of {4 * (start + 3):,} bytes a row (obs of {o} numbers: "
                f"pictures are flattened) wants {wanted / 2**30:.1f} GiB of memory, and "
                f"there are {there / 2**30:.1f}: take less"
            )
        self._rows = torch.zeros(size, start + 3, device=device)

    def __len__(self) -> int:
        return min(self.count, self.size)

    def reseed(self, seed: int) -> None:
        """Draw from another stream from now on."""
        self._generator.manual_seed(seed)

    def add(self, rollout: Batch) -> None:
        """Store the transitions of a rollout [T, N], save those marked as not valid."""
        rows = torch.cat(
            [
                *(getattr(rollout, name) for name in self._slices),
                rollout.rew[..., None],
                rollout.terminated[..., None],
                rollout.truncated[..., None],
            ],
            -1,
        ).reshape(-1, self._rows.shape[1])
        if "valid" in rollout.extras:
            rows = rows[rollout.extras["valid"].reshape(-1)]
        self.count += len(rows)
        rows = rows[-self.size :]
        start = (self.count - len(rows)) % self.size
        head = min(len(rows), self.size - start)
        self._rows[start : start + head] = rows[:head]
        if head < len(rows):
            self._rows[: len(rows) - head] = rows[head:]

    def draw(self, num: int) -> Batch:
        """`num` transitions, uniformly and with replacement, [B]."""
        device = self._rows.device
        index = torch.randint(len(self), (num,), generator=self._generator, device=device)
        rows = self._rows.index_select(0, index)
        named: Any = {name: rows[:, s] for name, s in self._slices.items()}
        return Batch(
            **named,
            rew=rows[:, self._rew],
            terminated=rows[:, self._rew + 1] > 0.5,
            truncated=rows[:, self._rew + 2] > 0.5,
        )

    def state_dict(self) -> State:
        """The filled rows (a view, not a copy), the count and the generator."""
        return {
            "rows": self._rows[: len(self)],
            "count": self.count,
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: State) -> None:
        """Undo `state_dict`."""
        rows = state["rows"]
        if rows.shape[1] != self._rows.shape[1] or len(rows) > self.size:
            raise ValueError(
                f"saved replay {tuple(rows.shape)} does not fit {tuple(self._rows.shape)}"
            )
        self._rows[: len(rows)] = rows
        self.count = int(state["count"])
        self._generator.set_state(state["generator"].cpu())
