"""TIFF files of several images, as tifffile writes them, and all images that smalti reads from a file."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from smalti.imagefiles.format import ImageHeader
from smalti.imagefiles.table import open_images

Array = NDArray[np.generic]


def deep(*shape: int, seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 65536, shape, dtype=np.uint16)


def tiff(pixels: Array, **options: object) -> BytesIO:
    file = BytesIO()
    if "imagej" not in options:
        options = {"photometric": "minisblack"} | options
    tifffile.imwrite(file, pixels, **options)  # type: ignore[arg-type]
    return file


def read(file: BytesIO) -> tuple[Sequence[ImageHeader], list[Array]]:
    images = open_images(file)
    decoded = [images.image(number) for number in range(len(images.headers))]
    assert [header for header, _ in decoded] == list(images.headers)
    for header, pixels in decoded:
        assert (pixels.shape, pixels.dtype) == (header.shape, header.dtype)
    return images.headers, [pixels for _, pixels in decoded]


def holds(file: BytesIO, expected: Array | list[Array]) -> Sequence[ImageHeader]:
    """Read a file whose images must be these, [n, H, W] or [n, H, W, C], and which holds nothing else."""
    headers, images = read(file)
    assert len(images) == len(expected)
    for found, stored in zip(images, expected, strict=True):
        assert found.dtype == stored.dtype
        np.testing.assert_array_equal(found, stored.reshape(*stored.shape[:2], -1))
    assert {header.unread for header in headers} == {None}
    return headers
