"""The device that a config asks for, as torch knows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from logbook.errors import Exit, UserError

if TYPE_CHECKING:
    import torch


def device_of(config: Mapping[str, Any]) -> torch.device:
    """The device that `device=` asks for; auto takes a GPU if torch sees one (else code 4)."""
    import torch

    name = str(config["device"])
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            f"device={name}: torch {torch.__version__} sees no GPU here; use device=auto or cpu",
            Exit.CAPABILITY,
        )
    return torch.device(name)
