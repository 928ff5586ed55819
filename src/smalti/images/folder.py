"""A folder of image files as records: class folders become labels, relative paths become names."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from smalti.images.listing import list_folder
from smalti.images.records import Record

__all__ = ["FolderRecords"]


class FolderRecords:
    """The image files of a folder at any depth, in the order of their relative paths.

    The names are listed once, on opening, and kept (about 100 bytes an image).
    Raises SourceError if there is no folder.
    """

    def __init__(self, root: Path) -> None:
        self.description = str(root)
        self._root = root
        listing = list_folder(root)
        self._names = listing.names
        self.skipped = listing.skipped
        self.class_names = listing.class_names
        self.field_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._names)

    def read(self, entries: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """Yield the entries of these numbers; their data are paths."""
        for entry in entries:
            name = self._names[entry]
            label = None if self.class_names is None else name.split("/", 1)[0]
            yield entry, Record(name, self._root / name, label)
