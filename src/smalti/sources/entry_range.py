"""A stretch of a source: the images of one shape among some of its entries, without a look at the others.

For work in shards. `open_source` reads the headers of all images to know their shapes; who packs a thousandth of a
source with a model, which tells the shape, needs neither all headers nor, of a source of several files, all files.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, SkippedFile
from smalti.images.source import ImageSource
from smalti.sources.named.named import SET_NAMES
from smalti.sources.open import expand, open_entries, open_files
from smalti.sources.records.record import Record, Records, ShapeGroup, shown_name, survey
from smalti.sources.records.record_source import RecordSource, group_words
from smalti.sources.tables.table_files import is_parquet_folder, is_saved_dataset, open_parquet_folder, parquet_names
from smalti.sources.tar.tar import is_tar_folder, tar_names
from smalti.storage.location import below, is_url, kind_of, list_files, redacted, size_bytes

__all__ = ["Entries", "listing_sha256", "member_files", "source_kind"]


def source_kind(spec: str) -> str:
    """What a user named: "set", "pattern", "folder" or "file"; SourceError if there is no such thing."""
    if spec in SET_NAMES:
        return "set"
    if _pattern(spec) is not None:
        return "pattern"
    path, _, _ = spec.partition("::") if not is_url(spec) and kind_of(Path(spec)) is None else (spec, "", "")
    return kind_of(path if is_url(path) else Path(path)) or "file"


def member_files(spec: str) -> tuple[str, ...]:
    """The files of a source of several TAR or Parquet files, in the order in which they are read; else none.

    Those of a folder are named relative to it, those of a pattern as it gives them. SourceError if they cannot be
    listed.
    """
    if spec in SET_NAMES:
        return ()
    matching = _pattern(spec)
    if matching is not None:
        return tuple(str(place) for place in matching)
    place = spec if is_url(spec) else Path(spec)
    if kind_of(place) != "folder" or is_saved_dataset(place):
        return ()
    if is_tar_folder(place):
        return tar_names(place)
    return parquet_names(place) if is_parquet_folder(place) else ()


def listing_sha256(spec: str, files: Sequence[str] = ()) -> str:
    """SHA-256 of the names and sizes of what a source is made of; no pixel is looked at.

    files : some of its `member_files`; none are given for a source as a whole

    Links to folders are not followed. SourceError if something cannot be listed.
    """
    digest = hashlib.sha256()
    for name, size in _listed(spec, files):
        digest.update(f"{name}\0{size}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


class Entries:
    """The entries of a source, opened but not looked at.

    spec : a name of `SET_NAMES`, a path or a URL, as `open_source` takes it
    files : some of its `member_files`, to open these alone; none are given for a source as a whole
    report : takes a line of text for each step of a download

    Raises what `open_source` raises, but for images that cannot be read.
    """

    def __init__(
        self, spec: str, files: Sequence[str] = (), report: Callable[[str], None] | None = None, *, group: ShapeGroup
    ) -> None:
        self.description = redacted(spec)
        self._group = group
        self._told: list[SkippedFile] = []
        self._records: Records | None = None
        self._source: ImageSource | None = None
        opened = _open_members(spec, files) if files else open_entries(spec, report)
        if isinstance(opened, Sequence):
            self._source = self._fitting(opened)
        else:
            self._records = opened

    def __len__(self) -> int:
        opened = self._records or self._source
        return 0 if opened is None else len(opened)

    def stretch(self, start: int, stop: int) -> tuple[ImageSource | None, tuple[SkippedFile, ...]]:
        """The images of the group among entries `start` to `stop` (exclusive).

        Returns the source of them, or None if there is none, and what is known to be passed over there, with reasons;
        the source's own `skipped` begins with these. What belongs to no entry is told with the first one. Entries
        without a name are called by their number in the stretch, from 0.
        """
        if self._records is not None:
            return self._stretch_of(_RecordsStretch(self._records, start, stop))
        told = tuple(self._told) if start == 0 else ()
        if self._source is None:
            return None, told
        return _SourceStretch(self._source, start, stop, told), told

    def _stretch_of(self, records: Records) -> tuple[ImageSource | None, tuple[SkippedFile, ...]]:
        found = survey(records)
        told = [*records.skipped, *found.unreadable.values()]
        own = found.groups.index(self._group) if self._group in found.groups else None
        others = [entries for group, entries in enumerate(found.entries()) if group != own]
        foreign = np.sort(np.concatenate(others)) if others else np.zeros(0, np.int64)
        for entry, record in records.read(foreign) if len(foreign) else ():
            words = f"{group_words(found.groups[found.group_of[entry]])}; the model takes {group_words(self._group)}"
            told.append(SkippedFile(shown_name(record, entry, len(records)), words))
        told.sort(key=lambda file: file.name.split("/"))
        source = None if own is None else RecordSource(records, found, own, found.entries()[own], told)
        return source, tuple(told)

    def _fitting(self, sources: Sequence[ImageSource]) -> ImageSource | None:
        fitting = None
        for source in sources:
            group = source.image_shape, source.dtype
            if group == self._group:
                fitting = source
            else:
                words = f"{len(source):,} of {group_words(group)}; the model takes {group_words(self._group)}"
                self._told.append(SkippedFile(source.description, words))
        return fitting


class _RecordsStretch:
    """Some entries of records, numbered from 0."""

    def __init__(self, records: Records, start: int, stop: int) -> None:
        self.description, self.class_names = records.description, records.class_names
        self.field_names = records.field_names
        self.skipped = tuple(records.skipped) if start == 0 else ()
        self._records, self._start, self._stop = records, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def read(self, entries: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """See Records."""
        if isinstance(entries, range):
            shifted: Iterable[int] = range(entries.start + self._start, entries.stop + self._start, entries.step)
        else:
            shifted = np.fromiter(entries, np.int64) + self._start
        for entry, record in self._records.read(shifted):
            yield entry - self._start, record


class _SourceStretch:
    """Some entries of a source."""

    def __init__(self, source: ImageSource, start: int, stop: int, told: tuple[SkippedFile, ...]) -> None:
        self.description, self.image_shape, self.dtype = source.description, source.image_shape, source.dtype
        self.class_names, self.skipped = source.class_names, told
        self._source, self._start, self._stop = source, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """See ImageSource."""
        first, end, _ = slice(start, stop).indices(len(self))
        return self._source.batches(batch_images, self._start + first, self._start + end)


def _pattern(spec: str) -> Sequence[Path | str] | None:
    return expand(spec) if is_url(spec) or kind_of(Path(spec)) is None else None


def _open_members(spec: str, files: Sequence[str]) -> Records:
    if _pattern(spec) is not None:
        return open_files([name if is_url(name) else Path(name) for name in files], redacted(spec))
    place = spec if is_url(spec) else Path(spec)
    if not is_tar_folder(place) and is_parquet_folder(place):
        return open_parquet_folder(place, files)
    return open_files([below(place, name) for name in files], redacted(spec))


def _listed(spec: str, files: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Names and sizes, in a fixed order. Of a named set nothing: its files are pinned."""
    if spec in SET_NAMES:
        return
    matching = _pattern(spec)
    if matching is not None:
        for place in files or [str(place) for place in matching]:
            yield place, size_bytes(place if is_url(place) else Path(place))
        return
    place, _, key = (spec, "", "") if is_url(spec) or kind_of(Path(spec)) else spec.partition("::")
    root = place if is_url(place) else Path(place)
    kind = kind_of(root)
    if kind is None:
        raise SourceError(f"{redacted(spec)}:  or folder; check the name")
    if kind == "file":
        yield key, size_bytes(root)
    elif files:
        for name in files:
            yield name, size_bytes(below(root, name))
    else:
        yield from list_files(root)
