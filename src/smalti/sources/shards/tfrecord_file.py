"""The framing of TFRecord files, plain or gzip, with both of its checksums.

A record is its length, uint64; the masked CRC32C of these 8 bytes; the data; the masked CRC32C of the data
(https://www.tensorflow.org/tutorials/load_data/tfrecord). Numbers are little-endian.
"""

import gzip
import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import google_crc32c

from smalti.errors import SourceError
from smalti.sources.records.record import Unreadable
from smalti.storage.location import Location, name_of, open_binary, redacted, size_bytes

__all__ = ["TFRecordFile", "begins_as_tfrecord"]

_HEAD = struct.Struct("<QI")
_MAX_RECORD_BYTES = 1 << 30
_SEEK_LIMIT = 1 << 62


def begins_as_tfrecord(location: Location) -> bool:
    """Whether a file, plain or gzip, begins with the head of a record."""
    with open_binary(location) as file:
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if is_packed else file
        try:
            return _length(stream.read(_HEAD.size)) is not None
        except (OSError, EOFError, zlib.error):
            return False


class TFRecordFile:
    """One file. Opening reads the heads of all records; memory: 8 bytes a record.

    Raises SourceError if the file is cut off, or if a head is damaged, because it is not known what follows.
    """

    def __init__(self, location: Location) -> None:
        self.description = redacted(location)
        self._location = location
        self._offsets = array("q")
        with self._opened() as file:
            size = None if self._is_packed else size_bytes(location)
            at = 0
            while head := file.read(_HEAD.size):
                length = _length(head)
                if length is None:
                    raise self._damaged(at, len(head))
                self._offsets.append(at)
                at += _HEAD.size + length + 4
                if at > _SEEK_LIMIT or (size is not None and at > size):
                    raise SourceError(f"{self.description}: is cut off in its last record; copy it again")
                file.seek(at)
                if file.tell() != at:  # a packed file ends here
                    raise SourceError(f"{self.description}: is cut off in its last record; copy it again")

    def __len__(self) -> int:
        return len(self._offsets)

    def records(self, numbers: Iterable[int]) -> Iterator[memoryview | Unreadable]:
        """Yield the data of records with these ascending numbers, after a check of their checksums."""
        with self._opened() as file:
            for number in numbers:
                at = self._offsets[number]
                file.seek(at)
                length = _length(file.read(_HEAD.size))
                if length is None:
                    raise SourceError(f"{self.description}: changed while it was read; start again")
                if length > _MAX_RECORD_BYTES:
                    yield Unreadable(f"{length:,} bytes, more than a record has")
                    continue
                data, end = file.read(length), file.read(4)
                if len(data) < length or len(end) < 4:
                    raise SourceError(f"{self.description}: is cut off at byte {at:,}; copy it again")
                if _masked_crc(data) != int.from_bytes(end, "little"):
                    yield Unreadable("damaged: the checksum of its record is wrong")
                else:
                    yield memoryview(data)

    @property
    def _is_packed(self) -> bool:
        return name_of(self._location).lower().endswith(".gz")

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        with open_binary(self._location) as file:
            if not self._is_packed:
                yield file
                return
            try:
                yield cast(BinaryIO, gzip.GzipFile(fileobj=file))
            except (OSError, EOFError, zlib.error) as error:
                line = (str(error).splitlines() or [type(error).__name__])[0]
                raise SourceError(f"{self.description}: cannot be unpacked: {line}; copy it again") from error

    def _damaged(self, at: int, head_bytes: int) -> SourceError:
        if at == 0:
            return SourceError(f"{self.description}: is no TFRecord file; check what it is")
        if head_bytes < _HEAD.size:
            return SourceError(f"{self.description}: is cut off at byte {at:,}; copy it again")
        return SourceError(f"{self.description}: damaged at byte {at:,}: a checksum is wrong; copy it again")


def _length(head: bytes) -> int | None:
    """Return the length that the head of a record states; None if it is cut, or its checksum is wrong."""
    if len(head) < _HEAD.size:
        return None
    length, crc = _HEAD.unpack(head)
    return int(length) if _masked_crc(head[:8]) == crc else None


def _masked_crc(data: bytes) -> int:
    """Return a CRC32C turned right by 15 bits, plus a constant."""
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
