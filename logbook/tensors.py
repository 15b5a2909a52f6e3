"""Arrays and tensors in the safetensors format, streamed and hashed on the way.

Arrays go to disk in blocks, so a replay of any size costs no memory, and the SHA-256 of the file
falls out. The files are ordinary safetensors: any reader of that format opens them.

The library's own writer (0.8.0; 300 MB, one thread) was tried in place of this one: it keeps no
checksum, so the file is read once more (0.31 s of CPU against 0.24), it needs a copy of an array
that is not contiguous (229 MB against 32), and its error on a full disk is no OSError. Its reader
hashes nothing: a proof would be a second reading, and the file may change in between.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from logbook import files
from logbook.killpoints import reach

_BLOCK = 1 << 24  # bytes written and hashed at a time
_MAX_HEADER = 1 << 24
_MAX_DIMS = 16
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<i2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
_CODES = {np.dtype(text): code for code, text in _DTYPES.items() if code != "BF16"}


class Leaf:
    """One array on its way to disk: the bits as a numpy array, and the format's type code."""

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        bits: Any
        if isinstance(value, np.ndarray):
            bits, code = value, _CODES.get(value.dtype.newbyteorder("<"))
        else:
            import torch

            value = value.detach().cpu()
            if value.dtype == torch.bfloat16:
                bits, code = value.view(torch.int16).numpy(), "BF16"
            elif value.layout != torch.strided or value.is_complex() or value.is_quantized:
                bits, code = value, None
            else:
                bits = value.resolve_neg().numpy()
                code = _CODES.get(bits.dtype)
        if code is None:
            raise TypeError(f"{name} has type {value.dtype}, which a checkpoint cannot hold")
        self.bits: NDArray[Any] = bits
        self.code = code

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Contiguous little-endian pieces of at most about 16 MiB, in row order."""
        bits = self.bits
        if bits.ndim > 1 and bits.nbytes > _BLOCK and not bits.flags.c_contiguous:
            rows = max(1, _BLOCK // (bits.nbytes // len(bits)))
            pieces = [bits[i : i + rows] for i in range(0, len(bits), rows)]
        else:
            pieces = [bits]
        for piece in pieces:
            flat = np.ascontiguousarray(piece, piece.dtype.newbyteorder("<")).reshape(-1)
            flat = flat.view(np.uint8)
            for i in range(0, len(flat), _BLOCK):
                yield flat[i : i + _BLOCK]


def write(path: Path, values: Mapping[str, Any]) -> tuple[int, str]:
    """Write arrays or tensors; return the file's length and SHA-256. The data is synced."""
    leaves = [Leaf(name, value) for name, value in values.items()]
    leaves.sort(key=lambda leaf: -leaf.bits.itemsize)  # keeps every array aligned
    header: dict[str, Any] = {}
    end = 0
    for leaf in leaves:
        start, end = end, end + leaf.bits.nbytes
        shape = list(leaf.bits.shape)
        header[leaf.name] = {"dtype": leaf.code, "shape": shape, "data_offsets": [start, end]}
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    digest = hashlib.sha256()
    with files.create(path) as file:

        def put(piece: Any) -> None:
            file.write(piece)
            digest.update(piece)

        put(len(head).to_bytes(8, "little") + head)
        for i, leaf in enumerate(leaves):
            for block in leaf.blocks():
                put(block.data)
            if i == len(leaves) // 2:
                reach("save.half_file")
        file.flush()
        os.fsync(file.fileno())
    return 8 + len(head) + end, digest.hexdigest()


def read(file: BinaryIO, size: int) -> tuple[dict[str, tuple[str, NDArray[Any]]], str]:
    """All arrays of an open file of `size` bytes as {name: (code, array)}, and its SHA-256.

    Raises ValueError or TypeError on anything that is not exactly the format; nothing larger than
    the file is ever allocated. The caller compares the digest before it trusts a number.
    """
    digest = hashlib.sha256()

    def take(n: int) -> bytes:
        data = file.read(n)
        if len(data) != n:
            raise ValueError("the file ends early")
        digest.update(data)
        return data

    length = int.from_bytes(take(8), "little")
    if length > min(size - 8, _MAX_HEADER):
        raise ValueError(f"its header claims {length} bytes")
    header = files.parse_json(take(length))
    if not isinstance(header, dict):
        raise TypeError("its header is not an object")
    header.pop("__metadata__", None)
    entries = sorted((_entry(name, spec) for name, spec in header.items()), key=lambda e: e[3])
    end = 0
    for name, _, _, (start, stop) in entries:
        if start != end:
            raise ValueError(f"{name} does not follow the one before")
        end = stop
    if 8 + length + end != size:
        raise ValueError(f"its arrays take {8 + length + end} bytes, the file has {size}")
    arrays = {}
    for name, code, shape, _ in entries:
        array = np.empty(shape, _DTYPES[code])
        view = array.reshape(-1).view(np.uint8).data
        if file.readinto(view) != len(view):  # type: ignore[attr-defined]
            raise ValueError("the file ends early")
        digest.update(view)
        arrays[name] = (code, array)
    return arrays, digest.hexdigest()


def _entry(name: str, spec: Any) -> tuple[str, str, tuple[int, ...], tuple[int, int]]:
    try:
        code, shape, (start, stop) = spec["dtype"], spec["shape"], spec["data_offsets"]
        numbers = [*shape, start, stop]
        good = code in _DTYPES and len(spec) == 3 and len(shape) <= _MAX_DIMS
        good = good and all(type(n) is int and 0 <= n < 2**62 for n in numbers)
    except (TypeError, KeyError, ValueError):
        good = False
    if not good or math.prod(shape) * np.dtype(_DTYPES[code]).itemsize != stop - start:
        raise ValueError(f"the entry {name[:80]!r} of its header makes no sense")
    return name, code, tuple(shape), (start, stop)


def to_torch(code: str, array: NDArray[Any]) -> Any:
    """A CPU tensor on the same memory."""
    import torch

    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if code == "BF16" else tensor
