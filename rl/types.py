"""The vocabulary: one word per thing, used in code, yaml, logs and docs.

Widths: O obs, A act, F feat, Z z. Leading dimensions: B batch, T time, N parallel worlds; `...`
stands for [B] (drawn from replay) or [T, N] (a rollout). Importing this module does not import
torch, so that worlds can be built and refused quickly.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Metrics = Mapping[str, "Tensor | float"]
"""Named numbers returned by an update; the loop adds the prefix and logs them."""

State = dict[str, Any]
"""What `state_dict` returns: nested dicts (string keys) of tensors, arrays, numbers, strings."""


class Diverged(FloatingPointError):
    """What is learned, or what it does, is no longer a finite number."""


@dataclass(frozen=True)
class WorldSpec:
    """What a learner may know of a world before it has seen a transition.

    `motion` names the feats that say where the agent is going and how fast: the default view of
    methods that should care about movement. `plane` names the two feats that a map is drawn over.
    """

    name: str
    obs_dim: int
    act_dim: int
    discrete: bool
    feat_names: tuple[str, ...]
    feat_units: tuple[str, ...]
    motion: tuple[str, ...] = ()
    plane: tuple[str, ...] = ()
    max_episode_steps: int = 1000

    @property
    def feat_dim(self) -> int:
        """F, the number of task-space features."""
        return len(self.feat_names)

    def column(self, feat: str) -> int:
        """Where a feature stands in `feat` [..., F]. Raises ValueError if there is none."""
        if feat not in self.feat_names:
            near = difflib.get_close_matches(feat, self.feat_names, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(
                f"{self.name} has no feat {feat!r}; {hint}it has {', '.join(self.feat_names)}"
            )
        return self.feat_names.index(feat)


@dataclass(frozen=True)
class Batch:
    """Transitions with one leading shape `...`.

    `act` is as the policy drew it: one-hot if discrete, in [-1, 1] if squashed (SAC), any number if
    Gaussian (PPO): the world is given that clipped to [-1, 1].
    `feat` describes obs in task space (x, speed, height, ...), `next_feat` describes next_obs.
    `terminated` stops the bootstrap, `truncated` only cuts the trace (rl/returns.py). `extras` is
    what the policy said while acting (log-probability, value), `valid` (False: do not learn) and
    `discount` (of what follows a transition of several steps; without it, the agent's gamma).
    """

    obs: Tensor  # [..., O]
    act: Tensor  # [..., A]
    next_obs: Tensor  # [..., O]
    feat: Tensor  # [..., F]
    next_feat: Tensor  # [..., F]
    rew: Tensor  # [...]
    terminated: Tensor  # [...] bool
    truncated: Tensor  # [...] bool
    z: Tensor  # [..., Z], Z may be 0
    extras: dict[str, Tensor] = field(default_factory=dict)

    @property
    def shape(self) -> torch.Size:
        """The leading shape: [B] or [T, N]."""
        return self.rew.shape

    def map(self, f: Callable[[Tensor], Tensor]) -> Batch:
        """A batch with `f` applied to every tensor."""
        named = {k.name: f(getattr(self, k.name)) for k in fields(self) if k.name != "extras"}
        return Batch(**named, extras={k: f(v) for k, v in self.extras.items()})

    def with_rew(self, rew: Tensor) -> Batch:
        """A batch with another reward of the same leading shape."""
        if rew.shape != self.rew.shape:
            raise ValueError(f"reward has shape {tuple(rew.shape)}, want {tuple(self.rew.shape)}")
        return replace(self, rew=rew)


class TaskFamily(Protocol):
    """A set of rewards indexed by z."""

    z_dim: int

    def sample_z(self, n: int) -> Tensor:
        """Draw n tasks, [n, Z]."""
        ...

    def reward(self, batch: Batch) -> Tensor:
        """The reward of every transition under its own z, [...]. Pure."""
        ...


class Agent(Protocol):
    """A learner of a policy that is shown z."""

    horizon: int
    """Steps of every world between two rounds of learning."""

    def reseed(self, seed: int) -> None:
        """Draw from other streams from now on."""
        ...

    def act(self, obs: Tensor, z: Tensor, explore: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Actions [N, A] for obs [N, O] and z [N, Z], and what to remember of the choice."""
        ...

    def batches(self, rollout: Batch) -> Iterator[Batch]:
        """What to learn from after this rollout [T, N]: replay draws [B], or slices [T, n]."""
        ...

    def update(self, batch: Batch) -> Metrics:
        """One step on the policy and critics."""
        ...

    def state_dict(self) -> State:
        """Everything that an exact resume needs."""
        ...

    def load_state_dict(self, state: State) -> None:
        """Undo `state_dict`."""
        ...
