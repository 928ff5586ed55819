"""Reading images by number: what both forms of archive answer, and images of one shape."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.block_layout import FixedLayout
from smalti.archive.read.pixels import read_pixels
from smalti.archive.read.sections import SectionFile
from smalti.archive.read.store import ImageStore
from smalti.errors import UsageError
from smalti.images.batch import Pixels
from smalti.images.signs import to_signed

__all__ = ["FixedImages", "ImageReader", "SignedImages", "Span", "span_of"]

Span = slice | tuple[int, int]
"""Rows or columns of an image: a slice of step 1, or start and stop."""


class ImageReader(Protocol):
    """The pixels and tokens of an archive."""

    @property
    def image_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """The distinct (H, W, C), in order of appearance."""

    @property
    def smallest_bytes(self) -> int:
        """Bytes of the pixels of the smallest image."""

    @property
    def levels(self) -> int:
        """Levels of the tokens."""

    def shape_of(self, number: int) -> tuple[int, int, int]:
        """(H, W, C) of an image."""

    def stacks(self, numbers: NDArray[np.int64]) -> Iterator[tuple[Pixels, slice]]:
        """Yield images of one shape that follow each other, [n, H, W, C], and which of `numbers` they are."""

    def read(self, numbers: NDArray[np.int64], levels: int | None = None) -> Pixels:
        """Images of one shape: [n, H, W, C]. UsageError if they have several."""

    def read_each(self, numbers: NDArray[np.int64]) -> list[Pixels]:
        """Images of any shapes: [H, W, C] each."""

    def region(self, number: int, rows: range, columns: range) -> Pixels:
        """A part of an image: [h, w, C]."""

    def tokens(self, numbers: range) -> NDArray[np.uint16]:
        """The tokens of images in a row: see `Archive.tokens`."""


class FixedImages:
    """Images of one shape."""

    def __init__(self, file: SectionFile, store: ImageStore, threads: int) -> None:
        self._file, self._store, self._threads = file, store, threads
        self._header = file.header

    @property
    def image_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """The one shape."""
        return (self._header.image_shape,)

    @property
    def smallest_bytes(self) -> int:
        """Bytes of the pixels of an image."""
        return self._header.image_bytes

    @property
    def levels(self) -> int:
        """Levels of the tokens: 1, unless the decoder has levels."""
        return len(self._store.model.levels or ()) if self._header.has_levels else 1

    def shape_of(self, number: int) -> tuple[int, int, int]:
        """The one shape."""
        return self._header.image_shape

    def stacks(self, numbers: NDArray[np.int64]) -> Iterator[tuple[Pixels, slice]]:
        """Yield all images."""
        yield self.read(numbers), slice(0, len(numbers))

    def read(self, numbers: NDArray[np.int64], levels: int | None = None) -> Pixels:
        """Images: [n, H, W, C]."""
        return read_pixels(self._file, self._store, numbers, self._threads, levels)

    def read_each(self, numbers: NDArray[np.int64]) -> list[Pixels]:
        """Images: [H, W, C] each."""
        return list(self.read(numbers))

    def region(self, number: int, rows: range, columns: range) -> Pixels:
        """A part of an image: [h, w, C]."""
        image: Pixels = self.read(np.array([number], np.int64))[0]
        return image[rows.start : rows.stop, columns.start : columns.stop].copy()

    def tokens(self, numbers: range) -> NDArray[np.uint16]:
        """Tokens: uint16 [n, h, w]."""
        header, layout = self._header, self._header.layout
        self._file.limits.check("request_bytes", 2 * len(numbers) * header.tokens_per_image, "this request")
        tokens = np.empty((len(numbers), header.tokens_per_image), np.uint16)
        parts = _parts(layout, numbers)
        for run in self._store.fetch_blocks([block for block, _ in parts]):
            for block, part in parts[run]:
                first = layout.image_range(block).start
                rows = self._store.tokens(block)[part.start - first : part.stop - first]
                tokens[part.start - numbers.start : part.stop - numbers.start] = rows
        return tokens.reshape(-1, *header.token_grid)


def _parts(layout: FixedLayout, numbers: range) -> list[tuple[int, range]]:
    """Cut a range of images (step 1) at the bounds of token blocks."""
    if not numbers:
        return []
    blocks = range(numbers.start // layout.block_images, (numbers.stop - 1) // layout.block_images + 1)
    held = [(block, layout.image_range(block)) for block in blocks]
    return [(block, range(max(images.start, numbers.start), min(images.stop, numbers.stop))) for block, images in held]


def span_of(span: Span, size: int, what: str) -> range:
    """The rows or columns that a caller names. UsageError for a step or for numbers outside the image."""
    if isinstance(span, slice):
        found = range(*span.indices(size))
        if found.step != 1:
            raise UsageError(f"{what} {span}: a region has no step")
        return range(found.start, max(found.start, found.stop))
    start, stop = span
    if not 0 <= start <= stop <= size:
        raise UsageError(f"{what} {start} to {stop} are not inside 0 to {size}")
    return range(start, stop)


class SignedImages:
    """Images whose pixels are signed: those of another reader, less 32,768."""

    def __init__(self, images: ImageReader) -> None:
        self._images = images
        self.shape_of, self.tokens = images.shape_of, images.tokens

    @property
    def image_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """The distinct (H, W, C)."""
        return self._images.image_shapes

    @property
    def smallest_bytes(self) -> int:
        """Bytes of the pixels of the smallest image."""
        return self._images.smallest_bytes

    @property
    def levels(self) -> int:
        """Levels of the tokens."""
        return self._images.levels

    def stacks(self, numbers: NDArray[np.int64]) -> Iterator[tuple[Pixels, slice]]:
        """Yield images of one shape that follow each other, [n, H, W, C], and which of `numbers` they are."""
        for pixels, part in self._images.stacks(numbers):
            yield to_signed(pixels), part

    def read(self, numbers: NDArray[np.int64], levels: int | None = None) -> Pixels:
        """Images of one shape: [n, H, W, C]."""
        return to_signed(self._images.read(numbers, levels))

    def read_each(self, numbers: NDArray[np.int64]) -> list[Pixels]:
        """Images of any shapes: [H, W, C] each."""
        return [to_signed(image) for image in self._images.read_each(numbers)]

    def region(self, number: int, rows: range, columns: range) -> Pixels:
        """A part of an image: [h, w, C]."""
        return to_signed(self._images.region(number, rows, columns))
