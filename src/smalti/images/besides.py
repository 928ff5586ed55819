"""Names, fields and class names out of the small files that `sidecar` describes, wherever they lie."""

import json

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.batch import Scalar
from smalti.images.columns import Columns
from smalti.images.metadata import jsonl_columns
from smalti.images.places import Place, beside, kind_of, name_of, open_binary, shown
from smalti.images.sidecar import FILE_NAME, class_names_name, metadata_name

__all__ = ["class_names_from", "columns_beside", "read_class_names"]


def columns_beside(place: Place, images: int, labels: NDArray[np.int64] | None) -> Columns:
    """Labels of a `.npy` or IDX file of so many images, and what else stands beside it, if anything does.

    Raises SourceError for a file that cannot be read, or whose rows are not one for each image.
    """
    metadata, classes = (beside(place, called(name_of(place))) for called in (metadata_name, class_names_name))
    fields = _fields(metadata, images) if kind_of(metadata) == "file" else {}
    names = _names(fields.pop(FILE_NAME, None), metadata)
    return Columns(labels, names, fields, read_class_names(classes) if kind_of(classes) == "file" else None)


def read_class_names(place: Place) -> tuple[str, ...]:
    """The names in a JSON list of strings; SourceError if the file is anything else."""
    try:
        with open_binary(place) as file:
            data = file.read()
    except OSError as error:
        raise SourceError(f"{shown(place)}: cannot be read: {error.strerror or error}") from error
    return class_names_from(data, shown(place))


def class_names_from(data: bytes, where: str) -> tuple[str, ...]:
    """As `read_class_names`, of bytes; `where` is what messages call them."""
    try:
        names = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where}: is no JSON ({error}); correct it, or move it away") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SourceError(f"{where}: is no list of strings, which class names are; correct it, or move it away")
    return tuple(names)


def _fields(metadata: Place, images: int) -> dict[str, list[Scalar | None]]:
    """The columns of a file of rows, None where a row does not have a field."""
    where = shown(metadata)
    try:
        with open_binary(metadata) as file:
            fields = jsonl_columns(file, where)
    except OSError as error:
        raise SourceError(f"{where}: cannot be read: {error.strerror or error}") from error
    rows = len(next(iter(fields.values()), ()))
    if rows != images:
        raise SourceError(f"{where}: {rows} rows beside {images} images; give one for each, or move it away")
    return fields


def _names(values: list[Scalar | None] | None, metadata: Place) -> tuple[str, ...] | None:
    if values is None:
        return None
    names = tuple(value for value in values if isinstance(value, str))
    if len(names) != len(values):
        raise SourceError(f"{shown(metadata)}: not every row has a {FILE_NAME} that is a text; give all or none")
    return names
