"""Files and stores that hold several arrays (`.npz`, HDF5, Zarr) as sources of images.

Each format is an `ArrayContainer`. The rest is the same for all, and is here: `layout` finds the arrays of images, the
other arrays become their columns, and the images of train, val and test follow each other.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.images.columns import Columns, FieldValues, check_field, check_labels
from smalti.images.source import ChainedSource, ImageSource
from smalti.images.vocabulary import LABEL, LABEL_NAMES, NAMES_ARRAY, SPLIT_FIELD, first_known
from smalti.sources.arrays.array_source import PixelRows, RowsSource
from smalti.sources.arrays.layout import ArrayFacts, ImagePart, find_parts

__all__ = ["ArrayContainer", "chunk_spans", "container_sources"]

_CHUNKS_BYTES = 256 << 20  # a row of chunks up to this size is read at once, so that no chunk is decoded twice
_MAX_LABELS = 1024  # per image, each as a column
_TEXT_BYTES = 4096  # per value, in a column of strings of fixed length

_log = logging.getLogger("smalti")


class ArrayContainer(Protocol):
    """Arrays by their keys, read on request."""

    @property
    def description(self) -> str:
        """What messages call it, without credentials."""

    def arrays(self) -> Mapping[str, ArrayFacts]:
        """Return shapes and dtypes by key, in order. Arrays of variable strings have the dtype of Python objects."""

    def rows(self, key: str) -> PixelRows:
        """Return an array that is read some rows at a time."""

    def whole(self, key: str) -> NDArray[np.generic]:
        """Return a small array in memory."""

    def class_names(self, key: str) -> Mapping[int, str]:
        """Return the names of an array's values, if its type is an enumeration; else an empty mapping."""


def container_sources(container: ArrayContainer, key: str | None = None) -> list[ImageSource]:
    """Return one source for each shape and dtype in a container, in the order in which they first occur.

    key : the array of images, if the user named one

    Raises SourceError or UsageError if it is not clear which array is meant, or if it holds no images.
    """
    arrays = container.arrays()
    parts = find_parts(arrays, key, container.description)
    groups: dict[tuple[tuple[int, ...], str], list[ImageSource]] = {}
    for part, columns in zip(parts, _alike([_columns_of(container, arrays, part) for part in parts]), strict=True):
        where = f"{container.description}::{part.images}"
        source = RowsSource(container.description, container.rows(part.images), columns, where)
        groups.setdefault((source.image_shape, str(source.dtype)), []).append(source)
    return [some[0] if len(some) == 1 else ChainedSource(container.description, some) for some in groups.values()]


