"""Leave to import: whose environments may run their own code here, and who said so.

An id `module:Name` imports a module, and `env.kwargs` reach the code behind it. Only a person
gives leave to that, by typing `--allow-import` or `env.allow_import=true`; no file does, whatever
it says of itself. Leave holds for one run and what is made from it, and is remembered on this
machine outside all run folders, by what the run holds: a folder of somebody else's has none.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from logbook import files, progress
from logbook.errors import Exit, UserError

FLAG = "--allow-import"
HELP = "let its environment import a module, or be given arguments, of its author's choice"

ARGUMENTS = ("env.kwargs", "env.task_kwargs")
"""Keys below which any key may stand: arguments that are passed on as they stand."""

Env = Mapping[str, Any]
"""A config's node of an environment."""


class _Leave:
    """What the person at this process gave leave to."""

    def __init__(self) -> None:
        self.typed = False
        self.granted: set[tuple[str, str]] = set()


_mine = _Leave()  # of this process: one command, one person


def give() -> None:
    """The person typed it: whatever this command reads may import and take arguments."""
    _mine.typed = True


def typed() -> bool:
    """Whether the person gave leave to whatever this command reads."""
    return _mine.typed


def forget() -> None:
    """Take back what was given in this process; what is remembered stays."""
    _mine.typed = False
    _mine.granted.clear()


def asked(overrides: Iterable[str]) -> bool:
    """Whether `env.allow_import=true` stands among what a person typed."""
    pairs = (text.partition("=") for text in overrides)
    return any(
        key.strip().lstrip("+") == "env.allow_import" and value.strip().lower() == "true"
        for key, _, value in pairs
    )


def needed(env: Env) -> bool:
    """Whether an env node brings code, or arguments for code, of its author's choice."""
    return _imports(env) or bool(arguments(env))


def arguments(env: Env) -> dict[str, Any]:
    """What is passed on to an author's code, as {"kwargs": {...}}."""
    return {key: env[key] for key in ("kwargs", "task_kwargs") if env.get(key)}


def granted(env: Env) -> bool:
    """Whether this process may build such an env."""
    return not needed(env) or _what(env) in _mine.granted


def grant(env: Env) -> None:
    """The person named this env, or gave leave to it: it may be built in this process."""
    _mine.granted.add(_what(env))


def settle(env: Env, typed_kwargs: bool) -> dict[str, Any]:
    """The env node of a config that was typed, its parts perhaps from files: granted, or refused.

    `typed_kwargs`: every argument in it was typed. An id that imports wants leave even so, unless
    the run that it comes from has it. Raises UserError (code 2).
    """
    imports = _imports(env)
    known = not imports or _mine.typed or any(id == str(env["id"]) for id, _ in _mine.granted)
    if not known:
        module = str(env["id"]).partition(":")[0]
        raise UserError(
            f"env.id={_id(env)} would import the module {module[:80]!r}: "
            f"add env.allow_import=true (or {FLAG}) if you trust its code"
        )
    if not (typed_kwargs or _mine.typed or granted(env)):
        raise UserError(
            f"{_given(env)} come from a file and reach the code of {_id(env)}: "
            f"type them yourself, or add {FLAG} if you trust them"
        )
    if needed(env):
        grant(env)
    return {**env, "allow_import": True} if imports and "allow_import" in env else dict(env)


def admit(where: Path, env: Env, run: str) -> None:
    """Let an env node that lies in `where` be built, if it has leave; `run` is what lies there.

    Raises UserError (code 5) that names the flag.
    """
    if not needed(env):
        return
    if _mine.typed:
        grant(env)
        remember(run, env)
    elif _remembered(run, env):
        grant(env)
    else:
        does = "imports a module" if _imports(env) else f"is given arguments, {_given(env)},"
        raise UserError(
            f"{where}: env.id={_id(env)} {does} of its author's choice; "
            f"if you trust it, say so with {FLAG}",
            Exit.CHECKPOINT,
        )


def require(env: Env) -> None:
    """The last wall, before an env is built. Raises UserError (code 5) without leave."""
    if not granted(env):
        raise UserError(
            f"env.id={_id(env)} runs code or arguments of its author's choice; "
            f"if you trust it, say so with {FLAG}",
            Exit.CHECKPOINT,
        )


def remember(run: str, env: Env) -> None:
    """Keep for later commands that `run` may build this env, if it may in this process."""
    if not needed(env) or not granted(env):
        return
    place = _place(run, env)
    if place is None or os.path.isfile(place):
        return
    id, kwargs = _what(env)
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.replace(place, files.pretty({"run": run, "id": id, "kwargs": kwargs}))
    except OSError as e:
        progress.warn(
            f"{place.parent} cannot be written ({e.strerror}): later commands on this run will "
            f"want {FLAG} again"
        )


def _remembered(run: str, env: Env) -> bool:
    place = _place(run, env)
    return place is not None and os.path.isfile(place)


def _imports(env: Env) -> bool:
    return ":" in str(env.get("id", ""))


def _id(env: Env) -> str:
    """The id as a line can show it."""
    id = _what(env)[0]
    return id[:80] if id.isprintable() else repr(id[:80])


def _given(env: Env) -> str:
    """The arguments as a line can show them."""
    return ", ".join(f"env.{key}={ascii(value)}"[:80] for key, value in arguments(env).items())


def _what(env: Env) -> tuple[str, str]:
    """An env's id and arguments: leave is for exactly these."""
    given = arguments(env)
    only = given.get("kwargs", {}) if given.keys() <= {"kwargs"} else given
    id = str(env.get("id") or f"{env.get('domain', '')}/{env.get('task', '')}")
    return id, json.dumps(only, sort_keys=True, default=str)


def _place(run: str, env: Env) -> Path | None:
    """The file that stands for a leave; None where this person has no home."""
    own, state = os.environ.get("AUTOTELIC_STATE"), os.environ.get("XDG_STATE_HOME")
    try:
        if own and os.path.isabs(own):
            folder = Path(own)
        elif state and os.path.isabs(state):
            folder = Path(state) / "autotelic"
        else:
            folder = Path.home() / ".local" / "state" / "autotelic"
    except RuntimeError:
        return None
    text = json.dumps([run, *_what(env)])
    return folder / "leave" / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
