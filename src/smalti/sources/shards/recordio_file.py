"""The framing of RecordIO files, and MXNet's header of an image in a record. Numbers are little-endian.

A part of a record is a magic number; 3 bits of its place and 29 of its length, uint32; the data, padded to 4 bytes.
Where the magic number lies aligned in the data, the record is split there, and the magic number is dropped (dmlc-core,
`include/dmlc/recordio.h`). The data of an image are flag, uint32; label, float32; two numbers, uint64; as many float32
as the flag says, which are labels instead; then the file (`python/mxnet/recordio.py`).
"""

import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from smalti.errors import SourceError
from smalti.sources.records.record import Unreadable
from smalti.storage.location import Location, open_binary, redacted, size_bytes

__all__ = ["ImageRecord", "RecordIOFile", "begins_as_recordio"]

_MAGIC = b"\x0a\x23\xd7\xce"
_HEAD = struct.Struct("<4sI")
_IMAGE_HEAD = struct.Struct("<IfQQ")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_MAX_RECORD_BYTES = 1 << 30
_MAX_LABELS = 1 << 20


def begins_as_recordio(location: Location) -> bool:
    """Whether a file begins with the magic number: files of other programs are called `.rec`, too."""
    with open_binary(location) as file:
        return file.read(len(_MAGIC)) == _MAGIC


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One record.

    labels : at least one
    data : the image file, which may be empty; or its beginning, from `RecordIOFile.heads`
    """

    labels: tuple[float, ...]
    numbers: tuple[int, int]
    data: bytes


class RecordIOFile:
    """One file. Opening reads the heads of all records; memory: 8 bytes a record.

    Raises SourceError if the file is cut off, or if a part is missing, because it is not known what follows.
    """

    def __init__(self, location: Location) -> None:
        self.description = redacted(location)
        self._location = location
        self._offsets = array("q")
        self._size = size_bytes(location)
        with open_binary(location) as file:
            at = 0
            while at < self._size:
                self._offsets.append(at)
                place, length = self._part(file, at, (_WHOLE, _FIRST))
                at = self._behind(at, length)
                while place in (_FIRST, _MIDDLE):
                    place, length = self._part(file, at, (_MIDDLE, _LAST))
                    at = self._behind(at, length)

    def __len__(self) -> int:
        return len(self._offsets)

    def records(self, numbers: Iterable[int]) -> Iterator[ImageRecord | Unreadable]:
        """Yield the records with these ascending numbers."""
        with open_binary(self._location) as file:
            for number in numbers:
                data = self._data(file, self._offsets[number])
                yield data if isinstance(data, Unreadable) else _image_record(data)

    def heads(self) -> Iterator[ImageRecord | Unreadable]:
        """Yield all records without the bytes of their images: of these, at most one is read."""
        with open_binary(self._location) as file:
            for at in self._offsets:
                _, length = self._part(file, at, (_WHOLE, _FIRST))
                start = file.read(min(length, _IMAGE_HEAD.size))
                labels = _IMAGE_HEAD.unpack(start)[0] if len(start) == _IMAGE_HEAD.size else 0
                head_bytes = _IMAGE_HEAD.size + 4 * labels
                if length <= head_bytes or labels > _MAX_LABELS:  # the header itself may be split
                    data = self._data(file, at)
                    yield data if isinstance(data, Unreadable) else _image_record(data)
                else:
                    yield _image_record(start + file.read(4 * labels + 1))

    def _part(self, file: BinaryIO, at: int, places: tuple[int, int]) -> tuple[int, int]:
        """Read the head of a part: its place in its record, and its length."""
        file.seek(at)
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            raise self._error(at, "is cut off")
        magic, word = _HEAD.unpack(head)
        if magic != _MAGIC:
            raise (
                SourceError(f"{self.description}: is no RecordIO file; check what it is")
                if at == 0
                else self._error(at, "damaged")
            )
        place, length = word >> 29, word & (1 << 29) - 1
        if place not in places:
            raise self._error(at, "damaged: a part of a record is missing")
        return place, length

    def _behind(self, at: int, length: int) -> int:
        """Return the position behind a part."""
        end = at + _HEAD.size + length + -length % 4
        if end > self._size:
            raise self._error(at, "is cut off in the record")
        return end

    def _data(self, file: BinaryIO, at: int) -> bytes | Unreadable:
        """Read a record; the magic number comes back between its parts."""
        parts: list[bytes] = []
        place, length = self._part(file, at, (_WHOLE, _FIRST))
        total = length
        while total <= _MAX_RECORD_BYTES:
            parts.append(file.read(length))
            if len(parts[-1]) < length:
                raise self._error(at, "is cut off in the record")
            if place in (_WHOLE, _LAST):
                return _MAGIC.join(parts)
            at = self._behind(at, length)
            place, length = self._part(file, at, (_MIDDLE, _LAST))
            total += length
        return Unreadable(f"more than {_MAX_RECORD_BYTES:,} bytes, which no image has")

    def _error(self, at: int, reason: str) -> SourceError:
        return SourceError(f"{self.description}: {reason} at byte {at:,}; copy or write it again")


def _image_record(data: bytes) -> ImageRecord | Unreadable:
    if len(data) < _IMAGE_HEAD.size:
        return Unreadable("no image: shorter than MXNet's header")
    count, label, *numbers = _IMAGE_HEAD.unpack_from(data)
    start = _IMAGE_HEAD.size + 4 * count
    if start > len(data):
        return Unreadable(f"damaged: {count:,} labels are longer than the record")
    labels = struct.unpack_from(f"<{count}f", data, _IMAGE_HEAD.size) if count else (label,)
    return ImageRecord(labels, (numbers[0], numbers[1]), data[start:])
