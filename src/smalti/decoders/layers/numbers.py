"""Arrays of integers as few bytes, behind a description in canonical JSON.

Every array is coded with tables of its own (`smalti.entropy.integers`); the rows and columns of a matrix have levels,
so that numbers of similar size share a table (`smalti.decoders.layers.network_packing`).
"""

import struct
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.network_packing import MAX_PRECISION, choose_levels, read_matrix, write_weights
from smalti.entropy.integers import MAX_SYMBOLS, IntegerReader, IntegerWriter
from smalti.errors import DamagedArchiveError, LimitExceededError
from smalti.storage.canonical import canonical_json, parse_canonical_json

__all__ = ["NumberReader", "description_of", "pack_numbers"]

_LENGTH = struct.Struct("<I")
_PRECISION = 10
_MAX_DESCRIPTION_BYTES = 1 << 16
_MAX_TABLES = 4096
_LARGEST = (1 << 25) - 1


def pack_numbers(description: Mapping[str, Any], arrays: Sequence[NDArray[np.integer]]) -> bytes:
    """Serialise arrays of integers with magnitudes below 2**25. `NumberReader` is the inverse.

    description : what a reader needs to know their shapes; the keys precision, symbols and tables are added
    """
    writer = IntegerWriter(_PRECISION)
    for array in arrays:
        if array.ndim > 1 and array.size:
            write_weights(writer, array.reshape(-1, array.shape[-1]), choose_levels(array.reshape(-1, array.shape[-1])))
        elif array.size:
            writer.add(array, signed=True)
    tables, words = writer.finish()
    head = canonical_json({**description, "precision": _PRECISION, "symbols": writer.symbols, "tables": writer.tables})
    return _LENGTH.pack(len(head)) + head + _LENGTH.pack(len(tables)) + tables + words


def description_of(data: bytes, what: str) -> dict[str, Any]:
    """The description of bytes of `pack_numbers`, unchecked. DamagedArchiveError."""
    head, _ = _take(data, what)
    if len(head) > _MAX_DESCRIPTION_BYTES:
        raise DamagedArchiveError(f"{what}: a description of {len(head)} bytes")
    found = parse_canonical_json(head, what)
    if not isinstance(found, dict):
        raise DamagedArchiveError(f"{what}: a description that is no object")
    return found


class NumberReader:
    """Reads the bytes of `pack_numbers`: first its description, then array after array.

    what : names the bytes in messages
    keys : the names and the largest values of the whole numbers of the description
    limit_bytes : the most bytes that all arrays may take, 8 for each number

    Raises DamagedArchiveError, LimitExceededError.
    """

    def __init__(self, data: bytes, what: str, keys: Mapping[str, tuple[int, int]], limit_bytes: int) -> None:
        self._what, self._left = what, limit_bytes // 8
        found, rest = description_of(data, what), _take(data, what)[1]
        own = {"precision": (1, MAX_PRECISION), "symbols": (1, MAX_SYMBOLS), "tables": (1, _MAX_TABLES)}
        if not {*own, *keys} <= set(found):
            raise DamagedArchiveError(f"{what}: a description without the keys of format 1")
        for key, (low, high) in {**own, **keys}.items():
            if type(found[key]) is not int or not low <= found[key] <= high:
                raise DamagedArchiveError(f"{what}: {key} is {found[key]!r}, not a whole number in {low}..{high}")
        self.description: dict[str, Any] = found
        self.keys = {*own, *keys}
        tables, words = _take(rest, what)
        self._reader = IntegerReader(tables, words, found["tables"], found["symbols"], found["precision"])

    def take(self, shape: tuple[int, ...], low: int = -_LARGEST, high: int = _LARGEST) -> NDArray[np.int64]:
        """Read the next array, int64 of this shape. DamagedArchiveError if a number is outside low..high."""
        count = prod(shape)
        self._left -= count
        if self._left < 0:
            raise LimitExceededError(f"{self._what}: more numbers than the limit of the model's bytes allows")
        if not count:
            return np.zeros(shape, np.int64)
        found = self._matrix(shape) if len(shape) > 1 else self._reader.take(count, signed=True)
        if int(found.min()) < low or int(found.max()) > high:
            raise DamagedArchiveError(f"{self._what}: a number is outside {low}..{high}")
        return found.reshape(shape)

    def finish(self) -> None:
        """Raise DamagedArchiveError unless all bytes were used."""
        self._reader.finish()

    def _matrix(self, shape: tuple[int, ...]) -> NDArray[np.int64]:
        return read_matrix(self._reader, (prod(shape[:-1]), shape[-1]), -_LARGEST, _LARGEST)


def _take(data: bytes, what: str) -> tuple[bytes, bytes]:
    """Split off a part that begins with its length."""
    if len(data) < _LENGTH.size or len(data) < _LENGTH.size + _LENGTH.unpack_from(data)[0]:
        raise DamagedArchiveError(f"{what}: it ends too early")
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    return data[_LENGTH.size : end], data[end:]
