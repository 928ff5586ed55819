"""Images out of an archive: all of them, or some by number."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from smalti.archive.reader import Archive
from smalti.archive.selection import resolve
from smalti.images.batch import ImageBatch
from smalti.images.writers import check_output_name, open_image_writer

__all__ = ["extract"]

BATCH_IMAGES = 1024


def extract(
    archive: Archive,
    out: Path,
    indices: Sequence[int] | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write the images of an archive, with labels and names, to a folder, `.npy` or IDX file; return their number.

    indices : which images, in this order; None for all. An index from the end is negative
    progress : called with the images done and those to do

    Raises ImageIndexError for an index outside before anything is written, and what `open_image_writer` raises.
    """
    check_output_name(out, archive.image_shape)
    total = len(archive) if indices is None else len(indices)
    batches = archive.batches(BATCH_IMAGES) if indices is None else _chosen(archive, indices)
    # the first batch is decoded before the output is begun, so that a damaged model leaves no trace
    first = next(batches, None)
    done = 0
    with open_image_writer(
        out, archive.image_shape, total, overwrite=overwrite, class_names=archive.class_names
    ) as writer:
        for batch in [] if first is None else _after(first, batches):
            writer.write(batch)
            done += len(batch)
            progress(done, total)
    return done


def _after(first: ImageBatch, rest: Iterator[ImageBatch]) -> Iterator[ImageBatch]:
    yield first
    yield from rest


def _chosen(archive: Archive, indices: Sequence[int]) -> Iterator[ImageBatch]:
    """Yield the images at `indices`, named by their own names or by their indices."""
    numbers, _ = resolve(indices, len(archive))
    labels, names = archive.labels, archive.names
    width = max(6, len(str(len(archive) - 1)))
    for start in range(0, len(numbers), BATCH_IMAGES):
        part = numbers[start : start + BATCH_IMAGES]
        yield ImageBatch(
            archive[part].reshape(len(part), *archive.image_shape),
            None if labels is None else labels[part],
            tuple(f"{number:0{width}}.png" if names is None else names[number] for number in part.tolist()),
        )
