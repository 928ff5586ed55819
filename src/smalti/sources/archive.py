"""An archive as a source of images, such as for a second archive with another model or fewer levels."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import cast

import numpy as np
from numpy.typing import NDArray

from smalti.archive.collection.collection import Collection
from smalti.archive.open import open_images
from smalti.archive.read.reader import Archive
from smalti.archive.read.selection import ArchiveBatch
from smalti.images.batch import NO_LABEL, ImageBatch, Pixels, SkippedFile
from smalti.images.file_names import numbered_name
from smalti.images.sized import batch_limit
from smalti.lazy import cached_property
from smalti.storage.location import Location, options_of, redacted

__all__ = ["ArchiveSource", "SizedArchiveSource", "archive_sources"]


def archive_sources(location: Location) -> "list[ArchiveSource | SizedArchiveSource]":
    """Open a `.smalti` file, local or behind a URL, as one source; a collection of several shapes as one per member.

    An archive whose images have several sizes is a sized source. Errors are those of `smalti.open`.
    """
    opened, name = open_images(location, storage_options=options_of(location)), redacted(location)
    if len(opened.image_shapes) == 1 and len(opened.dtypes) == 1:
        return [ArchiveSource(opened, name)]
    members = (
        [opened] if isinstance(opened, Archive) else [*map(opened.members.__getitem__, range(len(opened.members)))]
    )
    return [
        ArchiveSource(member, name) if len(member.image_shapes) == 1 else SizedArchiveSource(member, name)
        for member in members
    ]


class ArchiveSource:
    """The decoded images of an open archive, with labels, names, class names and fields.

    description : what messages call the source; the archive's path by default
    numbers : int64 [n], those of the images, of one shape, that the source has; None for all images

    The archive must stay open. Damage is never skipped: a pass that meets it raises DamagedArchiveError.
    """

    def __init__(
        self, archive: Archive | Collection, description: str | None = None, numbers: NDArray[np.int64] | None = None
    ) -> None:
        self.description = redacted(str(archive.path)) if description is None else description
        self.image_shape = archive.image_shape if numbers is None else archive.shape_of(int(numbers[0]))
        self.dtype = archive.dtype
        self.class_names = archive.class_names
        self.skipped: tuple[SkippedFile, ...] = ()
        self._archive, self._numbers = archive, numbers

    def __len__(self) -> int:
        return len(self._archive) if self._numbers is None else len(self._numbers)

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield images [start, stop) once, in order. Only blocks that overlap the range are decoded."""
        if self._numbers is not None:
            yield from self._chosen(self._numbers[start:stop], batch_images)
            return
        for batch in self._archive.batches(batch_images, start=start, stop=stop):
            yield batch if isinstance(self._archive, Archive) else _without_gaps(batch, self._archive)

    def batches_at(self, entries: NDArray[np.int64], batch_images: int) -> Iterator[ImageBatch]:
        """Yield the pixels, without columns, of images with ascending numbers; only their blocks are decoded."""
        for start in range(0, len(entries), batch_images):
            numbers = entries[start : start + batch_images]
            numbers = numbers if self._numbers is None else self._numbers[numbers]
            yield ImageBatch(cast(Pixels, self._archive[numbers].reshape(len(numbers), *self.image_shape)))

    def _chosen(self, numbers: NDArray[np.int64], batch_images: int) -> Iterator[ImageBatch]:
        """Yield the images of these numbers, of one shape, with their columns."""
        assert isinstance(self._archive, Archive)  # a collection is a source as a whole, or by its members
        for start in range(0, len(numbers), batch_images):
            own = numbers[start : start + batch_images]
            pixels = cast(Pixels, self._archive[own].reshape(len(own), *self.image_shape))
            yield self._archive.columns.batch(pixels, own)


class SizedArchiveSource:
    """The decoded images of an open archive whose images have several sizes, with their columns: a SizedSource.

    Damage is treated as by `ArchiveSource`.
    """

    def __init__(self, archive: Archive, description: str) -> None:
        self.description, self.dtype, self.class_names = description, archive.dtype, archive.class_names
        self.channels = archive.image_shapes[0][2]
        self.skipped: tuple[SkippedFile, ...] = ()
        self._archive = archive

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each image: int64 [n, 2]."""
        cells = self._archive.cells
        numbers, sizes = cells.stored_numbers(np.arange(len(self))), cells.layout.sizes
        return np.stack([sizes.heights[numbers], sizes.widths[numbers]], 1).astype(np.int64)

    def __len__(self) -> int:
        return len(self._archive)

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield images [start, stop) once, in order; a change of size ends a batch."""
        yield from self._archive.batches(self._most(batch_images), start=start, stop=stop)

    def batches_at(self, entries: NDArray[np.int64], batch_images: int) -> Iterator[ImageBatch]:
        """Yield the pixels, without columns, of images with ascending numbers; only their blocks are decoded."""
        most = self._most(batch_images)
        for start in range(0, len(entries), most):
            images = self._archive.images(entries[start : start + most])
            for _, run in groupby(images, key=lambda image: image.shape):
                stack = np.stack(list(run))
                yield ImageBatch(cast(Pixels, stack.reshape(*stack.shape[:3], self.channels)))

    def of_each_size(self) -> tuple[ArchiveSource, ...]:
        """A source for each size, in the order in which sizes first occur."""
        numbers: dict[tuple[int, int, int], list[int]] = {shape: [] for shape in self._archive.image_shapes}
        for number in range(len(self)):
            numbers[self._archive.shape_of(number)].append(number)
        own = (np.array(some, np.int64) for some in numbers.values())
        return tuple(ArchiveSource(self._archive, self.description, some) for some in own)

    def _most(self, batch_images: int) -> int:
        """The most images of a batch, by the largest sides that images have."""
        height, width = self.sizes.max(0).tolist()
        return batch_limit(batch_images, (height, width, self.channels), self.dtype)


def _without_gaps(batch: ArchiveBatch, whole: Collection) -> ArchiveBatch:
    """Fill the labels and names that a member lacks and other members of the collection have: -1, and numbers."""
    labels, names = batch.labels, batch.names
    if labels is None and whole.columns.has_labels:
        labels = np.full(len(batch), NO_LABEL, np.int64)
    if names is None and whole.columns.has_names:
        names = tuple(numbered_name(number, len(whole), None) for number in batch.numbers.tolist())
    return replace(batch, labels=labels, names=names)
