"""RecordIO files of images, as MXNet packs them (`im2rec`), as records: one file, several, or a folder of them.

Images come in the order of the file; an index beside it (`.idx`) tells nothing more, and is not needed.
"""

import logging
from collections.abc import Container, Iterable, Iterator, Sequence

from smalti.imagefiles.table import IMAGE_SUFFIXES
from smalti.images.batch import SkippedFile
from smalti.lazy import cached_property
from smalti.sources.folder.listing import is_hidden
from smalti.sources.records.record import RecordFiles, Records, Unreadable
from smalti.sources.shards.recordio_file import ImageRecord, RecordIOFile, begins_as_recordio
from smalti.sources.shards.sample_columns import SampleColumns
from smalti.sources.shards.shard_folders import split_in
from smalti.sources.shards.shard_records import Sample, SampleValue, ShardRecords
from smalti.storage.location import Location, below, list_files, redacted

__all__ = ["RECORDIO_FILES"]

_SUFFIX = ".rec"
_BESIDE = (".idx", ".lst", "property")  # files that MXNet's programs put beside
_IMAGE, _LABEL, _ID = "image", "label", "id"
_MAX_LABELS = 1024  # of an image, each a column

_log = logging.getLogger("smalti")


class _Labels:
    """The labels of all records that hold an image: which columns they make."""

    def __init__(self, files: Sequence[RecordIOFile], description: str) -> None:
        self._files = files
        self._description = description

    def columns(self) -> SampleColumns:
        """One whole number is the label; one other number is the field "label"; several are "label_0" and so on."""
        if self._count == 1 and self._are_whole:
            return SampleColumns(_IMAGE, _LABEL, None, (_ID,))
        if self._count is None:
            _log.warning("%s: labels left out, because images have different numbers of them", self._description)
        return SampleColumns(_IMAGE, None, None, (*self._names, _ID))

    def values(self, labels: tuple[float, ...]) -> dict[str, SampleValue]:
        """Return the labels of a record by column."""
        if self._count == 1 and self._are_whole:
            return {_LABEL: int(labels[0]) if labels[0].is_integer() else None}
        return dict(zip(self._names, labels, strict=False))

    @property
    def _names(self) -> tuple[str, ...]:
        count = self._count or 0
        return (_LABEL,) if count == 1 else tuple(f"{_LABEL}_{number}" for number in range(count))

    @property
    def _count(self) -> int | None:
        """How many labels each image has; None if they differ, or are too many."""
        counts, _ = self._found
        return counts.copy().pop() if len(counts) == 1 and max(counts) <= _MAX_LABELS else None

    @property
    def _are_whole(self) -> bool:
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[set[int], bool]:
        """The numbers of labels, and whether all first labels are whole numbers."""
        counts: set[int] = set()
        are_whole = True
        for file in self._files:
            for record in file.heads():
                if isinstance(record, ImageRecord) and record.data:
                    counts.add(len(record.labels))
                    are_whole &= record.labels[0].is_integer()
        return counts, are_whole


class _RecordIOPart:
    """A file of images."""

    def __init__(self, file: RecordIOFile, labels: _Labels) -> None:
        self.description = file.description
        self._file, self._labels = file, labels

    def __len__(self) -> int:
        return len(self._file)

    def samples(self, numbers: Iterable[int], columns: Container[str]) -> Iterator[Sample]:
        for record in self._file.records(numbers):
            yield record if isinstance(record, Unreadable) else self._sample(record)

    def _sample(self, record: ImageRecord) -> Sample:
        if not record.data:
            return Unreadable("no image in this record; it may be one about the others")
        return {_IMAGE: record.data, _ID: record.numbers[0], **self._labels.values(record.labels)}


def _open(
    locations: Sequence[Location],
    description: str,
    splits: Sequence[str] | None = None,
    skipped: Sequence[SkippedFile] = (),
) -> Records:
    files = [RecordIOFile(location) for location in locations]
    labels = _Labels(files, description)
    return ShardRecords(
        description, [_RecordIOPart(file, labels) for file in files], labels.columns, splits, skipped=skipped
    )


def _is_folder(folder: Location) -> bool:
    """Whether a folder holds RecordIO files, and no image files."""
    found, others = _names(folder)
    has_images = any(name.lower().endswith(tuple(IMAGE_SUFFIXES)) for name in others)
    return bool(found) and not has_images and begins_as_recordio(below(folder, found[0]))


def _names(folder: Location) -> tuple[list[str], list[str]]:
    """The RecordIO files of a folder, and the others that MXNet's programs do not put beside them; none hidden."""
    found: list[str] = []
    others: list[str] = []
    for name, _ in list_files(folder):
        if name.lower().endswith(_SUFFIX):
            found.append(name)
        elif not name.lower().endswith(_BESIDE) and not any(is_hidden(part) for part in name.split("/")):
            others.append(name)
    return [name for name in found if not any(is_hidden(part) for part in name.split("/"))], others


def _files_in(folder: Location) -> tuple[str, ...]:
    return tuple(_names(folder)[0])


def _open_folder(folder: Location, names: Sequence[str]) -> Records:
    """Open files of a folder. If every name states its split, it is the field "split". Other files are skipped."""
    splits = [split for name in names if (split := split_in(name)) is not None]
    found, others = _names(folder)
    skipped = [SkippedFile(name, f"no {_SUFFIX} file") for name in others if len(names) == len(found)]
    locations = [below(folder, name) for name in names]
    return _open(locations, redacted(folder), splits if len(splits) == len(names) else None, skipped)


RECORDIO_FILES = RecordFiles((_SUFFIX,), _open, _is_folder, _files_in, _open_folder, begins=begins_as_recordio)
"""RecordIO files of images."""
