"""A folder of image files as records: paths are names, folders are splits and classes, rows of metadata are columns.

`listing` finds the files and the meaning of folders, `metadata` reads the rows; here the two are joined.
"""

import logging
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.batch import Scalar, SkippedFile
from smalti.images.vocabulary import CLASS_NAMES_FILE, FILE_NAME, LABEL, SPLIT_FIELD, TRUE_NAME
from smalti.sources.folder.listing import list_folder, meaning_of
from smalti.sources.folder.metadata import MetadataTable, read_class_names, read_metadata
from smalti.sources.records.record import Record
from smalti.storage.location import Location, below, is_url, redacted

__all__ = ["FileRows", "FolderRecords", "rows_of_files"]


_log = logging.getLogger("smalti")


class FileRows:
    """The images of a folder in order, each with its row of metadata.

    files : of each entry, the index into the names of the folder's image files
    rows : int64 [entries], the row of each entry, -1 if it has none; None if the folder has no rows
    columns : the values of all rows, by column
    skipped : rows without a file, and files of rows for another use
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
        """Return the values in the row of an entry; empty if it has no row."""
        row = -1 if self.rows is None else int(self.rows[entry])
        return {} if row < 0 else {name: values[row] for name, values in self.columns.items()}


def rows_of_files(root: Location, names: Sequence[str], metadata: Sequence[str]) -> FileRows:
    """Read the files of rows, and order the image files by them.

    names : paths of image files below `root`
    metadata : paths of files of rows below `root`

    Image files with a row come first: by the path of the file of rows, then in the order of its rows. Files without a
    row follow in the order of `names`; a warning on the logger "smalti" counts them. A file with two rows comes twice.
    A path in a row is relative to the file of rows, and never leads out of the folder.

    Raises SourceError if rows cannot be read, or if a folder has two files of rows.
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
        used: list[int] = []
        for row, file in enumerate(table.files):
            name = posixpath.normpath(posixpath.join(folder, file or ""))
            if file and name in index_of:
                used.append(row)
                files.append(index_of[name])
            else:
                where = "a row without a file name" if not file else "named by a row, but there is no such image file"
                skipped.append(SkippedFile(file or f"{path}, row {row + 1}", f"{path}: {where}"))
        for name, values in columns.items():
            column = table.columns.get(name)
            values.extend([None] * len(used) if column is None else [column[row] for row in used])
    bare = sorted(set(range(len(names))).difference(files))
    if bare:
        first, path = names[bare[0]], tables[0][0]
        files_without = "1 image file has" if len(bare) == 1 else f"{len(bare):,} image files have"
        _log.warning("%s: %s no row in %s (%s)", redacted(root), files_without, path, first)
    rows = np.concatenate([np.arange(len(files)), np.full(len(bare), -1)])
    return FileRows(np.array([*files, *bare], np.int64), rows, columns, skipped)


def _tables(root: Location, metadata: Sequence[str], skipped: list[SkippedFile]) -> "list[tuple[str, MetadataTable]]":
    """Return the path and the rows of each file of rows; files for another use are added to `skipped`."""
    tables: list[tuple[str, MetadataTable]] = []
    for path in metadata:
        table = read_metadata(below(root, path))
        if table is None:
            skipped.append(SkippedFile(path, f"has no column {FILE_NAME}, so tells nothing of image files"))
            continue
        if tables and posixpath.dirname(tables[-1][0]) == posixpath.dirname(path):
            both = f"{posixpath.basename(tables[-1][0])} and {posixpath.basename(path)}"
            raise SourceError(f"{redacted(root)}: has both {both} in one folder; take one away")
        tables.append((path, table))
    return tables


class FolderRecords:
    """The image files of a folder at any depth, local or behind a URL, in the order of `rows_of_files`.

    Names and rows of metadata are read once, on opening, and stay in memory (about 100 bytes per image for names). The
    label of an image is in its row if the rows have a column of labels; else it is the class folder.

    Raises SourceError if the folder or its metadata cannot be read.
    """

    def __init__(self, root: Location) -> None:
        self.description = redacted(root)
        self._root = root
        listing = list_folder(root)
        self._names = listing.names
        self._meaning = meaning_of(listing.names, self.description)
        metadata = [path for path in listing.metadata if path != CLASS_NAMES_FILE]
        self._rows = rows_of_files(root, listing.names, metadata)
        self.skipped = tuple(sorted([*listing.skipped, *self._rows.skipped], key=lambda file: file.name.split("/")))
        labels = self._rows.columns.get(LABEL)
        self._has_labels = labels is not None and _are_labels(labels)
        self.class_names = self._meaning.class_names
        if labels is not None and self._has_labels:
            has_names = CLASS_NAMES_FILE in listing.metadata
            stored = read_class_names(below(root, CLASS_NAMES_FILE)) if has_names else None
            self.class_names = _classes_of(labels, stored)
        splits = [SPLIT_FIELD] if self._meaning.has_splits else []
        fields = [name for name in self._rows.columns if name != TRUE_NAME and not (name == LABEL and self._has_labels)]
        self.field_names = tuple(dict.fromkeys([*fields, *splits]))

    def __len__(self) -> int:
        return len(self._rows.files)

    def read(self, entries: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """Yield the entries with these numbers; their data are paths or URLs, so no file is read here."""
        for entry in entries:
            name = self._names[self._rows.files[entry]]
            location = below(self._root, name)
            values = self._rows.values(entry)
            yield (
                entry,
                Record(
                    _true_name(values, name),
                    location if is_url(self._root) else Path(location),
                    self._label(values, name),
                    self._fields(values, name),
                ),
            )

    def _label(self, values: Mapping[str, Scalar | None], name: str) -> int | str | None:
        if not self._has_labels:
            return self._meaning.class_of(name)
        label = values.get(LABEL)
        return label if isinstance(label, int | str) else None

    def _fields(self, values: Mapping[str, Scalar | None], name: str) -> Mapping[str, Scalar | None]:
        if not self._meaning.has_splits or values.get(SPLIT_FIELD) is not None:
            return values
        return {**values, SPLIT_FIELD: self._meaning.split_of(name)}


def _true_name(values: Mapping[str, Scalar | None], name: str) -> str:
    """Return the name of an image: its path, or the name that it had before it was written under another."""
    true_name = values.get(TRUE_NAME)
    return true_name if isinstance(true_name, str) and true_name else name


def _are_labels(labels: Sequence[Scalar | None]) -> bool:
    """Whether a column holds only whole numbers, or only texts; any other column stays a field."""
    kinds = {type(label) for label in labels if label is not None}
    return kinds in ({int}, {str}, set())


def _classes_of(labels: Sequence[Scalar | None], stored: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the class names: the different texts, sorted by code points; of numbers, the stored names."""
    texts = sorted({label for label in labels if isinstance(label, str)})
    if texts:
        return tuple(texts)
    return stored
