"""Finds the payloads that are left in a damaged archive, and restores others from copies and recovery sections."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from smalti.archive.format.layout import ENTRY_BYTES, FRAME_BYTES, Entry, Section, crc32c, unpack_index
from smalti.archive.format.limits import Limits
from smalti.archive.read.section_table import Scan, find_sections, scan
from smalti.archive.recovery.parity import Key, ParityGroup, ParityMember, ParitySection, restore_group
from smalti.errors import DamagedArchiveError
from smalti.storage.positioned import PositionedFile

__all__ = ["Salvage"]


@dataclass(frozen=True)
class _Payload:
    """A payload that can be read: its offset, size and checksum."""

    read: Callable[[int, int], bytes]
    offset: int
    payload_bytes: int
    payload_crc: int

    def matches(self, member: ParityMember | None) -> bool:
        return member is None or (member.payload_bytes, member.payload_crc) == (self.payload_bytes, self.payload_crc)


class Salvage:
    """The payloads of a damaged file that are left or can be restored, by type and ordinal.

    index : the entries of the index, whether or not the sections are still at these offsets; None if the index is lost
    spec : of the recovery sections; None if none of these is left
    found : the result of a scan of the file
    spool : an empty temporary file, for restored payloads

    Raises the errors of `find_sections`, UnsupportedArchiveError for an unknown recovery code, MissingDependencyError
    if recovery sections are needed and the extra `recovery` is not installed.
    """

    def __init__(self, file: PositionedFile, limits: Limits, spool: BinaryIO) -> None:
        self._file, self._spool = file, spool
        table = find_sections(file, limits)
        self.found = scan(file.read, file.size_bytes, limits.index_bytes // ENTRY_BYTES)
        self.index = self._moved_index(limits) if table.scanned else table.entries
        groups = self._read_groups()
        self.spec = next((group.spec for group in groups), None)
        known = [ParityMember.of(entry) for entry in self.index or ()] + [m for group in groups for m in group.members]
        self._known = {member.key: member for member in reversed(known)}  # the index overrides the others
        self._payloads = self._choose(() if table.scanned else table.entries)
        self._copy()
        for group in groups:
            self._restore(group)
        self._copy()

    def has(self, key: Key) -> bool:
        """Whether the payload of a section is there or was restored."""
        return key in self._payloads

    def member(self, key: Key) -> ParityMember:
        """Size and checksum of a payload that is there or was restored."""
        payload = self._payloads[key]
        return ParityMember(*key, payload.payload_bytes, payload.payload_crc)

    def read(self, key: Key) -> bytes:
        """A payload that is there or was restored."""
        source = self._payloads[key]
        payload = source.read(source.offset, source.payload_bytes)
        if crc32c(payload) != source.payload_crc:
            raise DamagedArchiveError("it changed while it was read; try again")
        return payload

    def put(self, key: Key, payload: bytes) -> None:
        """Add a restored payload, unless its checksum is known to be another."""
        offset = self._spool.seek(0, 2)
        self._spool.write(payload)
        spooled = _Payload(self._read_spool, offset, len(payload), crc32c(payload))
        if spooled.matches(self._known.get(key)):
            self._payloads[key] = spooled

    def _read_spool(self, offset: int, length: int) -> bytes:
        self._spool.seek(offset)
        return self._spool.read(length)

    def _moved_index(self, limits: Limits) -> tuple[Entry, ...] | None:
        """An intact index at another offset than the trailer states, because bytes were lost or added."""
        for entry in self.found.sound:
            if entry.section == Section.INDEX:
                limits.check("index_bytes", entry.payload_bytes, "the index")
                payload = self._file.read(entry.offset + FRAME_BYTES, entry.payload_bytes)
                with suppress(DamagedArchiveError):  # another index may be there
                    return unpack_index(payload)
        return None

    def _read_groups(self) -> list[ParityGroup]:
        """The groups with a recovery section left. Recovery sections that contradict the first one are ignored."""
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

    def _choose(self, indexed: Iterable[Entry]) -> dict[Key, _Payload]:
        """For each key the section that index or recovery sections describe, or the first one found if neither does."""
        payloads: dict[Key, _Payload] = {}
        for entry in (*self.found.sound, *self._behind_damaged_heads(self.found, indexed)):
            key = (entry.section, entry.ordinal)
            payload = _Payload(self._file.read, entry.offset + FRAME_BYTES, entry.payload_bytes, entry.payload_crc)
            if key not in payloads and payload.matches(self._known.get(key)):
                payloads[key] = payload
        return payloads

    def _behind_damaged_heads(self, found: Scan, indexed: Iterable[Entry]) -> Iterable[Entry]:
        """Yield sections with a damaged head and an intact payload, at the offset that the index states."""
        sound = set(found.sound)
        for entry in indexed:
            if entry not in sound:
                payload = self._file.read(entry.offset + FRAME_BYTES, entry.payload_bytes)
                if crc32c(payload) == entry.payload_crc:
                    yield entry

    def _copy(self) -> None:
        """Restore header, sizes and prior from their copies, and the copies from them."""
        for section in (Section.HEADER, Section.SIZES, Section.PRIOR):
            for here, there in ((0, 1), (1, 0)):
                payload = self._payloads.get((section, there))
                if payload is not None and payload.matches(self._known.get((section, here))):
                    self._payloads.setdefault((section, here), payload)

    def _restore(self, group: ParityGroup) -> None:
        lost = {member for member in group.members if not self.has(member.key)}
        if lost:
            for member, payload in restore_group(group, lost, lambda member: self.read(member.key)).items():
                self.put(member.key, payload)
