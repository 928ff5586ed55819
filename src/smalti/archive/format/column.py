"""Columns of values, one for each image: packing and unpacking (docs/format.md, "Columns").

Integers take as few bits as they need. Texts, floats and booleans have kinds of their own; any column may have gaps.
Nothing here knows which columns an archive has.
"""

import struct
import zlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.limits import Limits
from smalti.errors import DamagedArchiveError, UnsupportedArchiveError, UsageError
from smalti.storage.canonical import canonical_json, parse_canonical_json

__all__ = [
    "Column",
    "ColumnValues",
    "TextBuilder",
    "pack_booleans",
    "pack_floats",
    "pack_integers",
    "pack_optional",
    "unpack_column",
]

_LENGTH = struct.Struct("<I")
_CHUNK = 1 << 16  # rows packed at once; a multiple of 8, so that every chunk ends on a whole byte


ColumnValues = NDArray[np.int64] | NDArray[np.float64] | NDArray[np.bool_] | tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Column:
    """A named column.

    values : int64, float64 or bool [rows], read-only; or a tuple of strings. A column with gaps is a tuple of int,
        float, bool or str, with None where a row has no value
    """

    name: str
    values: ColumnValues


def pack_integers(name: str, values: NDArray[np.int64]) -> bytes:
    """Serialise int64 [rows], at least one row. `unpack_column` is the inverse."""
    minimum = int(values.min())
    bits = (int(values.max()) - minimum).bit_length()
    data = []
    for start in range(0, len(values), _CHUNK):
        # uint64 arithmetic wraps: the difference is right even from one end of int64 to the other
        above = values[start : start + _CHUNK].astype(np.uint64) - np.uint64(minimum % (1 << 64))
        big_endian = above.astype(">u8").view(np.uint8).reshape(len(above), 8)
        data.append(np.packbits(np.unpackbits(big_endian, axis=1)[:, 64 - bits :]).tobytes())
    head = {"bits": bits, "kind": "int", "minimum": minimum, "name": name, "rows": len(values)}
    return _pack(head, b"".join(data))


def pack_floats(name: str, values: NDArray[np.float64]) -> bytes:
    """Serialise float64 [rows]. `unpack_column` is the inverse, bit for bit."""
    # all first bytes, then all second bytes: similar numbers share their high bytes
    planes = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(len(values), 8).T
    return _pack({"kind": "float", "name": name, "rows": len(values)}, zlib.compress(planes.tobytes(), 9))


def pack_booleans(name: str, values: NDArray[np.bool_]) -> bytes:
    """Serialise bool [rows]. `unpack_column` is the inverse."""
    return _pack({"kind": "bool", "name": name, "rows": len(values)}, np.packbits(values).tobytes())


def pack_optional(name: str, present: NDArray[np.bool_], column: bytes) -> bytes:
    """Serialise a column with gaps.

    present : bool [rows], True where a row has a value
    column : the serialised column of these values, under the same name; empty if there are no values
    """
    return _pack({"kind": "optional", "name": name, "rows": len(present)}, np.packbits(present).tobytes() + column)


