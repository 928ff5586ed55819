"""Sidecar files, for columns that a file of pixels cannot hold: rows of names and fields, and class names.

A row is a line of JSON, as in the `metadata.jsonl` of an image folder of Hugging Face `datasets`: `file_name`, `label`
and further fields. JSON keeps the kind of every value, and null for a missing one. A file of class names is a JSON
list. Such files lie beside `.npy` and IDX files, and in folders; a TAR file has one row per sample.

This module makes names and bytes; `metadata` reads them, and `smalti.sinks` writes them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from smalti.errors import SmaltiError
from smalti.images.batch import Fields, Scalar
from smalti.images.vocabulary import CLASS_NAMES_FILE, METADATA_FILE, TRUE_NAME

__all__ = [
    "check_field_names",
    "class_names_bytes",
    "class_names_name",
    "field_rows",
    "json_line",
    "metadata_name",
]


def metadata_name(name: str) -> str:
    """Return the name of the rows of a `.npy` or IDX file: `a.metadata.jsonl`, `a-idx3-ubyte.metadata.jsonl`."""
    return f"{_stem(name)}.{METADATA_FILE}"


def class_names_name(name: str) -> str:
    """Return the name of the class names of such a file: `a.class_names.json`, `a-idx3-ubyte.class_names.json`."""
    return f"{_stem(name)}.{CLASS_NAMES_FILE}"


def field_rows(fields: Fields, images: int) -> Iterator[dict[str, Scalar | None]]:
    """Yield the fields of each of `images` images, as plain values."""
    columns = {name: _plain(values) for name, values in fields.items()}
    for index in range(images):
        yield {name: values[index] for name, values in columns.items()}


def json_line(row: Mapping[str, Scalar | None]) -> bytes:
    """Return a row as a line of JSON in UTF-8. NaN and infinities are written as Python writes them."""
    # a lone surrogate, which no UTF-8 can hold, becomes the escape that JSON has for it
    return json.dumps(row, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"


def class_names_bytes(names: Iterable[str]) -> bytes:
    """Return the bytes of a file of class names."""
    return json.dumps(list(names), ensure_ascii=False, indent=0).encode(errors="backslashreplace") + b"\n"


def check_field_names(fields: Fields, *reserved: str) -> None:
    """Raise SmaltiError if a field has a name that is reserved in the rows of the output."""
    for name in reserved:
        if name in fields:
            instead = ".npy" if name == TRUE_NAME else ".tar"  # whose rows do not have it
            raise SmaltiError(
                f"field {name!r} would be taken for what rows say of every image; write {instead} instead"
            )


def _stem(name: str) -> str:
    return name.removesuffix(".gz").removesuffix(".npy")


def _plain(values: Any) -> Any:
    """Return NumPy's numbers as Python's, which JSON can hold."""
    if isinstance(values, np.ndarray):
        return values.tolist()
    return [value.item() if isinstance(value, np.generic) else value for value in values]
