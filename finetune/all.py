"""All: every strategy on the same task, each in a folder of its own, drawn together."""

from __future__ import annotations

from finetune.base import Strategy

__all__ = ["All"]


class All(Strategy):
    """`members` are names of configs/strategy, each with the settings of its yaml."""

    def __init__(self, *, members: list[str]) -> None:
        if not members or "all" in members or len(set(members)) < len(members):
            raise ValueError(
                f"strategy.members={members}: want other strategies, each once, such as "
                "'[scratch,policy]'"
            )
        self.members = members
