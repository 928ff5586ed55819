"""How an archive's images, as the decoder really gives them, compare with their originals."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.archive.batch import batch_images
from smalti.archive.blockdecoder import plain_bytes
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


def pixels_sha256(archive: Archive, progress: Progress = lambda done, total: None) -> str:
    """Return the SHA-256 of all decoded pixels in order, in C order, 16 bits little-endian."""
    digest, done = hashlib.sha256(), 0
    for batch in archive.batches(batch_images(archive.image_shape, archive.dtype)):
        digest.update(plain_bytes(batch.pixels))
        done += len(batch)
        progress(done, len(archive))
    return digest.hexdigest()


def compare(archive: Archive, source: ImageSource, progress: Progress = lambda done, total: None) -> Comparison:
    """Decode every image and compare it with the source's image of the same number.

    Raises SourceError if the source has another shape, type of pixels or number of images; DamagedArchiveError.
    """
    if source.dtype != archive.dtype:
        raise SourceError(
            f"{source.description} has pixels of {source.dtype}, the archive of {archive.dtype}; "
            "name the source it was made from"
        )
    if source.image_shape != archive.image_shape:
        raise SourceError(
            f"{source.description} has images of {shape_words(source.image_shape)}, the archive of "
            f"{shape_words(archive.image_shape)}; "
            "name the source it was made from"
        )
    meter, digest = QualityMeter(), hashlib.sha256()
    labels, names, done = _Equality(), _Equality(), 0
    step = batch_images(archive.image_shape, archive.dtype)
    for original, decoded in zip(source.batches(step), archive.batches(step), strict=False):
        if len(original) != len(decoded):
            break
        meter.add(original.pixels, decoded.pixels)
        digest.update(plain_bytes(decoded.pixels))
        labels.add(original.labels, decoded.labels)
        names.add(_array(original), _array(decoded))
        done += len(decoded)
        progress(done, len(archive))
    found = sum(len(batch) for batch in source.batches(step)) if done != len(source) else done
    if done != len(archive) or found != done:
        raise SourceError(
            f"{source.description} has {found} images, the archive {len(archive)}; name the source it was made from"
        )
    return Comparison(meter.result(), labels.result, names.result, digest.hexdigest())


class _Equality:
    """Whether two columns are equal throughout; None if either is absent."""

    result: bool | None = None

    def add(self, ours: NDArray[np.generic] | None, theirs: NDArray[np.generic] | None) -> None:
        if ours is not None and theirs is not None:
            self.result = self.result is not False and bool(np.array_equal(ours, theirs))


def _array(batch: ImageBatch) -> NDArray[np.generic] | None:
    return None if batch.names is None else np.array(batch.names)
