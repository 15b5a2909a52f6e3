"""Which run a config means: what may change when a run goes on, and what makes it another run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logbook import files, marks, origin
from logbook.config import filled, read_yaml
from logbook.errors import UserError

_VOLATILE = (
    "steps name device threads env.threads log_every checkpoint_every keep evaluate atlas".split()
)


def volatile(key: str) -> bool:
    """Whether a run may change this dotted key when it goes on: it does not alter the learning."""
    return any(key == name or key.startswith(f"{name}.") for name in _VOLATILE)


ABSENT = "(absent)"


def digest(config: Mapping[str, Any], stage: str) -> str:
    """A digest of the stage and of all keys that change what is learned."""
    lasting = {k: v for k, v in flat(config).items() if not volatile(k)}
    text = json.dumps([stage, lasting], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def of(folder: Path, stage: str) -> set[str]:
    """What a checkpoint of the run in `folder` names its run: by its config, or as it began."""
    found = {digest(read_yaml(folder / "config.yaml"), stage)}
    begun = files.read_json(folder / "run.json").get("identity")
    return found | {begun} if isinstance(begun, str) else found


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """{dotted key: "key: old -> new"} for every key that differs."""
    old, new = flat(before), flat(now)
    return {
        key: f"{key}: {old.get(key, ABSENT)} -> {new.get(key, ABSENT)}"
        for key in {**old, **new}
        if old.get(key, ABSENT) != new.get(key, ABSENT)
    }


def recognise(folder: Path, config: Mapping[str, Any], stage: str) -> list[str]:
    """Hold a config against the run in `folder`: the lines on what may change and did.

    A run from before a key agrees with the value that does what was done then.
    Raises UserError that names what makes it another run, and the remedy.
    """
    remedy = "give this one its own folder with name=... or hydra.run.dir=..."
    old = read_yaml(folder / "config.yaml")
    old = filled(old) if isinstance(old, Mapping) else {}
    lines = differences(old, config)
    if origin.same(old, config, folder):
        lines.pop("from", None)
    elif old.get("from") == config.get("from"):
        lines["from"] = f"from: {config['from']} holds another run by now"
    before = marks.stage_of(folder, stage)
    if before != stage:
        raise UserError(f"{folder} holds a {before} run: {remedy}")
    refused = [line for key, line in lines.items() if not volatile(key)]
    if refused:
        shown = "; ".join(refused[:4]) + ("; ..." if len(refused) > 4 else "")
        raise UserError(
            f"{folder} holds a run with another config ({shown}): {remedy}, or delete that folder"
        )
    return list(lines.values())


def begun(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """A config that `recognise` let pass, as the run in `folder` has it.

    Without the keys that came later, and with the source by its old name: under these the run has
    been what it is, and its identity with it.
    """
    old = flat(read_yaml(folder / "config.yaml"))
    if "from" in old:
        config = {**config, "from": old["from"]}

    def kept(node: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.items():
            name = f"{prefix}{key}"
            if isinstance(value, Mapping) and value:
                found[key] = kept(value, f"{name}.")
            elif name in old or volatile(name):
                found[key] = value
        return found

    return kept(config, "")


def flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def to_yaml(config: Mapping[str, Any]) -> bytes:
    """The config as plain yaml without aliases, in its own order."""
    import yaml

    class Plain(yaml.SafeDumper):  # type: ignore[misc, unused-ignore]
        """Spells every node out, so that a reader may refuse aliases altogether."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    text: str = yaml.dump(config, Dumper=Plain, sort_keys=False, allow_unicode=True)
    return text.encode()
