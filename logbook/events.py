"""TensorBoard event files, written by hand.

The format is small (length, checksum, a protocol buffer with a time, a step and tagged numbers)
and the usual writer costs more than a second of start-up and a thread that dies unheard on a full
disk. Reading them back with TensorBoard itself is part of the tests.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from logbook import files


class EventFile:
    """One event file; TensorBoard drops earlier points from `first_step` on when it reads it."""

    def __init__(self, folder: Path, first_step: int) -> None:
        files.subfolder(folder)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / name).open("xb", buffering=0)
        self._put(_bytes(3, b"brain.Event:2"), 0)
        self._put(_bytes(7, _varint(1, 1)), first_step)  # a session starts: purge from here

    def append(self, step: int, row: Mapping[str, float]) -> None:
        """Add the numbers of one row. Raises OSError."""
        values = b"".join(
            _bytes(1, _bytes(1, tag.encode()) + b"\x15" + struct.pack("<f", _single(value)))
            for tag, value in row.items()
        )
        self._put(_bytes(5, values), step)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _put(self, payload: bytes, step: int) -> None:
        event = b"\x09" + struct.pack("<d", time.time()) + _varint(2, step) + payload
        length = struct.pack("<Q", len(event))
        record = length + _masked_crc(length) + event + _masked_crc(event)
        start = self._file.tell()
        if self._file.write(record) != len(record):  # a full disk: leave no torn record
            self._file.truncate(start)
            self._file.seek(start)


def _single(value: float) -> float:
    try:
        struct.pack("<f", value)
        return value
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _varint(field: int, value: int) -> bytes:
    return _number(field << 3) + _number(value)


def _bytes(field: int, data: bytes) -> bytes:
    return _number(field << 3 | 2) + _number(len(data)) + data


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _table()


def _masked_crc(data: bytes) -> bytes:
    """CRC-32C, rotated and offset as the record format asks."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
