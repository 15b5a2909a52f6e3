"""Checkpoints: a folder of safetensors and strict JSON that is whole or is not there.

    checkpoints/step-000100000/
        agent.safetensors  skill.safetensors  ...    one file per top-level key with arrays
        agent.replay.rows.safetensors                one per array of 8 MiB or more
        state.json                                   everything that is not an array
        manifest.json                                step, run, versions; size and SHA-256 of each

Files are written under a temporary name, each synced, the manifest last; then the folder is
renamed into place and its parent synced. There is no pickle, and so one reader to get right: it
believes nothing that the manifest does not prove, and the manifest proves itself.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from logbook import files, progress, tensors, tree
from logbook.files import TEMPORARY
from logbook.killpoints import reach
from logbook.proved import Arrays, check_files, prove, slurp
from logbook.proved import CheckpointError as CheckpointError

SCHEMA = 1
REFUSED = "refused-"
_NAME = re.compile(r"step-(\d{9,15})(?:\.(\d{1,6}))?")
_SECTION = re.compile(r"[a-z][a-z0-9_]{0,40}")
_OWN_FILE = re.compile(r"[a-z][a-z0-9_.]{0,120}")
_LARGE = 1 << 23  # bytes from which an array has its own file, so that readers may leave it out
_MAX_OWN = 32
_LOOKS = 50  # of a reader at a folder whose run saves meanwhile

Runs = str | Collection[str]
"""The identity of a run, or several that it may bear."""

State = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says of itself. `run` identifies its run, `notes` are the run's own."""

    step: int
    run: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    files: dict[str, tuple[int, str]] = field(default_factory=dict)  # bytes, SHA-256

    def dump(self) -> bytes:
        """The file's content, sealed with a digest of the rest."""
        proofs = {k: {"bytes": n, "sha256": sha} for k, (n, sha) in self.files.items()}
        body = {"schema": SCHEMA, "step": self.step, "run": self.run}
        body |= {"versions": self.versions, "notes": self.notes, "files": proofs}
        seal = hashlib.sha256(tree.dumps(body)).hexdigest()
        return tree.dumps(body | {"seal": seal}) + b"\n"


def folder_name(step: int) -> str:
    """The name of a checkpoint's folder."""
    return f"step-{step:09d}"


