"""Sources of images of any sizes (`SizedSource`), made of sources of images of one shape.

`as_sized` presents one source of one shape; `chain_sized` presents several, one after the other.

Layer: within `images`, above `source`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.batch import NO_LABEL, ImageBatch, PixelDtype, SkippedFile
from smalti.images.file_names import numbered_name
from smalti.images.source import ImageSource, RandomAccessSource, SizedSource
from smalti.lazy import cached_property

__all__ = ["BATCH_BYTES", "as_sized", "batch_limit", "chain_sized"]

BATCH_BYTES = 1 << 26
"""A batch of a sized source has about this many bytes of pixels at most, or a single image."""


def batch_limit(batch_images: int, shape: tuple[int, int, int], dtype: PixelDtype) -> int:
    """The most images of this shape and dtype in a batch of a sized source for which `batch_images` were asked."""
    height, width, channels = shape
    return max(1, min(batch_images, BATCH_BYTES // (height * width * channels * dtype.itemsize)))


def as_sized(source: ImageSource) -> SizedSource:
    """Present a source of images of one shape as one of any sizes. It has random access if the source has it."""
    return _RandomUniform(source) if isinstance(source, RandomAccessSource) else _Uniform(source)


def chain_sized(description: str, parts: Sequence[SizedSource]) -> SizedSource:
    """The images of several sources of one number of channels and dtype, one source after the other.

    If only some parts have labels, names or a field, the images of other parts get -1, their number and None. It has
    random access if all parts have it. Raises SourceError if parts differ in channels, dtype or class names.
    """
    if len(parts) == 1:
        return parts[0]
    kinds = {(part.channels, str(part.dtype)) for part in parts}
    if len(kinds) != 1:
        raise SourceError(f"{description}: parts have pixels of different kinds: {sorted(kinds)}")
    if len({part.class_names for part in parts}) != 1:
        raise SourceError(f"{description}: parts have classes of different names; read them one by one")
    random = all(isinstance(part, RandomAccessSource) for part in parts)
    return _RandomChained(description, parts) if random else _Chained(description, parts)


class _Uniform:
    """The images of a source of one shape."""

    def __init__(self, source: ImageSource) -> None:
        self.description, self.class_names = source.description, source.class_names
        self.channels, self.dtype = source.image_shape[2], source.dtype
        self._source = source

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each entry; a view of one row, which is not writable."""
        return np.broadcast_to(np.array(self._source.image_shape[:2], np.int64), (len(self), 2))

    @property
    def skipped(self) -> Sequence[SkippedFile]:
        """The skipped files of the source."""
        return self._source.skipped

    def __len__(self) -> int:
        return len(self._source)

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield the images of entries [start, stop), each once, in order."""
        return self._source.batches(self._most(batch_images), start, stop)

    def _most(self, batch_images: int) -> int:
        return batch_limit(batch_images, self._source.image_shape, self.dtype)


class _RandomUniform(_Uniform):
    """The images of a source of one shape that has random access."""

    def batches_at(self, entries: NDArray[np.int64], batch_images: int) -> Iterator[ImageBatch]:
        """Yield the readable images of these ascending entries, each once, in order."""
        assert isinstance(self._source, RandomAccessSource)
        return self._source.batches_at(entries, self._most(batch_images))


class _Chained:
    """The images of several sources, one source after the other."""

    def __init__(self, description: str, parts: Sequence[SizedSource]) -> None:
        self.description, self.class_names = description, parts[0].class_names
        self.channels, self.dtype = parts[0].channels, parts[0].dtype
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each entry of all parts."""
        return np.concatenate([part.sizes for part in self._parts])

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """The skipped files of all parts."""
        return tuple(file for part in self._parts for file in part.skipped)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield the images of entries [start, stop), each once, in order; a batch is of one part."""
        first, end, _ = slice(start, stop).indices(len(self))
        for number, part in enumerate(self._parts):
            low, high = max(first - self._starts[number], 0), min(end - self._starts[number], len(part))
            if low < high:
                yield from self._filled(number, part.batches(batch_images, int(low), int(high)), int(low))

    def _filled(self, number: int, batches: Iterator[ImageBatch], first: int) -> Iterator[ImageBatch]:
        """The batches of a part with all columns that any part has. first : the first entry, for names."""
        has_labels, has_names, fields = self._columns
        position = int(self._starts[number]) + first
        for batch in batches:
            labels, names = batch.labels, batch.names
            if labels is None and has_labels:
                labels = np.full(len(batch), NO_LABEL, np.int64)
            if names is None and has_names:
                entries = range(position, position + len(batch))
                names = tuple(numbered_name(entry, len(self), None) for entry in entries)
            position += len(batch)
            nothing = [None] * len(batch)
            yield ImageBatch(batch.pixels, labels, names, {name: batch.fields.get(name, nothing) for name in fields})

    @cached_property
    def _columns(self) -> tuple[bool, bool, tuple[str, ...]]:
        """Whether any part has labels, whether any has names, and the fields of all parts; by their first images."""
        firsts = [batch for part in self._parts for batch in [next(part.batches(1), None)] if batch is not None]
        fields = dict.fromkeys(name for batch in firsts for name in batch.fields)
        return (
            any(batch.labels is not None for batch in firsts),
            any(batch.names is not None for batch in firsts),
            tuple(fields),
        )


class _RandomChained(_Chained):
    """The images of several sources that all have random access."""

    def batches_at(self, entries: NDArray[np.int64], batch_images: int) -> Iterator[ImageBatch]:
        """Yield the pixels, without columns, of the readable images of these ascending entries, each once, in order."""
        for number, part in enumerate(self._parts):
            assert isinstance(part, RandomAccessSource)
            low, high = np.searchsorted(entries, self._starts[number : number + 2])
            if low < high:
                for batch in part.batches_at(entries[low:high] - self._starts[number], batch_images):
                    yield ImageBatch(batch.pixels)
