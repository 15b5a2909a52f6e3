"""The files of a checkpoint, believed once length and SHA-256 are those of the manifest."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from logbook import files, tensors
from logbook.errors import Exit, UserError

_MAX_JSON = 1 << 26
_MAX_FILES = 64
_DIFFERS = "its {} bytes are not those that were saved (damaged, or from another checkpoint)"

Proofs = Mapping[str, tuple[int, str]]
"""Length in bytes and SHA-256 of each file, by its name."""


class CheckpointError(UserError):
    """A checkpoint that cannot be trusted: says which file and why."""

    def __init__(self, where: Path, reason: str) -> None:
        super().__init__(f"{where}: {reason}", Exit.CHECKPOINT)


class Arrays:
    """The arrays of one checkpoint, file by file as they are asked for."""

    def __init__(self, folder: Path, proofs: Proofs) -> None:
        self._folder, self._proofs = folder, proofs
        self._arrays: dict[str, dict[str, Any]] = {}

    def leaf(self, kind: str, name: str) -> Any:
        """The array or tensor `name`."""
        file = f"{name}.safetensors"
        if file not in self._proofs:
            file = f"{name.partition('.')[0]}.safetensors"
        if file not in self._arrays:
            self._arrays[file] = self._read(file)
        if name not in self._arrays[file]:
            raise ValueError(f"it names the missing array {name[:80]!r}")
        code, array = self._arrays[file][name]
        return array if kind == "array" else tensors.to_torch(code, array)

    def _read(self, name: str) -> dict[str, Any]:
        if name not in self._proofs:
            raise ValueError(f"it names the missing file {name[:80]!r}")
        size, sha = self._proofs[name]
        with open_file(self._folder, name) as file:
            try:
                arrays, digest = tensors.read(file, size)
            except (ValueError, TypeError, MemoryError) as error:
                raise CheckpointError(self._folder / name, str(error) or "too large") from None
        if digest != sha:
            raise CheckpointError(self._folder / name, _DIFFERS.format(size))
        return arrays


def check_files(folder: Path, proofs: Proofs) -> None:
    """See that the folder holds exactly these files, of these lengths. Raises CheckpointError."""
    try:
        present = {entry.name for entry in os.scandir(folder)}
        sizes = {name: (folder / name).lstat() for name in proofs if name in present}
    except OSError as error:
        raise CheckpointError(folder, f"it cannot be read: {error.strerror}") from None
    wanted = {*proofs, "manifest.json"}
    if "state.json" not in proofs or len(wanted) > _MAX_FILES:
        raise CheckpointError(folder / "manifest.json", "it does not list what a checkpoint holds")
    for name in sorted(wanted - present):
        raise CheckpointError(folder / name[:80], "it is missing")
    for name in sorted(present - wanted):
        raise CheckpointError(folder / name, "it does not belong to this checkpoint")
    total = 0
    for name, (size, _) in proofs.items():
        status = sizes[name]
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(folder / name, "it is a link or device, not a plain file")
        if status.st_size != size:
            reason = f"it has {status.st_size} bytes, {size} were saved"
            raise CheckpointError(folder / name, reason)
        total += size
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if total > memory:
        raise CheckpointError(
            folder, f"it holds {total >> 30} GiB, this machine {memory >> 30} GiB"
        )


def prove(folder: Path, name: str, proof: tuple[int, str]) -> None:
    """Read a file of any size and see that it is what was saved. Raises CheckpointError."""
    digest = hashlib.sha256()
    with open_file(folder, name) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != proof[1]:
        raise CheckpointError(folder / name, _DIFFERS.format(proof[0]))


def open_file(folder: Path, name: str) -> BinaryIO:
    """Open a file of a checkpoint. Raises CheckpointError."""
    try:
        return files.open_plain(folder / name)
    except OSError as error:
        reason = "it is missing" if error.errno == errno.ENOENT else str(error.strerror)
        raise CheckpointError(folder / name, reason) from None


def slurp(folder: Path, name: str, proof: tuple[int, str] | None = None) -> bytes:
    """All of a JSON file, proved if `proof` is given. Raises CheckpointError."""
    with open_file(folder, name) as file:
        text = file.read(_MAX_JSON + 1)
    if len(text) > _MAX_JSON:
        raise CheckpointError(folder / name, f"it is larger than {_MAX_JSON >> 20} MiB")
    if proof is not None and hashlib.sha256(text).hexdigest() != proof[1]:
        raise CheckpointError(folder / name, _DIFFERS.format(len(text)))
    return text
