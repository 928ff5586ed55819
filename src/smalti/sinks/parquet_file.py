"""A Parquet file as an output, which `datasets.load_dataset("parquet", ...)` reads with `Image` and `ClassLabel`."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from smalti.images.batch import Coming, ImageBatch
from smalti.sinks.image_table import IMAGE, ColumnKinds, cast_table, check_depth
from smalti.sources.tables.schema import pyarrow_for
from smalti.storage.atomic import atomic_file, writing
from smalti.storage.spool import spool_file

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

__all__ = ["ParquetWriter", "parquet_file"]

_GROUP_BYTES = 16 << 20
_GROUP_ROWS = 10_000


class ParquetWriter:
    """Writes batches as row groups of about 16 MB, at most 10,000 images; images may differ in shape.

    A column has the narrowest kind that holds all its values. If a later batch needs a wider one, which for columns
    of an archive it does only after images without any value, what was written is written anew.
    """

    def __init__(self, file: BinaryIO, out: Path, class_names: tuple[str, ...] | None) -> None:
        self._file = file
        self._out = out
        self._kinds = ColumnKinds(class_names=class_names)
        self._waiting: list[pa.Table] = []
        self._writer: pq.ParquetWriter | None = None

    def write(self, batch: ImageBatch) -> None:
        """Write the images of a batch. SmaltiError if they cannot be kept, or the system refuses to write."""
        kinds = self._kinds.holding(batch.labels, self._kinds.class_names, batch.fields)
        if kinds != self._kinds:
            self._widen(kinds)
        self._waiting.append(self._kinds.table(batch))
        if sum(table.nbytes for table in self._waiting) >= _GROUP_BYTES or self._rows() >= _GROUP_ROWS:
            self._flush()

    def finish(self) -> None:
        """Write what is left, and the table of row groups."""
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
                self._writer = self._begun()
            if self._waiting:
                table = pyarrow.concat_tables(self._waiting)
                self._writer.write_table(table, row_group_size=len(table))
        self._waiting = []

    def _widen(self, kinds: ColumnKinds) -> None:
        """Make all that was written, and what waits, of these kinds."""
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
            self._writer = self._begun()
            before = pq.ParquetFile(narrow)
            for group in range(before.metadata.num_row_groups):
                table = cast_table(before.read_row_group(group), kinds)
                self._writer.write_table(table, row_group_size=len(table))

    def _begun(self) -> "pq.ParquetWriter":
        import pyarrow.parquet as pq  # noqa: PLC0415 (optional)

        schema = self._kinds.schema()
        others = [f"{IMAGE}.path", *(name for name in schema.names if name != IMAGE)]
        # PNG files are packed already, each differs, and none is the smallest of them in any sense
        packing = dict.fromkeys(others, "snappy") | {f"{IMAGE}.bytes": "none"}
        return pq.ParquetWriter(self._file, schema, compression=packing, use_dictionary=others, write_statistics=others)


@contextmanager
def parquet_file(out: Path, coming: Coming, overwrite: bool) -> Iterator[ParquetWriter]:
    """A writer of a Parquet file that is in place at the end of the `with` block, if nothing was raised.

    Raises MissingDependencyError without pyarrow, SmaltiError for images of 16 bits and several channels,
    OutputExistsError, OutputError.
    """
    pyarrow_for(str(out))
    if coming.image_shape is not None:
        check_depth(coming.image_shape, coming.dtype, str(out))
    with atomic_file(out, overwrite=overwrite) as file:
        writer = ParquetWriter(file, out, coming.class_names)
        yield writer
        writer.finish()
