"""Pixels of a collection in a temporary file, read row by row."""

import math
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.images.batch import Pixels

__all__ = ["SpooledPixels"]


class SpooledPixels:
    """Images [n, H, W, C] in an unnamed temporary file, used like an array of them for what a fit needs.

    A memory map would do, but the pages that it has shown count as memory of the process, so that a large collection
    seems to fill it.
    """

    def __init__(self, image_shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        self.image_shape, self.dtype = image_shape, dtype
        self._file = tempfile.TemporaryFile(prefix="smalti-", buffering=0)  # noqa: SIM115 (closed with this object)
        self._image_bytes = dtype.itemsize * math.prod(image_shape)
        self._images = 0

    def __len__(self) -> int:
        return self._images

    def append(self, pixels: Pixels) -> None:
        """Add images behind those that are there."""
        self._file.seek(self._images * self._image_bytes)
        plain: NDArray[Any] = np.ascontiguousarray(pixels)
        left = plain.data.cast("B")
        while left:  # an unbuffered file may take a part at a time
            left = left[self._file.write(left) :]
        self._images += len(pixels)

    def __getitem__(self, indices: NDArray[np.integer]) -> Pixels:
        """Return the images of these numbers, in their order: an array of their own."""
        images: NDArray[Any] = np.empty((len(indices), *self.image_shape), self.dtype)
        for place, index in enumerate(indices.tolist()):
            self._file.seek(index * self._image_bytes)
            left = images[place].data.cast("B")
            while left:
                read = self._file.readinto(left)
                if not read:
                    raise IndexError(f"image {index} of {self._images}")
                left = left[read:]
        return images
