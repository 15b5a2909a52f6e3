"""What a method looks at: all of obs, or named features of the task space."""

from __future__ import annotations

import difflib

import torch
from torch import Tensor

from rl.types import WorldSpec


class View:
    """Picks the columns of obs and feat that a comma-separated description names.

    `obs` is all of the observation, `motion` the world's motion feats, anything else a feat.
    """

    def __init__(self, description: str, world: WorldSpec) -> None:
        self._obs = False
        self._feats: list[int] = []
        for name in (part.strip() for part in description.split(",")):
            if name == "obs":
                self._obs = True
            elif name == "motion" and world.motion:
                self._feats += [world.feat_names.index(m) for m in world.motion]
            elif name in world.feat_names:
                self._feats.append(world.feat_names.index(name))
            else:
                known = ["obs", *(["motion"] if world.motion else []), *world.feat_names]
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}? " if near else ""
                raise ValueError(
                    f"skill.view: {world.name} has no {name!r}; {hint}it has {', '.join(known)}"
                )
        self.width = len(self._feats) + (world.obs_dim if self._obs else 0)

    def __call__(self, obs: Tensor, feat: Tensor) -> Tensor:
        """[..., O] and [..., F] to [..., width]."""
        seen = feat[..., self._feats]
        return torch.cat([seen, obs], -1) if self._obs else seen
