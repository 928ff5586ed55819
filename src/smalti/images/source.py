"""The contract of a source of images: a fixed order, streaming, any number of passes.

Several sources read one after the other as one, and the whole of a source in memory.

What is passed over, refused: for those who want all of a source or nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, SkippedFile
from smalti.lazy import cached_property

__all__ = [
    "ChainedSource",
    "ImageSource",
    "RandomAccessSource",
    "read_bytes",
    "read_images",
    "refuse_skipped",
    "skipped_words",
]


class ImageSource(Protocol):
    """Images of one shape and dtype in a fixed order, read in batches; memory does not grow with their number.

    Opening a source finds its shape and the number of its entries. Entries that turn out unreadable are passed
    over during a pass and listed in `skipped`, so a pass may yield fewer than `len(source)` images; every pass
    yields the same ones.
    """

    @property
    def description(self) -> str:
        """What the user called it: a path or the name of a set."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        """Uint8 or uint16, that of every image."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The name of each label 0, 1, ... if the labels stand for names (class folders), else None."""

    @property
    def skipped(self) -> Sequence[SkippedFile]:
        """The files passed over, complete after a full pass."""

    def __len__(self) -> int:
        """Entries found: an upper bound of the number of images that a pass yields."""

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield the images of entries `start` to `stop` (exclusive; None is the end), each once, in order.

        Batches are of `batch_images`, the last may be shorter. What lies before `start` is not decoded, and not read
        where the format allows it.
        """


@runtime_checkable
class RandomAccessSource(Protocol):
    """A source that decodes some of its entries without the others."""

    def batches_at(self, entries: NDArray[np.int64], batch_images: int) -> Iterator[ImageBatch]:
        """Yield the readable images of entries, which ascend, each once, in order."""


# was sibling import


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


_SHOWN = 3


def refuse_skipped(description: str, skipped: Sequence[SkippedFile]) -> None:
    """Raise SourceError, which names the first of them, if anything of a source was passed over."""
    if skipped:
        files = "1 file" if len(skipped) == 1 else f"{len(skipped):,} files"
        raise SourceError(
            f"{description}: {files} would be passed over ({skipped_words(skipped)}), which --strict refuses; mend or "
            "remove what is named, or leave it out"
        )


def skipped_words(skipped: Sequence[SkippedFile]) -> str:
    """The first of what was passed over, each with its reason, in one line."""
    more = "; ..." if len(skipped) > _SHOWN else ""
    return "; ".join(f"{file.name}: {file.reason}" for file in skipped[:_SHOWN]) + more
