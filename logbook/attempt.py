"""Pictures are made if they can be: what fails in the making costs a line, never a run."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from logbook import gl
from logbook.errors import UserError
from logbook.signals import GivenUp, Late, TookTooLong, within

PATIENCE = 60.0  # seconds for a picture, or for making a world that draws


def attempt(draw: Callable[[], object]) -> str:
    """Why `draw` could not be done, in one line; "" if it was.

    Environments, drivers and encoders of others may raise anything. If OpenGL is what is missing,
    the line names the package.
    """
    try:
        draw()
    except (KeyboardInterrupt, GivenUp, Late):  # asked for from outside
        raise
    except BaseException as reason:  # such as SystemExit of an environment
        told = " ".join(str(reason).split())[:300]
        if isinstance(reason, OSError | TookTooLong):
            return (reason.strerror or told) if isinstance(reason, OSError) else told
        if "mujoco" in sys.modules and gl.choose().name is None:
            return gl.choose().why
        plain = isinstance(reason, RuntimeError | ValueError | UserError)
        return told if told and plain else f"{type(reason).__name__}: {told}".rstrip(": ")
    return ""


def patient(make: Callable[..., Any], **arguments: Any) -> Any:
    """The world that `make` builds; a picture of it that takes over a minute raises TookTooLong."""
    with within(PATIENCE, "building a world that draws"):
        world = make(**arguments)

    def limited(draw: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(draw)
        def drawn(*row: Any) -> Any:
            with within(PATIENCE, "drawing a picture"):
                return draw(*row)

        return drawn

    world.snapshot, world.draw = limited(world.snapshot), limited(world.draw)
    return world
