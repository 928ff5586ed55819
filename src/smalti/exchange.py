"""Images out of an archive: all of them, or some by number.

How an archive's images, as the decoder really gives them, compare with their originals.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smalti.archive.collection.collection import Collection
from smalti.archive.read.block_decoder import plain_bytes
from smalti.archive.read.reader import Archive
from smalti.archive.read.selection import ArchiveBatch, batch_images, resolve
from smalti.archive.report import DamagedBlock
from smalti.archive.write.fields import FIELD_PREFIX
from smalti.errors import SourceError
from smalti.images.batch import UINT8, ImageBatch, PixelDtype, Pixels, shape_words
from smalti.images.file_names import numbered_name
from smalti.images.quality import Quality, QualityMeter
from smalti.images.source import ImageSource
from smalti.sinks.sink import check_output_name, makes_names, open_image_writer
from smalti.storage.atomic import refuse_input

__all__ = ["Comparison", "Extracted", "compare", "extract", "pixels_sha256"]


@dataclass(frozen=True)
class Extracted:
    """What was written, and what could not be.

    images : number of images written
    missing_images : numbers of those that were asked for and are lost, each once, ascending
    missing : the damaged blocks that held them
    lost_columns : labels, names, class names or fields that could not be read
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
    archive: Archive | Collection,
    out: Path,
    indices: Sequence[int] | None = None,
    *,
    overwrite: bool = False,
    skip_damaged: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Extracted:
    """Write images of an archive or a collection, with all that is known of them, to a folder or file by its name.

    out : what `open_image_writer` takes; images of several shapes go to a folder or .tar
    indices : which images, in this order; None for all. An index from the end is negative
    skip_damaged : write what can be read and tell what is missing; else damage raises before anything is in place
    progress : called with the images done and those to do

    Raises ImageIndexError for an index outside before anything is written, DamagedArchiveError, and what
    `open_image_writer` raises; UsageError if `out` is the archive itself.
    """
    refuse_input(out, [archive.path])
    image_shape, dtype = _common(archive)
    check_output_name(out, image_shape, dtype)
    numbers = None if indices is None else resolve(indices, len(archive))[0]
    result = _plan(archive, numbers, skip_damaged)
    batches = _all(archive, result, skip_damaged) if numbers is None else _chosen(archive, numbers, result)
    # the first batch is decoded before the output is begun, so that a damaged model leaves no trace
    first = next(batches, None)
    class_names = None if "class_names" in result.lost_columns else archive.class_names
    own_numbers = makes_names(out) and (numbers is not None or not result.whole)
    done = 0
    with open_image_writer(
        out, image_shape, result.images, dtype=dtype, overwrite=overwrite, class_names=class_names
    ) as writer:
        for batch in chain([] if first is None else [first], batches):
            writer.write(_named(batch, len(archive), class_names) if own_numbers else batch)
            done += len(batch)
            progress(done, result.images)
    return result


def _common(archive: Archive | Collection) -> tuple[tuple[int, int, int] | None, PixelDtype]:
    """Shape and dtype of all images; no shape if they differ in one of them."""
    if isinstance(archive, Collection) and len({(each.image_shape, each.dtype) for each in archive.members.facts}) > 1:
        return None, UINT8
    return archive.image_shape, archive.dtype


def _plan(archive: Archive | Collection, numbers: NDArray[np.int64] | None, skip_damaged: bool) -> Extracted:
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


def _all(archive: Archive | Collection, plan: Extracted, skip_damaged: bool) -> Iterator[ArchiveBatch]:
    for batch in archive.batches(_batch_images(archive), on_error="skip" if skip_damaged else "raise"):
        yield _without_lost(batch, plan.lost_columns)


def _chosen(archive: Archive | Collection, numbers: NDArray[np.int64], plan: Extracted) -> Iterator[ArchiveBatch]:
    """Yield the images of these numbers that can be read."""
    lost = plan.lost_columns
    labels = None if "labels" in lost else archive.labels
    names = None if "names" in lost else archive.names
    fields = {name: archive.fields[name] for name in archive.fields if FIELD_PREFIX + name not in lost}
    kept = numbers[~np.isin(numbers, plan.missing_images)]
    step = _batch_images(archive)
    for start in range(0, len(kept), step):
        for pixels, part in _decoded(archive, kept[start : start + step]):
            rows = part.tolist()
            no_label, no_name = _lacks(archive, part)[0]
            yield ArchiveBatch(
                pixels,
                None if labels is None or no_label else labels[part],
                None if names is None or no_name else tuple(str(names[row]) for row in rows),
                {name: [values[row] for row in rows] for name, values in fields.items()},
                numbers=part,
            )


def _batch_images(archive: Archive | Collection) -> int:
    """How many images to take at a time, by the largest of them."""
    shapes = archive.image_shapes if isinstance(archive, Collection) else (archive.image_shape,)
    return batch_images(max(shapes, key=math.prod), np.uint16)


def _decoded(archive: Archive | Collection, numbers: NDArray[np.int64]) -> Iterator[tuple[Pixels, NDArray[np.int64]]]:
    """Yield the images of these numbers in runs: pixels [n, H, W, C], and their numbers.

    Those of a run are of one shape and dtype, and all have labels or none has; the same holds of names.
    """
    if isinstance(archive, Archive):
        yield archive[numbers].reshape(len(numbers), *archive.image_shape), numbers
        return
    images = zip(archive.images(numbers), _lacks(archive, numbers), strict=True)
    start = 0
    for (shape, _, _), run in groupby(images, key=lambda each: (each[0].shape, each[0].dtype, each[1])):
        same = [image for image, _ in run]
        pixels: Pixels = np.empty((len(same), *shape), same[0].dtype)
        pixels[:] = same
        yield pixels.reshape(len(same), *shape[:2], -1), numbers[start : start + len(same)]
        start += len(same)


