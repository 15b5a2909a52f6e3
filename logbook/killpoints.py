"""Named places at which a test may kill the process, as a power cut would. For tests only.

`AUTOTELIC_KILL_AT=save.rename:2` makes the process send itself SIGKILL the second time that it
reaches `save.rename`. Without the variable a call costs one comparison.
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "create.folder",
    "create.config",
    "save.begin",
    "save.file",
    "save.half_file",
    "save.manifest",
    "save.half_manifest",
    "save.rename",
    "save.renamed",
    "save.done",
    "prune.begin",
    "prune.renamed",
    "prune.half",
    "prune.done",
    "resume.begin",
    "resume.swept",
    "resume.loaded",
    "resume.cut",
    "metrics.half_row",
    "metrics.row",
    "metrics.synced",
    "finish.begin",
    "finish.summary",
    "finish.done",
)
"""Every name, in the order in which a run meets them."""

_NAME, _, _COUNT = os.environ.get("AUTOTELIC_KILL_AT", "").partition(":")
_seen = 0


def reach(name: str) -> None:
    """Die here if the environment asks for it."""
    global _seen
    if name != _NAME:
        return
    _seen += 1
    if _seen >= int(_COUNT or 1):
        os.kill(os.getpid(), signal.SIGKILL)
