"""The values of MDS by the names of their encodings (`streaming/base/format/mds/encodings.py`, version 2).

Nothing is unpickled, and lists of images are not read. Numbers are little-endian.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.imagefiles.format import UnreadableImageError
from smalti.sources.shards.raw_images import array_of, image_array, pillow_image
from smalti.sources.shards.sample_columns import ColumnKind
from smalti.sources.shards.shard_records import SampleValue

__all__ = ["kind_of_encoding", "value_of"]

# NumPy's dtypes by the number that stands for them in an array without a stated dtype.
_ARRAY_DTYPES = {
    8: "uint8",
    9: "int8",
    16: "uint16",
    17: "int16",
    18: "float16",
    32: "uint32",
    33: "int32",
    34: "float32",
    64: "uint64",
    65: "int64",
    66: "float64",
}
_INT64_DIGITS = 18  # so many always fit


def _number(dtype: str) -> "_Decoder":
    """Return the decoder of a number of this dtype."""

    def decode(data: bytes) -> SampleValue:
        number: int | float = array_of(data, dtype, (1,))[0].item()
        return number

    return decode


def _digits(data: bytes) -> SampleValue:
    """Return an integer, as a text if it may have more than 64 bits."""
    text = data.decode()
    return int(text) if len(text) <= _INT64_DIGITS else text


def _json(data: bytes) -> SampleValue:
    """Return a number, a text or a truth value; of a list or an object, its JSON."""
    try:
        value: Any = json.loads(data)
    except RecursionError as error:
        raise ValueError("JSON too deep") from error
    return value if value is None or isinstance(value, bool | int | float | str) else data.decode()


_Decoder = Callable[[bytes], SampleValue]
_ENCODINGS: dict[str, tuple[ColumnKind, _Decoder]] = {
    "jpeg": ("image", bytes),
    "png": ("image", bytes),
    "pil": ("array", pillow_image),
    "bytes": ("bytes", bytes),
    "str": ("text", bytes.decode),
    "str_int": ("whole number", _digits),
    "str_float": ("scalar", float),
    "str_decimal": ("scalar", bytes.decode),
    "json": ("scalar", _json),
    "int": ("whole number", _number("<i8")),
    **{f"int{bits}": ("whole number", _number(f"<i{bits // 8}")) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": ("whole number", _number(f"<u{bits // 8}")) for bits in (8, 16, 32, 64)},
    **{f"float{bits}": ("scalar", _number(f"<f{bits // 8}")) for bits in (16, 32, 64)},
}


def kind_of_encoding(encoding: str) -> ColumnKind:
    """Return what a column of this encoding holds."""
    if encoding.partition(":")[0] == "ndarray":
        return "array"
    return _ENCODINGS[encoding][0] if encoding in _ENCODINGS else "other"


def value_of(encoding: str, data: bytes) -> SampleValue:
    """Return a value. ValueError or UnreadableImageError if it is damaged; None for encodings that are not read."""
    if encoding.partition(":")[0] == "ndarray":
        return image_array(_array(encoding.split(":")[1:], data))
    return _ENCODINGS[encoding][1](data) if encoding in _ENCODINGS else None


def _array(stated: list[str], data: bytes) -> NDArray[np.generic]:
    """Read an array: its dtype and its shape are stated by the encoding, or come first."""
    at = 0
    if stated and stated[0]:
        name = stated[0]
    else:
        name, at = _ARRAY_DTYPES.get(data[0] if data else -1, ""), 1
    if name not in _ARRAY_DTYPES.values():
        raise UnreadableImageError("damaged: an array of an unknown dtype")
    if len(stated) > 1:
        shape = tuple(int(size) for size in stated[1].split(","))
    else:
        axes, width = divmod(data[at] if at < len(data) else 0, 4)
        end = at + 1 + axes * (1 << width)
        sizes = data[at + 1 : end]
        shape = tuple(array_of(sizes, f"<u{1 << width}", (axes,)).tolist())
        at = end
    return array_of(data[at:], np.dtype(name).newbyteorder("<").str, shape)
