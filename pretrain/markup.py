"""The headline numbers of a run's skills, as tiles of its pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logbook.markup import tile


def tiles(numbers: Mapping[str, Any]) -> str:
    """The headline numbers, each with a sentence on what it means."""
    skills, coverage, motion = numbers["skills"], numbers["coverage"], numbers["motion"]
    made = []
    if skills["accuracy"] is not None:
        by = (
            "states from which the discriminator names the right skill"
            if skills["judge"] == "discriminator"
            else "episodes whose skill is recognised from the mean of their features"
        )
        made.append(
            tile(
                f"{skills['accuracy']:.0%}",
                f"chance {skills['chance']:.1%}",
                "Accuracy",
                f"Share of {by}. It says that skills differ, not that they move.",
                skills["accuracy"],
                skills["chance"],
            )
        )
    if skills["count"] > 1:
        ceiling = skills["mi_ceiling_nats"]
        meaning = (
            f"At least this much is known of the skill once a state is seen; log {skills['count']} "
            f"is all there is. Worth {skills['effective']:.1f} perfectly distinct skills."
        )
        if skills["mi_nats"] < 0:
            meaning = (
                "A bound below zero says nothing: on these rollouts the discriminator is surer "
                "than it is right."
            )
        made.append(
            tile(
                f"{skills['mi_nats']:.2f}",
                f"of {ceiling:.2f} nats",
                "Mutual information",
                meaning,
                max(skills["mi_nats"], 0) / ceiling,
            )
        )
    if motion is not None:
        known = (
            f" Recognised from speed alone: {motion['accuracy']:.0%}." if motion["accuracy"] else ""
        )
        between = skills["count"] - motion["forward"] - motion["backward"]
        made.append(
            tile(
                f"{motion['forward']} / {motion['backward']}",
                "forward / backward",
                "Travel",
                f"Skills that end over 5 m ahead, and behind; {between} stay nearer, "
                f"{motion['still']} of them within 2 m.{known}",
            )
        )
    if coverage["cells"] is not None:
        made.append(
            tile(
                str(coverage["cells"]),
                f"random {coverage['random_cells']}",
                "Cells visited",
                "Distinct 1 m cells of the floor in 48 rollouts, beside those of a random policy.",
            )
        )
    low, high = numbers["native_return"]["min"], numbers["native_return"]["max"]
    made.append(
        tile(
            f"{low:,.4g} to {high:,.4g}",
            "",
            "Native return",
            "The world's own reward, never shown to the agent: the worst skill and the best.",
        )
    )
    return f'<div class="tiles">{"".join(made)}</div>'
