"""Columns beside the images: integers in as few bits as they need, and texts."""

import struct
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.archive.limits import Limits
from smalti.canonical import canonical_json, parse_canonical_json
from smalti.errors import DamagedArchiveError, UsageError

__all__ = ["Column", "TextBuilder", "pack_integers", "unpack_column"]

_LENGTH = struct.Struct("<I")
_CHUNK = 1 << 16  # rows packed at once; a multiple of 8, so that every chunk ends on a whole byte


@dataclass(frozen=True)
class Column:
    """A named column: `values` is int64 [rows] or a tuple of strings."""

    name: str
    values: NDArray[np.int64] | tuple[str, ...]


def pack_integers(name: str, values: NDArray[np.int64]) -> bytes:
    """Serialise int64 [rows], at least one row; `unpack_column` is the inverse."""
    minimum = int(values.min())
    bits = (int(values.max()) - minimum).bit_length()
    data = []
    for start in range(0, len(values), _CHUNK):
        # uint64 arithmetic wraps, which makes the difference right even from one end of int64 to the other
        above = values[start : start + _CHUNK].astype(np.uint64) - np.uint64(minimum % (1 << 64))
        big_endian = above.astype(">u8").view(np.uint8).reshape(len(above), 8)
        data.append(np.packbits(np.unpackbits(big_endian, axis=1)[:, 64 - bits :]).tobytes())
    head = {"bits": bits, "kind": "int", "minimum": minimum, "name": name, "rows": len(values)}
    return _pack(head, b"".join(data))


class TextBuilder:
    """Collects strings for a column in little more memory than their bytes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lengths = array("L")
        self._encoded = bytearray()

    def extend(self, texts: Sequence[str]) -> None:
        """Add strings; UsageError if one cannot be UTF-8, such as a file name that is none."""
        for text in texts:
            try:
                encoded = text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise UsageError(f"{self._name}: {text!r} cannot be stored as UTF-8; rename it") from error
            self._lengths.append(len(encoded))
            self._encoded += encoded

    def to_bytes(self) -> bytes:
        """Serialise; `unpack_column` is the inverse."""
        lengths = np.array(self._lengths, "<u4").tobytes()
        packer = zlib.compressobj(9)
        body = packer.compress(lengths) + packer.compress(self._encoded) + packer.flush()
        raw_bytes = len(lengths) + len(self._encoded)
        head = {"kind": "text", "name": self._name, "raw_bytes": raw_bytes, "rows": len(self._lengths)}
        return _pack(head, body)


def unpack_column(data: bytes, limits: Limits) -> Column | None:
    """Read a column; None if it is of a kind this release does not know. DamagedArchiveError if it cannot be."""
    if len(data) < _LENGTH.size:
        raise DamagedArchiveError("too short for a column")
    head_bytes: int = _LENGTH.unpack_from(data)[0]
    limits.check("header_bytes", head_bytes, "the head of a column")
    if _LENGTH.size + head_bytes > len(data):
        raise DamagedArchiveError("its head ends after its data")
    head = parse_canonical_json(data[_LENGTH.size : _LENGTH.size + head_bytes], "column")
    if not isinstance(head, dict) or type(head.get("name")) is not str or type(head.get("kind")) is not str:
        raise DamagedArchiveError("it has no name or kind")
    body = data[_LENGTH.size + head_bytes :]
    if head["kind"] == "int":
        return Column(head["name"], _unpack_integers(head, body, limits))
    if head["kind"] == "text":
        return Column(head["name"], _unpack_texts(head, body, limits))
    return None


def _pack(head: dict[str, Any], body: bytes) -> bytes:
    head_json = canonical_json(head)
    return _LENGTH.pack(len(head_json)) + head_json + body


def _fields(head: dict[str, Any], names: tuple[str, ...]) -> list[int]:
    """The integers of these names; the head must have no other keys."""
    if set(head) != {"kind", "name", *names} or not all(type(head[name]) is int for name in names):
        raise DamagedArchiveError(f"its head does not have the fields {', '.join(names)}")
    return [head[name] for name in names]


def _unpack_integers(head: dict[str, Any], body: bytes, limits: Limits) -> NDArray[np.int64]:
    bits, minimum, rows = _fields(head, ("bits", "minimum", "rows"))
    limits.check("column_bytes", 8 * rows, f"column {head['name']!r}")
    if not (0 <= bits <= 64 and rows >= 1 and -(1 << 63) <= minimum < 1 << 63):
        raise DamagedArchiveError("a field of its head is out of range")
    if len(body) != (rows * bits + 7) // 8:
        raise DamagedArchiveError(f"{len(body)} bytes do not hold {rows} rows of {bits} bits")
    packed = np.frombuffer(body, np.uint8)
    if rows * bits % 8 and int(packed[-1]) & ((1 << -(rows * bits) % 8) - 1):
        raise DamagedArchiveError("the bits that fill its last byte are not zero")
    values = np.empty(rows, np.int64)
    largest = (1 << 63) - 1 - minimum
    for start in range(0, rows, _CHUNK):
        count = min(_CHUNK, rows - start)
        first_byte = start * bits // 8
        chunk = np.unpackbits(packed[first_byte : first_byte + (count * bits + 7) // 8], count=count * bits)
        wide = np.zeros((count, 64), np.uint8)
        wide[:, 64 - bits :] = chunk.reshape(count, bits)
        above = np.packbits(wide, axis=1).view(">u8").ravel().astype(np.uint64)
        if int(above.max()) > largest:
            raise DamagedArchiveError("a value is beyond int64")
        values[start : start + count] = (above + np.uint64(minimum % (1 << 64))).astype(np.int64)
    values.setflags(write=False)  # the archive keeps them, and a caller must not change what others read
    return values


def _unpack_texts(head: dict[str, Any], body: bytes, limits: Limits) -> tuple[str, ...]:
    raw_bytes, rows = _fields(head, ("raw_bytes", "rows"))
    limits.check("column_bytes", raw_bytes, f"column {head['name']!r}")
    if not 0 <= 4 * rows <= raw_bytes:
        raise DamagedArchiveError("a field of its head is out of range")
    try:
        inflater = zlib.decompressobj()
        raw = inflater.decompress(body, raw_bytes + 1)
    except zlib.error as error:
        raise DamagedArchiveError(f"its text cannot be decompressed ({error})") from error
    if len(raw) != raw_bytes or not inflater.eof or inflater.unused_data:
        raise DamagedArchiveError("its text has another length than its head says")
    lengths = np.frombuffer(raw, "<u4", rows).astype(np.int64)
    if 4 * rows + int(lengths.sum()) != raw_bytes:
        raise DamagedArchiveError("the lengths of its strings do not add up")
    edges = [4 * rows, *(4 * rows + np.cumsum(lengths)).tolist()]
    try:
        return tuple(raw[start:end].decode("utf-8") for start, end in pairwise(edges))
    except UnicodeDecodeError as error:
        raise DamagedArchiveError("a string is not UTF-8") from error
