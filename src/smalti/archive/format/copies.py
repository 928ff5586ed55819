"""Which images of an archive are exact copies of others (docs/format.md, "Copies").

An archive numbers its images in two ways. All that people see numbers all images. Sizes, units and token blocks number
the stored images alone: those that are no copies, in the same order. `Copies` is the one place that knows both.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.limits import Limits
from smalti.archive.format.sizes import IMAGE_BYTES
from smalti.entropy.integers import MAX_SYMBOLS, IntegerReader, IntegerWriter
from smalti.errors import DamagedArchiveError
from smalti.lazy import cached_property

__all__ = ["MOST_COPIED_IMAGES", "Copies"]

MOST_COPIED_IMAGES = 1 << 24
"""A writer makes no copy of a number above this, so that every number of the list has at most 25 binary digits."""

_HEAD = struct.Struct("<IIIB")  # copies, bytes of the tables, bytes of the words, symbols of a table
_PRECISION = 12
_ARRAYS = 2


class Copies:
    """The copies among N images.

    numbers : int64 [c], ascending, c from 1: the images that are copies; image 0 is none
    stored_of : int64 [c], the stored image that each is a copy of; it comes before it

    images : N    stored : the number of stored images
    numbers_of_images : int64 [N], the stored number of each image
    firsts : int64 [stored], the image that each stored image is
    """

    def __init__(self, images: int, numbers: NDArray[np.int64], stored_of: NDArray[np.int64]) -> None:
        self._numbers = numbers
        self.images, self.stored = images, images - len(numbers)
        is_stored = np.ones(images, np.bool_)
        is_stored[numbers] = False
        self.firsts = np.flatnonzero(is_stored).astype(np.int64)
        self.numbers_of_images = np.cumsum(is_stored, dtype=np.int64) - 1
        self.numbers_of_images[numbers] = stored_of

    def __len__(self) -> int:
        return self.images - self.stored

    @property
    def copied(self) -> NDArray[np.bool_]:
        """bool [stored]: whether there are copies of each stored image."""
        return np.bincount(self.numbers_of_images[self._numbers], minlength=self.stored) > 0

    def images_of(self, stored: range) -> NDArray[np.int64]:
        """The images, ascending, that have the pixels of some stored images: int64 [n]."""
        ordered, starts = self._by_stored
        return np.sort(ordered[int(starts[stored.start]) : int(starts[stored.stop])])

    @cached_property
    def _by_stored(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All images, ordered by their stored numbers, and the place of the first of each stored number."""
        counts = np.bincount(self.numbers_of_images, minlength=self.stored)
        ordered = np.argsort(self.numbers_of_images, kind="stable").astype(np.int64)
        return ordered, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def to_bytes(self) -> bytes:
        """The list of copies, which begins a sizes section. `split` is the inverse."""
        ordered, _ = self._by_stored
        before = np.empty(self.images, np.int64)  # the last image with the same pixels
        before[ordered[1:]] = ordered[:-1]
        distances = self._numbers - before[self._numbers]
        writer = IntegerWriter(_PRECISION)
        writer.add(np.diff(self._numbers, prepend=-1) - 1)
        writer.add(np.diff(distances, prepend=0), signed=True)
        tables, words = writer.finish()
        return _HEAD.pack(len(self), len(tables), len(words), writer.symbols) + tables + words

    @classmethod
    def split(cls, data: bytes, images: int, limits: Limits) -> tuple["Copies", bytes]:
        """Read the list of copies among `images` images, and return what follows it. DamagedArchiveError,
        LimitExceededError."""
        limits.check("column_bytes", IMAGE_BYTES * images, "the list of copies")
        if len(data) < _HEAD.size:
            raise DamagedArchiveError("too short for a list of copies")
        copies, tables_bytes, words_bytes, symbols = _HEAD.unpack_from(data)
        tables_end = _HEAD.size + tables_bytes
        end = tables_end + words_bytes
        if end > len(data) or not 1 <= symbols <= MAX_SYMBOLS:
            raise DamagedArchiveError("its list of copies ends after its data, or has too many symbols")
        if not 1 <= copies < images:
            raise DamagedArchiveError(f"{copies} copies among {images} images cannot be")
        try:
            reader = IntegerReader(data[_HEAD.size : tables_end], data[tables_end:end], _ARRAYS, symbols, _PRECISION)
            numbers = np.cumsum(reader.take(copies) + 1) - 1
            distances = np.cumsum(reader.take(copies, signed=True))
            reader.finish()
        except DamagedArchiveError as error:
            raise DamagedArchiveError(str(error).removeprefix("network: ")) from error
        if int(numbers[-1]) >= images or int(distances.min()) < 1 or (distances > numbers).any():
            raise DamagedArchiveError("a copy of an image that is not before it")
        return cls(images, numbers, _stored_of(images, numbers, distances)), data[end:]


def _stored_of(images: int, numbers: NDArray[np.int64], distances: NDArray[np.int64]) -> NDArray[np.int64]:
    """The stored number that each copy leads to, by way of other copies."""
    is_stored = np.ones(images, np.bool_)
    is_stored[numbers] = False
    leads = np.arange(images, dtype=np.int64)
    leads[numbers] -= distances
    while not is_stored[leads[numbers]].all():
        leads[numbers] = leads[leads[numbers]]  # twice as far: each leads to an image before it
    return (np.cumsum(is_stored, dtype=np.int64) - 1)[leads[numbers]]
