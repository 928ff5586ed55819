"""Records: encoded images and their columns, as every source of image files lists them.

A kind of source (a folder, TAR, Parquet, a Hugging Face dataset) is a `Records`: it lists its entries and reads their
bytes. The next steps are the same for all kinds: `survey` reads every header once and groups the entries by shape and
dtype; a `RecordSource` decodes the entries of one group, skips those that cannot be read, each with its reason, and
makes sure that every pass yields the same images.

Layer: above `imagefiles`, which decodes one file. Formats of containers are not known here.
"""

import logging
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from smalti.imagefiles.format import ImageHeader, UnreadableImageError
from smalti.imagefiles.table import DECODER_FIELDS, NamedImages, open_images
from smalti.images.batch import PIXEL_DTYPES, PixelDtype, Pixels, Scalar, SkippedFile
from smalti.images.vocabulary import LABEL, PLAIN_LABEL_NAMES, first_known
from smalti.storage.location import Location, open_binary

__all__ = [
    "EntryData",
    "PixelKind",
    "PlacedImage",
    "RawImage",
    "Record",
    "RecordFiles",
    "Records",
    "ShapeGroup",
    "Survey",
    "Unreadable",
    "entry_name",
    "image_name",
    "images_of",
    "survey",
]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for the data of an entry that holds no image, and says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class RawImage:
    """Pixels of an entry that is no image file, with what a decoder would say of them.

    pixels : of a dtype and a shape that images have (`EntryData`)
    fields : as in `ImageHeader`
    """

    pixels: NDArray[np.generic]
    fields: Mapping[str, Scalar]


EntryData = bytes | Path | str | NDArray[np.generic] | RawImage | Unreadable
"""The bytes of an image file, its path, or its URL; or pixels uint8, uint16 or int16 [H, W] or [H, W, 1..4]."""


@contextmanager
def images_of(data: EntryData) -> Iterator[NamedImages]:
    """Open the images of an entry's data. UnreadableImageError, here or later, for what cannot be read."""
    if isinstance(data, np.ndarray | RawImage):
        yield _ArrayImage(data) if isinstance(data, np.ndarray) else _ArrayImage(data.pixels, data.fields)
        return
    with _opened(data) as file:
        yield open_images(file)


@dataclass(frozen=True)
class _ArrayImage:
    """Pixels that are an image already."""

    pixels: NDArray[np.generic]
    fields: Mapping[str, Scalar] = field(default_factory=dict)
    kind: str = "arrays"

    @property
    def headers(self) -> Sequence[ImageHeader]:
        return (replace(_header_of_array(self.pixels), fields=self.fields),)

    def image(self, number: int) -> tuple[ImageHeader, Pixels]:
        header = self.headers[number]
        return header, cast(Pixels, self.pixels.reshape(header.shape))


@contextmanager
def _opened(data: bytes | Path | str | Unreadable) -> Iterator[BinaryIO]:
    if isinstance(data, Unreadable):
        raise UnreadableImageError(data.reason)
    try:
        if isinstance(data, bytes):
            file: BinaryIO = BytesIO(data)
        elif isinstance(data, Path):
            file = data.open("rb")
        else:
            file = open_binary(data)
    except OSError as error:
        raise UnreadableImageError(f"cannot be read: {error.strerror or error}") from error
    with file:
        yield file


def _header_of_array(pixels: NDArray[np.generic]) -> ImageHeader:
    shape = pixels.shape if pixels.ndim == 3 else (*pixels.shape, 1)
    if pixels.dtype not in PIXEL_DTYPES:
        raise UnreadableImageError(f"holds {pixels.dtype}; images are uint8, uint16 or int16, scale and convert them")
    if len(shape) != 3 or not 1 <= shape[2] <= 4 or 0 in shape:
        raise UnreadableImageError(f"shape {list(pixels.shape)}; images are [H, W] or [H, W, C], C from 1 to 4")
    height, width, channels = shape
    return ImageHeader((height, width, channels), cast(PixelDtype, pixels.dtype))


_UNREADABLE = -1  # the group of entries that cannot be read

