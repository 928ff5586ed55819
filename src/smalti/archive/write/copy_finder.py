"""Finds images that are exact copies of earlier ones while an archive is collected."""

import hashlib
from array import array
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.copies import MOST_COPIED_IMAGES, Copies
from smalti.archive.write.cell_spool import CellSpool

__all__ = ["CopyFinder"]

_LEAST_TOKENS = 64
"""An image of fewer tokens is always stored: its place in the list of copies would cost about as much."""

_RECENT = 1 << 16
"""Keys that are in a dictionary, before they go to the arrays."""


class CopyFinder:
    """Tells which images have the size and the tokens of an earlier one. Tokens are compared, not their keys alone.

    Memory: 16 bytes for each stored image, and for each copy.

    spool : takes the images that are stored    cell : rows and columns of pixels of a cell
    """

    def __init__(self, spool: CellSpool, cell: int) -> None:
        self._spool, self._cell = spool, cell
        self._seen = _Seen()
        self._images = 0
        self._numbers, self._stored_of = array("q"), array("q")

    @property
    def images(self) -> int:
        """All images so far."""
        return self._images

    def append(self, tokens: NDArray[np.uint16], sizes: NDArray[np.int64]) -> None:
        """Add images to the spool, except copies.

        tokens : uint16 [cells, M]    sizes : int64 [n, 2], H and W; n from 1
        """
        cells = np.prod(-(-sizes // self._cell), axis=1)
        parts = [_Image(*part) for part in zip(np.split(tokens, np.cumsum(cells)[:-1]), sizes, strict=True)]
        stored = np.ones(len(sizes), np.bool_)
        new: list[_Image] = []
        for position, image in enumerate(parts):
            original = self._find(image, new)
            if original is None:
                new.append(image)
            else:
                stored[position] = False
                self._numbers.append(self._images)
                self._stored_of.append(original)
            self._images += 1
        if stored.all():
            self._spool.append(tokens, sizes)
        elif new:
            self._spool.append(tokens[np.repeat(stored, cells)], sizes[stored])

    def copies(self) -> Copies | None:
        """The copies among all images; None if there are none."""
        if not self._numbers:
            return None
        return Copies(self._images, np.array(self._numbers, np.int64), np.array(self._stored_of, np.int64))

    def _find(self, image: "_Image", new: list["_Image"]) -> int | None:
        """The stored image that is the same; None if this one is to be stored. new : those that the spool lacks yet"""
        if image.tokens.size < _LEAST_TOKENS or self._images > MOST_COPIED_IMAGES:
            return None
        key, spooled = image.key(), len(self._spool)
        found = self._seen.find(key)
        if found is None:
            self._seen.add(key, spooled + len(new))
            return None
        other = new[found - spooled] if found >= spooled else self._spooled(found)
        return found if image.is_same(other) else None

    def _spooled(self, number: int) -> "_Image":
        """An image of the spool."""
        return _Image(self._spool.whole(np.array([number], np.int64)), np.array(self._spool.size(number), np.int64))


class _Image(NamedTuple):
    """One image. tokens : uint16 [cells, M]    size : int64 [2], H and W"""

    tokens: NDArray[np.uint16]
    size: NDArray[np.int64]

    def key(self) -> int:
        """A hash of 64 bits."""
        found = hashlib.blake2b(self.size.astype("<i8").tobytes(), digest_size=8)
        found.update(np.ascontiguousarray(self.tokens, "<u2").data)
        return int.from_bytes(found.digest(), "little")

    def is_same(self, other: "_Image") -> bool:
        """Whether another image has the same size and tokens."""
        return np.array_equal(self.size, other.size) and np.array_equal(self.tokens, other.tokens)


class _Seen:
    """Numbers by keys of 64 bits: 16 bytes for each but the last ones."""

    def __init__(self) -> None:
        self._keys, self._numbers = np.empty(0, np.uint64), np.empty(0, np.int64)  # in the order of the keys
        self._recent: dict[int, int] = {}

    def find(self, key: int) -> int | None:
        """The number of a key; None if it has none."""
        place = int(np.searchsorted(self._keys, np.uint64(key)))
        if place < len(self._keys) and int(self._keys[place]) == key:
            return int(self._numbers[place])
        return self._recent.get(key)

    def add(self, key: int, number: int) -> None:
        """Give a new key its number."""
        self._recent[key] = number
        if len(self._recent) == _RECENT:
            keys = np.array(sorted(self._recent), np.uint64)
            places = np.searchsorted(self._keys, keys)
            self._numbers = np.insert(self._numbers, places, [self._recent[key] for key in keys.tolist()])
            self._keys = np.insert(self._keys, places, keys)
            self._recent = {}
