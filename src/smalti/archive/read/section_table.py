"""Where the sections of a file lie: as its index says, or, if the index is lost, as a scan finds them.

Finding the sections of a file without its index: by their markers and checksums (docs/format.md, "Scanning").

It takes up the thread again after bytes that were flipped, zeroed, inserted or cut out. Nothing here knows what a
section means. Time is linear in the size of the file, memory in the number of sections found.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import BinaryIO, NamedTuple

from smalti.archive.format.layout import (
    END_MAGIC,
    ENTRY_BYTES,
    FRAME_BYTES,
    MAGIC,
    MARKER,
    PRELUDE_BYTES,
    TRAILER_BYTES,
    Entry,
    Section,
    Trailer,
    check_prelude,
    crc32c,
)
from smalti.archive.format.limits import Limits
from smalti.errors import DamagedArchiveError, LimitExceededError, NotAnArchiveError
from smalti.storage.positioned import Positioned

__all__ = ["ReadAt", "Scan", "SectionTable", "find_sections", "scan", "scan_file", "scan_frames"]


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


# was sibling import


_NEAR_BYTES = 1 << 20  # how far into a file with neither magic a section is looked for
_REMOTE_SCAN_BYTES = 64 << 20  # a remote file up to this size is fetched whole to be scanned


@dataclass(frozen=True)
class SectionTable:
    """Where sections are.

    entries : in file order; after a scan at most one for each type and ordinal, the damaged ones included
    scanned : whether they were found by a scan, so that some may be missing
    damage : what is wrong with the prelude, trailer and index
    start_seen : whether the prelude was looked at
    required_features : those of the prelude; None if it is damaged or was not looked at
    """

    entries: tuple[Entry, ...]
    scanned: bool
    damage: tuple[str, ...]
    start_seen: bool = True
    required_features: int | None = None


def find_sections(file: Positioned, limits: Limits) -> SectionTable:
    """Find the sections of a file.

    If the prelude would cost a request and the end of the file is sound, the prelude is left for later: the trailer
    has a magic and the size of the file, and the header repeats version and features.

    Raises NotAnArchiveError, UnsupportedArchiveError for another version, LimitExceededError for an index that is
    too large, DamagedArchiveError if no section is left or if those of two archives are mixed.
    """
    if not file.at_hand(0, PRELUDE_BYTES):
        with suppress(DamagedArchiveError):  # then all of it is looked at, what tells the most first
            return SectionTable(_read_index(file, limits), False, (), start_seen=False)
    damage: list[str] = []
    features = None
    start = file.read(0, min(file.size_bytes, PRELUDE_BYTES))
    try:
        features = check_prelude(start)
    except DamagedArchiveError as error:
        _refuse_foreign(file, start)
        damage.append(str(error))
    try:
        return SectionTable(_read_index(file, limits), False, tuple(damage), required_features=features)
    except DamagedArchiveError as error:
        damage.append(f"{error}; the sections were found by scanning")
    try:
        return SectionTable(_scanned(file, limits), True, tuple(damage), required_features=features)
    except _TooFarError as error:
        raise DamagedArchiveError(f"{damage[-1].partition(';')[0]}; {error}") from None


def scan_file(file: Positioned, limits: Limits) -> Scan:
    """Find all sections of a file by their marks; DamagedArchiveError for a remote file that is too large for that."""
    read: ReadAt = file.read
    if file.is_remote:
        if file.size_bytes > _REMOTE_SCAN_BYTES:
            raise _TooFarError(
                f"to search all {file.size_bytes} bytes for what is left, download the file and open the copy"
            )
        whole = file.read(0, file.size_bytes)

        def read(offset: int, length: int) -> bytes:
            return whole[offset : offset + length]

    return scan(read, file.size_bytes, limits.index_bytes // ENTRY_BYTES)


class _TooFarError(DamagedArchiveError):
    """A remote file is too large to be scanned."""


def _refuse_foreign(file: Positioned, start: bytes) -> None:
    """Raise NotAnArchiveError if nothing tells of an archive; a large foreign file is not searched to its end."""
    end = file.read(max(0, file.size_bytes - len(END_MAGIC)), min(file.size_bytes, len(END_MAGIC)))
    if start.startswith(MAGIC) or end == END_MAGIC:
        return
    near = scan(file.read, min(file.size_bytes, _NEAR_BYTES))
    if not near.sound and not near.damaged:
        raise NotAnArchiveError("this is not a smalti archive")


def _read_index(file: Positioned, limits: Limits) -> tuple[Entry, ...]:
    size = file.size_bytes
    trailer = Trailer.unpack(file.read(max(0, size - TRAILER_BYTES), min(size, TRAILER_BYTES)), size)
    rest = min(size - TRAILER_BYTES - trailer.index_offset, FRAME_BYTES + limits.index_bytes)
    frame = file.read(trailer.index_offset, rest)  # at once, for if it does not lie at hand a request is one too many
    index = Entry.unpack_frame_head(frame[:FRAME_BYTES], trailer.index_offset)
    if (index.section, index.ordinal) != (Section.INDEX, 0) or index.end != size - TRAILER_BYTES:
        raise DamagedArchiveError("the index is not where the end of the file says")
    limits.check("index_bytes", index.payload_bytes, "the index")
    payload = frame[FRAME_BYTES:]
    if crc32c(payload) != index.payload_crc:
        raise DamagedArchiveError("index: wrong checksum")
    if len(payload) < 4 or len(payload) != 4 + ENTRY_BYTES * int.from_bytes(payload[:4], "little"):
        raise DamagedArchiveError("index: its length does not fit its number of entries")
    starts = range(4, len(payload), ENTRY_BYTES)
    entries = tuple(Entry.unpack(payload[start : start + ENTRY_BYTES]) for start in starts)
    _check_tiling(entries, index)
    return entries


def _check_tiling(entries: tuple[Entry, ...], index: Entry) -> None:
    offset = PRELUDE_BYTES
    for entry in entries:
        if entry.offset != offset:
            raise DamagedArchiveError(f"index: {entry.name} does not begin where the section before it ends")
        offset = entry.end
    if offset != index.offset:
        raise DamagedArchiveError("index: the last section does not end where the index begins")


def _outermost(found: Scan) -> Scan:
    """Without sections that lie in a member of a collection: those are the member's own."""
    inside: set[int] = set()  # offsets, of which no two entries have the same
    members_end = 0
    for entry in sorted((*found.sound, *found.damaged), key=attrgetter("offset")):
        if entry.offset < members_end:
            inside.add(entry.offset)
        if entry.section == Section.MEMBER:
            members_end = max(members_end, entry.end)
    sound, damaged = (tuple(entry for entry in part if entry.offset not in inside) for part in found)
    return Scan(sound, damaged)


def _scanned(file: Positioned, limits: Limits) -> tuple[Entry, ...]:
    found = _outermost(scan_file(file, limits))
    kept: dict[tuple[int, int], Entry] = {}
    for entry in (*found.sound, *found.damaged):  # a sound one goes before a damaged one, the first before others
        kept.setdefault((entry.section, entry.ordinal), entry)
    headers = {entry.payload_crc for entry in found.sound if entry.section == Section.HEADER}
    if len(headers) > 1:
        raise DamagedArchiveError("sections of two archives are mixed in it; take them apart, or fetch it again")
    kept.pop((Section.INDEX, 0), None)  # it says where sections were before bytes were lost or added
    if not found.sound:
        raise DamagedArchiveError("no section of it is left; fetch it again")
    return tuple(sorted(kept.values(), key=lambda entry: entry.offset))
