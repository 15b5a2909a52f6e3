"""Tasks that a run's skills propose: being where a skill would be recognised is rewarded."""

from __future__ import annotations

from envs.tasks.proposed import Proposed

__all__ = ["Skills"]


class Skills(Proposed):
    """See `Proposed`."""

    name, kind = "skills", "skills"
