"""What every skill method is: a task family that learns.

A method says what z is (`z_dim`, `sample_z`, `all_z`), what reward a transition earns under its z
(`reward`), and how its own networks learn (`update`, `observe`). Everything else, from collecting
to checkpoints, is the same for all methods and lives elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rl.adam import Adam
from rl.types import Batch, Metrics, State

_OPTIMIZERS = (Adam, torch.optim.Optimizer)


class Skill(nn.Module):
    """Base of all methods: no z, the world's own reward, nothing to learn.

    `seed` feeds `self.generator`, the only source of randomness of a method.
    """

    z_dim: int = 0
    log_q: Callable[[Batch], Tensor] | None = None
    """The posterior log q(z|transition) [..., K] over the skills of `all_z`, if there is one."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def sample_z(self, n: int) -> Tensor:
        """Draw n skills, [n, Z], on the CPU."""
        return torch.zeros(n, self.z_dim)

    def all_z(self) -> Tensor:
        """The skills to look at, [K, Z]: all of them, or an even spread."""
        return torch.zeros(1, self.z_dim)

    def reward(self, batch: Batch) -> Tensor:
        """The reward [...] of each transition under its own z. Pure."""
        return batch.rew

    def update(self, batch: Batch) -> Metrics:
        """One step on the method's own networks."""
        return {}

    def learn(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """`update`, and the reward of the same batch: one pass where both need the same."""
        metrics = self.update(batch)
        return self.reward(batch), metrics

    def observe(self, rollout: Batch) -> Metrics:
        """See a fresh rollout [T, N]: statistics, curricula."""
        return {}

    def copy_schedule(self, other: Skill) -> None:
        """Stand as far along every schedule as `other`, of the same kind, has come.

        What a module keeps as extra state (`get_extra_state`) is its place in a schedule, such as
        the steps that it has counted; what it has learned lies in parameters and buffers.
        """
        for own, theirs in zip(self.modules(), other.modules(), strict=True):
            if type(own).get_extra_state is not nn.Module.get_extra_state:
                own.set_extra_state(theirs.get_extra_state())

    def state_dict(self) -> State:  # type: ignore[override]
        """Everything an exact resume needs: networks, buffers, optimisers, generator."""
        state = {"nets": dict(super().state_dict()), "generator": self.generator.get_state()}
        for name, value in vars(self).items():
            if isinstance(value, _OPTIMIZERS):
                state[name] = value.state_dict()
        return state

    def load_state_dict(self, state: State) -> None:  # type: ignore[override]
        """Undo `state_dict`."""
        super().load_state_dict(state["nets"])
        self.generator.set_state(state["generator"].cpu())
        for name, value in vars(self).items():
            if isinstance(value, _OPTIMIZERS):
                value.load_state_dict(state[name])
