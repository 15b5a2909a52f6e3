"""Checkpoints sealed with care by somebody else: of the wrong types, or larger than they look."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from battery.folders import begin, take
from battery.saves import READERS, newest
from battery.trial import Kind, Member, Try


def reseal(folder: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Write a checkpoint anew after `change(state, notes)`, with a seal that fits."""
    from logbook import checkpoint

    manifest = checkpoint.read_manifest(folder)
    state, notes = checkpoint.load(folder), dict(manifest.notes)
    change(state, notes)
    aside = folder.parent.with_name("aside")
    sealed = checkpoint.Manifest(manifest.step, manifest.run, manifest.versions, notes)
    made = checkpoint.save(aside, state, sealed)
    shutil.rmtree(folder)
    made.rename(folder)
    shutil.rmtree(aside)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything in a state, nodes and leaves."""
    found = [path] if path else []
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value[:8])
    for key, inner in items:
        found += _places(inner, (*path, key))
    return found


def _odd_values() -> dict[str, Any]:
    import numpy as np
    import torch

    return {
        "null": None, "-1": -1, "a word": "x", "a list": [], "a dict": {}, "infinity": float("inf"),
        "a long number": 2**70, "yes": True, "nan": float("nan"), "a tuple": (1, 2),
        "an array": np.zeros((3, 1, 2), np.float32), "no rows": np.zeros((0, 4), np.int64),
        "words": ["a", "b"], "a tensor": torch.zeros(7), "one tensor": torch.tensor(3),
        "nested": {"a": {"b": [None]}}, "0": 0, "1e300": 1e300, "an odd dict": {1: 2, "a": 3},
    }  # fmt: skip


ODD = ("null", "-1", "a word", "a list", "a dict", "infinity", "a long number", "yes", "nan",
       "a tuple", "an array", "no rows", "words", "a tensor", "one tensor", "nested", "0",
       "1e300")  # fmt: skip
NOTES = ("metrics", "elapsed", "exact")


def wrong_type(command: str, odd: str, share: float, note: str = "") -> Member:
    """One value of a sealed state is of another type. `share` says how deep in the list it is."""

    def play(t: Try) -> None:
        run = take(t, command)

        def change(state: dict[str, Any], notes: dict[str, Any]) -> None:
            value = _odd_values()[odd]
            if note:
                notes[note] = value if not hasattr(value, "shape") else "x"
                return
            places = _places(state)
            *parents, last = places[int(share * len(places))]
            node: Any = state
            for key in parents:
                node = node[key]
            node[last] = value

        for folder in sorted((run / READERS[command]).glob("step-*")):
            reseal(folder, change)
        t.either(begin(t, command), (5,))

    where = f"note {note}" if note else f"at {share:.3f} of the state"
    return Member(f"sealed: {odd} {where}, {command}", play)


def _draw_wrong_type(rng: random.Random) -> Member:
    command, odd = rng.choice(list(READERS)), rng.choice(ODD)
    if rng.random() < 0.2:
        unwritten = ("tensor", "rows", "nan", "infinity")  # in strict JSON
        odd = rng.choice([o for o in ODD if not any(word in o for word in unwritten)])
        return wrong_type(
            rng.choice(["resume", "resume, learner", "resume, fine-tuning"]),
            odd,
            0.0,
            rng.choice(NOTES),
        )
    return wrong_type(command, odd, rng.random())


# Large, and sealed

LARGE = ("lists", "objects", "a string", "many tensors", "sparse", "deep", "digits", "many files",
         "header", "shape")  # fmt: skip


def _reseal_files(folder: Path) -> None:
    """A manifest that fits whatever files lie there."""
    from logbook import tree

    path = folder / "manifest.json"
    body = json.loads(path.read_text())
    body.pop("seal")
    body["files"] = {
        p.name: {"bytes": p.stat().st_size, "sha256": _digest(p)}
        for p in sorted(folder.iterdir())
        if p != path
    }
    seal = hashlib.sha256(tree.dumps(body)).hexdigest()
    path.write_bytes(tree.dumps(body | {"seal": seal}) + b"\n")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _enlarge(folder: Path, how: str, size: int) -> None:
    state = folder / "state.json"
    some = sorted(folder.glob("*.safetensors"))[0]
    if how == "lists":
        state.write_bytes(b'{"dict":{"x":[' + b"[]," * (size * 300_000) + b"[]]}}")
    elif how == "objects":
        state.write_bytes(b'{"dict":{"x":[' + b'{"dict":{}},' * (size * 80_000) + b"1]}}")
    elif how == "a string":
        state.write_bytes(b'{"dict":{"x":"' + b"a" * (size << 20) + b'"}}')
    elif how == "deep":
        state.write_bytes(b'{"dict":{"x":' + b"[" * (size * 10_000) + b"]" * (size * 10_000))
    elif how == "digits":
        state.write_bytes(b'{"dict":{"x":{"int":"' + b"9" * (size << 18) + b'"}}}')
    elif how == "many tensors":
        one = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        header = json.dumps({f"a{i}": one for i in range(size * 4000)}).encode()
        some.write_bytes(len(header).to_bytes(8, "little") + header)
    elif how == "header":
        some.write_bytes((size << 20).to_bytes(8, "little") + b" " * (size << 20))
    elif how == "shape":
        one = {"dtype": "F32", "shape": [1 << 40, 0, 1 << 40], "data_offsets": [0, 0]}
        header = json.dumps({"a": one}).encode()
        some.write_bytes(len(header).to_bytes(8, "little") + header)
    elif how == "many files":
        for i in range(size * 20):
            (folder / f"more{i}.safetensors").write_bytes(b"x")
    else:  # sparse: a tensor of zeros that takes no room on the disk
        count = size << 26
        one = {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}
        header = json.dumps({"a": one}).encode()
        with some.open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + count)


def large(how: str, size: int, command: str) -> Member:
    """It must be refused without taking the memory or the minutes that it asks for."""

    def play(t: Try) -> None:
        run = take(t, command)
        for folder in sorted((run / READERS[command]).glob("step-*"))[:-1]:
            shutil.rmtree(folder)
        folder = newest(run, READERS[command])
        _enlarge(folder, how, size)
        _reseal_files(folder)
        end = begin(t, command, limits={"RLIMIT_DATA": 2 << 30, "RLIMIT_CPU": 60})
        if how == "many files" and command == "inspect-tasks":
            return t.either(end, (5,))  # which reads those that its state names, and no others
        return t.refused(end, (5,))

    return Member(f"large and sealed: {how} ({size}), {command}", play)


def _draw_large(rng: random.Random) -> Member:
    commands = ["resume", "inspect-skills", "finetune", "evaluate", "inspect-tasks", "metatrain"]
    size = rng.choice([1, 3, 10, 20])
    return large(rng.choice(LARGE), size, rng.choice(commands))


KINDS = [
    Kind(
        "sealed states of the wrong type",
        [
            wrong_type("resume", "null", 0.0, "metrics"),
            wrong_type("resume", "a list", 0.0, "elapsed"),
            wrong_type("resume", "-1", 0.0, "metrics"),
        ],
        _draw_wrong_type,
    ),
    Kind(
        "large sealed checkpoints",
        [large("lists", 66, "inspect-skills"), large("sparse", 44, "inspect-skills")],
        _draw_large,
    ),
]
