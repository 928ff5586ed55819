"""Names, fields and class names out of the small files that `sidecar` describes, wherever they lie."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.batch import Scalar
from smalti.images.columns import Columns
from smalti.images.places import Place, beside, kind_of, name_of, open_binary, shown
from smalti.images.sidecar import FILE_NAME, class_names_name, metadata_name

__all__ = ["class_names_from", "columns_beside", "read_class_names", "read_rows"]


def columns_beside(place: Place, images: int, labels: NDArray[np.int64] | None) -> Columns:
    """Labels of a `.npy` or IDX file of so many images, and what else stands beside it, if anything does.

    Raises SourceError for a file that cannot be read, or whose rows are not one for each image.
    """
    metadata, classes = (beside(place, called(name_of(place))) for called in (metadata_name, class_names_name))
    fields = _fields(metadata, images) if kind_of(metadata) == "file" else {}
    names = _names(fields.pop(FILE_NAME, None), metadata)
    return Columns(labels, names, fields, read_class_names(classes) if kind_of(classes) == "file" else None)


def read_rows(place: Place) -> Iterator[dict[str, Scalar | None]]:
    """Yield the rows of a file of JSON lines; SourceError, with the line's number, if one is no object of scalars."""
    try:
        with open_binary(place) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _row(line, f"{shown(place)}, line {number}")
    except OSError as error:
        raise SourceError(f"{shown(place)}: cannot be read: {error.strerror or error}") from error


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
    names = _json(data, where)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SourceError(f"{where}: is no list of strings, which class names are; correct it, or move it away")
    return tuple(names)


def _fields(metadata: Place, images: int) -> dict[str, list[Scalar | None]]:
    """The columns of a file of rows, None where a row does not have a field."""
    fields: dict[str, list[Scalar | None]] = {}
    count = 0
    for count, row in enumerate(read_rows(metadata), 1):
        for name in row:
            fields.setdefault(name, [None] * (count - 1))
        for name, values in fields.items():
            values.append(row.get(name))
    if count != images:
        advice = "give one for each, or move it away"
        raise SourceError(f"{shown(metadata)}: {count} rows beside {images} images; {advice}")
    return fields


def _names(values: list[Scalar | None] | None, metadata: Place) -> tuple[str, ...] | None:
    if values is None:
        return None
    names = tuple(value for value in values if isinstance(value, str))
    if len(names) != len(values):
        raise SourceError(f"{shown(metadata)}: not every row has a {FILE_NAME} that is a text; give all or none")
    return names


def _row(line: bytes, where: str) -> dict[str, Scalar | None]:
    row = _json(line, where)
    if not isinstance(row, dict):
        raise SourceError(f"{where}: is no JSON object; give one for each image")
    for name, value in row.items():
        if value is not None and not isinstance(value, bool | int | float | str):
            raise SourceError(f"{where}: {name} is a list or an object; fields are numbers, texts, true, false or null")
    return row


def _json(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where}: is no JSON: {str(error).splitlines()[0]}; correct it, or move it away") from error
