"""How an archive's images, as the decoder really gives them, compare with their originals."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.archive.batch import batch_images
from smalti.archive.blockdecoder import plain_bytes
from smalti.archive.collection.reader import Collection
from smalti.archive.reader import Archive
from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, shape_words
from smalti.images.quality import Quality, QualityMeter
from smalti.images.source import ImageSource

__all__ = ["Comparison", "compare", "pixels_sha256"]

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
