"""A Parquet file as an output, which `datasets.load_dataset("parquet", ...)` reads with `Image` and `ClassLabel`.

Images become tables of Arrow in the layout of Hugging Face `datasets`. Columns: `image`, a struct of `bytes` (a PNG
file) and `path` (the image's name, or null); `label`, if there are labels; then a column for each field. The notes of
`datasets` on columns are JSON in the metadata of the schema, written here without `datasets`.
"""

import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SmaltiError
from smalti.imagefiles.png import png_bytes
from smalti.images.batch import ImageBatch, OutputSpec, Scalar
from smalti.images.vocabulary import LABEL
from smalti.sources.tables.schema import FEATURES_KEY, pyarrow_for
from smalti.storage.atomic import atomic_file, writing
from smalti.storage.spool import spool_file

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

__all__ = ["IMAGE", "ColumnKinds", "ParquetWriter", "cast_table", "check_depth", "kind_of_values", "parquet_file"]


IMAGE = "image"

_VALUE_TYPES: Mapping[type[Any] | None, str] = {bool: "bool", int: "int64", float: "float64", str: "string"}
_INT64 = range(-(1 << 63), 1 << 63)

_log = logging.getLogger("smalti")


def check_depth(image_shape: tuple[int, int, int], dtype: np.dtype[Any], where: str) -> None:
    """Raise SmaltiError for images of 16 bits and several channels, which `datasets` cuts to 8 bits silently."""
    if dtype == np.int16:
        raise SmaltiError(
            f"{where}: images of Hugging Face datasets hold no signed pixels; write a folder, .tar or .npy"
        )
    if dtype == np.uint16 and image_shape[2] > 1:
        raise SmaltiError(
            f"{where}: images of 16 bits and {image_shape[2]} channels are cut to 8 bits by Hugging Face datasets; "
            "write a folder, .tar or .npy"
        )


