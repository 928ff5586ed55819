"""Extracting images from an archive, and comparing decoded images with their originals.

Layer: above `archive`, `sources` and `sinks`, below `codec`. Nothing is encoded here.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.archive.collection.collection import Collection
from smalti.archive.read.block_decoder import plain_bytes
from smalti.archive.read.image_reader import span_of
from smalti.archive.read.reader import Archive
from smalti.archive.read.selection import ArchiveBatch, batch_images, resolve
from smalti.archive.report import DamagedBlock
from smalti.archive.write.fields import FIELD_PREFIX
from smalti.errors import SourceError, UsageError
from smalti.images.batch import UINT8, ImageBatch, PixelDtype, Pixels, shape_words
from smalti.images.file_names import image_suffix, numbered_name
from smalti.images.quality import Quality, QualityMeter
from smalti.images.source import ImageSource
from smalti.sinks.sink import check_output_name, holds_volumes, makes_names, open_image_writer
from smalti.sinks.volume_axes import volume_of
from smalti.storage.atomic import refuse_input

__all__ = ["Comparison", "Extracted", "compare", "extract"]

Progress = Callable[[int, int], None]
"""Called with the number of images done, and of all images."""

Watch = Callable[[ImageBatch, ArchiveBatch], None]
"""Called with originals and the decoded images of the same numbers."""


@dataclass(frozen=True)
class Extracted:
    """The result of an extraction.

    images : the number of images written
    missing_images : the numbers of requested images that are lost, each once, ascending
    missing : the damaged blocks that held them
    lost_columns : names of the columns that could not be read
    """

    images: int
    missing_images: tuple[int, ...] = ()
    missing: tuple[DamagedBlock, ...] = ()
    lost_columns: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """True if nothing is missing."""
        return not self.missing_images and not self.lost_columns


def extract(
    archive: Archive | Collection,
    out: Path,
    indices: Sequence[int] | None = None,
    *,
    overwrite: bool = False,
    skip_damaged: bool = False,
    region: tuple[slice, slice] | None = None,
    progress: Progress = lambda done, total: None,
) -> Extracted:
    """Write images of an archive or a collection, with their labels, names and fields, to a folder or a file.

    out : an output of `open_image_writer`, whose kind follows from its name; images of several shapes need a folder or
        .tar
    indices : the numbers of the images, in this order; negative ones count from the end. None for all images
    skip_damaged : skip what cannot be read, and report it in the result. Else damage raises, and no output appears
    region : rows and columns, slices without a step: only this part of each image. `indices` must be given
    progress : called with the number of images done, and of all images

    Raises ImageIndexError for an index out of range before anything is written, DamagedArchiveError, the errors of
    `open_image_writer`, and UsageError if `out` is the archive itself.
    """
    refuse_input(out, [archive.path])
    numbers = None if indices is None else resolve(indices, len(archive))[0]
    image_shape, dtype = _common(archive) if region is None else _common_region(archive, numbers, region)
    check_output_name(out, image_shape, dtype)
    result = _plan(archive, numbers, skip_damaged)
    batches = _all(archive, result, skip_damaged) if numbers is None else _chosen(archive, numbers, result, region)
    # the first batch is decoded before the output is created, so that a damaged model leaves no trace
    first = next(batches, None)
    class_names = None if "class_names" in result.lost_columns else archive.class_names
    own_numbers = makes_names(out) and (numbers is not None or not result.whole)
    done = 0
    axes, shared = volume_of(archive, numbers, result.lost_columns, result.whole) if holds_volumes(out) else ((), {})
    with open_image_writer(
        out,
        image_shape,
        result.images,
        dtype=dtype,
        overwrite=overwrite,
        class_names=class_names,
        axes=axes,
        shared=shared,
    ) as writer:
        for batch in chain([] if first is None else [first], batches):
            writer.write(_named(batch, len(archive), class_names) if own_numbers else batch)
            done += len(batch)
            progress(done, result.images)
    return result


def _common(archive: Archive | Collection) -> tuple[tuple[int, int, int] | None, PixelDtype]:
    """The shape and dtype of all images; None and uint8 if shapes or dtypes differ."""
    if len(archive.image_shapes) > 1 or len(archive.dtypes) > 1:
        return None, UINT8
    return archive.image_shape, archive.dtype


def _common_region(
    archive: Archive | Collection, numbers: NDArray[np.int64] | None, region: tuple[slice, slice]
) -> tuple[tuple[int, int, int] | None, PixelDtype]:
    """The shape and dtype of a part of each image; None and uint8 if they differ. UsageError for an empty part."""
    if numbers is None:
        raise UsageError("rows and columns are those of chosen images: name their numbers")
    shapes = set()
    for number in numbers.tolist():
        shape = archive.shape_of(number)
        spans = [span_of(span, side, "rows or columns") for span, side in zip(region, shape[:2], strict=True)]
        if not all(spans):
            raise UsageError(f"image {number} is of {shape_words(shape)}, and has no pixel in these rows and columns")
        shapes.add((len(spans[0]), len(spans[1]), shape[2]))
    if len(shapes) != 1 or len(archive.dtypes) > 1:
        return None, UINT8
    return shapes.pop(), archive.dtype


def _plan(archive: Archive | Collection, numbers: NDArray[np.int64] | None, skip_damaged: bool) -> Extracted:
    """The result that the extraction will have: missing images are known before it starts."""
    images = len(archive) if numbers is None else len(numbers)
    if not skip_damaged:
        return Extracted(images)
    lost = [
        block
        for block in archive.missing()
        if numbers is None or ((numbers >= block.first_image) & (numbers < block.first_image + block.images)).any()
    ]
    missing = sorted(
        {number for block in lost for number in range(block.first_image, block.first_image + block.images)}
    )
    if numbers is not None:
        missing = sorted(set(missing) & set(numbers.tolist()))
        images -= int(np.isin(numbers, missing).sum())
    else:
        images -= len(missing)
    return Extracted(images, tuple(missing), tuple(lost), archive.lost_columns)


def _all(archive: Archive | Collection, plan: Extracted, skip_damaged: bool) -> Iterator[ArchiveBatch]:
    for batch in archive.batches(_images_per_batch(archive, np.uint16), on_error="skip" if skip_damaged else "raise"):
        yield _without_lost(batch, plan.lost_columns)


def _chosen(
    archive: Archive | Collection,
    numbers: NDArray[np.int64],
    plan: Extracted,
    region: tuple[slice, slice] | None = None,
) -> Iterator[ArchiveBatch]:
    """Yield the images of these numbers that can be read, or a region of each."""
    lost = plan.lost_columns
    labels = None if "labels" in lost else archive.labels
    names = None if "names" in lost else archive.names
    fields = {name: archive.fields[name] for name in archive.fields if FIELD_PREFIX + name not in lost}
    readable = numbers[~np.isin(numbers, plan.missing_images)]
    step = _images_per_batch(archive, np.uint16) if region is None else 1
    for start in range(0, len(readable), step):
        for pixels, part in _decoded(archive, readable[start : start + step], region):
            rows = part.tolist()
            no_label, no_name = _lacks(archive, part)[0]
            yield ArchiveBatch(
                pixels,
                None if labels is None or no_label else labels[part],
                None if names is None or no_name else tuple(str(names[row]) for row in rows),
                {name: [values[row] for row in rows] for name, values in fields.items()},
                numbers=part,
            )


def _images_per_batch(archive: Archive | Collection, dtype: DTypeLike) -> int:
    """Images per batch, by the largest shape. dtype : of pixels"""
    return min(batch_images(shape, dtype) for shape in archive.image_shapes)


def _decoded(
    archive: Archive | Collection, numbers: NDArray[np.int64], region: tuple[slice, slice] | None = None
) -> Iterator[tuple[Pixels, NDArray[np.int64]]]:
    """Yield the images of these numbers in runs: pixels [n, H, W, C], and their numbers.

    The images of a run have one shape and dtype. Either all have labels or none has; the same holds for names.
    """
    if region is not None:
        for number in numbers.tolist():
            part = archive.region(number, *region)
            yield part.reshape(1, *part.shape[:2], -1), np.array([number], np.int64)
        return
    if isinstance(archive, Archive) and len(archive.image_shapes) == 1:
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
    """For each image: whether it lacks a label, and whether it lacks a name, that other images of the archive have."""
    if isinstance(archive, Archive):
        return [(False, False)] * len(numbers)
    return archive.columns.lack(numbers)


def _without_lost(batch: ArchiveBatch, lost: Sequence[str]) -> ArchiveBatch:
    """Remove the columns that are lost for some images, even if only for images of another member."""
    return replace(
        batch,
        labels=None if "labels" in lost else batch.labels,
        names=None if "names" in lost else batch.names,
        fields={name: values for name, values in batch.fields.items() if FIELD_PREFIX + name not in lost},
    )


def _named(batch: ArchiveBatch, images: int, class_names: tuple[str, ...] | None) -> ArchiveBatch:
    """Name images without names by their numbers in the archive, since a running count would shift after a gap."""
    if batch.names is not None:
        return batch

    def folder(row: int) -> str | None:
        if batch.labels is None:
            return None
        label = int(batch.labels[row])
        return class_names[label] if class_names is not None and 0 <= label < len(class_names) else str(label)

    suffix = image_suffix(batch.pixels.dtype)
    names = tuple(numbered_name(int(number), images, folder(row), suffix) for row, number in enumerate(batch.numbers))
    return replace(batch, names=names)


@dataclass(frozen=True)
class Comparison:
    """The quality of an archive's images against a source, and whether labels and names are equal.

    labels_equal, names_equal : None if the archive or the source has no labels, or no names
    pixels_sha256 : of all decoded pixels, image after image in C order, 16 bits little-endian
    """

    quality: Quality
    labels_equal: bool | None
    names_equal: bool | None
    pixels_sha256: str


def compare(
    archive: Archive | Collection,
    source: ImageSource | Sequence[ImageSource],
    progress: Progress = lambda done, total: None,
    watch: Watch = lambda original, decoded: None,
) -> Comparison:
    """Decode every image and compare it with the image of the same number in a source.

    source : the originals; for images of several shapes one source for each shape, as from `open_groups`. Images of one
        shape and dtype are compared in the order of the archive
    watch : called with each batch of originals and decoded images

    Raises SourceError if shape, dtype or number of images differ; DamagedArchiveError.
    """
    sources = [source] if not isinstance(source, Sequence) else list(source)
    meter, digest, done = QualityMeter(), hashlib.sha256(), 0
    labels, names = _Equality(), _Equality()
    step = _images_per_batch(archive, archive.dtypes[-1])
    originals = _Originals(sources, step)
    for decoded in archive.batches(step):
        original = originals.take(decoded)
        if len(original) != len(decoded):
            raise _other_number(sources, done + len(original) + originals.count_rest(), archive)
        meter.add(original.pixels, decoded.pixels)
        watch(original, decoded)
        digest.update(plain_bytes(decoded.pixels))
        labels.add(original.labels, decoded.labels)
        names.add(_array(original), _array(decoded))
        done += len(decoded)
        progress(done, len(archive))
    if rest := originals.count_rest():
        raise _other_number(sources, done + rest, archive)
    return Comparison(meter.result(), labels.result, names.result, digest.hexdigest())


def _other_number(sources: Sequence[ImageSource], found: int, archive: Archive | Collection) -> SourceError:
    words = f"{found} images, the archive {len(archive)}"
    if found == len(archive):
        words = "other numbers of images of each shape than the archive"
    return SourceError(f"{sources[0].description} has {words}; name the source it was made from")


class _Originals:
    """Reads the images of sources, those of one shape and dtype in order, whatever the order of shapes."""

    def __init__(self, sources: Sequence[ImageSource], step: int) -> None:
        self._sources = sources
        kinds: dict[tuple[tuple[int, int, int], np.dtype[Any]], list[ImageSource]] = {}
        for source in sources:
            kinds.setdefault((source.image_shape, source.dtype), []).append(source)
        step = max(1, step // len(kinds))  # a batch of each waits in memory
        self._cursors = {kind: _Cursor(own, step) for kind, own in kinds.items()}

    def take(self, like: ImageBatch) -> ImageBatch:
        """The next images, as many as `like` has, fewer at the end. SourceError if there are none of its shape."""
        height, width, channels = like.pixels.shape[1:]
        cursor = self._cursors.get(((height, width, channels), like.pixels.dtype))
        if cursor is None:
            raise self._none_of(like)
        return cursor.take(like)

    def count_rest(self) -> int:
        """The number of images that were not taken."""
        return sum(cursor.count_rest() for cursor in self._cursors.values())

    def _none_of(self, like: ImageBatch) -> SourceError:
        where, advice = self._sources[0].description, "name the source it was made from"
        dtypes = {dtype.name for _, dtype in self._cursors}
        if like.pixels.dtype.name not in dtypes:
            return SourceError(
                f"{where} has pixels of {' and '.join(sorted(dtypes))}, the archive of {like.pixels.dtype}; {advice}"
            )
        found = ", ".join(shape_words(shape) for shape, _ in list(self._cursors)[:3])
        return SourceError(f"{where} has images of {found}, the archive of {_words(like)}; {advice}")


class _Cursor:
    """Reads the images of sources of one shape, one source after the other, in parts of any length."""

    def __init__(self, sources: Sequence[ImageSource], step: int) -> None:
        self._batches = (batch for source in sources for batch in source.batches(step))
        self._rest: ImageBatch | None = None

    def take(self, like: ImageBatch) -> ImageBatch:
        """The next images, as many as `like` has, fewer at the end."""
        parts: list[ImageBatch] = []
        missing = len(like)
        while missing:
            batch = self._rest or next(self._batches, None)
            if batch is None:
                break
            parts.append(batch.part(0, missing))
            missing -= len(parts[-1])
            rest = batch.part(len(parts[-1]), len(batch))
            self._rest = rest if len(rest) else None
        return ImageBatch.joined(parts) if parts else like.part(0, 0)

    def count_rest(self) -> int:
        """The number of images that were not taken."""
        return sum(len(batch) for batch in (*([self._rest] if self._rest else []), *self._batches))


def _words(batch: ImageBatch) -> str:
    height, width, channels = batch.pixels.shape[1:]
    return shape_words((height, width, channels))


class _Equality:
    """Whether two columns are equal, batch after batch; None if either is absent."""

    result: bool | None = None

    def add(self, ours: NDArray[np.generic] | None, theirs: NDArray[np.generic] | None) -> None:
        if ours is not None and theirs is not None:
            self.result = self.result is not False and bool(np.array_equal(ours, theirs))


def _array(batch: ImageBatch) -> NDArray[np.generic] | None:
    return None if batch.names is None else np.array(batch.names)
