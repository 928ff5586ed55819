"""Finding the sections of a file without its index: by their markers and checksums (docs/format.md, "Scanning").

It takes up the thread again after bytes that were flipped, zeroed, inserted or cut out. Nothing here knows what a
section means. Time is linear in the size of the file, memory in the number of sections found.
"""

from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from smalti.archive.layout import ENTRY_BYTES, FRAME_BYTES, MARKER, Entry, crc32c
from smalti.errors import DamagedArchiveError, LimitExceededError

__all__ = ["ReadAt", "Scan", "scan", "scan_frames"]

_WINDOW_BYTES = 1 << 20

ReadAt = Callable[[int, int], bytes]
"""read(offset, length): the bytes there, which lie inside the file."""


class Scan(NamedTuple):
    """What a scan found, in file order.

    sound : sections whose head and payload checksums hold
    damaged : sections whose head is sound and whose payload is not, or is cut off by the end of the file
    """

    sound: tuple[Entry, ...]
    damaged: tuple[Entry, ...]


def scan_frames(file: BinaryIO, archive_bytes: int, max_frames: int = 1 << 20) -> Scan:
    """Find every section in an open file of `archive_bytes`; its position is moved.

    Raises LimitExceededError for more than `max_frames`; DamagedArchiveError if sections overlap so often that a scan
    would not end in linear time, which no accident does.
    """

    def read(offset: int, length: int) -> bytes:
        file.seek(offset)
        return file.read(length)

    return scan(read, archive_bytes, max_frames)


def scan(read: ReadAt, archive_bytes: int, max_frames: int = 1 << 20) -> Scan:
    """The same as `scan_frames` for anything that can be read by position."""
    window = _Window(read, archive_bytes)
    budget = 4 * archive_bytes + (1 << 20)  # of bytes to checksum: heads that overlap must not make it quadratic
    sound: list[Entry] = []
    damaged: list[Entry] = []
    place = window.find(MARKER, 0)
    while place >= 0:
        entry = _head_at(window, place)
        next_place = place + 1
        if entry is not None:
            intact = False
            if entry.end <= archive_bytes:
                budget -= entry.payload_bytes
                intact = window.crc(place + FRAME_BYTES, entry.payload_bytes) == entry.payload_crc
            (sound if intact else damaged).append(entry)
            next_place = entry.end if intact else place + FRAME_BYTES
            if budget < 0:
                raise DamagedArchiveError("its sections overlap more than a scan can follow; fetch it again")
            if len(sound) + len(damaged) > max_frames:
                raise LimitExceededError(
                    f"a scan finds more than {max_frames} sections, the limit index_bytes is {max_frames} times "
                    f"{ENTRY_BYTES}: if you trust the file, raise it"
                )
        place = window.find(MARKER, next_place)
    return Scan(tuple(sound), tuple(damaged))


def _head_at(window: "_Window", place: int) -> Entry | None:
    try:
        return Entry.unpack_frame_head(window.take(place, FRAME_BYTES), place)
    except DamagedArchiveError:  # these bytes merely look like a marker: go on with the next ones
        return None


class _Window:
    """A file seen through one piece of it at a time, so that small steps forward do not read it again."""

    def __init__(self, read: ReadAt, size: int) -> None:
        self._read, self._size = read, size
        self._start = 0
        self._bytes = b""

    def take(self, offset: int, length: int) -> bytes:
        """The bytes at `offset`, fewer at the end of the file; `length` is at most a window."""
        if not self._start <= offset <= offset + length <= self._start + len(self._bytes):
            wanted = max(0, min(_WINDOW_BYTES, self._size - offset))
            self._start, self._bytes = offset, self._read(offset, wanted)
            if len(self._bytes) < wanted:  # it is being cut short while it is read
                self._size = offset + len(self._bytes)
        return self._bytes[offset - self._start : offset - self._start + length]

    def find(self, wanted: bytes, offset: int) -> int:
        """Where `wanted` stands next, from `offset` on; -1 if nowhere."""
        while offset + len(wanted) <= self._size:
            self.take(offset, len(wanted))
            found = self._bytes.find(wanted, offset - self._start)
            if found >= 0:
                return self._start + found
            offset = max(offset, self._start + len(self._bytes) - len(wanted) + 1)
        return -1

    def crc(self, offset: int, length: int) -> int:
        """crc32c of a stretch of any length."""
        value, end = 0, offset + length
        while offset < min(end, self._size):
            part = self.take(offset, min(end - offset, _WINDOW_BYTES))
            value = crc32c(part, value)
            offset += len(part)
        return value
