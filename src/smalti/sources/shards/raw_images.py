"""Images that samples hold without a file format: Pillow's pixels with a mode, and arrays."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smalti.imagefiles.format import SOURCE_MODE, UnreadableImageError, check_size
from smalti.imagefiles.pillow import header_of, pixels_of
from smalti.sources.records.record import EntryData, RawImage, Unreadable

__all__ = ["INDICES_MODE", "array_of", "image_array", "pillow_image"]

INDICES_MODE = "P;indices"
"""The `source_mode` of images whose palette the format does not keep: the samples are its indices."""

_HEAD_BYTES = 12
_MAX_MODE_BYTES = 16
_MAX_AXES = 63


def pillow_image(data: bytes) -> EntryData:
    """Read an image as MDS and LitData store one of Pillow: width, height, length of the mode, mode, `tobytes()`.

    The three numbers are uint32. Pixels of mode P come without their palette: the indices are the samples.
    """
    if len(data) < _HEAD_BYTES:
        return Unreadable("damaged: shorter than its header")
    width, height, mode_bytes = np.frombuffer(data[:_HEAD_BYTES], "<u4").tolist()
    mode = data[_HEAD_BYTES : _HEAD_BYTES + min(mode_bytes, _MAX_MODE_BYTES)].decode("ascii", "replace")
    raw = data[_HEAD_BYTES + mode_bytes :]
    try:
        check_size(width, height)
        if mode == "P":
            return RawImage(array_of(raw, "|u1", (height, width)), {SOURCE_MODE: INDICES_MODE})
        image = Image.frombytes(mode, (width, height), raw)
        header = header_of(image, None)
        return RawImage(pixels_of(image, header), header.fields)
    except UnreadableImageError as error:
        return Unreadable(str(error))
    except (ValueError, KeyError, SystemError, OSError) as error:  # of a mode that Pillow does not know, or cut pixels
        return Unreadable(f"damaged or unreadable: {error}")


def array_of(data: bytes, dtype: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Return the array of this dtype and shape, in native byte order.

    UnreadableImageError unless it has exactly these bytes.
    """
    stored = np.dtype(dtype)
    if len(shape) > _MAX_AXES or math.prod(shape) * stored.itemsize != len(data):
        raise UnreadableImageError(f"damaged: {len(data):,} bytes for {dtype} {list(shape)[:8]}")
    return np.frombuffer(data, stored).reshape(shape).astype(stored.newbyteorder("="), copy=False)


def image_array(pixels: NDArray[np.generic], channels_first: bool = False) -> NDArray[np.generic]:
    """Return an array with its channels last; other shapes stay, for messages of their own.

    channels_first : what [C, H, W] and [H, W, C] are taken for if the shape fits both
    """
    if pixels.ndim != 3:
        return pixels
    first, last = pixels.shape[0] <= 4, pixels.shape[2] <= 4
    return np.moveaxis(pixels, 0, 2) if first and (channels_first or not last) else pixels
