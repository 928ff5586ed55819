"""Images out of an archive: all of them, or some by number."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smalti.archive.batch import ArchiveBatch, batch_images
from smalti.archive.reader import Archive
from smalti.archive.report import DamagedBlock
from smalti.archive.selection import resolve
from smalti.images.outnames import numbered_name
from smalti.images.writers import check_output_name, open_image_writer

__all__ = ["Extracted", "extract"]


@dataclass(frozen=True)
class Extracted:
    """What was written, and what could not be.

    images : number of images written
    missing_images : numbers of those that were asked for and are lost, each once, ascending
    missing : the damaged blocks that held them
    lost_columns : labels, names or class names that could not be read
    """

    images: int
    missing_images: tuple[int, ...] = ()
    missing: tuple[DamagedBlock, ...] = ()
    lost_columns: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing_images and not self.lost_columns


def extract(
    archive: Archive,
    out: Path,
    indices: Sequence[int] | None = None,
    *,
    overwrite: bool = False,
    skip_damaged: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Extracted:
    """Write images of an archive, with labels and names, to a folder, `.npy` or IDX file.

    indices : which images, in this order; None for all. An index from the end is negative
    skip_damaged : write what can be read and tell what is missing; else damage raises before anything is in place
    progress : called with the images done and those to do

    Raises ImageIndexError for an index outside before anything is written, DamagedArchiveError, and what
    `open_image_writer` raises.
    """
    check_output_name(out, archive.image_shape)
    numbers = None if indices is None else resolve(indices, len(archive))[0]
    result = _plan(archive, numbers, skip_damaged)
    batches = _all(archive, skip_damaged) if numbers is None else _chosen(archive, numbers, result)
    # the first batch is decoded before the output is begun, so that a damaged model leaves no trace
    first = next(batches, None)
    class_names = None if "class_names" in result.lost_columns else archive.class_names
    done = 0
    with open_image_writer(
        out, archive.image_shape, result.images, overwrite=overwrite, class_names=class_names
    ) as writer:
        for batch in chain([] if first is None else [first], batches):
            writer.write(batch if result.whole else _named(batch, len(archive), class_names))
            done += len(batch)
            progress(done, result.images)
    return result


def _plan(archive: Archive, numbers: NDArray[np.int64] | None, skip_damaged: bool) -> Extracted:
    """What will be written, and what is known to be missing before that."""
    asked = len(archive) if numbers is None else len(numbers)
    if not skip_damaged:
        return Extracted(asked)
    lost = [
        block
        for block in archive.missing()
        if numbers is None or ((numbers >= block.first_image) & (numbers < block.first_image + block.images)).any()
    ]
    images = [number for block in lost for number in range(block.first_image, block.first_image + block.images)]
    if numbers is not None:
        images = sorted(set(images) & set(numbers.tolist()))
        asked -= int(np.isin(numbers, images).sum())
    else:
        asked -= len(images)
    return Extracted(asked, tuple(images), tuple(lost), archive.lost_columns)


def _all(archive: Archive, skip_damaged: bool) -> Iterator[ArchiveBatch]:
    return archive.batches(batch_images(archive.image_shape), on_error="skip" if skip_damaged else "raise")


def _chosen(archive: Archive, numbers: NDArray[np.int64], plan: Extracted) -> Iterator[ArchiveBatch]:
    """Yield the images of these numbers that can be read, named by their own names or by their numbers."""
    labels = None if "labels" in plan.lost_columns else archive.labels
    names = None if "names" in plan.lost_columns else archive.names
    kept = numbers[~np.isin(numbers, plan.missing_images)]
    step = batch_images(archive.image_shape)
    for start in range(0, len(kept), step):
        part = kept[start : start + step]
        yield ArchiveBatch(
            archive[part].reshape(len(part), *archive.image_shape),
            None if labels is None else labels[part],
            tuple(
                numbered_name(number, len(archive), None) if names is None else names[number]
                for number in part.tolist()
            ),
            numbers=part,
        )


def _named(batch: ArchiveBatch, images: int, class_names: tuple[str, ...] | None) -> ArchiveBatch:
    """Name images without names by their numbers in the archive, since a count would shift after a gap."""
    if batch.names is not None:
        return batch

    def folder(position: int) -> str | None:
        if batch.labels is None:
            return None
        label = int(batch.labels[position])
        return class_names[label] if class_names is not None and 0 <= label < len(class_names) else str(label)

    names = tuple(numbered_name(int(number), images, folder(place)) for place, number in enumerate(batch.numbers))
    return ArchiveBatch(batch.pixels, batch.labels, names, batch.fields, numbers=batch.numbers)
