"""A reader of packed numbers, written from docs/format.md: arrays of integers behind a description."""

from typing import Any

import numpy as np

from conformance.readers.basics import Bytes, Coder, canonical_json, demand, read_tables
from conformance.readers.network import Arrays

EXACT_SINGLE = 1 << 24
PACKED_KEYS = {"precision": (1, 16), "symbols": (1, 96), "tables": (1, 4096)}


class Packed:
    """Packed numbers."""

    def __init__(self, data: bytes, keys: dict[str, tuple[int, int]], lists: tuple[str, ...] = ()) -> None:
        source = Bytes(data)
        text = source.take(source.fields("I")[0])
        demand(len(text) <= 65536, "length of a description")
        self.found = canonical_json(text)
        ranges = PACKED_KEYS | keys
        demand(sorted(self.found) == sorted([*ranges, *lists]), "keys of a description")
        for key, (low, high) in ranges.items():
            demand(type(self.found[key]) is int and low <= self.found[key] <= high, f"{key} of a description")
        packed = Bytes(source.take(source.fields("I")[0]))
        tables = read_tables(packed, self.found["tables"], self.found["symbols"], self.found["precision"])
        demand(not packed.rest(), "bytes after the tables")
        self.coder = Coder(source.rest())
        self.arrays = Arrays(self.coder, tables, self.found["precision"])

    def take(self, *shape: int, low: int = -(1 << 40), high: int = 1 << 40) -> np.ndarray:
        """The next array."""
        if 0 in shape:
            return np.zeros(shape, np.int64)
        if len(shape) == 1:
            numbers = self.arrays.array(np.zeros(shape, np.int64), signed=True)
        else:
            numbers = self.arrays.weights(shape)
        demand(low <= numbers.min() and numbers.max() <= high, "range of a number")
        return numbers

    def end(self) -> None:
        """Check that nothing is left."""
        demand(self.arrays.used == len(self.arrays.tables), "a table is left over")
        self.coder.end()


def exact(weight: np.ndarray, bias: Any, largest: Any) -> None:
    """Refuse weights [inputs, outputs] whose sums may exceed 2^24."""
    sums = (np.abs(weight) * np.asarray(largest).reshape(-1, 1)).sum(axis=0) + np.abs(bias)
    demand(sums.max() <= EXACT_SINGLE, "sums are not exact")
