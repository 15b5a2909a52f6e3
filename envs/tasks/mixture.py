"""Tasks of skills and of untrained discriminators, mixed."""

from __future__ import annotations

from envs.tasks.proposed import Proposed, Source

__all__ = ["Mixture"]


class Mixture(Proposed):
    """See `Proposed`; `share` of the tasks are skills, the others untrained."""

    kind = "mixture"

    def __init__(
        self,
        *,
        num_envs: int,
        seed: int,
        source: Source,
        episodes: int,
        episode_steps: int,
        threads: int,
        floor: float | None,
        alive: float,
        effort: float,
        share: float,
        name: str = "mixture",
    ) -> None:
        if not 0 < share < 1:
            raise ValueError(f"tasks.share={share} must lie between 0 and 1")
        super().__init__(
            num_envs=num_envs,
            seed=seed,
            source=source,
            episodes=episodes,
            episode_steps=episode_steps,
            threads=threads,
            floor=floor,
            alive=alive,
            effort=effort,
            name=name,
        )
