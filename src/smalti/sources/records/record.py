"""Records: encoded images and their columns, as every source of image files lists them.

A kind of source (a folder, TAR, Parquet, a Hugging Face dataset) is a `Records`: it lists its entries and reads their
bytes. The next steps are the same for all kinds: `survey` reads every header once and groups the entries by shape and
dtype; a `RecordSource` decodes the entries of one group, skips those that cannot be read, each with its reason, and
makes sure that every pass yields the same images.

Layer: above `imagefiles`, which decodes one file. Formats of containers are not known here.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from smalti.imagefiles.format import ImageHeader, UnreadableImageError
from smalti.imagefiles.table import DECODER_FIELDS, read_header, read_image
from smalti.images.batch import PIXEL_DTYPES, Pixels, Scalar, SkippedFile
from smalti.images.vocabulary import LABEL, PLAIN_LABEL_NAMES, first_known
from smalti.storage.location import Location, open_binary

__all__ = [
    "EntryData",
    "PixelKind",
    "Record",
    "RecordFiles",
    "Records",
    "ShapeGroup",
    "Survey",
    "Unreadable",
    "entry_name",
    "header_of",
    "image_of",
    "survey",
]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for the data of an entry that holds no image, and says why."""

    reason: str


EntryData = bytes | Path | str | NDArray[np.generic] | Unreadable
"""The bytes of an image file, its path, or its URL; or pixels uint8 or uint16 [H, W] or [H, W, 1..4]."""


def header_of(data: EntryData) -> ImageHeader:
    """Read the header of an entry's data: shape, dtype and fields. UnreadableImageError if the image cannot be read."""
    if isinstance(data, np.ndarray):
        return _header_of_array(data)
    with _opened(data) as file:
        return read_header(file)


def image_of(data: EntryData) -> tuple[ImageHeader, Pixels]:
    """Read the header and the pixels [H, W, C] of an entry's data. UnreadableImageError if the image cannot be read."""
    if isinstance(data, np.ndarray):
        header = _header_of_array(data)
        return header, cast(Pixels, data.reshape(header.shape))
    with _opened(data) as file:
        return read_image(file)


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
        raise UnreadableImageError(f"holds {pixels.dtype}; images are uint8 or uint16, scale and convert them")
    if len(shape) != 3 or not 1 <= shape[2] <= 4 or 0 in shape:
        raise UnreadableImageError(f"shape {list(pixels.shape)}; images are [H, W] or [H, W, C], C from 1 to 4")
    height, width, channels = shape
    return ImageHeader((height, width, channels), cast(np.dtype[np.uint8], pixels.dtype))


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


ShapeGroup = tuple[tuple[int, int, int], np.dtype[np.uint8] | np.dtype[np.uint16]]
"""The (height, width, channels) and the dtype that all images of a batch share."""

PixelKind = tuple[int, np.dtype[np.uint8] | np.dtype[np.uint16]]
"""The number of channels and the dtype that all images of a sized source share."""


@dataclass(frozen=True)
class RecordFiles:
    """A kind of file that holds entries. One file is a source, and so are several, or a folder of them.

    suffixes : lower case, each with its dot
    open_files : opens files as one source, in the order given; the text is what messages call the source
    is_folder : whether a folder consists of such files
    files_in : the relative names of the files of such a folder, in the order in which they are read
    open_folder : opens these files of such a folder as one source
    """

    suffixes: tuple[str, ...]
    open_files: Callable[[Sequence[Location], str], Records]
    is_folder: Callable[[Location], bool]
    files_in: Callable[[Location], tuple[str, ...]]
    open_folder: Callable[[Location, Sequence[str]], Records]


@dataclass(frozen=True)
class Survey:
    """The contents of all headers.

    groups : every shape and dtype, in the order in which they first occur
    group_of : int32 [entries], the index into `groups`, -1 for entries that cannot be read
    unreadable : entries that cannot be read, with reasons
    named, labelled : whether every readable entry has a name, a label
    partial : "name" and "label" if only some entries have one: they become fields, so that none is lost
    field_names : the fields of the records, then those in `partial`, then the fields that decoders contribute
    """

    groups: tuple[ShapeGroup, ...]
    group_of: NDArray[np.int32]
    unreadable: Mapping[int, SkippedFile]
    named: bool
    labelled: bool
    partial: frozenset[str]
    field_names: tuple[str, ...]

    def entries(self) -> list[NDArray[np.int64]]:
        """Return the entries of each group: int64, ascending."""
        order = np.argsort(self.group_of, kind="stable")
        counts = np.bincount(self.group_of + 1, minlength=len(self.groups) + 1)
        return np.split(order, np.cumsum(counts)[:-1])[1:]


def survey(records: Records) -> Survey:
    """Read every header of `records` once.

    Pixels are decoded only for the first image of each shape and dtype. A group is opened by an image that can be
    decoded, so no group is empty.
    """
    groups: dict[ShapeGroup, int] = {}
    group_of = np.full(len(records), _UNREADABLE, np.int32)
    unreadable: dict[int, SkippedFile] = {}
    partly_read: list[SkippedFile] = []
    contributed: set[str] = set()
    images = named = labelled = 0
    for entry, record in records.read(range(len(records))):
        try:
            header = header_of(record.data)
            group = header.shape, header.dtype
            if group not in groups:
                image_of(record.data)
        except UnreadableImageError as error:
            unreadable[entry] = SkippedFile(entry_name(record, entry, len(records)), str(error))
            continue
        group_of[entry] = groups.setdefault(group, len(groups))
        images += 1
        named += record.name is not None
        labelled += record.label is not None
        contributed.update(header.fields)
        if header.unread is not None:
            partly_read.append(SkippedFile(entry_name(record, entry, len(records)), header.unread))
    partial = [name for name, having in (("name", named), (LABEL, labelled)) if 0 < having < images]
    converted = [name for name in DECODER_FIELDS if name in contributed]
    _warn_of_partly_read(records.description, partly_read)
    _warn_of_labels(records, labelled, images)
    return Survey(
        tuple(groups),
        group_of,
        unreadable,
        named=0 < named == images,
        labelled=0 < labelled == images,
        partial=frozenset(partial),
        field_names=tuple(dict.fromkeys([*records.field_names, *partial, *converted])),
    )


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


def entry_name(record: Record, entry: int, entries: int) -> str:
    """Return the name of an entry for messages: its own, or its number with leading zeros, so that names sort by it."""
    return record.name if record.name is not None else f"entry {entry:0{len(str(entries))}}"
