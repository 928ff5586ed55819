"""One image file as a source: a stack, a volume, an animation, or a single image."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from smalti.imagefiles.format import HEAD_BYTES
from smalti.imagefiles.table import format_of
from smalti.images.batch import SkippedFile
from smalti.sources.records.record import Record
from smalti.storage.location import Location, is_url, name_of, open_binary, redacted

__all__ = ["SingleFile", "is_dicomdir", "is_image_file"]


def is_image_file(location: Location) -> bool:
    """Whether a file is an image file by its first bytes."""
    with open_binary(location) as file:
        return format_of(file.read(HEAD_BYTES)) is not None


def is_dicomdir(location: Location) -> bool:
    """Whether a local file is by its name the list of the DICOM files in its folder, for which it then stands."""
    return not is_url(location) and name_of(location).lower() == "dicomdir"


class SingleFile:
    """The records of one image file, local or behind a URL: one entry, whose images are all that the file holds."""

    class_names: tuple[str, ...] | None = None
    field_names: tuple[str, ...] = ()
    skipped: tuple[SkippedFile, ...] = ()

    def __init__(self, location: Location) -> None:
        self.description = redacted(location)
        self._location = location

    def __len__(self) -> int:
        return 1

    def read(self, entries: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """Yield the entry; its data are its path or URL."""
        for entry in entries:
            data = self._location if is_url(self._location) else Path(self._location)
            yield entry, Record(name_of(self._location), data)
