"""TAR files of images as records: samples as WebDataset packs them, and packed folders of image files.

A sample (https://github.com/webdataset/webdataset) is a run of members with the same key: their path up to the first
dot of its last part. Each image in a sample is an entry. `.cls` holds its label, `.json` further fields (`label` among
them is the label if there is no `.cls`), and a `.txt` is a field. Nothing is unpickled.

`tar_members` reads the members, `tar_samples` groups them; this module finds classes, splits and fields of all files.
"""

import logging
from array import array
from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import groupby

from smalti.errors import SourceError
from smalti.images.batch import SkippedFile
from smalti.images.vocabulary import LABEL, SPLIT_FIELD, TAR_SUFFIXES
from smalti.sources.folder.listing import MeaningFinder, is_hidden
from smalti.sources.folder.metadata import class_names_from
from smalti.sources.records.record import EntryData, Record, RecordFiles
from smalti.sources.records.record_labels import Labels
from smalti.sources.tar.tar_members import TarMembers, open_tar
from smalti.sources.tar.tar_samples import TarSample, image_data, is_ignored, key_of
from smalti.storage.location import Location, below, list_files, redacted

__all__ = ["CLASS_NAMES_MEMBER", "TAR_FILES", "TarRecords"]

CLASS_NAMES_MEMBER = "__class_names__"
"""The first member, if labels have names: a JSON list of the names. WebDataset ignores members of such names.

An empty list says that the folders in keys are no classes, so the images have no labels.
"""
_ALONE = 0xFFFF  # an ordinal that says: the entry is the one member that begins at its offset

_log = logging.getLogger("smalti")


def _is_tar_folder(location: Location) -> bool:
    """Whether a folder holds only TAR files, hidden files, and the files that img2dataset adds to each TAR file.

    img2dataset writes `00000.parquet` and `00000_stats.json` beside `00000.tar`: tables of the images that it fetched.
    """
    names = [name for name, _ in list_files(location) if not any(is_hidden(part) for part in name.split("/"))]
    stems = {name.removesuffix(".tar") for name in names if _is_tar(name)}
    return bool(stems) and all(_is_tar(name) or _stem_of_table(name) in stems for name in names)


def _names_in(location: Location) -> tuple[str, ...]:
    """The relative names of a folder's TAR files, in order, without hidden ones."""
    names = (name for name, _ in list_files(location) if _is_tar(name))
    return tuple(name for name in names if not any(is_hidden(part) for part in name.split("/")))


def _is_tar(name: str) -> bool:
    return name.lower().endswith(TAR_SUFFIXES)


def _stem_of_table(name: str) -> str | None:
    """Return the stem that a table of img2dataset shares with its TAR file, else None."""
    return next((name.removesuffix(end) for end in (".parquet", "_stats.json") if name.endswith(end)), None)


