"""Tasks that a run's skills propose: being where a skill would be recognised is rewarded."""

from __future__ import annotations

from envs.tasks.proposed import Proposed, Source

__all__ = ["Skills"]


class Skills(Proposed):
    """See `Proposed`; `episode_steps` is the length of an episode in the run's world."""

    kind = "skills"

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
        name: str = "skills",
    ) -> None:
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
