"""Checksums, canonical JSON, fields, the entropy coder and tables of frequencies, as docs/format.md states them."""

import json
import struct
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np


class BadArchiveError(Exception):
    """The file is not as the page says."""


def demand(holds: object, what: str) -> None:
    """Refuse the file unless the condition holds."""
    if not holds:
        raise BadArchiveError(what)


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def canonical_json(data: bytes) -> dict[str, Any]:
    """Parse an object in canonical JSON."""
    try:
        text = data.decode("utf-8")
        value = json.loads(text)
        written = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise BadArchiveError("no JSON") from error
    demand(isinstance(value, dict) and written == text, "not canonical JSON")
    return value


def are_integers(values: object, count: int) -> bool:
    """Whether a value is a list of `count` integers, none of them a boolean."""
    return isinstance(values, list) and len(values) == count and all(type(value) is int for value in values)


class Bytes:
    """Bytes read from front to back."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def take(self, length: int) -> bytes:
        """The next bytes."""
        demand(self.place + length <= len(self.data), "too short")
        self.place += length
        return self.data[self.place - length : self.place]

    def fields(self, layout: str) -> tuple[int, ...]:
        """Little-endian fields."""
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(len(self.data) - self.place)


class Coder:
    """The decoder of entropy-coded groups, in plain integers."""

    def __init__(self, data: bytes) -> None:
        demand(len(data) % 4 == 0, "words cut")
        self.words = list(struct.unpack(f"<{len(data) // 4}I", data))
        demand(not self.words or self.words[-1], "the last word is zero")
        self.state = 0
        self._refill()
        self._refill()

    def _refill(self) -> None:
        if self.state < 1 << 32 and self.words:
            self.state = self.state << 32 | self.words.pop()

    def group(self, frequencies: Sequence[int], precision: int, count: int) -> list[int]:
        """Decode a group of symbols with one table."""
        possible = [symbol for symbol, frequency in enumerate(frequencies) if frequency]
        if len(possible) == 1:
            return possible * count
        units = [int(frequencies[symbol]) << 24 - precision for symbol in possible]
        lefts = [0, *accumulate(units)]
        return [possible[self._next(units, lefts)] for _ in range(count)]

    def each(self, units: Sequence[int]) -> int:
        """Decode a symbol with units of its own."""
        return self._next(units, [0, *accumulate(units)])

    def _next(self, units: Sequence[int], lefts: Sequence[int]) -> int:
        demand(lefts[-1] == 1 << 24, "frequencies")
        place = self.state % (1 << 24)
        at = bisect_right(lefts, place) - 1
        self.state = (self.state >> 24) * units[at] + place - lefts[at]
        self._refill()
        return at

    def end(self) -> None:
        """Check that nothing is left."""
        demand(self.state == 0 and not self.words, "the coder does not end")


def read_tables(source: Bytes, rows: int, symbols: int, precision: int) -> list[list[int]]:
    """Read tables of frequencies, as a prior has them."""
    class_frequencies = source.fields(f"{precision + 2}H")
    demand(sum(class_frequencies) == 4096, "class frequencies")
    (words,) = source.fields("I")
    coder = Coder(source.take(4 * words))
    classes = coder.group(class_frequencies, 12, rows * symbols)
    coder.end()
    values = [1 << width - 1 if width else 0 for width in classes]
    members = [(at, plane) for plane in range(precision) for at, width in enumerate(classes) if width > plane + 1]
    packed = np.unpackbits(np.frombuffer(source.take(-(-len(members) // 8)), np.uint8))
    demand(not packed[len(members) :].any(), "filling bits")
    for (at, plane), bit in zip(members, packed.tolist(), strict=False):
        values[at] |= bit << plane
    tables = [values[row * symbols : (row + 1) * symbols] for row in range(rows)]
    demand(all(sum(table) == 1 << precision for table in tables), "frequencies do not sum to 2^P")
    return tables


def unpack(packed: bytes, limit: int) -> bytes:
    """Unpack a zlib stream to at most `limit` bytes. Nothing may follow it."""
    stream = zlib.decompressobj()
    try:
        unpacked = stream.decompress(packed, limit + 1)
    except zlib.error as error:
        raise BadArchiveError("no zlib stream") from error
    demand(stream.eof and not stream.unused_data and len(unpacked) <= limit, "zlib stream")
    return unpacked
