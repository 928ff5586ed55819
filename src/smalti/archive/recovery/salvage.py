"""What of a damaged archive is still there, or can be made again: from copies, and from recovery sections."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from smalti.archive.format.layout import ENTRY_BYTES, FRAME_BYTES, Entry, Section, crc32c
from smalti.archive.format.limits import Limits
from smalti.archive.read.section_table import Scan, find_sections, scan
from smalti.archive.recovery.parity import Key, ParityGroup, ParityMember, ParitySection, restore_group
from smalti.errors import DamagedArchiveError
from smalti.storage.positioned import PositionedFile

__all__ = ["Salvage"]


@dataclass(frozen=True)
class _Piece:
    """A payload, and where it can be read."""

    read: Callable[[int, int], bytes]
    offset: int
    payload_bytes: int
    payload_crc: int

    def matches(self, member: ParityMember | None) -> bool:
        return member is None or (member.payload_bytes, member.payload_crc) == (self.payload_bytes, self.payload_crc)


class Salvage:
    """The payloads of a damaged file that can be had, by type and ordinal.

    index : the sections that the index lists, whether or not they are still where it says; None if it is lost
    spec : of the recovery sections, None if none is left
    found : what a scan of the file gives
    spool : an empty temporary file, for payloads that are made again

    Raises what `find_sections` raises, UnsupportedArchiveError for a recovery code that is not known, and
    MissingDependencyError if recovery sections are needed and the extra `recovery` is not installed.
    """

    def __init__(self, file: PositionedFile, limits: Limits, spool: BinaryIO) -> None:
        self._file, self._spool = file, spool
        places = find_sections(file, limits)
        self.found = scan(file.read, file.size_bytes, limits.index_bytes // ENTRY_BYTES)
        self.index = self._moved_index(limits) if places.scanned else places.entries
        groups = self._read_groups()
        self.spec = next((group.spec for group in groups), None)
        known = [ParityMember.of(entry) for entry in self.index or ()] + [m for group in groups for m in group.members]
        self._known = {member.key: member for member in reversed(known)}  # the index goes before the others
        self._pieces = self._choose(() if places.scanned else places.entries)
        self._copy()
        for group in groups:
            self._restore(group)
        self._copy()

    def has(self, key: Key) -> bool:
        """Whether the payload of a section can be had."""
        return key in self._pieces

    def member(self, key: Key) -> ParityMember:
        """Length and checksum of a payload that can be had."""
        piece = self._pieces[key]
        return ParityMember(*key, piece.payload_bytes, piece.payload_crc)

    def read(self, key: Key) -> bytes:
        """The payload of a section that can be had."""
        piece = self._pieces[key]
        payload = piece.read(piece.offset, piece.payload_bytes)
        if crc32c(payload) != piece.payload_crc:
            raise DamagedArchiveError("it changed while it was read; try again")
        return payload

    def put(self, key: Key, payload: bytes) -> None:
        """Keep a payload that was made again, unless it is known to have been another."""
        offset = self._spool.seek(0, 2)
        self._spool.write(payload)
        piece = _Piece(self._read_spool, offset, len(payload), crc32c(payload))
        if piece.matches(self._known.get(key)):
            self._pieces[key] = piece

    def _read_spool(self, offset: int, length: int) -> bytes:
        self._spool.seek(offset)
        return self._spool.read(length)

    def _moved_index(self, limits: Limits) -> tuple[Entry, ...] | None:
        """An intact index that is not where the end of the file says, because bytes were lost or added."""
        for entry in self.found.sound:
            if entry.section == Section.INDEX:
                limits.check("index_bytes", entry.payload_bytes, "the index")
                payload = self._file.read(entry.offset + FRAME_BYTES, entry.payload_bytes)
                if len(payload) == 4 + ENTRY_BYTES * int.from_bytes(payload[:4], "little"):
                    starts = range(4, len(payload), ENTRY_BYTES)
                    return tuple(Entry.unpack(payload[start : start + ENTRY_BYTES]) for start in starts)
        return None

    def _read_groups(self) -> list[ParityGroup]:
        """The groups of which at least one recovery section is left; sections that contradict the first are none."""
        groups: dict[int, ParityGroup] = {}
        spec = None
        for entry in self.found.sound:
            if entry.section != Section.RECOVERY:
                continue
            found = self._parity(entry)
            spec = spec or found.spec
            group = groups.setdefault(found.group, ParityGroup(spec, found.members, {}))
            if (spec, group.members, entry.ordinal) == (found.spec, found.members, found.ordinal):
                group.rows[found.row] = partial(self._parity_bytes, entry)
        return [groups[number] for number in sorted(groups)]

    def _parity(self, entry: Entry) -> ParitySection:
        return ParitySection.unpack(self._file.read(entry.offset + FRAME_BYTES, entry.payload_bytes))

    def _parity_bytes(self, entry: Entry) -> bytes:
        return self._parity(entry).parity

    def _choose(self, indexed: Iterable[Entry]) -> dict[Key, _Piece]:
        """Of the sections found, those that are what the index or a recovery section says, else the first."""
        pieces: dict[Key, _Piece] = {}
        for entry in (*self.found.sound, *self._behind_damaged_heads(self.found, indexed)):
            key = (entry.section, entry.ordinal)
            piece = _Piece(self._file.read, entry.offset + FRAME_BYTES, entry.payload_bytes, entry.payload_crc)
            if key not in pieces and piece.matches(self._known.get(key)):
                pieces[key] = piece
        return pieces

    def _behind_damaged_heads(self, found: Scan, indexed: Iterable[Entry]) -> Iterable[Entry]:
        """Sections that a scan cannot find, but whose payload is intact where the index says."""
        sound = set(found.sound)
        for entry in indexed:
            if entry not in sound:
                payload = self._file.read(entry.offset + FRAME_BYTES, entry.payload_bytes)
                if crc32c(payload) == entry.payload_crc:
                    yield entry

    def _copy(self) -> None:
        """Header and prior are in the file twice."""
        for section in (Section.HEADER, Section.PRIOR):
            for here, there in ((0, 1), (1, 0)):
                piece = self._pieces.get((section, there))
                if piece is not None and piece.matches(self._known.get((section, here))):
                    self._pieces.setdefault((section, here), piece)

    def _restore(self, group: ParityGroup) -> None:
        lost = {member for member in group.members if not self.has(member.key)}
        if lost:
            for member, payload in restore_group(group, lost, lambda member: self.read(member.key)).items():
                self.put(member.key, payload)