class TextBuilder:
    """Collects the strings of a column. Memory: little more than their bytes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lengths = array("L")
        self._encoded = bytearray()

    @classmethod
    def of(cls, name: str, texts: Sequence[str]) -> "TextBuilder":
        """Return a builder that holds these strings; UsageError as from `extend`."""
        builder = cls(name)
        builder.extend(texts)
        return builder

    def extend(self, texts: Sequence[str]) -> None:
        """Add strings. Raises UsageError for a string without a UTF-8 form, such as a file name in another encoding."""
        for text in texts:
            try:
                encoded = text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise UsageError(f"{self._name}: {text!r} cannot be stored as UTF-8; rename it") from error
            self._lengths.append(len(encoded))
            self._encoded += encoded

    def to_bytes(self) -> bytes:
        """Serialise the column. `unpack_column` is the inverse."""
        lengths = np.array(self._lengths, "<u4").tobytes()
        packer = zlib.compressobj(9)
        body = packer.compress(lengths) + packer.compress(self._encoded) + packer.flush()
        raw_bytes = len(lengths) + len(self._encoded)
        head = {"kind": "text", "name": self._name, "raw_bytes": raw_bytes, "rows": len(self._lengths)}
        return _pack(head, body)


def unpack_column(data: bytes, limits: Limits, gaps: bool = True) -> Column | None:
    """Read a column. Returns None for a kind that this release does not know.

    gaps : whether the column may have gaps; the values of a column with gaps have none themselves

    Raises DamagedArchiveError if these bytes are no column, LimitExceededError.
    """
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
    if head["kind"] == "optional" and not gaps:
        raise DamagedArchiveError("a column with gaps in one with gaps")
    unpack = _UNPACKERS.get(head["kind"])
    return None if unpack is None else Column(head["name"], unpack(head, body, limits))


def _pack(head: dict[str, Any], body: bytes) -> bytes:
    head_json = canonical_json(head)
    return _LENGTH.pack(len(head_json)) + head_json + body


def _unpack_floats(head: dict[str, Any], body: bytes, limits: Limits) -> NDArray[np.float64]:
    (rows,) = _fields(head, ("rows",))
    limits.check("column_bytes", 8 * rows, f"column {head['name']!r}")
    if rows < 0:
        raise DamagedArchiveError("a field of its head is out of range")
    planes = np.frombuffer(_inflate(body, 8 * rows), np.uint8).reshape(8, rows)
    values = np.ascontiguousarray(planes.T).view("<f8").ravel().astype(np.float64)
    values.setflags(write=False)
    return values


def _unpack_booleans(head: dict[str, Any], body: bytes, limits: Limits) -> NDArray[np.bool_]:
    (rows,) = _fields(head, ("rows",))
    limits.check("column_bytes", rows, f"column {head['name']!r}")
    values = _bits(body, rows)
    if len(body) != (rows + 7) // 8:
        raise DamagedArchiveError(f"{len(body)} bytes do not hold {rows} bits")
    return values


def _unpack_optional(head: dict[str, Any], body: bytes, limits: Limits) -> tuple[Any, ...]:
    (rows,) = _fields(head, ("rows",))
    limits.check("column_bytes", 8 * rows, f"column {head['name']!r}")  # a reference for each row
    present = _bits(body, rows)
    count, rest = int(np.count_nonzero(present)), body[(rows + 7) // 8 :]
    if not count:
        if rest:
            raise DamagedArchiveError("bytes follow a column without values")
        return (None,) * rows
    column = unpack_column(rest, limits, gaps=False)
    if column is None:
        raise UnsupportedArchiveError(f"column {head['name']!r} is of a kind unknown here: use a newer smalti")
    inner = column.values.tolist() if isinstance(column.values, np.ndarray) else column.values
    if column.name != head["name"] or len(inner) != count:
        raise DamagedArchiveError("the values of a column with gaps do not fit it")
    values = iter(inner)
    return tuple(next(values) if there else None for there in present.tolist())


def _bits(body: bytes, rows: int) -> NDArray[np.bool_]:
    """The first `rows` bits, read-only. The bits that fill the last byte must be zero."""
    if rows < 0 or len(body) < (rows + 7) // 8:
        raise DamagedArchiveError(f"{len(body)} bytes do not hold {rows} bits")
    bits = np.unpackbits(np.frombuffer(body, np.uint8, (rows + 7) // 8))
    if bits[rows:].any():
        raise DamagedArchiveError("the bits that fill its last byte are not zero")
    values = bits[:rows].astype(np.bool_)
    values.setflags(write=False)
    return values


def _inflate(body: bytes, raw_bytes: int) -> bytes:
    """Unpack a zlib stream of exactly `raw_bytes`. No more than that is unpacked."""
    try:
        inflater = zlib.decompressobj()
        raw = inflater.decompress(body, raw_bytes + 1)
    except zlib.error as error:
        raise DamagedArchiveError(f"it cannot be decompressed ({error})") from error
    if len(raw) != raw_bytes or not inflater.eof or inflater.unused_data:
        raise DamagedArchiveError("it has another length than its head says")
    return raw


def _fields(head: dict[str, Any], names: tuple[str, ...]) -> list[int]:
    """The integers under these names. The head must have no other keys."""
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
    values.setflags(write=False)  # the archive caches them: a caller must not change what others read
    return values


def _unpack_texts(head: dict[str, Any], body: bytes, limits: Limits) -> tuple[str, ...]:
    raw_bytes, rows = _fields(head, ("raw_bytes", "rows"))
    limits.check("column_bytes", raw_bytes, f"column {head['name']!r}")
    if not 0 <= 4 * rows <= raw_bytes:
        raise DamagedArchiveError("a field of its head is out of range")
    raw = _inflate(body, raw_bytes)
    lengths = np.frombuffer(raw, "<u4", rows).astype(np.int64)
    if 4 * rows + int(lengths.sum()) != raw_bytes:
        raise DamagedArchiveError("the lengths of its strings do not add up")
    edges = [4 * rows, *(4 * rows + np.cumsum(lengths)).tolist()]
    try:
        return tuple(raw[start:end].decode("utf-8") for start, end in pairwise(edges))
    except UnicodeDecodeError as error:
        raise DamagedArchiveError("a string is not UTF-8") from error


_UNPACKERS: dict[str, Callable[[dict[str, Any], bytes, Limits], ColumnValues]] = {
    "int": _unpack_integers,
    "text": _unpack_texts,
    "float": _unpack_floats,
    "bool": _unpack_booleans,
    "optional": _unpack_optional,
}
