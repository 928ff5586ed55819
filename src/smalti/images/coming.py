"""What a writer of images is told before the first of them comes."""

from dataclasses import dataclass

import numpy as np

from smalti.images.batch import PIXEL_DTYPES

__all__ = ["UINT8", "Coming", "PixelDtype"]

PixelDtype = np.dtype[np.uint8] | np.dtype[np.uint16]

UINT8: PixelDtype = PIXEL_DTYPES[0]


@dataclass(frozen=True)
class Coming:
    """The images that will be written.

    images : how many
    image_shape : height, width and channels of all of them; None if they differ in shape or dtype
    dtype : uint8 or uint16; of no meaning without a shape
    class_names : the name of each label 0, 1, ..., or None
    """

    images: int
    image_shape: tuple[int, int, int] | None = None
    dtype: PixelDtype = UINT8
    class_names: tuple[str, ...] | None = None