_log = logging.getLogger("smalti")


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a source.

    name : a relative POSIX path, or None
    data : see `EntryData`
    label : an integer, or one of `Records.class_names`; None if the entry has no label
    fields : further columns; a name of `Records.field_names` that is missing counts as None
    """

    name: str | None
    data: EntryData
    label: int | str | None = None
    fields: Mapping[str, Scalar | None] = field(default_factory=dict)


class Records(Protocol):
    """The entries of a source in a fixed order, not decoded. Memory: at most about 100 bytes per entry."""

    @property
    def description(self) -> str:
        """What the user called it."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of labels 0, 1, ...; None if labels have no names."""

    @property
    def field_names(self) -> tuple[str, ...]:
        """The names of all further columns, in order."""

    @property
    def skipped(self) -> Sequence[SkippedFile]:
        """Files that were skipped while listing, and are no entries."""

    def __len__(self) -> int:
        """Return the number of entries."""

    def read(self, entries: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """Yield entries with their numbers; each call begins anew.

        entries : ascending numbers, as a range or an array. Entries between them are not read where the format allows
            it

        An entry that cannot be read comes with `Unreadable` data. SourceError if the source as a whole cannot be read
        any further.
        """


ShapeGroup = tuple[tuple[int, int, int], PixelDtype]
"""The (height, width, channels) and the dtype that all images of a batch share."""

PixelKind = tuple[int, PixelDtype]
"""The number of channels and the dtype that all images of a sized source share."""


@dataclass(frozen=True)
class RecordFiles:
    """A kind of file that holds entries. One file is a source, and so are several, or a folder of them.

    suffixes : lower case, each with its dot
    open_files : opens files as one source, in the order given; the text is what messages call the source
    is_folder : whether a folder consists of such files
    files_in : the relative names of the files of such a folder, in the order in which they are read
    open_folder : opens these files of such a folder as one source
    is_named : whether a name is that of such a file, if more than its suffix says so
    begins : whether a file begins as such a file, if other kinds have the same suffix
    """

    suffixes: tuple[str, ...]
    open_files: Callable[[Sequence[Location], str], Records]
    is_folder: Callable[[Location], bool]
    files_in: Callable[[Location], tuple[str, ...]]
    open_folder: Callable[[Location, Sequence[str]], Records]
    is_named: Callable[[str], bool] | None = None
    begins: Callable[[Location], bool] | None = None

    def has_name(self, name: str) -> bool:
        """Whether a name is that of such a file."""
        return name.lower().endswith(self.suffixes) or (self.is_named is not None and self.is_named(name))


@dataclass(frozen=True, slots=True)
class PlacedImage:
    """An image of a survey.

    image : its number among all    number : its number within its entry
    name : for messages    is_one_of_several : whether its entry has others
    """

    image: int
    number: int
    name: str
    is_one_of_several: bool


@dataclass(frozen=True)
class Survey:
    """The contents of all headers. Images are numbered through: those of the first entry, then those of the second.

    groups : every shape and dtype, in the order in which they first occur
    group_of : int32 [images], the index into `groups`, -1 for images that cannot be read
    first_images : int64 [entries + 1], the number of the first image of each entry, and the number of all. An entry
        that cannot be read counts as one image. None if every entry is one
    unreadable : images that cannot be read, with reasons
    named, labelled : whether every readable image has a name, a label
    partial : "name" and "label" if only some images have one: they become fields, so that none is lost
    field_names : the fields of the records, then those in `partial`, then the fields that decoders contribute
    kinds : by kind of file, how many files it has, and how many images can be read from them
    """

    groups: tuple[ShapeGroup, ...]
    group_of: NDArray[np.int32]
    first_images: NDArray[np.int64] | None
    unreadable: Mapping[int, SkippedFile]
    named: bool
    labelled: bool
    partial: frozenset[str]
    field_names: tuple[str, ...]
    kinds: Mapping[str, tuple[int, int]]

    def images(self) -> list[NDArray[np.int64]]:
        """Return the images of each group: int64, ascending."""
        order = np.argsort(self.group_of, kind="stable")
        counts = np.bincount(self.group_of + 1, minlength=len(self.groups) + 1)
        return np.split(order, np.cumsum(counts)[:-1])[1:]

    def _places(self, images: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the entry of each image, and its number within it: int64 [n] each."""
        if self.first_images is None:
            return images, np.zeros(len(images), np.int64)
        entries = np.searchsorted(self.first_images, images, side="right") - 1
        return entries, images - self.first_images[entries]

    def records_of(self, records: Records, images: NDArray[np.int64]) -> "Iterator[tuple[Record, list[PlacedImage]]]":
        """Yield each record that has some of these ascending images, with them."""
        if not len(images):
            return
        entries, inner = self._places(images)
        starts = np.flatnonzero(np.diff(entries, prepend=-1, append=len(self.group_of)))
        for part, (entry, record) in enumerate(records.read(entries[starts[:-1]])):
            own = slice(starts[part], starts[part + 1])
            count = 1 if self.first_images is None else int(np.diff(self.first_images[entry : entry + 2])[0])
            name = entry_name(record, entry, len(records))
            numbers = zip(images[own].tolist(), inner[own].tolist(), strict=True)
            yield (
                record,
                [PlacedImage(image, each, image_name(name, each, count), count > 1) for image, each in numbers],
            )


def survey(records: Records) -> Survey:
    """Read every header of `records` once.

    Pixels are decoded only for the first image of each shape and dtype. A group is opened by an image that can be
    decoded, so no group is empty.
    """
    found = _Found()
    counts = array("q")
    for entry, record in records.read(range(len(records))):
        before = len(found.group_of)
        name = entry_name(record, entry, len(records))
        try:
            with images_of(record.data) as file:
                found.see(file, record, name)
        except UnreadableImageError as error:
            found.refuse(name, str(error))
        counts.append(len(found.group_of) - before)
    partial = [name for name, having in (("name", found.named), (LABEL, found.labelled)) if 0 < having < found.readable]
    converted = [name for name in DECODER_FIELDS if name in found.contributed]
    _warn_of_partly_read(records.description, found.partly_read)
    _warn_of_labels(records, found.labelled, found.readable)
    several = len(found.group_of) > len(counts)
    return Survey(
        tuple(found.groups),
        np.array(found.group_of, np.int32),
        np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]) if several else None,
        found.unreadable,
        named=0 < found.named == found.readable,
        labelled=0 < found.labelled == found.readable,
        partial=frozenset(partial),
        field_names=tuple(dict.fromkeys([*records.field_names, *partial, *converted])),
        kinds=found.kinds,
    )


class _Found:
    """What a survey has found so far."""

    def __init__(self) -> None:
        self.groups: dict[ShapeGroup, int] = {}
        self.group_of = array("i")
        self.unreadable: dict[int, SkippedFile] = {}
        self.partly_read: list[SkippedFile] = []
        self.contributed: set[str] = set()
        self.kinds: dict[str, tuple[int, int]] = {}
        self.readable = self.named = self.labelled = 0

    def see(self, file: NamedImages, record: Record, name: str) -> None:
        """Note the images of an entry. UnreadableImageError before the first of them is noted."""
        headers, before = file.headers, self.readable
        for number, header in enumerate(headers):
            group = header.shape, header.dtype
            if group not in self.groups:
                try:
                    file.image(number)
                except UnreadableImageError as error:
                    self.refuse(image_name(name, number, len(headers)), str(error))
                    continue
            self.group_of.append(self.groups.setdefault(group, len(self.groups)))
            self.readable += 1
            self.named += record.name is not None
            self.labelled += record.label is not None
            self.contributed.update(header.fields)
            if header.unread is not None:
                self.partly_read.append(SkippedFile(name, header.unread))
        files, images = self.kinds.get(file.kind, (0, 0))
        self.kinds[file.kind] = files + 1, images + self.readable - before

    def refuse(self, name: str, reason: str) -> None:
        """Note an image that cannot be read."""
        self.unreadable[len(self.group_of)] = SkippedFile(name, reason)
        self.group_of.append(_UNREADABLE)


def _warn_of_partly_read(description: str, files: Sequence[SkippedFile]) -> None:
    """Warn in one line that some files hold more than the one image that is read from them."""
    if files:
        count = "1 file holds" if len(files) == 1 else f"{len(files):,} files hold"
        first = files[0]
        _log.warning("%s: %s more than was read, such as %s (%s)", description, count, first.name, first.reason)


def _warn_of_labels(records: Records, labelled: int, images: int) -> None:
    """Warn in one line that a column called a label becomes a field, and why."""
    if 0 < labelled < images:
        gaps = images - labelled
        words = "%s: %s of %s images have no label; the labels are kept as the field 'label'"
        _log.warning(words, records.description, f"{gaps:,}", f"{images:,}")
        return
    called = first_known(records.field_names, PLAIN_LABEL_NAMES)
    if called is not None and images and not labelled:
        words = "%s: '%s' holds no labels, which are whole numbers or texts of one kind; kept as a field"
        _log.warning(words, records.description, called)


def image_name(name: str, number: int, images: int) -> str:
    """Return the name of an image of an entry: that of the entry, and its number if there are several."""
    return f"{name}#{number}" if images > 1 else name


def entry_name(record: Record, entry: int, entries: int) -> str:
    """Return the name of an entry for messages: its own, or its number with leading zeros, so that names sort by it."""
    return record.name if record.name is not None else f"entry {entry:0{len(str(entries))}}"
