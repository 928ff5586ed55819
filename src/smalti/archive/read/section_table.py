"""The section table of a file: from its index, or from a scan if the index is lost.

A scan finds sections by their markers and checksums (docs/format.md, "Scanning"). It goes on after bytes that were
flipped, zeroed, inserted or cut out. Its time is linear in the size of the file, its memory in the number of sections.
Nothing here reads the payload of a section other than the index.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

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
    unpack_index,
)
from smalti.archive.format.limits import Limits
from smalti.errors import DamagedArchiveError, LimitExceededError, NotAnArchiveError
from smalti.storage.positioned import Positioned

__all__ = ["ReadAt", "Scan", "SectionTable", "find_sections", "scan", "scan_file"]

_WINDOW_BYTES = 1 << 20
_NEAR_BYTES = 1 << 20  # of a file with neither magic: a section must begin here
_REMOTE_SCAN_BYTES = 64 << 20  # a remote file up to this size is fetched whole to be scanned

ReadAt = Callable[[int, int], bytes]
"""read(offset, length): that many bytes from this offset; all of them lie inside the file."""


class Scan(NamedTuple):
    """The sections that a scan found, in file order.

    sound : the checksums of head and payload hold
    damaged : the checksum of the head holds; that of the payload does not, or the file ends within the payload
    """

    sound: tuple[Entry, ...]
    damaged: tuple[Entry, ...]


def scan(read: ReadAt, archive_bytes: int, max_frames: int = 1 << 20) -> Scan:
    """Find every section of a file of `archive_bytes`.

    Raises LimitExceededError for more than `max_frames` sections; DamagedArchiveError if sections overlap so often that
    a scan would not end in linear time. Accidents do not cause that.
    """
    window = _Window(read, archive_bytes)
    budget = 4 * archive_bytes + (1 << 20)  # bytes to checksum: heads that overlap must not make it quadratic
    sound: list[Entry] = []
    damaged: list[Entry] = []
    offset = window.find(MARKER, 0)
    while offset >= 0:
        entry = _head_at(window, offset)
        next_offset = offset + 1
        if entry is not None:
            intact = False
            if entry.end <= archive_bytes:
                budget -= entry.payload_bytes
                intact = window.crc(offset + FRAME_BYTES, entry.payload_bytes) == entry.payload_crc
            (sound if intact else damaged).append(entry)
            next_offset = entry.end if intact else offset + FRAME_BYTES
            if budget < 0:
                raise DamagedArchiveError("its sections overlap more than a scan can follow; fetch it again")
            if len(sound) + len(damaged) > max_frames:
                raise LimitExceededError(
                    f"a scan finds more than {max_frames} sections, the limit index_bytes is {max_frames} times "
                    f"{ENTRY_BYTES}: if you trust the file, raise it"
                )
        offset = window.find(MARKER, next_offset)
    return Scan(tuple(sound), tuple(damaged))


def _head_at(window: "_Window", offset: int) -> Entry | None:
    try:
        return Entry.unpack_frame_head(window.take(offset, FRAME_BYTES), offset)
    except DamagedArchiveError:  # these bytes look like a marker by chance: the scan goes on with the next byte
        return None


class _Window:
    """A window of a file that moves forward. Small steps do not read the same bytes again."""

    def __init__(self, read: ReadAt, size: int) -> None:
        self._read, self._size = read, size
        self._start = 0
        self._bytes = b""

    def take(self, offset: int, length: int) -> bytes:
        """The bytes at `offset`, fewer at the end of the file. `length` is at most that of the window."""
        if not self._start <= offset <= offset + length <= self._start + len(self._bytes):
            window_bytes = max(0, min(_WINDOW_BYTES, self._size - offset))
            self._start, self._bytes = offset, self._read(offset, window_bytes)
            if len(self._bytes) < window_bytes:  # the file is being cut short while it is read
                self._size = offset + len(self._bytes)
        return self._bytes[offset - self._start : offset - self._start + length]

    def find(self, pattern: bytes, offset: int) -> int:
        """The next offset of `pattern`, from `offset` on; -1 if there is none."""
        while offset + len(pattern) <= self._size:
            self.take(offset, len(pattern))
            found = self._bytes.find(pattern, offset - self._start)
            if found >= 0:
                return self._start + found
            offset = max(offset, self._start + len(self._bytes) - len(pattern) + 1)
        return -1

    def crc(self, offset: int, length: int) -> int:
        """crc32c of a byte range of any length."""
        value, end = 0, offset + length
        while offset < min(end, self._size):
            part = self.take(offset, min(end - offset, _WINDOW_BYTES))
            value = crc32c(part, value)
            offset += len(part)
        return value


@dataclass(frozen=True)
class SectionTable:
    """The sections of a file.

    entries : in file order; after a scan at most one for each type and ordinal, damaged ones included
    scanned : whether a scan found them, so that some may be missing
    damage : of prelude, trailer and index, in words
    start_seen : whether the prelude was read
    required_features : those of the prelude; None if it is damaged or was not read
    """

    entries: tuple[Entry, ...]
    scanned: bool
    damage: tuple[str, ...]
    start_seen: bool = True
    required_features: int | None = None


def find_sections(file: Positioned, limits: Limits) -> SectionTable:
    """Find the sections of a file.

    If the prelude would cost a request and the end of the file is sound, the prelude is not read: the trailer has a
    magic and the size of the file, and the header repeats version and features.

    Raises NotAnArchiveError, UnsupportedArchiveError for another version, LimitExceededError for an index that is
    too large, DamagedArchiveError if no section is left or if those of two archives are mixed.
    """
    if not file.at_hand(0, PRELUDE_BYTES):
        with suppress(DamagedArchiveError):  # then the file is checked from its first byte
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
    """Scan a file for its sections. DamagedArchiveError for a remote file that is too large to be fetched whole."""
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
    """Raise NotAnArchiveError if there is no sign of an archive. A large foreign file is not searched to its end."""
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
    frame = file.read(trailer.index_offset, rest)  # in one read: each may be a request
    index = Entry.unpack_frame_head(frame[:FRAME_BYTES], trailer.index_offset)
    if (index.section, index.ordinal) != (Section.INDEX, 0) or index.end != size - TRAILER_BYTES:
        raise DamagedArchiveError("the index is not where the end of the file says")
    limits.check("index_bytes", index.payload_bytes, "the index")
    payload = frame[FRAME_BYTES:]
    if crc32c(payload) != index.payload_crc:
        raise DamagedArchiveError("index: wrong checksum")
    entries = unpack_index(payload)
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
    """Leave out the sections inside members of a collection: they are the members' own."""
    inside: set[int] = set()  # offsets; no two entries have the same
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
    chosen: dict[tuple[int, int], Entry] = {}
    for entry in (*found.sound, *found.damaged):  # sound before damaged ones, the first before others
        chosen.setdefault((entry.section, entry.ordinal), entry)
    headers = {entry.payload_crc for entry in found.sound if entry.section == Section.HEADER}
    if len(headers) > 1:
        raise DamagedArchiveError("sections of two archives are mixed in it; take them apart, or fetch it again")
    chosen.pop((Section.INDEX, 0), None)  # its offsets are those before bytes were lost or added
    if not found.sound:
        raise DamagedArchiveError("no section of it is left; fetch it again")
    return tuple(sorted(chosen.values(), key=lambda entry: entry.offset))