def chunk_spans(rows: int, chunk_rows: int, row_bytes: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield spans of rows that together are [start, stop), of about `rows` each, cut at chunk borders.

    So each chunk is read once. If a row of chunks is too large for that (256 MiB), spans have `rows` rows.
    """
    unit = chunk_rows * -(-rows // chunk_rows)
    if unit * row_bytes > _CHUNKS_BYTES:
        unit = rows
    while start < stop:
        end = min(stop, (start // unit + 1) * unit)
        yield start, end
        start = end


@dataclass
class _ArrayColumns:
    """The columns of one part before all parts are made alike; labels may be words."""

    images: int
    labels: NDArray[np.int64] | tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    fields: dict[str, FieldValues] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None


def _columns_of(container: ArrayContainer, arrays: Mapping[str, ArrayFacts], part: ImagePart) -> _ArrayColumns:
    found = _ArrayColumns(arrays[part.images].shape[0])
    single = [name for name, key in part.columns.items() if _values_of_each(arrays[key]) == 1]
    label = first_known(single, LABEL_NAMES)
    if part.other_lengths:
        shown = ", ".join(f"{key} {list(arrays[key].shape)}" for key in part.other_lengths)
        words = "%s: left out, because there is not one value for each of the %d images: %s"
        _log.warning(words, f"{container.description}::{part.images}", found.images, shown)
    for name, key in part.columns.items():
        where, facts, values_each = f"{container.description}::{key}", arrays[key], _values_of_each(arrays[key])
        several_labels = name.lower() in LABEL_NAMES and len(facts.shape) == 2 and values_each <= _MAX_LABELS
        if not _is_scalar(facts.dtype) or not (values_each == 1 or several_labels):
            _log.warning("%s: %s %s is no column of images; left out", where, facts.dtype, list(facts.shape))
            continue
        values = container.whole(key).reshape(found.images, values_each)
        if values_each == 1:
            classes = container.class_names(key) if name == label else {}
            _add(found, name, name == label, _Column(values[:, 0], classes, found.images, where))
        else:
            found.fields |= {f"label_{i}": check_field(values[:, i], found.images, where) for i in range(values_each)}
    if part.split is not None:
        found.fields[SPLIT_FIELD] = (part.split,) * found.images
    return found


def _values_of_each(facts: ArrayFacts) -> int:
    """Return how many values of an array belong to each image."""
    return 1 if len(facts.shape) == 1 else math.prod(facts.shape[1:])


def _is_scalar(dtype: np.dtype[np.generic]) -> bool:
    """Whether a column can have this dtype. Python objects are strings: containers hold no others."""
    if dtype.kind in "SU":
        return dtype.itemsize <= _TEXT_BYTES
    return dtype.kind in "biuTO" or (dtype.kind == "f" and dtype.itemsize <= 8)


class _Column:
    """One value per image. Labels of an enumeration are words, and also numbers if these count from 0."""

    def __init__(self, stored: NDArray[np.generic], classes: Mapping[int, str], images: int, where: str) -> None:
        self.where = where
        self.numbers = stored if classes and sorted(classes) == list(range(len(classes))) else None
        self.class_names = tuple(classes[number] for number in sorted(classes))
        words: FieldValues = [classes.get(number) for number in stored.tolist()] if classes else stored
        self.values = check_field(words, images, where)


def _add(found: _ArrayColumns, name: str, is_label: bool, column: _Column) -> None:
    """Add a column as labels, names or a field, by its name and its values."""
    if is_label and column.numbers is not None:
        found.labels = check_labels(column.numbers, found.images, column.where)
        found.class_names = column.class_names
        return
    if isinstance(column.values, np.ndarray):
        if is_label and column.values.dtype.kind in "iu":
            found.labels = check_labels(column.values, found.images, column.where)
            return
        if is_label:
            words = "%s: holds %s; labels are integers or texts, so it is kept as a field"
            _log.warning(words, column.where, column.values.dtype)
        found.fields[name] = column.values
    elif None in column.values:
        found.fields[name] = column.values
    elif is_label:
        found.labels = tuple(str(text) for text in column.values)
    elif name == NAMES_ARRAY:
        found.names = tuple(str(text) for text in column.values)
    else:
        found.fields[name] = tuple(str(text) for text in column.values)


def _alike(parts: Sequence[_ArrayColumns]) -> list[Columns]:
    """Return the same columns for all parts. A column that some parts lack becomes a field with gaps."""
    labelled = all(part.labels is not None for part in parts)
    worded = any(isinstance(part.labels, tuple) for part in parts)
    if labelled and worded and not all(isinstance(part.labels, tuple) for part in parts):
        labelled = False  # words in one part and numbers in another
    named = all(part.names is not None for part in parts)
    for part in parts:
        if not labelled and part.labels is not None:
            part.fields[LABEL] = part.labels
        if not named and part.names is not None:
            part.fields["name"] = part.names
    field_names = dict.fromkeys(name for part in parts for name in part.fields)
    words = {word for part in parts if isinstance(part.labels, tuple) for word in part.labels}
    stated = {part.class_names for part in parts}
    class_names = tuple(sorted(words)) if worded else stated.pop() if len(stated) == 1 else None
    class_names = class_names if labelled else None
    return [
        Columns(
            _numbered(part.labels, class_names) if labelled else None,
            part.names if named else None,
            {name: part.fields.get(name, (None,) * part.images) for name in field_names},
            class_names,
        )
        for part in parts
    ]


def _numbered(
    labels: NDArray[np.int64] | tuple[str, ...] | None, class_names: tuple[str, ...] | None
) -> NDArray[np.int64] | None:
    if isinstance(labels, tuple):
        number_of = {name: number for number, name in enumerate(class_names or ())}
        return np.array([number_of[label] for label in labels], np.int64)
    return labels
