"""Columns of images that lie in arrays, held in memory: labels, names and further fields, with their checks.

Layer: within `images`, above `batch`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, Pixels, Scalar

__all__ = ["Columns", "FieldValues", "check_field", "check_labels", "check_names", "plain_texts"]

FieldValues = NDArray[np.generic] | Sequence[Scalar | None]
"""One column: an array [N] of bool, integers, floats or strings, or N Python values, None where one is missing."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Labels, names and fields of N images, all optional.

    labels : int64 [N]
    names : N relative POSIX paths
    fields : further columns by name, N values each
    class_names : the names of labels 0, 1, ...
    """

    labels: NDArray[np.int64] | None = None
    names: tuple[str, ...] | None = None
    fields: Mapping[str, FieldValues] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None

    def batch(self, pixels: Pixels, start: int) -> ImageBatch:
        """A batch of these pixels, the images from `start` on, with their columns."""
        rows = slice(start, start + len(pixels))
        return ImageBatch(
            pixels,
            None if self.labels is None else self.labels[rows],
            None if self.names is None else self.names[rows],
            {name: _plain(values[rows]) for name, values in self.fields.items()},
        )


def check_labels(labels: NDArray[np.generic], images: int, where: str) -> NDArray[np.int64]:
    """Labels as int64 [images]. SourceError, which names `where`, if they are not one integer for each image."""
    if labels.dtype.kind not in "iu":
        raise SourceError(f"{where}: holds {labels.dtype}; labels are integers")
    if labels.shape != (images,):
        raise SourceError(f"{where}: has shape {list(labels.shape)} beside {images} images; give [{images}]")
    if labels.dtype.kind == "u" and labels.dtype.itemsize == 8 and labels.max() > np.iinfo(np.int64).max:
        raise SourceError(f"{where}: a label is above 2^63 - 1; number the labels from 0")
    return labels.astype(np.int64)


def check_names(names: Sequence[str], images: int, where: str) -> tuple[str, ...]:
    """Names as a tuple. SourceError, which names `where`, if they are not one string for each image."""
    if isinstance(names, str) or len(names) != images:
        raise SourceError(f"{where}: give a name for each of the {images} images")
    found = tuple(str(name) if isinstance(name, str) else None for name in names)  # NumPy's strings become plain ones
    if None in found:
        raise SourceError(f"{where}: names are strings")
    return tuple(name for name in found if name is not None)


def check_field(values: FieldValues, images: int, where: str) -> FieldValues:
    """The values of one column. SourceError, which names `where`, if they are not one scalar for each image."""
    if isinstance(values, np.ndarray):
        if values.shape != (images,):
            raise SourceError(f"{where}: has shape {list(values.shape)} beside {images} images; give [{images}]")
        if values.dtype.kind in "biu" or (values.dtype.kind == "f" and values.dtype.itemsize <= 8):
            return values
        values = plain_texts(values, where)
    if isinstance(values, str) or len(values) != images:
        raise SourceError(f"{where}: give a value for each of the {images} images")
    if not all(value is None or isinstance(value, bool | int | float | str) for value in values):
        raise SourceError(f"{where}: values are bool, int, float, str or None")
    return values


def plain_texts(values: NDArray[np.generic], where: str) -> tuple[str, ...]:
    """The strings of an array of Unicode, of UTF-8 bytes, or of objects that are either. Else SourceError."""
    try:
        texts = [value.decode("utf-8") if isinstance(value, bytes) else value for value in values.tolist()]
    except UnicodeDecodeError as error:
        raise SourceError(f"{where}: holds bytes that are not UTF-8; store text") from error
    if not all(isinstance(text, str) for text in texts):
        raise SourceError(f"{where}: holds {values.dtype}; columns are bool, integers, floats or strings")
    return tuple(texts)


def _plain(values: FieldValues) -> Sequence[Scalar | None]:
    if isinstance(values, np.ndarray):
        found: list[Scalar | None] = values.tolist()
        return found
    return values
