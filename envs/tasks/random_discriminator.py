"""Tasks of untrained discriminators: the control of those that skills propose (UML-Random)."""

from __future__ import annotations

from envs.tasks.proposed import Proposed

__all__ = ["RandomDiscriminator"]


class RandomDiscriminator(Proposed):
    """See `Proposed`."""

    name, kind = "random_discriminator", "random"
