"""An archive as a source of images, such as for a second archive with another model or fewer levels."""

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from smalti.archive.collection.collection import Collection
from smalti.archive.open import open_images
from smalti.archive.read.reader import Archive
from smalti.archive.read.selection import ArchiveBatch
from smalti.images.batch import NO_LABEL, ImageBatch, Pixels, SkippedFile
from smalti.images.file_names import numbered_name
from smalti.storage.location import Location, options_of, redacted

__all__ = ["ArchiveSource", "archive_sources"]


def archive_sources(location: Location) -> list["ArchiveSource"]:
    """Open a `.smalti` file, local or behind a URL, as one source; a collection of several shapes as one per member.

    Errors are those of `smalti.open`.
    """
    opened = open_images(location, storage_options=options_of(location))
    if isinstance(opened, Archive) or len({(each.image_shape, each.dtype) for each in opened.members.facts}) == 1:
        return [ArchiveSource(opened, redacted(location))]
    return [ArchiveSource(opened.members[number], redacted(location)) for number in range(len(opened.members))]


class ArchiveSource:
    """The decoded images of an open archive, with labels, names, class names and fields.

    description : what messages call the source; the archive's path by default

    The archive must stay open. Damage is never skipped: a pass that meets it raises DamagedArchiveError.
    """

    def __init__(self, archive: Archive | Collection, description: str | None = None) -> None:
        self.description = redacted(str(archive.path)) if description is None else description
        self.image_shape = archive.image_shape
        self.dtype = archive.dtype
        self.class_names = archive.class_names
        self.skipped: tuple[SkippedFile, ...] = ()
        self._archive = archive

    def __len__(self) -> int:
        return len(self._archive)

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield images [start, stop) once, in order. Only blocks that overlap the range are decoded."""
        for batch in self._archive.batches(batch_images, start=start, stop=stop):
            yield batch if isinstance(self._archive, Archive) else _without_gaps(batch, self._archive)

    def batches_at(self, entries: NDArray[np.int64], batch_images: int) -> Iterator[ImageBatch]:
        """Yield the pixels, without columns, of images with ascending numbers; only their blocks are decoded."""
        for start in range(0, len(entries), batch_images):
            numbers = entries[start : start + batch_images]
            yield ImageBatch(cast(Pixels, self._archive[numbers].reshape(len(numbers), *self.image_shape)))


def _without_gaps(batch: ArchiveBatch, whole: Collection) -> ArchiveBatch:
    """Fill the labels and names that a member lacks and other members of the collection have: -1, and numbers."""
    labels, names = batch.labels, batch.names
    if labels is None and whole.columns.has_labels:
        labels = np.full(len(batch), NO_LABEL, np.int64)
    if names is None and whole.columns.has_names:
        names = tuple(numbered_name(number, len(whole), None) for number in batch.numbers.tolist())
    return replace(batch, labels=labels, names=names)
