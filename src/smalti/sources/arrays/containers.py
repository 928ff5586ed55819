"""Files and stores that hold several arrays, `.npz`, HDF5 and Zarr, as sources of images.

Each kind is an `ArrayContainer`; what is the same for all is here: which arrays are images (`arraylayout`), what the
others become, and that the images of train, val and test follow each other.
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
from smalti.sources.arrays.array_source import PixelRows, RowsSource
from smalti.sources.arrays.layout import LABEL_NAMES, NAMES_NAME, ArrayFacts, ImagePart, find_parts

__all__ = ["ArrayContainer", "chunk_spans", "container_sources"]

_CHUNKS_BYTES = 256 << 20  # read at once so that no chunk is unpacked twice; above, in pieces
_MOST_LABELS = 1024  # of one image, as columns
_TEXT_BYTES = 4096  # of one value of a column of strings of fixed length

_log = logging.getLogger("smalti")


class ArrayContainer(Protocol):
    """Arrays by their keys, read when asked for."""

    @property
    def description(self) -> str:
        """What the user called it, without credentials."""

    def arrays(self) -> Mapping[str, ArrayFacts]:
        """All arrays, in order. An array of variable strings has the dtype of Python objects."""

    def rows(self, key: str) -> PixelRows:
        """An array, to be read some rows at a time."""

    def whole(self, key: str) -> NDArray[np.generic]:
        """A small array in memory."""


def container_sources(container: ArrayContainer, key: str | None = None) -> list[ImageSource]:
    """The images of a container: one source for each shape and dtype, in the order in which they first come.

    key : the array of images, if the user named it

    Raises SourceError or UsageError, in one line, if it is not clear which array is meant, or it is none of images.
    """
    arrays = container.arrays()
    parts = find_parts(arrays, key, container.description)
    groups: dict[tuple[tuple[int, ...], str], list[ImageSource]] = {}
    for part, columns in zip(parts, _alike([_beside(container, arrays, part) for part in parts]), strict=True):
        where = f"{container.description}::{part.images}"
        source = RowsSource(container.description, container.rows(part.images), columns, where)
        groups.setdefault((source.image_shape, str(source.dtype)), []).append(source)
    return [some[0] if len(some) == 1 else ChainedSource(container.description, some) for some in groups.values()]


def chunk_spans(rows: int, chunk_rows: int, row_bytes: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Cut rows `start` to `stop` where chunks end, so that each chunk is read once: pieces of about `rows`.

    Where chunks are too large to be held (256 MiB in a row of them), the pieces are of `rows`.
    """
    unit = chunk_rows * -(-rows // chunk_rows)
    if unit * row_bytes > _CHUNKS_BYTES:
        unit = rows
    while start < stop:
        end = min(stop, (start // unit + 1) * unit)
        yield start, end
        start = end


@dataclass
class _Beside:
    """What lies beside the images of one part; labels may be words."""

    images: int
    labels: NDArray[np.int64] | tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    fields: dict[str, FieldValues] = field(default_factory=dict)


def _beside(container: ArrayContainer, arrays: Mapping[str, ArrayFacts], part: ImagePart) -> _Beside:
    found = _Beside(arrays[part.images].shape[0])
    for name, key in part.beside.items():
        where, facts, is_label = f"{container.description}::{key}", arrays[key], name.lower() in LABEL_NAMES
        columns = 1 if len(facts.shape) == 1 else math.prod(facts.shape[1:])
        several_labels = is_label and len(facts.shape) == 2 and columns <= _MOST_LABELS
        if not _is_scalar(facts.dtype) or not (columns == 1 or several_labels):
            _log.warning("%s: %s %s is no column of images; left out", where, facts.dtype, list(facts.shape))
            continue
        values = container.whole(key).reshape(found.images, columns)
        if columns == 1:
            _add(found, name, check_field(values[:, 0], found.images, where), where)
        else:
            found.fields |= {f"label_{i}": check_field(values[:, i], found.images, where) for i in range(columns)}
    if part.split is not None:
        found.fields["split"] = (part.split,) * found.images
    return found


def _is_scalar(dtype: np.dtype[np.generic]) -> bool:
    """Whether values of a dtype can be those of a column; objects are, in a container, strings alone."""
    if dtype.kind in "SU":
        return dtype.itemsize <= _TEXT_BYTES
    return dtype.kind in "biuTO" or (dtype.kind == "f" and dtype.itemsize <= 8)


def _add(found: _Beside, name: str, column: FieldValues, where: str) -> None:
    """Take a column as labels, names or a field, by its name and by what it holds."""
    is_labels = name.lower() in LABEL_NAMES and found.labels is None
    if isinstance(column, np.ndarray):
        if is_labels and column.dtype.kind in "iu":
            found.labels = check_labels(column, found.images, where)
        else:
            found.fields[name] = column
        return
    texts = tuple(str(text) for text in column)
    if is_labels:
        found.labels = texts
    elif name == NAMES_NAME:
        found.names = texts
    else:
        found.fields[name] = texts


def _alike(parts: Sequence[_Beside]) -> list[Columns]:
    """The same columns for all parts. Labels or names that some lack become fields with gaps, as do other columns."""
    labelled = all(part.labels is not None for part in parts)
    worded = any(isinstance(part.labels, tuple) for part in parts)
    if labelled and worded and not all(isinstance(part.labels, tuple) for part in parts):
        labelled = False  # words in one part and numbers in another
    named = all(part.names is not None for part in parts)
    for part in parts:
        if not labelled and part.labels is not None:
            part.fields["label"] = part.labels
        if not named and part.names is not None:
            part.fields["name"] = part.names
    field_names = dict.fromkeys(name for part in parts for name in part.fields)
    words = {word for part in parts if isinstance(part.labels, tuple) for word in part.labels}
    class_names = tuple(sorted(words)) if labelled and worded else None
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
