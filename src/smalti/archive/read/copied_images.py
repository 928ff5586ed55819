"""Reading images some of which are copies of others: here the number of an image becomes that of a stored one."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from smalti.archive.read.sized_images import SizedImages
from smalti.archive.read.store import CellStore
from smalti.images.batch import Pixels

__all__ = ["CopiedImages"]


class CopiedImages:
    """All images of an archive. stored : reads the stored ones    store : tells which these are"""

    def __init__(self, stored: SizedImages, store: CellStore) -> None:
        self._stored, self._store = stored, store

    @property
    def image_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """The distinct shapes, in order of appearance: no copy is the first of its shape."""
        return self._stored.image_shapes

    @property
    def smallest_bytes(self) -> int:
        """Bytes of the pixels of the smallest image."""
        return self._stored.smallest_bytes

    @property
    def levels(self) -> int:
        """Tokens have no levels."""
        return self._stored.levels

    def shape_of(self, number: int) -> tuple[int, int, int]:
        """(H, W, C) of an image."""
        return self._stored.shape_of(self._number(number))

    def stacks(self, numbers: NDArray[np.int64]) -> Iterator[tuple[Pixels, slice]]:
        """Yield images of one shape that follow each other, [n, H, W, C], and which of `numbers` they are."""
        return self._stored.stacks(self._store.stored_numbers(numbers))

    def read(self, numbers: NDArray[np.int64], levels: int | None = None) -> Pixels:
        """Images of one shape: [n, H, W, C]. UsageError if they have several."""
        return self._stored.read(self._store.stored_numbers(numbers), levels)

    def read_each(self, numbers: NDArray[np.int64]) -> list[Pixels]:
        """Images of any shapes: [H, W, C] each. Copies do not share memory."""
        return self._stored.read_each(self._store.stored_numbers(numbers))

    def region(self, number: int, rows: range, columns: range) -> Pixels:
        """A part of an image: [h, w, C]."""
        return self._stored.region(self._number(number), rows, columns)

    def tokens(self, numbers: range) -> NDArray[np.uint16]:
        """Tokens of images of one grid of cells: uint16 [n, rows, columns, M]. UsageError if they have several."""
        images = np.arange(numbers.start, numbers.stop, dtype=np.int64)
        return self._stored.tokens_of(self._store.stored_numbers(images))

    def _number(self, number: int) -> int:
        return int(self._store.stored_numbers(np.array([number], np.int64))[0])
