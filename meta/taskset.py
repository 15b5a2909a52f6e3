"""Tasks on disk: a family and rows of it, to be listed, replayed and given to another learner.

A folder with `family.json` (format, family, its parameters, the columns) and `tasks.safetensors`
(`tasks` [n, D] float64). Nothing of it is run when it is read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logbook import files, tensors
from logbook.build import check_node
from logbook.errors import Exit, UserError

FORMAT = 1


def save_tasks(folder: Path, node: Mapping[str, Any], tasks: NDArray[Any], about: str) -> None:
    """Write tasks [n, D] of the family that the config node describes."""
    folder.mkdir(parents=True, exist_ok=True)
    size, digest = tensors.write(folder / "tasks.safetensors", {"tasks": tasks})
    what = {"format": FORMAT, "about": about, "family": dict(node), "count": len(tasks)}
    what |= {"bytes": size, "sha256": digest}
    files.replace(folder / "family.json", files.pretty(what))


def load_tasks(folder: Path) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """The family's config node and the tasks [n, D]. Raises UserError (code 5)."""
    what = files.read_json(folder / "family.json")
    if what.get("format") != FORMAT:
        known = f"want format {FORMAT}" if what else "it has no family.json"
        raise UserError(f"{folder} holds no saved tasks: {known}", Exit.CHECKPOINT)
    path = folder / "tasks.safetensors"
    try:
        with files.open_plain(path) as file:
            arrays, digest = tensors.read(file, os.fstat(file.fileno()).st_size)
        tasks = np.asarray(arrays["tasks"][1], np.float64)
    except (OSError, ValueError, TypeError, KeyError) as e:
        raise UserError(f"{path} cannot be read: {e}", Exit.CHECKPOINT) from None
    if digest != what.get("sha256") or tasks.ndim != 2 or not np.isfinite(tasks).all():
        raise UserError(f"{path} is not what {folder}/family.json describes", Exit.CHECKPOINT)
    try:
        return check_node("tasks", what.get("family")), tasks
    except UserError as e:
        raise UserError(f"{folder}/family.json: {e}", Exit.CHECKPOINT) from None
