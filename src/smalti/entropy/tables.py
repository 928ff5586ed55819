"""Many frequency tables of one precision as few bytes, and back with every check.

A frequency f is split into its class, bit_length(f), and the class - 1 bits below its leading one. The classes
of all tables are entropy-coded with one small table of their own; the bits below follow raw, since they are close
to random. docs/format.md has the layout byte by byte.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from smalti.entropy.coder import SymbolDecoder, SymbolEncoder
from smalti.entropy.frequency import FrequencyTable
from smalti.errors import DamagedArchiveError, UsageError

__all__ = ["pack_tables", "unpack_tables"]

_CLASS_PRECISION = 12
_WORDS = struct.Struct("<I")


def pack_tables(tables: NDArray[np.uint32], precision: int) -> bytes:
    """Serialise frequencies uint32 [tables, S], each row a table of `precision`; `unpack_tables` is the inverse."""
    flat = tables.ravel()
    classes = _bit_length(flat)
    class_table = FrequencyTable.from_counts(
        np.bincount(classes, minlength=precision + 2).astype(np.int64), _CLASS_PRECISION
    )
    encoder = SymbolEncoder()
    encoder.add(classes, class_table)
    coded = encoder.finish()
    head = class_table.frequencies.astype("<u2").tobytes() + _WORDS.pack(len(coded) // 4)
    return head + coded + _pack_low_bits(flat, classes)


def unpack_tables(data: bytes, tables: int, symbols: int, precision: int) -> NDArray[np.uint32]:
    """Read back what `pack_tables` wrote: uint32 [tables, symbols].

    Whether each row sums to 2**precision is for `FrequencyTable` to check. Raises DamagedArchiveError if the
    bytes cannot have been written by `pack_tables` for this many tables and symbols.
    """
    head = 2 * (precision + 2)
    if len(data) < head + _WORDS.size:
        raise DamagedArchiveError(f"frequency tables: {len(data)} bytes are too few")
    try:
        class_table = FrequencyTable(np.frombuffer(data, "<u2", precision + 2).astype(np.uint32), _CLASS_PRECISION)
    except UsageError as error:
        raise DamagedArchiveError(f"frequency tables: class frequencies: {error}") from error
    start = head + _WORDS.size
    end = start + 4 * _WORDS.unpack_from(data, head)[0]
    if end > len(data):
        raise DamagedArchiveError("frequency tables: the classes end after the data")
    decoder = SymbolDecoder(data[start:end])
    classes = decoder.take(tables * symbols, class_table)
    decoder.finish()
    return _unpack_low_bits(data[end:], classes).reshape(tables, symbols)


def _bit_length(values: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Binary digits of each value: 0 for 0, 1 for 1, 2 for 2 and 3, ... (frexp is exact below 2**53)."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int32)


def _pack_low_bits(values: NDArray[np.uint32], classes: NDArray[np.int32]) -> bytes:
    """The bits below the leading ones, plane by plane from the lowest; plane p has the values of class > p + 1."""
    planes = [
        ((values[classes > plane + 1] >> np.uint32(plane)) & np.uint32(1)).astype(np.uint8)
        for plane in range(int(classes.max()))
    ]
    return np.packbits(np.concatenate(planes)).tobytes()


def _unpack_low_bits(data: bytes, classes: NDArray[np.int32]) -> NDArray[np.uint32]:
    stored = int(np.maximum(classes.astype(np.int64) - 1, 0).sum())
    if len(data) != (stored + 7) // 8:
        raise DamagedArchiveError(f"frequency tables: {len(data)} bytes of low bits do not fit their classes")
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    if bits[stored:].any():
        raise DamagedArchiveError("frequency tables: the bits that fill the last byte are not zero")
    values = np.where(classes > 0, np.uint32(1) << np.maximum(classes - 1, 0).astype(np.uint32), np.uint32(0))
    start = 0
    for plane in range(int(classes.max())):
        owners = np.flatnonzero(classes > plane + 1)
        values[owners] |= bits[start : start + len(owners)].astype(np.uint32) << np.uint32(plane)
        start += len(owners)
    return values.astype(np.uint32)