def save(parent: Path, state: State, manifest: Manifest) -> Path:
    """Write `state` under `parent`, a folder of checkpoints; return its folder.

    A second save at one step stands beside the first, as `step-000100000.2`, so that there is no
    moment without a whole one. Raises OSError (see `no_space`), leaving nothing behind, and
    TypeError naming what cannot be kept.
    """
    reach("save.begin")
    files.subfolder(parent)
    temporary = parent / f"{TEMPORARY}{folder_name(manifest.step)}-{os.getpid()}"
    try:
        arrays, plain = _encode(state)
        _ask_for_space(parent, arrays)
        files.remove(temporary)
        temporary.mkdir()
        proofs = {}
        for key, leaves in arrays.items():
            name = f"{key}.safetensors"
            proofs[name] = tensors.write(temporary / name, leaves)
            reach("save.file")
        proofs["state.json"] = files.write(temporary / "state.json", plain)
        reach("save.manifest")
        whole = replace(manifest, files=proofs)
        files.write(temporary / "manifest.json", whole.dump(), halfway="save.half_manifest")
        files.sync_folder(temporary)
        reach("save.rename")
        target = _free_name(parent, manifest.step)
        temporary.rename(target)
        reach("save.renamed")
        files.sync_folder(parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    reach("save.done")
    return target


def read_manifest(folder: Path) -> Manifest:
    """The manifest, proved by its seal, with the folder holding exactly the files it names."""
    if folder.is_symlink() or not folder.is_dir():
        raise CheckpointError(folder, "it is not a folder")
    text = slurp(folder, "manifest.json")
    try:
        body = files.parse_json(text)
        if not isinstance(body, dict):
            raise TypeError("it is not an object")
        if body.get("schema") != SCHEMA:
            raise ValueError(f"it has schema {str(body.get('schema'))[:20]}, this version reads 1")
        seal = body.pop("seal", None)
        if seal != hashlib.sha256(tree.dumps(body)).hexdigest():
            raise ValueError("it does not match its own seal: it was damaged or edited")
        proofs = {k: (v["bytes"], v["sha256"]) for k, v in body["files"].items()}
        manifest = Manifest(body["step"], body["run"], body["versions"], body["notes"], proofs)
        kinds = {"step": int, "run": str, "versions": dict, "notes": dict}
        if any(type(body[key]) is not kind for key, kind in kinds.items()):
            raise TypeError("its entries are not of the right types")
        if not all(isinstance(v, str) for v in manifest.versions.values()):
            raise TypeError("its versions are no words")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(folder / "manifest.json", str(error)) from None
    match = _NAME.fullmatch(folder.name)
    if match and int(match[1]) != manifest.step:
        raise CheckpointError(folder, f"it holds step {manifest.step}, not what its name says")
    check_files(folder, manifest.files)
    return manifest


def digest(folder: Path) -> str:
    """What tells the content of a checkpoint from that of any other."""
    files = read_manifest(folder).files
    return hashlib.sha256(tree.dumps({k: list(v) for k, v in files.items()})).hexdigest()


def load(folder: Path, only: Collection[str] | None = None) -> State:
    """The state saved in `folder`, on the CPU.

    `only` names the parts wanted, such as ("agent.nets", "skill"); the rest is neither read nor
    in the result. Every file that is read is proved by its SHA-256. Raises CheckpointError.
    """
    manifest = read_manifest(folder)
    text = slurp(folder, "state.json", manifest.files["state.json"])
    arrays = Arrays(folder, manifest.files)
    try:
        plain = files.parse_json(text)
        if only is None:
            return {key: tree.decode(value, arrays.leaf) for key, value in plain.items()}
        state: State = {}
        for path in only:
            *parents, last = path.split(".")
            node, place = {"dict": plain}, state
            for key in parents:
                node, place = node["dict"][key], place.setdefault(key, {})
            place[last] = tree.decode(node["dict"][last], arrays.leaf)
        return state
    except KeyError as error:
        raise CheckpointError(folder / "state.json", f"it has no part {error}") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(folder / "state.json", str(error)) from None


def verify(folder: Path, run: Runs | None = None) -> Manifest:
    """Prove every byte of a checkpoint, and that it belongs to `run` if given."""
    manifest = read_manifest(folder)
    if run is not None and manifest.run not in ({run} if isinstance(run, str) else run):
        raise CheckpointError(folder, "it belongs to another run")
    for name, proof in manifest.files.items():
        prove(folder, name, proof)
    return manifest


def listed(parent: Path) -> list[Path]:
    """The folders that look like checkpoints, newest first, unproved.

    Raises UserError (code 5) if `parent` is a link.
    """
    found = []
    for path in parent.iterdir() if files.plain_folder(parent) else ():
        if match := _NAME.fullmatch(path.name):
            found.append((int(match[1]), int(match[2] or 1), path))
    return [path for *_, path in sorted(found, reverse=True)]


class Taken(NamedTuple):
    """A checkpoint that was read: where it lies, what it says of itself, and what it holds."""

    folder: Path
    manifest: Manifest
    state: State


def newest(parent: Path, run: Runs | None = None) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that verifies, and a line on each newer one that was passed over."""
    return _newest(parent, run, lambda folder, manifest: folder)


def take(parent: Path, run: Runs | None = None, only: Collection[str] | None = None) -> Taken:
    """The newest checkpoint that verifies, with its state as `load` gives it.

    Newer ones that were passed over are told in one line. Raises CheckpointError if there is none.
    """
    found, skipped = _newest(parent, run, lambda f, manifest: Taken(f, manifest, load(f, only)))
    why = skipped[0] if skipped else ""
    if len(skipped) > 1:
        why += f" (and {len(skipped) - 1} more)"
    if found is None:
        raise CheckpointError(parent, why or "it holds no checkpoint")
    if skipped:
        progress.warn(f"checkpoint refused: {why}; the older {found.folder.name} is used")
    return found


def _newest(
    parent: Path, run: Runs | None, use: Callable[[Path, Manifest], T]
) -> tuple[T | None, list[str]]:
    """What `use` makes of the newest checkpoint that verifies, and why newer ones were not taken.

    One that goes while it is read is no damage: its run saves, and has newer ones by now.
    """
    for _ in range(_LOOKS):
        skipped: list[str] = []
        for folder in listed(parent):
            try:
                return use(folder, verify(folder, run)), skipped
            except CheckpointError as error:
                if not os.path.lexists(folder):
                    break
                skipped.append(str(error))
        else:
            return None, skipped
    return None, [f"{parent}: its checkpoints change faster than they can be read"]


def set_aside(folders: Iterable[Path]) -> None:
    """Rename checkpoints that were refused, so that pruning does not count them as good."""
    for folder in folders:
        target, n = folder.with_name(REFUSED + folder.name), 1
        while os.path.lexists(target):
            n += 1
            target = folder.with_name(f"{REFUSED}{folder.name}-{n}")
        folder.rename(target)


def prune(parent: Path, last: int) -> None:
    """Delete all but the newest `last` checkpoints."""
    reach("prune.begin")
    for folder in listed(parent)[max(last, 1) :]:
        doomed = folder.with_name(f"{TEMPORARY}{folder.name}-pruned")
        files.remove(doomed)
        folder.rename(doomed)  # a half-deleted folder must not look like a checkpoint
        reach("prune.renamed")
        if doomed.is_dir() and not doomed.is_symlink():
            (doomed / "manifest.json").unlink(missing_ok=True)
        reach("prune.half")
        files.remove(doomed)
    reach("prune.done")


def sweep(parent: Path) -> None:
    """Delete what an interrupted save or prune left behind."""
    for path in parent.glob(f"{TEMPORARY}*") if files.plain_folder(parent) else ():
        files.remove(path)


def _encode(state: State) -> tuple[dict[str, dict[str, Any]], bytes]:
    """The arrays by file, and the JSON of the rest."""
    arrays: dict[str, dict[str, Any]] = {}
    plain = {}
    for key, value in state.items():
        if not isinstance(key, str) or not _SECTION.fullmatch(key):
            raise TypeError(f"top-level key {key!r}: use a lower-case word, it names a file")
        encoder = tree.Encoder()
        plain[key] = encoder.encode(value, key)
        for name, leaf in encoder.leaves.items():
            own = leaf.nbytes >= _LARGE and _OWN_FILE.fullmatch(name) and len(arrays) < _MAX_OWN
            arrays.setdefault(name if own else key, {})[name] = leaf
    return arrays, tree.dumps(plain)


def _free_name(parent: Path, step: int) -> Path:
    target, n = parent / folder_name(step), 1
    while os.path.lexists(target):
        n += 1
        target = parent / f"{folder_name(step)}.{n}"
    return target


def _ask_for_space(parent: Path, arrays: dict[str, dict[str, Any]]) -> None:
    need = sum(leaf.nbytes for leaves in arrays.values() for leaf in leaves.values()) + (1 << 20)
    if shutil.disk_usage(parent).free < need:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(parent))
