"""Images as tables of Arrow in the layout of Hugging Face `datasets`: what it reads with `Image` and `ClassLabel`.

Columns: `image`, a struct of `bytes` (a PNG file) and `path` (the image's name, or null); `label`, if there are labels;
then a column for each field. What they mean to `datasets` stands as JSON in the metadata of the schema. That is made
here without `datasets`, which needs not be installed.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SmaltiError
from smalti.imagefiles.png import png_bytes
from smalti.images.batch import ImageBatch, Scalar
from smalti.images.vocabulary import LABEL
from smalti.sources.tables.schema import FEATURES_KEY, pyarrow_for

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

__all__ = ["IMAGE", "ColumnKinds", "cast_table", "check_depth", "kind_of_values"]

IMAGE = "image"

_VALUE_TYPES: Mapping[type[Any] | None, str] = {bool: "bool", int: "int64", float: "float64", str: "string"}
_INT64 = range(-(1 << 63), 1 << 63)

_log = logging.getLogger("smalti")


def check_depth(image_shape: tuple[int, int, int], dtype: np.dtype[Any], shown: str) -> None:
    """Raise SmaltiError for images of 16 bits and several channels, which `datasets` would cut to 8 bits unasked."""
    if dtype == np.uint16 and image_shape[2] > 1:
        raise SmaltiError(
            f"{shown}: images of 16 bits and {image_shape[2]} channels are cut to 8 bits by Hugging Face datasets; "
            "write a folder, .tar or .npy"
        )


def kind_of_values(values: Iterable[Scalar | None], kind: type[Any] | None = None) -> type[Any] | None:
    """The narrowest of bool, int, float and str that holds values, and those of `kind`; None if all are None."""
    for given in values:
        value = given.item() if isinstance(given, np.generic) else given
        if value is not None:
            found = next((plain for plain in (bool, int, float) if isinstance(value, plain)), str)
            if found is int and value not in _INT64:
                found = str
            kind = found if kind in (None, found) else (float if {kind, found} == {int, float} else str)
    return kind


@dataclass(frozen=True)
class ColumnKinds:
    """What columns a table of images has.

    labels : whether there are any
    class_names : the name of each label, if labels are to be classes
    fields : further columns and what they hold: bool, int, float or str; None where no value is known yet
    """

    labels: bool = False
    class_names: tuple[str, ...] | None = None
    fields: Mapping[str, type[Any] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        taken = next((name for name in (IMAGE, LABEL) if name in self.fields), None)
        if taken is not None:
            raise SmaltiError(
                f"field {taken!r} has the name of a column that tables of images have; write .tar instead"
            )

    @classmethod
    def of_columns(
        cls,
        labels: NDArray[np.int64] | None,
        class_names: tuple[str, ...] | None,
        fields: Mapping[str, Iterable[Scalar | None]],
    ) -> "ColumnKinds":
        """What holds all these labels and values."""
        return cls().holding(labels, class_names, fields)

    def holding(
        self,
        labels: NDArray[np.int64] | None,
        class_names: tuple[str, ...] | None,
        fields: Mapping[str, Iterable[Scalar | None]],
    ) -> "ColumnKinds":
        """What holds these labels and values too; labels that cannot be classes are kept as numbers."""
        if labels is not None and class_names is not None and not _are_classes(labels, class_names):
            _log.warning(
                "labels beyond the %d class names, or two classes of one name: kept as numbers", len(class_names)
            )
            class_names = None
        kinds = {name: kind_of_values(values, self.fields.get(name)) for name, values in fields.items()}
        return ColumnKinds(self.labels or labels is not None, class_names, kinds)

    def schema(self) -> "pa.Schema":
        """Names and types of the columns, with what `datasets` is to know of them."""
        pyarrow = pyarrow_for("a table of images")
        columns = [(IMAGE, pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]))]
        features: dict[str, Any] = {IMAGE: {"_type": "Image"}}
        if self.labels:
            columns.append((LABEL, pyarrow.int64()))
            classes = {"names": list(self.class_names or ()), "_type": "ClassLabel"}
            features[LABEL] = classes if self.class_names is not None else _value("int64")
        for name, kind in self.fields.items():
            text = _VALUE_TYPES.get(kind, "string")
            columns.append((name, {"bool": pyarrow.bool_(), "float64": pyarrow.float64()}.get(text) or text))
            features[name] = _value(text)
        told = json.dumps({"info": {"features": features}}).encode()
        return pyarrow.schema(columns, metadata={FEATURES_KEY: told})

    def table(self, batch: ImageBatch) -> "pa.Table":
        """The images of a batch, encoded without loss. SmaltiError for those that no column holds exactly."""
        pyarrow = pyarrow_for("a table of images")
        check_depth(batch.pixels.shape[1:], batch.pixels.dtype, "a table of images")
        files = pyarrow.array([png_bytes(image) for image in batch.pixels], pyarrow.binary())
        names = pyarrow.array(batch.names or [None] * len(batch), pyarrow.string())
        columns = [pyarrow.StructArray.from_arrays([files, names], ["bytes", "path"])]
        schema = self.schema()
        if self.labels:
            labels = [None] * len(batch) if batch.labels is None else batch.labels
            columns.append(pyarrow.array(labels, pyarrow.int64()))
        for name, kind in self.fields.items():
            columns.append(_column(name, batch.fields[name], kind, schema.field(name).type))
        return pyarrow.Table.from_arrays(columns, schema=schema)


def cast_table(table: "pa.Table", kinds: ColumnKinds) -> "pa.Table":
    """A table that was made for narrower kinds of columns."""
    schema = kinds.schema()
    columns = []
    for wanted in schema:
        if wanted.name not in table.column_names:  # images without labels, before the first with one
            columns.append(pyarrow_for("a table of images").nulls(len(table), wanted.type))
            continue
        column = table.column(wanted.name)
        if wanted.name in kinds.fields and column.type != wanted.type:
            column = _column(wanted.name, column.to_pylist(), kinds.fields[wanted.name], wanted.type)
        columns.append(column)
    return pyarrow_for("a table of images").Table.from_arrays(columns, schema=schema)


def _column(name: str, values: Iterable[Scalar | None], kind: type[Any] | None, of: "pa.DataType") -> "pa.Array":
    pyarrow = pyarrow_for("a table of images")
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    if kind is str:
        plain = [None if value is None else _text(value) for value in plain]
    try:
        return pyarrow.array(plain, of)
    except pyarrow.ArrowInvalid as error:
        line = f"field {name!r} holds integers that no float is equal to, and fractions; write .tar instead"
        raise SmaltiError(line) from error


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(kind: str) -> dict[str, str]:
    return {"dtype": kind, "_type": "Value"}


def _are_classes(labels: NDArray[np.int64], names: tuple[str, ...]) -> bool:
    """Whether labels are numbers of names, or -1, by which `datasets` means none; names must differ to be classes."""
    inside = not len(labels) or bool(labels.min() >= -1 and labels.max() < len(names))
    return inside and len(set(names)) == len(names)
