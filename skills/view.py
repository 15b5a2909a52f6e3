"""What a method looks at: all of obs, or named features of the task space."""

from __future__ import annotations

import difflib
import re

import torch
from torch import Tensor

from rl.types import WorldSpec


class View:
    """Columns of obs and feat, by a comma-separated description such as `x, y` or `plane, obs`.

    `obs` is all of the observation and `obs[a:b]` some of it, `motion` and `plane` are the world's
    feats of that role (see WorldSpec), anything else is a feat by name. `tanh(.../s)` around it
    squashes every column at the scale s: differences well beyond s no longer count.
    """

    def __init__(self, description: str, world: WorldSpec) -> None:
        squashed = re.fullmatch(r"tanh\(\s*(.+?)\s*/\s*([0-9.eE+-]+)\s*\)", description.strip())
        self._scale = _positive(squashed[2], description) if squashed else None
        self.squashed = squashed is not None
        self._obs: list[int] = []
        self._feats: list[int] = []
        roles = {"motion": world.motion, "plane": world.plane}
        for name in (
            part.strip() for part in (squashed[1] if squashed else description).split(",")
        ):
            if part_of_obs := re.fullmatch(r"obs(?:\[(\d*):(\d*)\])?", name):
                first, last = (int(n) if n else None for n in part_of_obs.groups())
                columns = range(world.obs_dim)[first:last]
                if not columns:
                    raise ValueError(
                        f"skill.view: {name} is empty, obs has {world.obs_dim} entries"
                    )
                self._obs += columns
            elif roles.get(name):
                self._feats += [world.feat_names.index(m) for m in roles[name]]
            elif name in world.feat_names:
                self._feats.append(world.feat_names.index(name))
            else:
                known = ["obs", *(r for r, named in roles.items() if named), *world.feat_names]
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}? " if near else ""
                raise ValueError(
                    f"skill.view: {world.name} has no {name!r}; {hint}it has {', '.join(known)}"
                )
        self._all_obs = self._obs == list(range(world.obs_dim))  # needs no gather
        self.width = len(self._feats) + len(self._obs)

    def __call__(self, obs: Tensor, feat: Tensor) -> Tensor:
        """[..., O] and [..., F] to [..., width]."""
        parts = []
        if self._feats:
            parts.append(feat[..., self._feats])
        if self._obs:
            parts.append(obs if self._all_obs else obs[..., self._obs])
        seen = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        return seen if self._scale is None else torch.tanh(seen / self._scale)


def _positive(text: str, description: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not scale > 0:
        raise ValueError(f"skill.view={description}: the scale must be a number above 0")
    return scale