class TarRecords:
    """The images of TAR files, in the order of their members, file after file.

    Opening reads all headers, and all members that are no images, once: to find classes and fields. Memory: 10 bytes
    per image. A pass then seeks to members of a plain TAR file; a compressed one is decompressed from its beginning.

    locations : at least one; all are read as one source
    description : what messages call the source

    Raises SourceError if a file is damaged or cut off.
    """

    def __init__(self, locations: Sequence[Location], description: str) -> None:
        self.description = description
        self._locations = tuple(locations)
        self._offsets = array("q")  # of each entry: the offset of its sample
        self._ordinals = array("H")  # of each entry: its index among the images of its sample
        self._first_of: list[int] = [0]  # the first entry of each file, and the number of entries
        self._labels = Labels()
        skipped: list[SkippedFile] = []
        skipped_fields: set[str] = set()
        folders = MeaningFinder()
        fields: dict[str, None] = {}
        for location in self._locations:
            with open_tar(location, skipped) as members:
                while (sample := self._next_sample(members, redacted(location))) is not None:
                    self._list(sample, folders)
                    fields.update(dict.fromkeys(sample.fields if sample.images else ()))
                    skipped += sample.skipped
                    skipped_fields |= sample.skipped_fields
            self._first_of.append(len(self._offsets))
        if skipped_fields:
            names = ", ".join(sorted(skipped_fields))
            _log.warning("%s: left out what is no number, text or truth value: %s", description, names)
        self.skipped = tuple(skipped)
        self._meaning = folders.meaning(description)
        stated = self._labels.state_classes
        self.class_names = self._labels.class_names() if stated else self._meaning.class_names
        made = [*[SPLIT_FIELD] * self._meaning.has_splits, *[LABEL] * self._labels.are_field]
        self.field_names = tuple(dict.fromkeys([*fields, *made]))

    def __len__(self) -> int:
        return len(self._offsets)

    def read(self, entries: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """Yield the entries with these ascending numbers, with the bytes of their members."""

        def file_of(entry: int) -> int:
            return bisect_right(self._first_of, entry) - 1

        for number, in_file in groupby((int(entry) for entry in entries), file_of):
            location = self._locations[number]
            with open_tar(location) as members:
                for offset, in_sample in groupby(in_file, self._offsets.__getitem__):
                    members.go_to(offset)
                    yield from self._read_sample(members, list(in_sample), redacted(location))

    def _list(self, sample: TarSample, folders: MeaningFinder) -> None:
        """Note the images of a sample. Images without a description are noted one by one, however many they are."""
        if sample.described and len(sample.images) >= _ALONE:
            raise SourceError(
                f"{self.description}: {len(sample.images):,} images in the sample of {sample.images[0].name}"
            )
        for ordinal, image in enumerate(sample.images):
            self._offsets.append(sample.offset if sample.described else image.offset)
            self._ordinals.append(ordinal if sample.described else _ALONE)
            self._labels.see(sample.label)
            folders.see(image.name)

    def _read_sample(self, members: TarMembers, entries: Sequence[int], where: str) -> Iterator[tuple[int, Record]]:
        if self._ordinals[entries[0]] == _ALONE:
            member = members.take()
            if member is None:
                raise SourceError(f"{where}: changed while it was read; start again")
            yield entries[0], self._record(member.name, image_data(member, members), TarSample(member))
            return
        requested = {self._ordinals[entry]: entry for entry in entries}
        sample = self._next_sample(members, where, requested)
        if sample is None or not requested.keys() <= sample.data.keys():
            raise SourceError(f"{where}: changed while it was read; start again")
        for ordinal, entry in requested.items():
            yield entry, self._record(sample.images[ordinal].name, sample.data[ordinal], sample)

    def _record(self, name: str, data: EntryData, sample: TarSample) -> Record:
        fields = dict(sample.fields)
        if self._meaning.has_splits and fields.get(SPLIT_FIELD) is None:
            fields[SPLIT_FIELD] = self._meaning.split_of(name)
        label = self._labels.plain(sample.label) if self._labels.state_classes else self._meaning.class_of(name)
        if self._labels.are_field:
            fields[LABEL], label = label, None
        return Record(sample.true_name or name, data, label, fields)

    def _next_sample(self, members: TarMembers, where: str, requested: Container[int] = ()) -> TarSample | None:
        """Return the next members of one key. A list of class names on the way is noted for the whole file."""
        sample: TarSample | None = None
        key = ""
        while (member := members.peek()) is not None:
            if member.name == CLASS_NAMES_MEMBER:
                self._labels.name_them(class_names_from(members.read(member), f"{where}: {member.name}"), where)
            elif not is_ignored(member.name):
                if sample is not None and key_of(member.name) != key:
                    break
                if sample is None:
                    sample, key = TarSample(member), key_of(member.name)
                sample.add(member, members, requested)
            members.take()
        if sample is not None:
            sample.finish()
        return sample


def _open_folder(location: Location, names: Sequence[str]) -> TarRecords:
    return TarRecords([below(location, name) for name in names], redacted(location))


TAR_FILES = RecordFiles(TAR_SUFFIXES, TarRecords, _is_tar_folder, _names_in, _open_folder)
