"""A folder of image files as records: paths are names, folders are splits and classes, rows of metadata are columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from smalti.images.batch import Scalar
from smalti.images.besides import read_class_names
from smalti.images.classfolders import SPLIT_FIELD, meaning_of
from smalti.images.filerows import rows_of_files
from smalti.images.listing import list_folder
from smalti.images.places import Place, below, is_url, shown
from smalti.images.records import Record
from smalti.images.sidecar import CLASS_NAMES_FILE, LABEL, TRUE_NAME

__all__ = ["FolderRecords"]


class FolderRecords:
    """The image files of a folder at any depth, behind a URL too, in the order of `rows_of_files`.

    The names are listed once, on opening, and kept (about 100 bytes an image), and so is what rows of metadata say.
    A label is that of the rows if they have a column of them, else the class folder.

    Raises SourceError if there is no folder, or if its metadata cannot be read.
    """

    def __init__(self, root: Place) -> None:
        self.description = shown(root)
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
        kept = [name for name in self._rows.columns if name != TRUE_NAME and not (name == LABEL and self._has_labels)]
        self.field_names = tuple(dict.fromkeys([*kept, *splits]))

    def __len__(self) -> int:
        return len(self._rows.files)

    def read(self, entries: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """Yield the entries of these numbers; their data are paths or URLs, so nothing is read here."""
        for entry in entries:
            name = self._names[self._rows.files[entry]]
            place = below(self._root, name)
            values = self._rows.values(entry)
            yield (
                entry,
                Record(
                    _true_name(values, name),
                    str(place) if is_url(self._root) else Path(place),
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
    """What an image is called: its path, or the name it had before it was written under another."""
    true_name = values.get(TRUE_NAME)
    return true_name if isinstance(true_name, str) and true_name else name


def _are_labels(labels: Sequence[Scalar | None]) -> bool:
    """Whether a column holds whole numbers or texts alone; another is kept as a field."""
    kinds = {type(label) for label in labels if label is not None}
    return kinds in ({int}, {str}, set())


def _classes_of(labels: Sequence[Scalar | None], stored: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The names of classes: those in the file of them, or the different texts in order of code points."""
    texts = sorted({label for label in labels if isinstance(label, str)})
    if texts:
        return tuple(texts)
    return stored
