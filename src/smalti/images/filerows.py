"""Which rows of metadata tell of which image files of a folder."""

import logging
import posixpath
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.batch import Scalar, SkippedFile
from smalti.images.metadata import MetadataTable, read_metadata
from smalti.images.places import Place, below, shown
from smalti.images.sidecar import FILE_NAME

__all__ = ["FileRows", "rows_of_files"]

_log = logging.getLogger("smalti")


class FileRows:
    """The images of a folder in order, each with its row.

    files : of each entry, the index into the names of the folder's files
    rows : int64 [entries], the row of each, -1 for those that have none; None if there are no rows
    columns : what the rows say, a value for each
    skipped : rows without a file, and files of rows that are of another use
    """

    def __init__(
        self,
        files: Sequence[int] | NDArray[np.int64],
        rows: NDArray[np.int64] | None,
        columns: Mapping[str, Sequence[Scalar | None]],
        skipped: Sequence[SkippedFile],
    ) -> None:
        self.files = files
        self.rows = rows
        self.columns = columns
        self.skipped = tuple(skipped)

    def values(self, entry: int) -> dict[str, Scalar | None]:
        """What is said of an entry; empty if nothing is."""
        row = -1 if self.rows is None else int(self.rows[entry])
        return {} if row < 0 else {name: values[row] for name, values in self.columns.items()}


def rows_of_files(root: Place, names: Sequence[str], metadata: Sequence[str]) -> FileRows:
    """Read the files of rows at these paths below `root`, and order its image files `names` by them.

    First come the files of rows, in the order of rows, those of one file of rows after the other by its path; then
    the files that have no row, in the order of `names`, which a warning on the logger "smalti" counts. A file of two
    rows comes twice. A path in a row is relative to the file of rows, and never leads out of the folder.
    Raises SourceError if rows cannot be read, or if a folder has two files of them.
    """
    skipped: list[SkippedFile] = []
    tables = list(_tables(root, metadata, skipped))
    if not tables:
        return FileRows(range(len(names)), None, {}, skipped)
    index_of = {name: index for index, name in enumerate(names)}
    columns: dict[str, list[Scalar | None]] = {name: [] for _, table in tables for name in table.columns}
    files: list[int] = []
    for path, table in tables:
        folder = posixpath.dirname(path)
        kept: list[int] = []
        for row, file in enumerate(table.files):
            name = posixpath.normpath(posixpath.join(folder, file or ""))
            if file and name in index_of:
                kept.append(row)
                files.append(index_of[name])
            else:
                where = "a row without a file name" if not file else "named by a row, but there is no such image file"
                skipped.append(SkippedFile(file or f"{path}, row {row + 1}", f"{path}: {where}"))
        for name, values in columns.items():
            told = table.columns.get(name)
            values.extend([None] * len(kept) if told is None else [told[row] for row in kept])
    bare = sorted(set(range(len(names))).difference(files))
    if bare:
        first, path = names[bare[0]], tables[0][0]
        _log.warning("%s: %d image files have no row in %s (%s)", shown(root), len(bare), path, first)
    rows = np.concatenate([np.arange(len(files)), np.full(len(bare), -1)])
    return FileRows(np.array([*files, *bare], np.int64), rows, columns, skipped)


def _tables(root: Place, metadata: Sequence[str], skipped: list[SkippedFile]) -> "list[tuple[str, MetadataTable]]":
    """Path and rows of each file of rows; those of another use are added to `skipped`."""
    tables: list[tuple[str, MetadataTable]] = []
    for path in metadata:
        table = read_metadata(below(root, path))
        if table is None:
            skipped.append(SkippedFile(path, f"has no column {FILE_NAME}, so tells nothing of image files"))
            continue
        if tables and posixpath.dirname(tables[-1][0]) == posixpath.dirname(path):
            both = f"{posixpath.basename(tables[-1][0])} and {posixpath.basename(path)}"
            raise SourceError(f"{shown(root)}: has both {both} in one folder; take one away")
        tables.append((path, table))
    return tables
