"""Several sources read one after the other as one, and the whole of a source in memory."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, SkippedFile
from smalti.images.source import ImageSource
from smalti.lazy import cached_property

__all__ = ["ChainedSource", "read_bytes", "read_images"]


class ChainedSource:
    """The images of several sources of one shape and dtype, in order.

    Labels, names and fields are there only if every part has them. Raises SourceError if parts differ in shape,
    dtype, or the names of their classes.
    """

    def __init__(self, description: str, parts: Sequence[ImageSource]) -> None:
        kinds = [(part.image_shape, str(part.dtype)) for part in parts]
        if len(set(kinds)) != 1:
            raise SourceError(f"{description}: parts have images of different shapes or dtypes: {kinds}")
        if len({part.class_names for part in parts}) != 1:
            raise SourceError(f"{description}: parts have classes of different names; read them one by one")
        self.description = description
        self.image_shape = parts[0].image_shape
        self.dtype = parts[0].dtype
        self.class_names = parts[0].class_names
        self._parts = tuple(parts)

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """The files passed over in any part."""
        return tuple(file for part in self._parts for file in part.skipped)

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield entries `start` to `stop` once, in order; a batch may reach from one part into the next."""
        pending: list[ImageBatch] = []
        missing = batch_images
        for batch in self._in_parts(batch_images, *slice(start, stop).indices(len(self))[:2]):
            head, tail = batch.part(0, missing), batch.part(missing, len(batch))
            pending.append(head)
            missing -= len(head)
            if missing == 0:
                yield ImageBatch.joined(pending)
                pending, missing = [], batch_images
                if len(tail):
                    pending, missing = [tail], batch_images - len(tail)
        if pending:
            yield ImageBatch.joined(pending)

    def _in_parts(self, batch_images: int, start: int, stop: int) -> Iterator[ImageBatch]:
        """What the parts yield of these entries, without what some parts lack."""
        first = 0
        for part in self._parts:
            span = range(max(start - first, 0), min(stop - first, len(part)))
            if span:
                for batch in part.batches(batch_images, span.start, span.stop):
                    yield ImageBatch(
                        batch.pixels,
                        batch.labels if self._shared.labels is not None else None,
                        batch.names if self._shared.names is not None else None,
                        {name: batch.fields[name] for name in self._shared.fields},
                    )
            first += len(part)

    @cached_property
    def _shared(self) -> ImageBatch:
        """A batch with the labels, names and fields that every part has: the first images of all, joined."""
        firsts = (next(part.batches(1), None) for part in self._parts)
        return ImageBatch.joined([batch for batch in firsts if batch is not None])


def read_images(source: ImageSource, limit: int | None = None) -> ImageBatch:
    """All images of a source, or the first `limit`, in memory as one batch. SourceError if there are none."""
    parts: list[ImageBatch] = []
    missing = len(source) if limit is None else min(limit, len(source))
    for batch in source.batches(min(4096, max(1, missing))):
        parts.append(batch.part(0, missing))
        missing -= len(parts[-1])
        if missing <= 0:
            break
    if not parts or not len(parts[0]):
        raise SourceError(f"{source.description}: no image could be read")
    return ImageBatch.joined(parts)


def read_bytes(source: ImageSource, limit: int | None = None) -> NDArray[np.uint8]:
    """The pixels of all images of a source, or of the first `limit`, for what is made for 8 bits: uint8 [n, H, W, C].

    SourceError if there are none, or if they have 16 bits.
    """
    pixels = read_images(source, limit).pixels
    if pixels.dtype != np.uint8:
        raise SourceError(f"{source.description}: has pixels of {pixels.dtype}, and this is for images of 8 bits")
    return pixels.astype(np.uint8, copy=False)
