"""Signed pixels of 16 bits, and the unsigned ones by which models, archives and errors know them: 32,768 more.

Users see int16 on both sides. Only the ends of the way know of the sign: packing turns sources into unsigned ones,
reading turns decoded pixels back, and measures of quality see both images unsigned.

Layer: within `images`, above `source`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import overload

import numpy as np
from numpy.typing import NDArray

from smalti.images.batch import INT16, UINT16, ImageBatch, Pixels, SkippedFile, UnsignedPixels
from smalti.images.source import ImageSource, RandomAccessSource, SizedSource

__all__ = ["is_signed", "to_signed", "to_unsigned", "unsigned"]

_SIGN = np.uint16(0x8000)


def to_unsigned(pixels: Pixels) -> UnsignedPixels:
    """Return int16 pixels as uint16, 32,768 more; others as they are."""
    if pixels.dtype != INT16:
        return pixels  # type: ignore[return-value]
    unsigned: NDArray[np.uint16] = pixels.view(np.uint16) ^ _SIGN
    return unsigned


def to_signed(pixels: Pixels) -> NDArray[np.int16]:
    """Invert `to_unsigned` for uint16 pixels that stand for signed ones."""
    signed: NDArray[np.int16] = (pixels ^ _SIGN).view(np.int16)
    return signed


@overload
def unsigned(source: ImageSource) -> ImageSource: ...


@overload
def unsigned(source: SizedSource) -> SizedSource: ...


def unsigned(source: ImageSource | SizedSource) -> ImageSource | SizedSource:
    """Return a source of signed pixels as one of unsigned pixels, which `is_signed` still knows; others as they are."""
    if source.dtype != INT16:
        return source
    if isinstance(source, SizedSource):
        return _RandomUnsignedSizes(source) if isinstance(source, RandomAccessSource) else _UnsignedSizes(source)
    return _RandomUnsignedShape(source) if isinstance(source, RandomAccessSource) else _UnsignedShape(source)


def is_signed(source: ImageSource | SizedSource) -> bool:
    """Whether the images of a source are signed, though its pixels may be unsigned by now."""
    return isinstance(source, _Unsigned) or source.dtype == INT16


class _Unsigned:
    """The images of a source of signed pixels, unsigned."""

    dtype = UINT16

    def __init__(self, source: ImageSource | SizedSource) -> None:
        self.description, self.class_names = source.description, source.class_names
        self._source = source

    @property
    def skipped(self) -> Sequence[SkippedFile]:
        """The skipped files of the source."""
        return self._source.skipped

    def __len__(self) -> int:
        return len(self._source)

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield the images of entries [start, stop), each once, in order."""
        return map(_unsigned_batch, self._source.batches(batch_images, start, stop))


class _UnsignedShape(_Unsigned):
    """Images of one shape."""

    def __init__(self, source: ImageSource) -> None:
        super().__init__(source)
        self.image_shape = source.image_shape


class _UnsignedSizes(_Unsigned):
    """Images of any sizes."""

    def __init__(self, source: SizedSource) -> None:
        super().__init__(source)
        self.channels = source.channels
        self._sized = source

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each entry: int64 [n, 2]."""
        return self._sized.sizes


class _RandomAccess(_Unsigned):
    """Images of a source that has random access."""

    def batches_at(self, entries: NDArray[np.int64], batch_images: int) -> Iterator[ImageBatch]:
        """Yield the readable images of these ascending entries, each once, in order."""
        assert isinstance(self._source, RandomAccessSource)
        return map(_unsigned_batch, self._source.batches_at(entries, batch_images))


class _RandomUnsignedShape(_RandomAccess, _UnsignedShape):
    """Images of one shape, with random access."""


class _RandomUnsignedSizes(_RandomAccess, _UnsignedSizes):
    """Images of any sizes, with random access."""


def _unsigned_batch(batch: ImageBatch) -> ImageBatch:
    return replace(batch, pixels=to_unsigned(batch.pixels))
