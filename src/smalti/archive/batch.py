"""Images read from an archive, with the numbers that they have in it."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.images.batch import ImageBatch

__all__ = ["ArchiveBatch", "batch_images"]

_BATCH_IMAGES = 4096
_BATCH_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class ArchiveBatch(ImageBatch):
    """A batch of an archive's images.

    numbers : int64 [n], which images these are, ascending; there are gaps where damaged ones were left out
    """

    numbers: NDArray[np.int64] = field(kw_only=True, default_factory=lambda: np.empty(0, np.int64))


def batch_images(image_shape: tuple[int, int, int], dtype: DTypeLike = np.uint8) -> int:
    """How many images to take at a time where all are gone through: many, and not more than fit 16 MB."""
    return max(1, min(_BATCH_IMAGES, _BATCH_BYTES // (np.dtype(dtype).itemsize * math.prod(image_shape))))
