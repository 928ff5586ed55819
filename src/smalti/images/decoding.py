"""An entry's data to what its header says, or to pixels: a file's bytes, its path, its URL, or an array."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from smalti.images.batch import PIXEL_DTYPES, Pixels
from smalti.images.imagefile import ImageHeader, UnreadableImageError, read_header, read_image
from smalti.images.places import open_binary

__all__ = ["EntryData", "Unreadable", "header_of", "image_of"]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """In place of an entry's data: why it holds no image that could be decoded."""

    reason: str


EntryData = bytes | Path | str | NDArray[np.generic] | Unreadable
"""An image file's bytes, its path, its URL; or pixels uint8 or uint16 [H, W] or [H, W, 1..4]."""


def header_of(data: EntryData) -> ImageHeader:
    """Shape, dtype and what will be converted, without decoding. UnreadableImageError if it cannot be taken."""
    if isinstance(data, np.ndarray):
        return _header_of_array(data)
    with _opened(data) as file:
        return read_header(file)


def image_of(data: EntryData) -> tuple[ImageHeader, Pixels]:
    """Header and pixels [H, W, C]. UnreadableImageError if it cannot be taken."""
    if isinstance(data, np.ndarray):
        header = _header_of_array(data)
        return header, cast(Pixels, data.reshape(header.shape))
    with _opened(data) as file:
        return read_image(file)


@contextmanager
def _opened(data: bytes | Path | str | Unreadable) -> Iterator[BinaryIO]:
    if isinstance(data, Unreadable):
        raise UnreadableImageError(data.reason)
    try:
        if isinstance(data, bytes):
            file: BinaryIO = BytesIO(data)
        elif isinstance(data, Path):
            file = data.open("rb")
        else:
            file = open_binary(data)
    except OSError as error:
        raise UnreadableImageError(f"cannot be read: {error.strerror or error}") from error
    with file:
        yield file


def _header_of_array(pixels: NDArray[np.generic]) -> ImageHeader:
    shape = pixels.shape if pixels.ndim == 3 else (*pixels.shape, 1)
    if pixels.dtype not in PIXEL_DTYPES:
        raise UnreadableImageError(f"holds {pixels.dtype}; images are uint8 or uint16, scale and convert them")
    if len(shape) != 3 or not 1 <= shape[2] <= 4 or 0 in shape:
        raise UnreadableImageError(f"shape {list(pixels.shape)}; images are [H, W] or [H, W, C], C from 1 to 4")
    height, width, channels = shape
    return ImageHeader((height, width, channels), cast(np.dtype[np.uint8], pixels.dtype))
