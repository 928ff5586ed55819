"""LMDB files of images as records: Caffe's `Datum`, or image files as values, as LSUN and many others have them.

Images come in the order of the bytes of their keys, which are their names. A Datum
(https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto) is channels, height and width; pixels [C, H, W],
of which three channels are blue, green and red, or an image file; and a label. Sets for reading text have keys
`image-000000001`, `label-000000001` and `num-samples`: these labels are texts, the field "text". Nothing is unpickled.
"""

import re
from collections.abc import Container, Iterable, Iterator, Sequence

import numpy as np

from smalti.imagefiles.format import HEAD_BYTES
from smalti.imagefiles.table import format_of
from smalti.lazy import cached_property
from smalti.sources.records.record import EntryData, RecordFiles, Records, Unreadable
from smalti.sources.shards.lmdb_file import LmdbFile, begins_as_lmdb
from smalti.sources.shards.sample_columns import SampleColumns
from smalti.sources.shards.shard_records import Sample, SampleValue, ShardRecords
from smalti.sources.shards.wire import message_fields
from smalti.storage.location import Location, below, kind_of, redacted

__all__ = ["LMDB_FILES", "datum_of"]

_DATA = "data.mdb"
_IMAGE, _LABEL, _NAME, _TEXT = "image", "label", "name", "text"
_TEXT_IMAGE = re.compile(rb"image-(\d+)")
_COUNT = b"num-samples"
_DATUM_NUMBERS = {1: "channels", 2: "height", 3: "width", 5: "label", 7: "encoded"}
_PIXELS, _FLOATS = 4, 6  # the fields of a Datum that hold its samples
_MAX_SIZE = 1 << 20  # of a side


class _LmdbPart:
    """A file of images."""

    def __init__(self, file: LmdbFile) -> None:
        self.description = file.description
        self._file = file

    def __len__(self) -> int:
        return len(self._file) if self.texts is None else self.texts

    @cached_property
    def texts(self) -> int | None:
        """The number of images of a set for reading text; None for other files."""
        value = self._file.get(_COUNT)
        count = int(value) if isinstance(value, bytes) and re.fullmatch(rb"\d{1,12}", value) else 0
        if count == 0 or len(self._file) != 2 * count + 1:
            return None
        first, _ = next(self._file.items([0]))
        return count if _TEXT_IMAGE.fullmatch(first) else None

    def samples(self, numbers: Iterable[int], columns: Container[str]) -> Iterator[Sample]:
        for key, value in self._file.items(numbers):
            values = _values(key, value)
            number = _TEXT_IMAGE.fullmatch(key) if self.texts is not None else None
            if number is not None and isinstance(values, dict):
                text = self._file.get(b"label-" + number[1])
                values[_TEXT] = text.decode("utf-8", "replace") if isinstance(text, bytes) else None
            yield values


def _values(key: bytes, value: bytes | int) -> dict[str, SampleValue] | Unreadable:
    if isinstance(value, int):
        return {_NAME: _name(key), _IMAGE: Unreadable(f"{value:,} bytes, more than one image has")}
    if format_of(value[:HEAD_BYTES]) is not None:
        return {_NAME: _name(key), _IMAGE: value}
    image, label = datum_of(value)
    return {_NAME: _name(key), _IMAGE: image, _LABEL: label}


def _name(key: bytes) -> str | None:
    """Return a key as a name; None for bytes that are no text."""
    try:
        name = key.decode()
    except UnicodeDecodeError:
        return None
    return name if name and name.isprintable() else None


def datum_of(data: bytes) -> tuple[EntryData, int | None]:
    """Return the image and the label of Caffe's Datum: uint8 [H, W, 1] or [H, W, 3], red first; or an image file."""
    found: dict[str, int] = {}
    pixels = b""
    try:
        for number, value in message_fields(memoryview(data)):
            if number in _DATUM_NUMBERS and isinstance(value, int):
                found[_DATUM_NUMBERS[number]] = value
            elif number == _PIXELS and not isinstance(value, int):
                pixels = bytes(value)
            elif number == _FLOATS:
                return Unreadable("a Datum of floats; images are of whole numbers, scale and convert them"), None
            else:
                raise ValueError("a field that Datum has not")
    except ValueError:
        return Unreadable("no image file and no Datum of Caffe"), None
    label = found.get("label")
    label = label - (1 << 64) if label is not None and label >> 63 else label
    if found.get("encoded"):
        return pixels, label
    channels, height, width = (found.get(name, 0) for name in ("channels", "height", "width"))
    if not all(0 < size <= _MAX_SIZE for size in (channels, height, width)) or len(pixels) != channels * height * width:
        return Unreadable("no image file and no Datum of Caffe"), None
    if channels not in (1, 3):
        return Unreadable(f"a Datum of {channels} channels, of which nothing says what they are"), label
    planes = np.frombuffer(pixels, np.uint8).reshape(channels, height, width)
    return np.ascontiguousarray(planes[::-1].transpose(1, 2, 0)), label


def _open(locations: Sequence[Location], description: str) -> Records:
    parts = [_LmdbPart(LmdbFile(location)) for location in locations]

    def columns() -> SampleColumns:
        has_texts = any(part.texts is not None for part in parts)
        return SampleColumns(_IMAGE, _LABEL, _NAME, (_TEXT,) if has_texts else ())

    return ShardRecords(description, parts, columns)


def _is_folder(folder: Location) -> bool:
    """Whether a folder is that of an LMDB file."""
    location = below(folder, _DATA)
    return kind_of(location) == "file" and begins_as_lmdb(location)


def _files_in(folder: Location) -> tuple[str, ...]:
    return (_DATA,)


def _open_folder(folder: Location, names: Sequence[str]) -> Records:
    return _open([below(folder, name) for name in names], redacted(folder))


LMDB_FILES = RecordFiles((".mdb", ".lmdb"), _open, _is_folder, _files_in, _open_folder, begins=begins_as_lmdb)
"""LMDB files of images."""
