"""One word of the command line: what may be typed, and the values that it stands for."""

from __future__ import annotations

import math
import shlex
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from logbook import words
from logbook.errors import UserError

MOST_RUNS = 1000
"""Of one sweep: each is checked before the first begins."""
_LONGEST = 5000  # characters of one override; Hydra's parser takes a second for some thousand


def values_of(override: Override) -> list[str]:
    """The overrides of one value each that one of several stands for. Raises UserError."""
    text, values = str(override.input_line), override.value()
    if not override.is_discrete_sweep():
        raise UserError(
            f"{text}: an interval has no values to take in turn; name them, such as "
            f"{override.key_or_group}=0.1,0.2 or range(0,1,0.1)"
        )
    if isinstance(values, RangeSweep):
        span, step = float(values.stop or 0) - float(values.start or 0), float(values.step or 0)
        if not step or not math.isfinite(span / step) or span / step > MOST_RUNS:
            raise UserError(f"{text}: want a range of at most {MOST_RUNS:,} values")
    try:
        found = [f"{override.get_key_element()}={v}" for v in override.sweep_string_iterator()]
    except (HydraException, ValueError, TypeError) as e:
        raise UserError(f"{text}: {reason(e)}") from None
    if not found:
        raise UserError(f"{text}: there is nothing of that name to take in turn")
    return found


def assigned(text: str) -> tuple[str, Any]:
    """The key and the value of KEY=VALUE, where nothing is composed. Raises UserError."""
    key, equals, value = text.partition("=")
    if not equals or not key or not value.strip():
        raise UserError(f"{text!r}: write KEY=VALUE, such as evaluate.tasks=100")
    override = read_one(text)
    if override.is_sweep_override():
        raise UserError(f"{text} asks for several: give one value")
    return override.key_or_group, override.value()


def read_one(text: str) -> Override:
    """One override, as Hydra's grammar and we read it. Raises UserError."""
    key, _, value = text.partition("=")
    name = key.strip().lstrip("+~")
    if len(text) > _LONGEST:
        raise UserError(f"{name[:40]}: {len(text):,} characters; at most {_LONGEST:,} can be read")
    if "@" in key:
        raise UserError(f"{text!r}: a choice stays in its own place; write GROUP=NAME without @")
    if name.partition("=")[0] == "hydra":
        raise UserError(f"{text!r}: want a key of Hydra's, such as hydra.run.dir=FOLDER")
    if f"{name}.".startswith("hydra.searchpath."):
        raise UserError(f"{text!r}: give folders of your own with --config-dir FOLDER")
    if name.partition(".")[2].partition(".")[0] in ("when", "needs"):
        raise UserError(f"{text!r}: that stands in yaml files alone; give the key itself")
    if "/" in name and not name.startswith("hydra/"):
        raise UserError(f"{text!r}: no such group; write GROUP=NAME")
    try:
        loader = GlobalHydra.instance()
        known = loader.config_loader() if loader.is_initialized() else None
        found = OverridesParser.create(config_loader=known).parse_overrides([text])
        return found[0]
    except (HydraException, ValueError, RecursionError) as e:
        why = str(e).splitlines()[0] if str(e) else "a bracket or quote is left open"
        if isinstance(e, RecursionError):
            why = "its brackets are too deep"
        raise UserError(
            f"{text[:200]!r} cannot be read ({why[:200]}): write KEY=VALUE and quote odd "
            f"characters, such as {shlex.quote(f'{key[:40]}={words.quoted(value[:40])}')}"
        ) from None


def reason(error: BaseException) -> str:
    """What Hydra says, in one line."""
    told = str(error.__cause__ or error).strip().splitlines()
    kind = (
        "" if isinstance(error, HydraException | OmegaConfBaseException) else type(error).__name__
    )
    return ": ".join(part[:300] for part in (kind, *told[:1]) if part) or type(error).__name__