def kind_of_values(values: Iterable[Scalar | None], kind: type[Any] | None = None) -> type[Any] | None:
    """Return the narrowest of bool, int, float and str for these values and those of `kind`; None if all are None."""
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
    """The kinds of the columns of a table of images.

    labels : whether there are labels
    class_names : the names of the labels, if the labels are classes
    fields : further columns, each with bool, int, float or str; None where no value is known yet
    """

    labels: bool = False
    class_names: tuple[str, ...] | None = None
    fields: Mapping[str, type[Any] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        reserved = next((name for name in (IMAGE, LABEL) if name in self.fields), None)
        if reserved is not None:
            raise SmaltiError(
                f"field {reserved!r} has the name of a column that tables of images have; write .tar instead"
            )

    def holding(
        self,
        labels: NDArray[np.int64] | None,
        class_names: tuple[str, ...] | None,
        fields: Mapping[str, Iterable[Scalar | None]],
    ) -> "ColumnKinds":
        """Return kinds that hold these labels and values too; labels that cannot be classes become numbers."""
        if labels is not None and class_names is not None and not _are_classes(labels, class_names):
            _log.warning(
                "labels beyond the %d class names, or two classes of one name: kept as numbers", len(class_names)
            )
            class_names = None
        kinds = {name: kind_of_values(values, self.fields.get(name)) for name, values in fields.items()}
        return ColumnKinds(self.labels or labels is not None, class_names, kinds)

    def schema(self) -> "pa.Schema":
        """Return names and types of the columns, with notes for `datasets`."""
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
        notes = json.dumps({"info": {"features": features}}).encode()
        return pyarrow.schema(columns, metadata={FEATURES_KEY: notes})

    def table(self, batch: ImageBatch) -> "pa.Table":
        """Return the images of a batch, encoded without loss. SmaltiError for values that no column holds exactly."""
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
    """Return a table of narrower kinds of columns with these kinds."""
    schema = kinds.schema()
    columns = []
    for target in schema:
        if target.name not in table.column_names:  # images without labels, before the first with one
            columns.append(pyarrow_for("a table of images").nulls(len(table), target.type))
            continue
        column = table.column(target.name)
        if target.name in kinds.fields and column.type != target.type:
            column = _column(target.name, column.to_pylist(), kinds.fields[target.name], target.type)
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
    """Whether labels are indices of names, or -1 (no label, for `datasets`), and all names differ."""
    inside = not len(labels) or bool(labels.min() >= -1 and labels.max() < len(names))
    return inside and len(set(names)) == len(names)


_GROUP_BYTES = 16 << 20
_GROUP_ROWS = 10_000


class ParquetWriter:
    """Writes batches as row groups of about 16 MB, at most 10,000 images; images may differ in shape.

    A column has the narrowest kind that holds all its values. If a later batch needs a wider kind, the rows before are
    written anew. For the columns of an archive, this happens only after images without any value.
    """

    def __init__(self, file: BinaryIO, out: Path, class_names: tuple[str, ...] | None) -> None:
        self._file = file
        self._out = out
        self._kinds = ColumnKinds(class_names=class_names)
        self._waiting: list[pa.Table] = []
        self._writer: pq.ParquetWriter | None = None

    def write(self, batch: ImageBatch) -> None:
        """Write the images of a batch. SmaltiError if the table cannot hold them, or the system refuses to write."""
        kinds = self._kinds.holding(batch.labels, self._kinds.class_names, batch.fields)
        if kinds != self._kinds:
            self._widen(kinds)
        self._waiting.append(self._kinds.table(batch))
        if sum(table.nbytes for table in self._waiting) >= _GROUP_BYTES or self._rows() >= _GROUP_ROWS:
            self._flush()

    def finish(self) -> None:
        """Write the rest, and the table of row groups."""
        if self._waiting or self._writer is None:
            self._flush()
        assert self._writer is not None
        with writing(self._out):
            self._writer.close()

    def _rows(self) -> int:
        return sum(len(table) for table in self._waiting)

    def _flush(self) -> None:
        pyarrow = pyarrow_for(str(self._out))
        with writing(self._out):
            if self._writer is None:
                self._writer = self._new_writer()
            if self._waiting:
                table = pyarrow.concat_tables(self._waiting)
                self._writer.write_table(table, row_group_size=len(table))
        self._waiting = []

    def _widen(self, kinds: ColumnKinds) -> None:
        """Convert all rows, written and waiting, to these kinds."""
        import pyarrow.parquet as pq  # noqa: PLC0415 (optional)

        self._kinds = kinds
        self._waiting = [cast_table(table, kinds) for table in self._waiting]
        if self._writer is None:
            return
        with writing(self._out), spool_file(self._out) as narrow:
            self._writer.close()
            self._file.seek(0)
            shutil.copyfileobj(self._file, narrow, 1 << 20)
            self._file.seek(0)
            self._file.truncate()
            self._writer = self._new_writer()
            before = pq.ParquetFile(narrow)
            for group in range(before.metadata.num_row_groups):
                table = cast_table(before.read_row_group(group), kinds)
                self._writer.write_table(table, row_group_size=len(table))

    def _new_writer(self) -> "pq.ParquetWriter":
        import pyarrow.parquet as pq  # noqa: PLC0415 (optional)

        schema = self._kinds.schema()
        others = [f"{IMAGE}.path", *(name for name in schema.names if name != IMAGE)]
        # PNG files are compressed already and all differ: no dictionary. A smallest one means nothing: no statistics
        compression = dict.fromkeys(others, "snappy") | {f"{IMAGE}.bytes": "none"}
        return pq.ParquetWriter(
            self._file, schema, compression=compression, use_dictionary=others, write_statistics=others
        )


@contextmanager
def parquet_file(out: Path, spec: OutputSpec, overwrite: bool) -> Iterator[ParquetWriter]:
    """Open a writer of a Parquet file, which appears at the end of the `with` block, if nothing was raised.

    Raises MissingDependencyError without pyarrow, SmaltiError for images of 16 bits and several channels,
    OutputExistsError, OutputError.
    """
    pyarrow_for(str(out))
    if spec.image_shape is not None:
        check_depth(spec.image_shape, spec.dtype, str(out))
    with atomic_file(out, overwrite=overwrite) as file:
        writer = ParquetWriter(file, out, spec.class_names)
        yield writer
        writer.finish()
