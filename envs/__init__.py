"""Batched worlds, one file a world, and adapters for any Gymnasium id and dm_control task.

A file here is a world if its `__all__` names exactly one class, a `World`. `make` builds one by the
file's name. Importing this package registers every world of configs/env/ with Gymnasium:
`gymnasium.make("autotelic/cheetah-v0")` gives a single environment and
`gymnasium.make_vec("autotelic/cheetah-v0", num_envs=8)` the batch.
"""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

if TYPE_CHECKING:
    from envs.base import World

_HERE = Path(__file__).parent
_CONFIGS = _HERE.parent / "configs" / "env"
_ADAPTERS = ("gym", "dmc")  # these need the id of a task: they are no world by themselves
_GROUP = "autotelic.envs"


def names() -> list[str]:
    """Every world that `make` knows, installed ones included."""
    files = (p.stem for p in _HERE.glob("*.py") if "\n__all__ = [" in p.read_text("utf-8"))
    return sorted({*files, *(point.name for point in entry_points(group=_GROUP))})


def load(name: str) -> type[World]:
    """The class of a world. Raises ValueError for an unknown name, with the nearest known one."""
    if name.isidentifier() and name in names():
        if (_HERE / f"{name}.py").exists():
            module = importlib.import_module(f"envs.{name}")
            (only,) = module.__all__
            found = getattr(module, only)
        else:
            (point, *_) = entry_points(group=_GROUP, name=name)
            found = point.load()
        from envs.base import World

        if not (isinstance(found, type) and issubclass(found, World)):
            raise ValueError(f"env {name!r} is {found!r}: an entry point must name a World class")
        return found
    known = names()
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}"
    raise ValueError(f"no env is called {name!r}: {hint}")


def make(name: str, **params: Any) -> World:
    """Build the world `name`; `params` go to its class. Raises ValueError for an unknown name."""
    return load(name)(**params)


def make_default(world: str, *, num_envs: int = 1, **params: Any) -> World:
    """Build a world with the settings of its file in configs/env/, but for `params`."""
    import yaml

    node = yaml.safe_load((_CONFIGS / f"{world}.yaml").read_text("utf-8"))
    return make(**{"threads": 0, **node, **params, "num_envs": num_envs})


def _register() -> None:
    for path in sorted(_CONFIGS.glob("*.yaml")):
        id = f"autotelic/{path.stem}-v0"
        if path.stem in _ADAPTERS or id in gymnasium.registry:
            continue
        gymnasium.register(
            id,
            entry_point="envs.single:SingleWorld",
            vector_entry_point="envs:make_default",
            kwargs={"world": path.stem},
        )


_register()