def _lacks(archive: Archive | Collection, numbers: NDArray[np.int64]) -> list[tuple[bool, bool]]:
    """Whether each of these images lacks a label that others of the archive have, and whether it lacks a name."""
    if isinstance(archive, Archive):
        return [(False, False)] * len(numbers)
    return archive.columns.lack(numbers)


def _without_lost(batch: ArchiveBatch, lost: Sequence[str]) -> ArchiveBatch:
    """A batch without the columns that are lost for some images, if only for those of another member."""
    return replace(
        batch,
        labels=None if "labels" in lost else batch.labels,
        names=None if "names" in lost else batch.names,
        fields={name: values for name, values in batch.fields.items() if FIELD_PREFIX + name not in lost},
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
    return replace(batch, names=names)


Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Comparison:
    """Quality against a source, and whether labels and names are the source's too.

    labels_equal, names_equal : None if archive or source has none
    pixels_sha256 : of all decoded pixels in order, in C order, 16 bits little-endian
    """

    quality: Quality
    labels_equal: bool | None
    names_equal: bool | None
    pixels_sha256: str


def pixels_sha256(archive: Archive | Collection, progress: Progress = lambda done, total: None) -> str:
    """Return the SHA-256 of all decoded pixels in order, in C order and little-endian."""
    digest, done = hashlib.sha256(), 0
    for batch in archive.batches(_step(archive)):
        digest.update(plain_bytes(batch.pixels))
        done += len(batch)
        progress(done, len(archive))
    return digest.hexdigest()


def compare(
    archive: Archive | Collection,
    source: ImageSource | Sequence[ImageSource],
    progress: Progress = lambda done, total: None,
) -> Comparison:
    """Decode every image and compare it with the source's image of the same number.

    source : the originals; of images of several shapes those of each, as `open_groups` gives them

    Raises SourceError if they have another shape, type of pixels or number of images; DamagedArchiveError.
    """
    sources = [source] if not isinstance(source, Sequence) else list(source)
    meter, digest, done = QualityMeter(), hashlib.sha256(), 0
    labels, names = _Equality(), _Equality()
    step = _step(archive)
    originals = _Cursor(sources, step)
    for decoded in archive.batches(step):
        original = originals.take(decoded)
        if len(original) != len(decoded):
            raise _other_number(sources, done + len(original), archive)
        meter.add(original.pixels, decoded.pixels)
        digest.update(plain_bytes(decoded.pixels))
        labels.add(original.labels, decoded.labels)
        names.add(_array(original), _array(decoded))
        done += len(decoded)
        progress(done, len(archive))
    if rest := originals.count_rest():
        raise _other_number(sources, done + rest, archive)
    return Comparison(meter.result(), labels.result, names.result, digest.hexdigest())


def _step(archive: Archive | Collection) -> int:
    """How many images to take at a time: as many as fit memory of the largest."""
    dtype = archive.dtypes[-1]
    return min(batch_images(shape, dtype) for shape in archive.image_shapes)


def _other_number(sources: Sequence[ImageSource], found: int, archive: Archive | Collection) -> SourceError:
    return SourceError(
        f"{sources[0].description} has {found} images, the archive {len(archive)}; name the source it was made from"
    )


class _Cursor:
    """The images of sources, one source after the other, in pieces as long as is asked for."""

    def __init__(self, sources: Sequence[ImageSource], step: int) -> None:
        self._batches = (batch for source in sources for batch in source.batches(step))
        self._sources = sources
        self._rest: ImageBatch | None = None

    def take(self, like: ImageBatch) -> ImageBatch:
        """The next images, as many as `like` has, fewer at the end; SourceError if they are of another kind."""
        parts: list[ImageBatch] = []
        missing = len(like)
        while missing:
            batch = self._rest or next(self._batches, None)
            if batch is None:
                break
            self._check(batch, like)
            parts.append(batch.part(0, missing))
            missing -= len(parts[-1])
            rest = batch.part(len(parts[-1]), len(batch))
            self._rest = rest if len(rest) else None
        return ImageBatch.joined(parts) if parts else like.part(0, 0)

    def count_rest(self) -> int:
        """How many images were never taken."""
        return sum(len(batch) for batch in (*([self._rest] if self._rest else []), *self._batches))

    def _check(self, found: ImageBatch, like: ImageBatch) -> None:
        where = self._sources[0].description
        if found.pixels.dtype != like.pixels.dtype:
            raise SourceError(
                f"{where} has pixels of {found.pixels.dtype}, the archive of {like.pixels.dtype}; "
                "name the source it was made from"
            )
        if found.pixels.shape[1:] != like.pixels.shape[1:]:
            raise SourceError(
                f"{where} has images of {_words(found)}, the archive of {_words(like)}; "
                "name the source it was made from"
            )


def _words(batch: ImageBatch) -> str:
    height, width, channels = batch.pixels.shape[1:]
    return shape_words((height, width, channels))


class _Equality:
    """Whether two columns are equal throughout; None if either is absent."""

    result: bool | None = None

    def add(self, ours: NDArray[np.generic] | None, theirs: NDArray[np.generic] | None) -> None:
        if ours is not None and theirs is not None:
            self.result = self.result is not False and bool(np.array_equal(ours, theirs))


def _array(batch: ImageBatch) -> NDArray[np.generic] | None:
    return None if batch.names is None else np.array(batch.names)
