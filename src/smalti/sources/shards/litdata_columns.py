"""The columns of LitData: their names, and their values by the names of serializers (`streaming/serializers.py`).

Nothing is unpickled. Lists of images, 1-D arrays, graphs, sound and video are not read.
"""

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.imagefiles.format import UnreadableImageError
from smalti.imagefiles.table import IMAGE_SUFFIXES
from smalti.sources.shards.raw_images import array_of, image_array, pillow_image
from smalti.sources.shards.sample_columns import ColumnKind
from smalti.sources.shards.shard_records import SampleValue

__all__ = ["kind_of_serializer", "leaf_names", "value_of_serializer"]

_TORCH_DTYPES = {11: "|u1", 12: "|i1", 13: "<i2", 14: "<i2", 20: "<u2", 0: "<f4", 1: "<f4", 2: "<f8", 3: "<f8"}
_TORCH_DTYPES |= {15: "<i4", 16: "<i4", 17: "<i8", 18: "<i8", 8: "<f2", 9: "<f2", 19: "|b1"}
_NUMPY_DTYPES = ("|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8")
_MAX_AXES = 8
_MAX_DEPTH = 50


def _array(order: str, dtypes: dict[int, str], data: bytes) -> NDArray[np.generic]:
    """Read an array: the number of its dtype, the number of its axes and its shape, uint32; then its values."""
    try:
        number, axes = struct.unpack_from(f"{order}II", data)
        shape = struct.unpack_from(f"{order}{min(axes, _MAX_AXES)}I", data, 8)
    except struct.error as error:
        raise UnreadableImageError("damaged: shorter than its header") from error
    if axes > _MAX_AXES or number not in dtypes:
        raise UnreadableImageError(f"an array of {axes} axes and dtype no. {number}")
    return array_of(data[8 + 4 * axes :], dtypes[number], shape)


def _number(dtype: str) -> "_Decoder":
    """Return the decoder of a number of this dtype."""

    def decode(data: bytes) -> SampleValue:
        number: bool | int | float = array_of(data, dtype, (1,))[0].item()
        return number

    return decode


def _tensor(data: bytes) -> SampleValue:
    return image_array(_array(">", _TORCH_DTYPES, data), channels_first=True)


def _numpy(data: bytes) -> SampleValue:
    return image_array(_array("<", dict(enumerate(_NUMPY_DTYPES)), data))


_Decoder = Callable[[bytes], SampleValue]
_SERIALIZERS: dict[str, tuple[ColumnKind, _Decoder]] = {
    "jpeg": ("image", bytes),
    "image": ("image", bytes),
    "tifffile": ("image", bytes),
    "tiff": ("image", bytes),
    "pil": ("array", pillow_image),
    "tensor": ("array", _tensor),
    "numpy": ("array", _numpy),
    "bytes": ("bytes", bytes),
    "str": ("text", bytes.decode),
    "text": ("text", bytes.decode),
    "int": ("whole number", _number("<i8")),
    "float": ("scalar", _number("<f8")),
    "bool": ("scalar", _number("|b1")),
}


def kind_of_serializer(name: str) -> ColumnKind:
    """Return what a column with this serializer holds, such as "pil", "image:png" and "file:tif"."""
    return _serializer(name)[0]


def value_of_serializer(name: str, data: bytes) -> SampleValue:
    """Return a value. ValueError or UnreadableImageError if it is damaged; None for what is not read."""
    return _serializer(name)[1](data)


def _serializer(name: str) -> tuple[ColumnKind, _Decoder]:
    first, _, suffix = name.partition(":")
    if first == "file" and f".{suffix}" in IMAGE_SUFFIXES:
        return "image", bytes
    return _SERIALIZERS.get(first, ("other", lambda data: None))


def leaf_names(spec: str) -> list[str]:
    """Return a name for each value of a sample: the keys of dictionaries and positions in lists, joined by dots.

    spec : the `data_spec` of an index: a tree that PyTorch's `treespec_dumps` wrote

    ValueError if it is no such tree.
    """
    try:
        _, tree = json.loads(spec)
        return [".".join(path) for path in _leaves(tree, ())]
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"no tree of values: {error!r}") from error


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    children = tree["children_spec"]
    if tree["type"] is None:
        yield path
        return
    if len(path) > _MAX_DEPTH:
        raise ValueError("a tree too deep")
    kind = str(tree["type"])
    keys: Sequence[str] = [str(number) for number in range(len(children))]
    if kind.endswith(("dict", "Dict")):
        keys = [str(key) for key in json.loads(tree["context"])]
    for key, child in zip(keys, children, strict=True):
        yield from _leaves(child, (*path, key))
