"""A range of a source's entries: the images in it that a model takes, read without a survey of all other entries.

For work in shards. `open_source` reads the headers of all images to learn their shapes. A shard is packed with a
model, which sets the shape, or the channels and dtype of images of any sizes; so it needs only the headers of its own
entries; and of a source of several files, only its own files.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeGuard, cast

import numpy as np

from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, SkippedFile
from smalti.images.sized import as_sized, chain_sized
from smalti.images.source import ChainedSource, ImageSource, SizedSource
from smalti.sources.archive import SizedArchiveSource
from smalti.sources.open import open_entries, record_files_of
from smalti.sources.records.record import PixelKind, Record, Records, ShapeGroup, survey
from smalti.sources.records.record_source import RecordSource, SizedRecordSource, group_words, kind_words
from smalti.sources.spec import parse_spec
from smalti.storage.location import below, is_url, list_files, redacted, size_bytes

__all__ = ["Entries", "listing_sha256", "member_files", "source_kind"]


def source_kind(spec: str) -> str:
    """The kind of a SPEC: "set", "pattern", "folder" or "file"; also "file" if nothing of this name exists.

    SourceError for a pattern that matches nothing.
    """
    return parse_spec(spec).kind or "file"


def member_files(spec: str) -> tuple[str, ...]:
    """The files of a source of several TAR, TFRecord or Parquet files, in the order in which they are read; else none.

    Files of a folder are named relative to it, files of a pattern as the pattern names them. SourceError if they
    cannot be listed.
    """
    found = parse_spec(spec)
    if found.kind == "pattern":
        return tuple(str(location) for location in found.locations)
    if found.kind != "folder" or found.key is not None:
        return ()
    kind = record_files_of(found.location)
    return () if kind is None else kind.files_in(found.location)


def listing_sha256(spec: str, files: Sequence[str] = ()) -> str:
    """SHA-256 of the names and sizes of the files of a source; no pixel is read.

    files : some of its `member_files`; none for the source as a whole

    Links to folders are not followed. SourceError if something cannot be listed.
    """
    digest = hashlib.sha256()
    for name, size in _listed(spec, files):
        digest.update(f"{name}\0{size}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


Range = tuple[ImageSource | SizedSource | None, tuple[SkippedFile, ...]]
"""The source of a range, and the files skipped in it."""


class Entries:
    """The entries of a source, opened without a survey.

    spec : as for `open_source`, as a string
    files : some of its `member_files`, to open these alone; none for the source as a whole
    report : takes a line of text for each step of a download
    group : the shape and dtype of the images to read; or their channels and dtype, for images of any sizes

    Errors are those of `open_source`, except those for images that cannot be read.
    """

    def __init__(
        self,
        spec: str,
        files: Sequence[str] = (),
        report: Callable[[str], None] | None = None,
        *,
        group: ShapeGroup | PixelKind,
    ) -> None:
        self.description = redacted(spec)
        self._group = group
        self._skipped: list[SkippedFile] = []
        self._records: Records | None = None
        self._source: ImageSource | SizedSource | None = None
        opened = open_entries(spec, files, report)
        if isinstance(opened, Sequence):
            self._source = self._fitting(opened)
        else:
            self._records = opened

    def __len__(self) -> int:
        opened = self._records or self._source
        return 0 if opened is None else len(opened)

    def entry_range(self, start: int, stop: int) -> Range:
        """Return the source of the group's images among entries [start, stop), and the files skipped there.

        The source is None if the range holds no such image. Files that its passes skip come later in its own `skipped`,
        after the files returned here. Files that belong to no entry are skipped in the range that begins at 0. An entry
        without a name is named by its number in the range, from 0.
        """
        if self._records is not None:
            return self._range_of(_RecordsRange(self._records, start, stop))
        skipped = tuple(self._skipped) if start == 0 else ()
        if self._source is None:
            return None, skipped
        if isinstance(self._source, SizedSource):
            return _SizedRange(self._source, start, stop, skipped), skipped
        return _ShapeRange(self._source, start, stop, skipped), skipped

    def _range_of(self, records: Records) -> Range:
        found = survey(records)
        skipped = [*records.skipped, *found.unreadable.values()]
        takes = np.array([self._takes(group) for group in found.groups], np.bool_)
        readable = np.flatnonzero(found.group_of >= 0)
        taken = takes[found.group_of[readable]] if len(takes) else np.zeros(0, np.bool_)
        own, foreign = readable[taken], readable[~taken]
        for _, images in found.records_of(records, foreign):
            for image in images:
                words = f"{group_words(found.groups[found.group_of[image.image]])}; the model takes {self._words}"
                skipped.append(SkippedFile(image.name, words))
        skipped.sort(key=lambda file: file.name.split("/"))
        if not len(own):
            return None, tuple(skipped)
        if _is_shape(self._group):
            return RecordSource(records, found, found.groups.index(self._group), own, skipped), tuple(skipped)
        channels, dtype = cast(PixelKind, self._group)
        return SizedRecordSource(records, found, channels, dtype, own, skipped), tuple(skipped)

    def _fitting(self, sources: Sequence[ImageSource | SizedArchiveSource]) -> ImageSource | SizedSource | None:
        """Return all images of the group as one source; images of other groups are skipped."""
        if not _is_shape(self._group):
            return self._fitting_sizes(sources)
        fitting: list[ImageSource] = []
        for source in sources:
            if isinstance(source, SizedArchiveSource):
                words = f"{len(source):,} of several sizes; the model takes {self._words}"
                self._skipped.append(SkippedFile(source.description, words))
                continue
            group = source.image_shape, source.dtype
            if self._takes(group):
                fitting.append(source)
            else:
                words = f"{len(source):,} of {group_words(group)}; the model takes {self._words}"
                self._skipped.append(SkippedFile(source.description, words))
        if len(fitting) > 1:  # members of a collection
            return ChainedSource(self.description, fitting)
        return fitting[0] if fitting else None

    def _fitting_sizes(self, sources: Sequence[ImageSource | SizedArchiveSource]) -> SizedSource | None:
        fitting: list[SizedSource] = []
        for one in sources:
            source: SizedSource = one if isinstance(one, SizedArchiveSource) else as_sized(one)
            if (source.channels, source.dtype) == self._group:
                fitting.append(source)
            else:
                words = f"{len(source):,} of {kind_words(source.channels, source.dtype)}; the model takes {self._words}"
                self._skipped.append(SkippedFile(source.description, words))
        return chain_sized(self.description, fitting) if fitting else None

    def _takes(self, group: ShapeGroup) -> bool:
        shape, dtype = group
        return self._group in (group, (shape[2], dtype))

    @property
    def _words(self) -> str:
        return group_words(self._group) if _is_shape(self._group) else kind_words(*cast(PixelKind, self._group))


def _is_shape(group: ShapeGroup | PixelKind) -> TypeGuard[ShapeGroup]:
    return isinstance(group[0], tuple)


class _RecordsRange:
    """A range of the entries of records, numbered from 0."""

    def __init__(self, records: Records, start: int, stop: int) -> None:
        self.description, self.class_names = records.description, records.class_names
        self.field_names = records.field_names
        self.skipped = tuple(records.skipped) if start == 0 else ()
        self._records, self._start, self._stop = records, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def read(self, entries: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """Yield the entries with these numbers of the range."""
        if isinstance(entries, range):
            shifted: Iterable[int] = range(entries.start + self._start, entries.stop + self._start, entries.step)
        else:
            shifted = np.fromiter(entries, np.int64) + self._start
        for entry, record in self._records.read(shifted):
            yield entry - self._start, record


class _SourceRange:
    """A range of the entries of a source."""

    def __init__(
        self, source: ImageSource | SizedSource, start: int, stop: int, skipped: tuple[SkippedFile, ...]
    ) -> None:
        self.description, self.dtype = source.description, source.dtype
        self.class_names, self.skipped = source.class_names, skipped
        self._source, self._start, self._stop = source, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def batches(self, batch_images: int, start: int = 0, stop: int | None = None) -> Iterator[ImageBatch]:
        """Yield the images of these entries of the range, in order."""
        first, end, _ = slice(start, stop).indices(len(self))
        return self._source.batches(batch_images, self._start + first, self._start + end)


class _ShapeRange(_SourceRange):
    """A range of images of one shape."""

    def __init__(self, source: ImageSource, start: int, stop: int, skipped: tuple[SkippedFile, ...]) -> None:
        super().__init__(source, start, stop, skipped)
        self.image_shape = source.image_shape


class _SizedRange(_SourceRange):
    """A range of images of any sizes."""

    def __init__(self, source: SizedSource, start: int, stop: int, skipped: tuple[SkippedFile, ...]) -> None:
        super().__init__(source, start, stop, skipped)
        self.channels, self.sizes = source.channels, source.sizes[start:stop]


def _listed(spec: str, files: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield names and sizes in a fixed order. Of a named set, nothing: its files are pinned."""
    found = parse_spec(spec)
    if found.kind is None:
        raise SourceError(f"{redacted(spec)}: no such file or folder; check the name")
    if found.kind == "pattern":
        for name in files or map(str, found.locations):
            yield name, size_bytes(name if is_url(name) else Path(name))
    elif found.kind == "file":
        yield found.key or "", size_bytes(found.location)
    elif found.kind == "folder" and files:
        for name in files:
            yield name, size_bytes(below(found.location, name))
    elif found.kind == "folder":
        yield from list_files(found.location)
