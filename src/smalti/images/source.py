"""The contract of a source of images: a fixed order, streaming, any number of passes.

Also here: several sources read as one, a whole source read into memory, and the refusal of skipped files for callers
that need all of a source. No file format is known here.

Layer: within `images`, above `batch`.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, PixelDtype, SkippedFile
from smalti.lazy import cached_property

__all__ = [
    "ChainedSource",
    "ImageSource",
    "RandomAccessSource",
    "SizedSource",
    "read_bytes",
    "read_images",
    "refuse_skipped",
    "skipped_words",
]


class ImageSource(Protocol):
    """Images of one shape and dtype in a fixed order, read in batches; memory does not grow with their number.

    Opening a source finds its image shape and the number of its entries. A pass skips entries that cannot be read, and
    lists them in `skipped`, so it may yield fewer than `len(source)` images. Every pass yields the same images.
    """

    @property
    def description(self) -> str:
        """The source as the user named it: a path or the name of a set."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""

    @property
    def dtype(self) -> PixelDtype:
        """The dtype of every image, uint8 or uint16."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The name of each label 0, 1, ... if labels stand for names (class folders), else None."""

    @property
    def skipped(self) -> Sequence[SkippedFile]:
        """The skipped files; the list is complete after a full pass."""

    def __len__(self) -> int:
        """The number of entries, an upper bound of the number of images that a pass yields."""

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield the images of entries [start, stop), each once, in order. A `stop` of None is the end.

        Batches have `batch_images` images, the last one maybe fewer. Entries before `start` are not decoded, and not
        read where the format allows it.
        """


@runtime_checkable
class SizedSource(Protocol):
    """Images of one number of channels and one dtype and of any sizes, in a fixed order, read in batches.

    As for `ImageSource`, an entry that cannot be read is skipped, every pass yields the same images, and memory does
    not grow with the images beyond their names and sizes. `smalti.images.sized` makes such sources of others.
    """

    @property
    def description(self) -> str:
        """The source as the user named it: a path or the name of a set."""

    @property
    def channels(self) -> int:
        """Channels of every image, 1 to 4."""

    @property
    def dtype(self) -> PixelDtype:
        """The dtype of every image, uint8 or uint16."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each entry: int64 [n, 2]. They come from headers, so no image is decoded for them."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The name of each label 0, 1, ... if labels stand for names (class folders), else None."""

    @property
    def skipped(self) -> Sequence[SkippedFile]:
        """The skipped files; the list is complete after a full pass."""

    def __len__(self) -> int:
        """The number of entries, an upper bound of the number of images that a pass yields."""

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield the images of entries [start, stop), each once, in order. A `stop` of None is the end.

        A batch has consecutive images of one size: a change of size ends it. It has at most `batch_images` images, and
        fewer of large ones (`smalti.images.sized.BATCH_BYTES`).
        """


@runtime_checkable
class RandomAccessSource(Protocol):
    """A source that can decode some of its entries without the others."""

    def batches_at(self, entries: NDArray[np.int64], batch_images: int) -> Iterator[ImageBatch]:
        """Yield the readable images of these entries, each once, in order. entries : ascending"""


class ChainedSource:
    """The images of several sources of one shape and dtype, one source after the other.

    It has labels, names and fields only if every part has them. Raises SourceError if parts differ in shape, dtype, or
    class names.
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
        """The skipped files of all parts."""
        return tuple(file for part in self._parts for file in part.skipped)

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield the images of entries [start, stop) once, in order. A batch may reach from one part into the next."""
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
        """The batches of the parts with these entries, without the columns that some part lacks."""
        first = 0
        for part in self._parts:
            entries = range(max(start - first, 0), min(stop - first, len(part)))
            if entries:
                for batch in part.batches(batch_images, entries.start, entries.stop):
                    yield ImageBatch(
                        batch.pixels,
                        batch.labels if self._shared.labels is not None else None,
                        batch.names if self._shared.names is not None else None,
                        {name: batch.fields[name] for name in self._shared.fields},
                    )
            first += len(part)

    @cached_property
    def _shared(self) -> ImageBatch:
        """The first images of all parts joined: a batch with the labels, names and fields that every part has."""
        firsts = (next(part.batches(1), None) for part in self._parts)
        return ImageBatch.joined([batch for batch in firsts if batch is not None])


def read_images(source: ImageSource, limit: int | None = None) -> ImageBatch:
    """All images of a source, or the first `limit`, as one batch in memory. SourceError if there are none."""
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
    """The 8-bit pixels of all images of a source, or of the first `limit`: uint8 [n, H, W, C].

    Raises SourceError if there are none, or if they have 16 bits.
    """
    pixels = read_images(source, limit).pixels
    if pixels.dtype != np.uint8:
        raise SourceError(f"{source.description}: has pixels of {pixels.dtype}, and this is for images of 8 bits")
    return pixels.astype(np.uint8, copy=False)


_LISTED_FILES = 3


def refuse_skipped(description: str, skipped: Sequence[SkippedFile]) -> None:
    """Raise SourceError, which names the first files, if any file of a source was skipped."""
    if skipped:
        files = "1 file" if len(skipped) == 1 else f"{len(skipped):,} files"
        raise SourceError(
            f"{description}: {files} would be skipped ({skipped_words(skipped)}), which --strict refuses; mend or "
            "remove these files, or leave out --strict"
        )


def skipped_words(skipped: Sequence[SkippedFile]) -> str:
    """The first skipped files, each with its reason, in one line."""
    more = "; ..." if len(skipped) > _LISTED_FILES else ""
    return "; ".join(f"{file.name}: {file.reason}" for file in skipped[:_LISTED_FILES]) + more
