"""Encoded images with what is known of each, from wherever they lie: what all sources of image files share.

A kind of source (a folder, TAR, Parquet, a Hugging Face dataset) is a `Records`: it lists its entries and hands out
their bytes. What follows is the same for all and is here: `survey` reads every header once and sorts the entries by
shape and dtype; a `RecordSource` decodes those of one group, passes over what cannot be read, each with its reason,
and holds that every pass yields the same images.

An entry's data to what its header says, or to pixels: a file's bytes, its path, its URL, or an array.
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
    """In place of an entry's data: why it holds no image that could be decoded."""

    reason: str


EntryData = bytes | Path | str | NDArray[np.generic] | Unreadable
"""An image file's bytes, its path, its URL; or pixels uint8 or uint16 [H, W] or [H, W, 1..4]."""


def header_of(data: EntryData) -> ImageHeader:
    """Shape, dtype and what will be converted, without decoding. UnreadableImageError if it cannot be taken."""
    if isinstance(data, np.ndarray):
        return _header_of_array(data)
    with _opened(data) as file:
        return read_header(file)


def image_of(data: EntryData) -> tuple[ImageHeader, Pixels]:
    """Header and pixels [H, W, C]. UnreadableImageError if it cannot be taken."""
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


_UNREADABLE = -1  # in place of a group's number

_log = logging.getLogger("smalti")


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a source.

    name : a relative POSIX path, or None
    data : an image file's bytes, its path, or its URL (str); or pixels uint8 or uint16 [H, W] or [H, W, 1..4]; or
        `Unreadable`, if the entry holds no image
    label : an integer, or one of `Records.class_names`; None if the entry has none
    fields : further columns; one of `Records.field_names` that is missing counts as None
    """

    name: str | None
    data: EntryData
    label: int | str | None = None
    fields: Mapping[str, Scalar | None] = field(default_factory=dict)


class Records(Protocol):
    """The entries of a source in a fixed order, not decoded. Memory: at most about 100 bytes an entry."""

    @property
    def description(self) -> str:
        """What the user called it."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The name of each label 0, 1, ... if labels stand for names, else None."""

    @property
    def field_names(self) -> tuple[str, ...]:
        """All further columns, in order."""

    @property
    def skipped(self) -> Sequence[SkippedFile]:
        """What was passed over in listing and is no entry."""

    def __len__(self) -> int:
        """The number of entries."""

    def read(self, entries: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """Yield the entries of these numbers, which ascend (a range, or an array), each with its number.

        Each call begins anew. What lies between them is not read where the format allows it. Entries that cannot be
        had are records whose data is `Unreadable`; SourceError only if the source as a whole cannot be read on.
        """


ShapeGroup = tuple[tuple[int, int, int], np.dtype[np.uint8] | np.dtype[np.uint16]]
"""Height, width and channels, and the dtype, of images that can be in one batch."""


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
    """What the headers of all entries say.

    groups : in the order in which each first comes
    group_of : int32 [entries], the group of each entry, -1 for those that cannot be read
    unreadable : these, by entry
    named, labelled : whether every entry that can be read has a name, a label
    partial : "name" and "label" if only some have one: then they are fields, so that none is lost
    field_names : those of the records, then what was needed of "name" and "label", then what decoders contribute
    """

    groups: tuple[ShapeGroup, ...]
    group_of: NDArray[np.int32]
    unreadable: Mapping[int, SkippedFile]
    named: bool
    labelled: bool
    partial: frozenset[str]
    field_names: tuple[str, ...]

    def entries(self) -> list[NDArray[np.int64]]:
        """The entries of each group, ascending; 8 bytes each."""
        order = np.argsort(self.group_of, kind="stable")
        counts = np.bincount(self.group_of + 1, minlength=len(self.groups) + 1)
        return np.split(order, np.cumsum(counts)[:-1])[1:]


def survey(records: Records) -> Survey:
    """Read every header of `records` once. Pixels are decoded of one image for each shape and dtype alone.

    A group begins with the first image that can be decoded; so no group is empty.
    """
    groups: dict[ShapeGroup, int] = {}
    group_of = np.full(len(records), _UNREADABLE, np.int32)
    unreadable: dict[int, SkippedFile] = {}
    more_inside: list[SkippedFile] = []
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
            more_inside.append(SkippedFile(entry_name(record, entry, len(records)), header.unread))
    partial = [name for name, having in (("name", named), (LABEL, labelled)) if 0 < having < images]
    converted = [name for name in DECODER_FIELDS if name in contributed]
    _warn_of_more_inside(records.description, more_inside)
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


def _warn_of_more_inside(description: str, files: Sequence[SkippedFile]) -> None:
    """Say in one line which files hold more than the image that is read of them."""
    if files:
        count = "1 file holds" if len(files) == 1 else f"{len(files):,} files hold"
        first = files[0]
        _log.warning("%s: %s more than was read, such as %s (%s)", description, count, first.name, first.reason)


def _warn_of_labels(records: Records, labelled: int, images: int) -> None:
    """Say in one line why something that is called a label becomes a field."""
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
    """What an entry is called where it is passed over: its name, or its number, written so that it sorts by number."""
    return record.name if record.name is not None else f"entry {entry:0{len(str(entries))}}"
