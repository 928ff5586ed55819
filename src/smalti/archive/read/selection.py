"""Indices, slices and masks as image numbers, and batches of images with their numbers in the archive."""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.errors import ImageIndexError, UsageError
from smalti.images.batch import ImageBatch

__all__ = ["ArchiveBatch", "Selection", "batch_images", "resolve"]

_EXPECTED = "an archive is indexed by an integer, a slice, a list of integers or a boolean mask"

Selection = int | slice | Sequence[int] | NDArray[np.integer] | NDArray[np.bool_]


def resolve(
    selection: Selection, images: int, check: Callable[[int], None] = lambda count: None
) -> tuple[NDArray[np.int64], bool]:
    """Return the image numbers of a selection, int64 [n], each in [0, images), and whether it is one integer.

    check : called with the number of images of a slice before they are numbered; raises if they are too many

    Raises ImageIndexError for a number that is out of range, UsageError for anything that is no index.
    """
    if isinstance(selection, slice):
        try:
            numbers = range(*selection.indices(images))
        except (TypeError, ValueError) as error:
            raise UsageError(f"{selection} is no slice of integers: {error}") from error
        check(len(numbers))
        return np.arange(numbers.start, numbers.stop, numbers.step, dtype=np.int64), False
    if isinstance(selection, bool | np.bool_ | tuple):  # archive[3, 5] could mean a pixel or two images
        raise UsageError(f"{selection!r} has no one meaning here; {_EXPECTED}")
    try:
        return _checked(np.array([operator.index(selection)], object), images), True  # type: ignore[arg-type]
    except TypeError:
        pass
    try:
        array = np.asarray(selection)
    except ValueError as error:
        raise UsageError(f"{error}; {_EXPECTED}") from error
    if array.ndim == 1 and array.dtype == np.bool_:
        if len(array) != images:
            raise UsageError(f"a mask of {len(array)} for {images} images")
        return np.flatnonzero(array).astype(np.int64), False
    if array.ndim == 1 and array.size == 0:
        return np.empty(0, np.int64), False
    if array.ndim == 1 and array.dtype == object and all(isinstance(index, int) for index in array):
        return _checked(array, images), False  # integers too large for NumPy are out of range
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise UsageError(f"index of {array.dtype} with {array.ndim} dimensions; {_EXPECTED}")
    return _checked(array, images), False


def _checked(indices: NDArray[Any], images: int) -> NDArray[np.int64]:
    outside = (indices < -images) | (indices >= images)
    if outside.any():
        raise ImageIndexError(f"image {indices[outside][0]} does not exist: the archive holds images 0 to {images - 1}")
    numbers = indices.astype(np.int64)
    return np.where(numbers < 0, numbers + images, numbers)


_BATCH_IMAGES = 4096
_BATCH_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class ArchiveBatch(ImageBatch):
    """A batch of an archive's images.

    numbers : int64 [n], the images' numbers, ascending; damaged images that were skipped leave gaps
    """

    numbers: NDArray[np.int64] = field(kw_only=True, default_factory=lambda: np.empty(0, np.int64))


def batch_images(image_shape: tuple[int, int, int], dtype: DTypeLike = np.uint8) -> int:
    """Images per batch for a full pass: at most 4,096, capped at 16 MB."""
    return max(1, min(_BATCH_IMAGES, _BATCH_BYTES // (np.dtype(dtype).itemsize * math.prod(image_shape))))
