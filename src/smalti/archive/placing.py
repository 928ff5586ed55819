"""Where the sections of a file lie: as its index says, or, if the index is lost, as a scan finds them."""

from contextlib import suppress
from dataclasses import dataclass

from smalti.archive.layout import (
    END_MAGIC,
    ENTRY_BYTES,
    FRAME_BYTES,
    MAGIC,
    PRELUDE_BYTES,
    TRAILER_BYTES,
    Entry,
    Section,
    Trailer,
    check_prelude,
    crc32c,
)
from smalti.archive.limits import Limits
from smalti.archive.positioned import Positioned
from smalti.archive.scanning import ReadAt, Scan, scan
from smalti.errors import DamagedArchiveError, NotAnArchiveError

__all__ = ["Places", "find_sections", "scan_file"]

_NEAR_BYTES = 1 << 20  # how far into a file with neither magic a section is looked for
_REMOTE_SCAN_BYTES = 64 << 20  # a remote file up to this size is fetched whole to be scanned


@dataclass(frozen=True)
class Places:
    """Where sections are.

    entries : in file order; after a scan at most one for each type and ordinal, the damaged ones included
    scanned : whether they were found by a scan, so that some may be missing
    damage : what is wrong with the prelude, trailer and index
    start_seen : whether the prelude was looked at
    """

    entries: tuple[Entry, ...]
    scanned: bool
    damage: tuple[str, ...]
    start_seen: bool = True


def find_sections(file: Positioned, limits: Limits) -> Places:
    """Find the sections of a file.

    If the prelude would cost a request and the end of the file is sound, the prelude is left for later: the trailer
    has a magic and the size of the file, and the header repeats version and features.

    Raises NotAnArchiveError, UnsupportedArchiveError for another version, LimitExceededError for an index that is
    too large, DamagedArchiveError if no section is left or if those of two archives are mixed.
    """
    if not file.at_hand(0, PRELUDE_BYTES):
        with suppress(DamagedArchiveError):  # then all of it is looked at, what tells the most first
            return Places(_read_index(file, limits), False, (), start_seen=False)
    damage: list[str] = []
    start = file.read(0, min(file.size_bytes, PRELUDE_BYTES))
    try:
        check_prelude(start)
    except DamagedArchiveError as error:
        _refuse_foreign(file, start)
        damage.append(str(error))
    try:
        return Places(_read_index(file, limits), False, tuple(damage))
    except DamagedArchiveError as error:
        damage.append(f"{error}; the sections were found by scanning")
    try:
        return Places(_scanned(file, limits), True, tuple(damage))
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
    members = [entry for entry in (*found.sound, *found.damaged) if entry.section == Section.MEMBER]

    def is_inside(entry: Entry) -> bool:
        return any(member.offset < entry.offset < member.end for member in members)

    if not members:
        return found
    sound, damaged = ([entry for entry in part if not is_inside(entry)] for part in found)
    return Scan(tuple(sound), tuple(damaged))


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
