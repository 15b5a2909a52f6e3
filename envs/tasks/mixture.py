"""Tasks of skills and of untrained discriminators, mixed."""

from __future__ import annotations

from dataclasses import dataclass

from envs.tasks.proposed import Proposed, ProposedSettings

__all__ = ["Mixture"]


@dataclass(frozen=True)
class MixtureSettings(ProposedSettings):
    """`share` of the tasks are skills, the others untrained."""

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"tasks.share={self.share} must lie between 0 and 1")


class Mixture(Proposed):
    """See `Proposed`."""

    name, kind = "mixture", "mixture"
    settings: MixtureSettings
