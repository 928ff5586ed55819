"""The columns of MDS as they are written: the encoding that holds all values of a column, and the bytes of a value.

Encodings are those of MosaicML Streaming (`streaming/base/format/mds/encodings.py`, version 2). It opens `png` with
Pillow, which cuts colours of 16 bits to 8 and knows no signed pixels: such images are arrays.
"""

import json
import struct
from collections.abc import Collection, Mapping
from io import BytesIO
from typing import cast

import numpy as np

from smalti.imagefiles.png import png_bytes, read_image
from smalti.images.batch import INT16, UINT16, PixelDtype, Pixels, Scalar
from smalti.sources.shards.mds_columns import kind_of_encoding, value_of
from smalti.sources.shards.sample_columns import columns_of_kinds

__all__ = [
    "ANY_ARRAY",
    "JSON",
    "PNG_FILE",
    "array_encoding",
    "converted",
    "encoded",
    "encoded_image",
    "encoded_size",
    "encoding_of",
    "is_exact_in_png",
    "without_roles",
]

PNG_FILE = "png"
ANY_ARRAY = "ndarray"
"""An array whose dtype and shape precede its values."""

JSON = "json"
_FORMATS = {"int64": "<q", "float64": "<d"}
_INT64 = range(-(1 << 63), 1 << 63)
_DTYPE_CODES: Mapping[str, int] = {"uint8": 8, "uint16": 16, "int16": 17}


def is_exact_in_png(dtype: PixelDtype, channels: int) -> bool:
    """Whether Pillow reads these samples from a PNG file as they are."""
    return dtype != INT16 and (dtype != UINT16 or channels == 1)


def array_encoding(shape: tuple[int, int, int], dtype: PixelDtype) -> str:
    """Return the encoding of arrays of this shape and dtype; images of one channel are [H, W]."""
    sides = shape[:2] if shape[2] == 1 else shape
    return f"{ANY_ARRAY}:{dtype.name}:{','.join(map(str, sides))}"


def encoded_image(encoding: str, pixels: Pixels) -> bytes:
    """Return an image, uint8, uint16 or int16 [H, W, C], in an encoding for images."""
    if encoding == PNG_FILE:
        return png_bytes(pixels)
    plain = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    values = plain.astype(plain.dtype.newbyteorder("<")).tobytes()
    if encoding != ANY_ARRAY:
        return values
    width = next(power for power in range(3) if max(plain.shape) < 1 << (8 << power))  # of a side: 1, 2 or 4 bytes
    sides = np.array(plain.shape, f"<u{1 << width}").tobytes()
    return bytes([_DTYPE_CODES[plain.dtype.name], 4 * plain.ndim + width]) + sides + values


def encoding_of(value: Scalar | None, before: str | None = None) -> str:
    """Return the encoding for a value of a field and those that `before` holds: JSON unless all are of one kind."""
    found = JSON
    if isinstance(value, float):
        found = "float64"
    elif isinstance(value, int) and not isinstance(value, bool) and value in _INT64:
        found = "int64"
    elif isinstance(value, str) and _is_utf8(value):
        found = "str"
    return found if before in (None, found) else JSON


def encoded(encoding: str, value: Scalar | None) -> bytes:
    """Return a value of a field, label or name in its encoding."""
    if encoding in _FORMATS:
        return struct.pack(_FORMATS[encoding], value)
    return str(value).encode() if encoding == "str" else json.dumps(value).encode()


def converted(data: bytes, before: str, encoding: str) -> bytes:
    """Return the bytes of a value in another encoding that holds it too."""
    if before == encoding:
        return data
    if before == PNG_FILE:
        return encoded_image(encoding, read_image(BytesIO(data))[1])
    return encoded(encoding, cast(Scalar, value_of(before, data)))


def encoded_size(encoding: str) -> int | None:
    """Return the number of bytes of each value; None if they differ."""
    if encoding in _FORMATS:
        return 8
    name, _, stated = encoding.partition(":")
    if name != ANY_ARRAY or not stated:
        return None
    dtype, _, sides = stated.partition(":")
    return int(np.prod([int(side) for side in sides.split(",")])) * np.dtype(dtype).itemsize


def without_roles(encodings: dict[str, str], fields: Collection[str]) -> dict[str, str]:
    """Return encodings by which readers take no field for the label or the name.

    A field called `class`, of images without labels, would be one; as JSON it is not.
    """
    while True:
        roles = columns_of_kinds({name: kind_of_encoding(encoding) for name, encoding in encodings.items()}, "MDS")
        mistaken = {roles.label, roles.name} & set(fields)
        if not mistaken:
            return encodings
        encodings = {name: JSON if name in mistaken else encoding for name, encoding in encodings.items()}


def _is_utf8(text: str) -> bool:
    """Whether a text has no lone surrogate, which UTF-8 cannot hold."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
