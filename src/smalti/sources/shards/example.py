"""TensorFlow's `Example` (tensorflow/core/example/example.proto): named lists of bytes, floats or integers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smalti.imagefiles.format import UnreadableImageError
from smalti.sources.records.record import EntryData, Unreadable
from smalti.sources.shards.raw_images import array_of, image_array
from smalti.sources.shards.wire import floats_of, integers_of, message_fields

__all__ = ["Feature", "features_of", "is_tensor", "raw_image", "tensor_of"]

_LISTS: dict[int, Literal["bytes", "floats", "integers"]] = {1: "bytes", 2: "floats", 3: "integers"}
_TENSOR_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "|u1", 5: "<i2", 6: "|i1", 9: "<i8", 10: "|b1", 17: "<u2", 22: "<u4"}
_MAX_AXES = 8


@dataclass(frozen=True)
class Feature:
    """A list of values of one kind."""

    kind: Literal["bytes", "floats", "integers"]
    data: memoryview

    def bytes_values(self) -> list[memoryview]:
        """Return the values of a list of bytes. ValueError if it is damaged."""
        return [value for number, value in message_fields(self.data) if number == 1 and not isinstance(value, int)]

    def number_values(self) -> list[float] | list[int]:
        """Return the values of a list of numbers. ValueError if it is damaged."""
        values = [value for number, value in message_fields(self.data) if number == 1]
        if self.kind == "floats":
            return [number for value in values for number in floats_of(value)]
        return [number for value in values for number in integers_of(value)]


def features_of(data: memoryview) -> dict[str, Feature]:
    """Return the features of an Example by name; a feature without a list is left out. ValueError if it is damaged."""
    found: dict[str, Feature] = {}
    for features in _messages(data, 1):
        for entry in _messages(features, 1):
            name, value = memoryview(b""), memoryview(b"")
            for number, part in message_fields(entry):
                if not isinstance(part, int):
                    name, value = (part, value) if number == 1 else (name, part)
            for number, part in message_fields(value):
                if number in _LISTS and not isinstance(part, int):
                    found[bytes(name).decode()] = Feature(_LISTS[number], part)
    return found


def raw_image(data: memoryview, sizes: Mapping[str, int | None]) -> EntryData:
    """Return pixels that lie in a record without a format: uint8 [H, W, C].

    sizes : "height", "width" and "channels" as the record states them; channels may be missing

    Unreadable if the pixels are not exactly as many: more bytes for a sample have a type that no record states.
    """
    height, width, channels = (sizes.get(name) for name in ("height", "width", "channels"))
    if height is None or width is None or min(height, width) < 1:
        return Unreadable("bytes that are no image file, and no height and width for pixels")
    if channels is None:
        channels = {height * width: 1, 3 * height * width: 3}.get(len(data), 0)
    samples = height * width * channels
    if channels < 1 or samples != len(data):
        words = f"{len(data):,} bytes of pixels for {height}x{width}"
        return Unreadable(f"{words}, {channels or 'unknown'} channels; only samples of one byte have a known type")
    return image_array(array_of(bytes(data), "|u1", (height, width, channels)))


def is_tensor(data: memoryview) -> bool:
    """Whether bytes are a tensor of two or three axes, as `tf.io.serialize_tensor` writes it."""
    try:
        return bytes(data[:1]) == b"\x08" and tensor_of(data).ndim in (2, 3)
    except (ValueError, UnreadableImageError):
        return False


def tensor_of(data: memoryview) -> NDArray[np.generic]:
    """Return a TensorProto (tensorflow/core/framework/tensor.proto) as an array: dtype, shape, bytes of the values.

    ValueError or UnreadableImageError if it is damaged, or has values of another kind.
    """
    dtype, shape, content = 0, list[int](), memoryview(b"")
    for number, value in message_fields(data):
        if number == 1 and isinstance(value, int):
            dtype = value
        elif number == 2 and not isinstance(value, int):
            shape = [size for axis in _messages(value, 2) for key, size in _numbers(axis) if key == 1]
        elif number == 4 and not isinstance(value, int):
            content = value
    if dtype not in _TENSOR_DTYPES or len(shape) > _MAX_AXES or math.prod(shape) == 0:
        raise ValueError(f"a tensor of type {dtype} and shape {shape[:8]}")
    return array_of(bytes(content), _TENSOR_DTYPES[dtype], tuple(shape))


def _messages(data: memoryview, number: int) -> list[memoryview]:
    """Return the fields with this number that are messages."""
    return [value for found, value in message_fields(data) if found == number and not isinstance(value, int)]


def _numbers(data: memoryview) -> list[tuple[int, int]]:
    return [(number, value) for number, value in message_fields(data) if isinstance(value, int)]
