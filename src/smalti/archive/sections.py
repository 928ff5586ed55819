"""An archive file as checked sections: reads one at a time, verifies before it returns.

It knows that sections are there and intact, and nothing of what they mean, except the header.
"""

from collections import Counter
from functools import cached_property
from pathlib import Path

from smalti.archive.header import Header
from smalti.archive.layout import ENTRY_BYTES, FIRST_ANCILLARY, FRAME_BYTES, Entry, Section, crc32c
from smalti.archive.limits import Limits
from smalti.archive.placing import find_sections
from smalti.archive.positioned import PositionedFile
from smalti.archive.scanning import scan
from smalti.errors import DamagedArchiveError, LimitExceededError, SmaltiError, UnsupportedArchiveError

__all__ = ["SectionFile"]

_LIMITS = {
    Section.MODEL: "model_bytes",
    Section.PRIOR: "prior_bytes",
    Section.CORRECTIONS: "corrections_bytes",
    Section.TOKENS: "block_bytes",
    Section.COLUMN: "column_bytes",
}


class SectionFile:
    """One open archive file, safe to use from several threads.

    entries : every section, in file order
    header, header_bytes : the header, and the payload it was read from
    damage : what was found to be wrong on opening, in words

    Raises NotAnArchiveError, DamagedArchiveError, UnsupportedArchiveError, LimitExceededError, and SmaltiError
    if the file cannot be read at all. Every message begins with the path.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self._file = PositionedFile(path)
        self.archive_bytes = self._file.size_bytes
        try:
            places = find_sections(self._file, limits)
            self.entries, self._scanned = places.entries, places.scanned
            self._by_place = {(entry.section, entry.ordinal): entry for entry in places.entries}
            self.header, damage = self._read_header()
            self._check_structure(whole=not places.scanned)
        except BaseException as error:
            self.close()
            if isinstance(error, SmaltiError) and not str(error).startswith(str(path)):
                raise type(error)(f"{path}: {error}") from error
            raise
        self.damage = (*places.damage, *damage)

    def close(self) -> None:
        """Close the file; reading from it afterwards raises SmaltiError."""
        self._file.close()

    def entry(self, section: int, ordinal: int = 0) -> Entry:
        """Where a section is; DamagedArchiveError if the file has lost it."""
        try:
            return self._by_place[section, ordinal]
        except KeyError:
            raise DamagedArchiveError("it is missing") from None

    def has(self, section: int, ordinal: int = 0) -> bool:
        """Whether a section was found, intact or not."""
        return (section, ordinal) in self._by_place

    def read(self, entry: Entry) -> bytes:
        """The payload of a section, its checksum verified.

        The checksum is that of the index, if that is intact: damage to the head of a section costs nothing then. A
        section that is not where the index says is looked for in the whole file, once for all sections.
        """
        payload = self._file.read(entry.offset + FRAME_BYTES, entry.payload_bytes)
        if crc32c(payload) == entry.payload_crc:
            return payload
        moved = self._moved.get((entry.section, entry.ordinal, entry.payload_bytes, entry.payload_crc))
        if moved is None:
            raise DamagedArchiveError("wrong checksum")
        return self._file.read(moved.offset + FRAME_BYTES, moved.payload_bytes)

    @cached_property
    def _moved(self) -> dict[tuple[int, int, int, int], Entry]:
        """Sections by what they are, wherever they are: bytes may be cut out in one place and put in at another."""
        if self._scanned:
            return {}
        try:
            found = scan(self._file.read, self.archive_bytes, self.limits.index_bytes // ENTRY_BYTES)
        except (DamagedArchiveError, LimitExceededError):  # then the index is all there is to go by
            return {}
        return {(entry.section, entry.ordinal, entry.payload_bytes, entry.payload_crc): entry for entry in found.sound}

    def check_head(self, entry: Entry) -> None:
        """DamagedArchiveError if the head of a section is not what the index says it is."""
        if Entry.unpack_frame_head(self._file.read(entry.offset, FRAME_BYTES), entry.offset) != entry:
            raise DamagedArchiveError("it is not the section that the index lists there")

    def _read_header(self) -> tuple[Header, list[str]]:
        """The header, or its copy, and what is wrong with those before it."""
        damage = []
        for ordinal in range(2):
            try:
                entry = self.entry(Section.HEADER, ordinal)
                self.limits.check("header_bytes", entry.payload_bytes, "the header")
                self.header_bytes = self.read(entry)
                header = Header.from_bytes(self.header_bytes)
            except DamagedArchiveError as error:
                name = "header" if ordinal == 0 else "copy of the header"
                damage.append(f"{name}: {str(error).removeprefix('header: ')}")
                continue
            header.check_limits(self.limits, self.archive_bytes)
            return header, damage
        raise DamagedArchiveError(f"nothing can be read without a header: {'; '.join(damage)}; fetch the file again")

    def _check_structure(self, whole: bool) -> None:
        """The sections are those that the header implies, each within its limit; all of them, if the index holds."""
        header = self.header
        counts = Counter(entry.section for entry in self.entries)
        for section in counts:
            if section not in set(Section) and section < FIRST_ANCILLARY:
                raise UnsupportedArchiveError(f"holds a section of type {section}, unknown here: use a newer smalti")
        expected = {
            Section.HEADER: 2,
            Section.MODEL: 1,
            Section.PRIOR: header.priors,
            Section.TOKENS: header.blocks,
            Section.COLUMN: len(header.columns),
            Section.INDEX: 0,
            Section.CORRECTIONS: int(header.has_corrections),
            Section.DIGEST: 1,
        }
        ordinals: Counter[int] = Counter()
        for entry in self.entries:
            if whole and entry.ordinal != ordinals[entry.section]:
                raise DamagedArchiveError(f"index: {entry.name} is out of order")
            if entry.section in expected and entry.ordinal >= expected[Section(entry.section)]:
                raise DamagedArchiveError(f"{entry.name} should not be there")
            ordinals[entry.section] += 1
            if entry.section in _LIMITS:
                self.limits.check(_LIMITS[Section(entry.section)], entry.payload_bytes, entry.name)
        for section, count in expected.items() if whole else ():
            if counts[section] != count:
                raise DamagedArchiveError(f"{counts[section]} {section.name.lower()} sections, not {count}")
