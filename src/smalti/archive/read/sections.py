"""An archive file as checked sections: reads one at a time, verifies before it returns.

It knows that sections are there and intact, and nothing of what they mean, except the header.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from smalti.archive.format.header import Header
from smalti.archive.format.layout import (
    COLLECTION,
    FIRST_ANCILLARY,
    FRAME_BYTES,
    PRELUDE_BYTES,
    Entry,
    Section,
    check_prelude,
    crc32c,
)
from smalti.archive.format.limits import Limits
from smalti.archive.read.section_table import SectionTable, find_sections, scan_file
from smalti.errors import DamagedArchiveError, LimitExceededError, SmaltiError, UnsupportedArchiveError
from smalti.lazy import cached_property
from smalti.storage.positioned import Positioned

__all__ = ["SectionFile", "SharedPayloads"]

_FETCHED_BYTES = 32 << 20  # of sections of a remote file that are fetched together and kept while they are decoded

_OF_COLLECTIONS = (Section.MEMBER, Section.SHARED, Section.DIRECTORY)
_LIMITS = {
    Section.MODEL: "model_bytes",
    Section.PRIOR: "prior_bytes",
    Section.CORRECTIONS: "corrections_bytes",
    Section.TOKENS: "block_bytes",
    Section.COLUMN: "column_bytes",
}


SharedPayloads = Callable[[bytes], bytes]
"""Given a SHA-256, the payload that has it; DamagedArchiveError if there is none."""


class SectionFile:
    """One open archive file, safe to use from several threads. Closing it closes the file that it was given.

    source : the file
    places : where its sections are, if that is known already
    shared : of a member of a collection, the payloads that it shares with others
    entries : every section, in file order
    header, header_bytes : the header, and the payload it was read from
    damage : what was found to be wrong on opening, in words

    Raises NotAnArchiveError, DamagedArchiveError, UnsupportedArchiveError, LimitExceededError, and SmaltiError
    if the file cannot be read at all. Every message begins with the path.
    """

    def __init__(
        self, file: Positioned, limits: Limits, places: SectionTable | None = None, shared: SharedPayloads | None = None
    ) -> None:
        self.source = self._file = file
        self.shared = shared
        self.path: Path | str = file.path
        self.limits = limits
        self._held: dict[object, dict[int, bytes]] = {}
        self._closed = False
        try:
            self.archive_bytes = file.size_bytes
            places = places or find_sections(file, limits)
            self.entries, self._scanned = places.entries, places.scanned
            self._start_seen = places.start_seen
            self._by_place = {(entry.section, entry.ordinal): entry for entry in places.entries}
            if (Section.HEADER, 0) not in self._by_place and (Section.MEMBER, 0) in self._by_place:
                raise UnsupportedArchiveError("is a collection of archives, not one: open it with smalti.open")
            self.header, damage = self._read_header()
            self._check_structure(whole=not places.scanned)
        except BaseException as error:
            self.close()
            if isinstance(error, SmaltiError) and not str(error).startswith(str(self.path)):
                raise type(error)(f"{self.path}: {error}") from error
            raise
        if places.required_features is not None:
            damage += self._contradictions(places.required_features)
        self.damage = (*places.damage, *damage)

    def close(self) -> None:
        """Close the file; reading from it afterwards raises SmaltiError."""
        self._closed = True
        self._file.close()

    def require_open(self) -> None:
        """Raise SmaltiError if it was closed, so that what is kept is not served when the rest is not."""
        if self._closed:
            raise SmaltiError(f"{self.path}: the archive is closed; open it again")

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
        payload = self._read(entry, FRAME_BYTES, entry.payload_bytes)
        if crc32c(payload) == entry.payload_crc:
            return payload
        self._file.check_unchanged()
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
            found = scan_file(self._file, self.limits)
        except (DamagedArchiveError, LimitExceededError):  # then the index is all there is to go by
            return {}
        return {(entry.section, entry.ordinal, entry.payload_bytes, entry.payload_crc): entry for entry in found.sound}

    def check_head(self, entry: Entry) -> None:
        """DamagedArchiveError if the head of a section is not what the index says it is."""
        if Entry.unpack_frame_head(self._read(entry, 0, FRAME_BYTES), entry.offset) != entry:
            raise DamagedArchiveError("it is not the section that the index lists there")

    def check_start(self) -> None:
        """Check the prelude, unless that was done on opening.

        Raises DamagedArchiveError if it is not intact or contradicts the header, UnsupportedArchiveError.
        """
        if not self._start_seen:
            for contradiction in self._contradictions(self._read_start()):
                raise DamagedArchiveError(contradiction)

    def _read_start(self) -> int:
        return check_prelude(self._file.read(0, min(self.archive_bytes, PRELUDE_BYTES)))

    def _contradictions(self, features: int) -> list[str]:
        """How the required features of the prelude contradict those of the header: in no way, or in one."""
        stated = self.header.required_features
        return [] if features == stated else [f"the prelude states required features {features}, the header {stated}"]

    def together(
        self, entries: Sequence[Entry | None], before: Sequence[Entry] = (), heads_only: bool = False
    ) -> Iterator[slice]:
        """Cut `entries` into runs; those of a run are fetched together, and kept until the next run is asked for.

        before : sections to be fetched with the first run
        heads_only : without their payloads

        For a local file there is one run, and nothing is fetched before it is read.
        """
        if not self._file.is_remote:
            yield slice(0, len(entries))
            return
        lengths = [0 if entry is None else FRAME_BYTES if heads_only else entry.frame_bytes for entry in entries]
        for run in _runs(lengths, _FETCHED_BYTES):
            wanted = [(entry.offset, size) for entry, size in zip(entries[run], lengths[run], strict=True) if entry]
            wanted += [(entry.offset, entry.frame_bytes) for entry in (before if run.start == 0 else ())]
            # what goes beyond the end is found damaged when it is read
            places = [(offset, length) for offset, length in wanted if offset + length <= self.archive_bytes]
            frames, key = self._file.read_many(places), object()
            self._held[key] = {offset: frame for (offset, _), frame in zip(places, frames, strict=True)}
            try:
                yield run
            finally:
                del self._held[key]

    def _read(self, entry: Entry, start: int, length: int) -> bytes:
        """Bytes of a frame, from those that were fetched together if they are among them."""
        for held in list(self._held.values()):
            frame = held.get(entry.offset, b"")
            if len(frame) >= start + length:
                return frame[start : start + length]
        return self._file.read(entry.offset + start, length)

    def _read_header(self) -> tuple[Header, list[str]]:
        """The header, or its copy, and what is wrong with those before it. That which is at hand comes first."""
        damage = []
        for ordinal in sorted(range(2), key=lambda ordinal: not self._is_at_hand(ordinal)):
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
        if not self._start_seen:
            self._read_start()  # another version may have headers of another kind, and is refused by name
        raise DamagedArchiveError(f"nothing can be read without a header: {'; '.join(damage)}; fetch the file again")

    def _is_at_hand(self, ordinal: int) -> bool:
        entry = self._by_place.get((Section.HEADER, ordinal))
        return entry is not None and self._file.at_hand(entry.offset, entry.frame_bytes)

    def _check_structure(self, whole: bool) -> None:
        """The sections are those that the header implies, each within its limit; all of them, if the index holds."""
        header = self.header
        counts = Counter(entry.section for entry in self.entries)
        for section in counts:
            if section not in set(Section) and section < FIRST_ANCILLARY:
                raise UnsupportedArchiveError(f"holds a section of type {section}, unknown here: use a newer smalti")
        if header.required_features & COLLECTION or any(counts[section] for section in _OF_COLLECTIONS):
            raise DamagedArchiveError("sections of a collection are mixed with those of an archive; fetch it again")
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


def _runs(lengths: Sequence[int], most: int) -> Iterator[slice]:
    """Runs of neighbours that sum to no more than `most`, or are one alone."""
    start, total = 0, 0
    for stop, length in enumerate(lengths):
        if stop > start and total + length > most:
            yield slice(start, stop)
            start, total = stop, 0
        total += length
    if start < len(lengths):
        yield slice(start, len(lengths))
