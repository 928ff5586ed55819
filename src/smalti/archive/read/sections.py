"""The sections of an open archive file: each is read alone, and its checksum is verified before it is returned.

Only the header is parsed here. `smalti.archive.read.store` parses the others.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from smalti.archive.format.block_layout import Layout
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

_FETCHED_BYTES = 32 << 20  # frames of a remote file that are fetched at once, and cached while they are decoded

_OF_COLLECTIONS = (Section.MEMBER, Section.SHARED, Section.DIRECTORY)
_LIMITS = {
    Section.MODEL: "model_bytes",
    Section.PRIOR: "prior_bytes",
    Section.CORRECTIONS: "corrections_bytes",
    Section.TOKENS: "block_bytes",
    Section.COLUMN: "column_bytes",
    Section.SIZES: "column_bytes",
}


SharedPayloads = Callable[[bytes], bytes]
"""Gives the payload of a SHA-256. DamagedArchiveError if there is none."""


class _FetchedFrames:
    """Frames that were fetched together, by offset, each for the time of one run. Safe to use from several threads."""

    def __init__(self) -> None:
        self._runs: dict[object, dict[int, bytes]] = {}

    @contextmanager
    def cached(self, frames: dict[int, bytes]) -> Iterator[None]:
        """Serve these frames within the block."""
        key = object()
        self._runs[key] = frames
        try:
            yield
        finally:
            del self._runs[key]

    def get(self, offset: int, start: int, length: int) -> bytes | None:
        """Bytes of the frame at `offset`, from its byte `start` on; None if they are not here."""
        for frames in list(self._runs.values()):
            frame = frames.get(offset, b"")
            if len(frame) >= start + length:
                return frame[start : start + length]
        return None


class SectionFile:
    """One open archive file. Safe to use from several threads. Closing it closes the file that it was given.

    source : the file
    table : its sections, if they were found already
    shared : for a member of a collection, the payloads that members share
    entries : every section, in file order
    header, header_bytes : the header, and the payload it was read from
    layout, sizes_bytes : which images each block holds; the payload of the sizes section, empty if there is none
    damage : what was found damaged on opening, in words

    Raises NotAnArchiveError, DamagedArchiveError, UnsupportedArchiveError, LimitExceededError, and SmaltiError
    if the file cannot be read at all. Every message begins with the path.
    """

    def __init__(
        self, file: Positioned, limits: Limits, table: SectionTable | None = None, shared: SharedPayloads | None = None
    ) -> None:
        self.source = self._file = file
        self.shared = shared
        self.path: Path | str = file.path
        self.limits = limits
        self._fetched = _FetchedFrames()
        self._closed = False
        try:
            self.archive_bytes = file.size_bytes
            table = table or find_sections(file, limits)
            self.entries, self._scanned = table.entries, table.scanned
            self._start_seen = table.start_seen
            self._by_key = {(entry.section, entry.ordinal): entry for entry in table.entries}
            if (Section.HEADER, 0) not in self._by_key and (Section.MEMBER, 0) in self._by_key:
                raise UnsupportedArchiveError("is a collection of archives, not one: open it with smalti.open")
            self.header, damage = self._read_header()
            self.layout, more = self._read_layout()
            damage += more
            self._check_structure(whole=not table.scanned)
        except BaseException as error:
            self.close()
            if isinstance(error, SmaltiError) and not str(error).startswith(str(self.path)):
                raise type(error)(f"{self.path}: {error}") from error
            raise
        if table.required_features is not None:
            damage += self._contradictions(table.required_features)
        self.damage = (*table.damage, *damage)

    def close(self) -> None:
        """Close the file; reading from it afterwards raises SmaltiError."""
        self._closed = True
        self._file.close()

    def require_open(self) -> None:
        """Raise SmaltiError if it was closed: then cached sections are not served either."""
        if self._closed:
            raise SmaltiError(f"{self.path}: the archive is closed; open it again")

    def entry(self, section: int, ordinal: int = 0) -> Entry:
        """The entry of a section. DamagedArchiveError if the file has lost it."""
        try:
            return self._by_key[section, ordinal]
        except KeyError:
            raise DamagedArchiveError("it is missing") from None

    def has(self, section: int, ordinal: int = 0) -> bool:
        """Whether a section was found, intact or damaged."""
        return (section, ordinal) in self._by_key

    def read(self, entry: Entry) -> bytes:
        """The payload of a section, its checksum verified.

        An intact index gives the checksum, so that a damaged head costs nothing. If a section is not at the offset that
        the index states, the whole file is scanned for it, once for all sections.
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
        """Sections that a scan finds: their offsets change if bytes are cut out here and put in there."""
        if self._scanned:
            return {}
        try:
            found = scan_file(self._file, self.limits)
        except (DamagedArchiveError, LimitExceededError):  # then there is the index alone
            return {}
        return {(entry.section, entry.ordinal, entry.payload_bytes, entry.payload_crc): entry for entry in found.sound}

    def check_head(self, entry: Entry) -> None:
        """Raise DamagedArchiveError if the head of a section is not the one that the index states."""
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
        """The contradiction between the required features of the prelude and those of the header, if there is one."""
        stated = self.header.required_features
        return [] if features == stated else [f"the prelude states required features {features}, the header {stated}"]

    def fetch_runs(
        self, entries: Sequence[Entry | None], before: Sequence[Entry] = (), heads_only: bool = False
    ) -> Iterator[slice]:
        """Cut `entries` into runs, and yield each run once its sections are fetched, with as few requests as possible.

        Reads within the loop's body are served from the fetched frames; these are dropped before the next run.

        before : sections to fetch with the first run
        heads_only : fetch heads without payloads

        For a local file there is one run, and nothing is fetched before it is read.
        """
        if not self._file.is_remote:
            yield slice(0, len(entries))
            return
        lengths = [0 if entry is None else FRAME_BYTES if heads_only else entry.frame_bytes for entry in entries]
        for run in _runs(lengths, _FETCHED_BYTES):
            ranges = [(entry.offset, size) for entry, size in zip(entries[run], lengths[run], strict=True) if entry]
            ranges += [(entry.offset, entry.frame_bytes) for entry in (before if run.start == 0 else ())]
            # a frame that goes beyond the end is found damaged when it is read
            inside = [(offset, length) for offset, length in ranges if offset + length <= self.archive_bytes]
            frames = self._file.read_many(inside)
            with self._fetched.cached({offset: frame for (offset, _), frame in zip(inside, frames, strict=True)}):
                yield run

    def _read(self, entry: Entry, start: int, length: int) -> bytes:
        """Bytes of a frame, from the fetched frames if they hold them."""
        fetched = self._fetched.get(entry.offset, start, length)
        return self._file.read(entry.offset + start, length) if fetched is None else fetched

    def _read_header(self) -> tuple[Header, list[str]]:
        """The header or its copy, and the damage of the one tried before. One that costs no request is tried first."""
        damage = []
        for ordinal in self._nearest_first(Section.HEADER):
            try:
                entry = self.entry(Section.HEADER, ordinal)
                self.limits.check("header_bytes", entry.payload_bytes, "the header")
                self.header_bytes = self.read(entry)
                header = Header.from_bytes(self.header_bytes)
            except DamagedArchiveError as error:
                name = "header" if ordinal == 0 else "copy of the header"
                damage.append(f"{name}: {str(error).removeprefix('header: ')}")
                continue
            if not header.any_size:
                header.check_limits(self.limits, self.archive_bytes)
            return header, damage
        if not self._start_seen:
            self._read_start()  # another version may have headers of another kind, and is refused by name
        raise DamagedArchiveError(f"nothing can be read without a header: {'; '.join(damage)}; fetch the file again")

    def _read_layout(self) -> tuple[Layout, list[str]]:
        """The layout, from the header or else from the sizes or their copy, and the damage of the one tried before."""
        header, damage = self.header, list[str]()
        self.sizes_bytes = b""
        if not header.any_size:
            return header.layout, damage
        for ordinal in self._nearest_first(Section.SIZES):
            name = "sizes" if ordinal == 0 else "copy of the sizes"
            try:
                entry = self.entry(Section.SIZES, ordinal)
                self.limits.check("column_bytes", entry.payload_bytes, "the table of sizes")
                payload = self.read(entry)
                layout = header.sized_layout(payload, self.limits, self.archive_bytes)
            except DamagedArchiveError as error:
                damage.append(f"{name}: {error}")
                continue
            self.sizes_bytes = payload
            return layout, damage
        raise DamagedArchiveError(f"nothing can be read without the sizes: {'; '.join(damage)}; fetch the file again")

    def _nearest_first(self, section: Section) -> list[int]:
        """The ordinals of a section and its copy, first one that costs no request."""
        return sorted(range(2), key=lambda ordinal: not self._is_at_hand(section, ordinal))

    def _is_at_hand(self, section: Section, ordinal: int) -> bool:
        entry = self._by_key.get((section, ordinal))
        return entry is not None and self._file.at_hand(entry.offset, entry.frame_bytes)

    def _check_structure(self, whole: bool) -> None:
        """Check that the sections are those that the header implies, each within its limit.

        whole : whether the index is intact, so that none may be missing
        """
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
            Section.TOKENS: self.layout.blocks,
            Section.COLUMN: len(header.columns),
            Section.INDEX: 0,
            Section.CORRECTIONS: int(header.has_residuals),
            Section.DIGEST: 1,
            Section.SIZES: 2 * header.any_size,
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
    """Cut lengths into runs of neighbours: each sums to at most `most`, or is one length alone."""
    start, total = 0, 0
    for stop, length in enumerate(lengths):
        if stop > start and total + length > most:
            yield slice(start, stop)
            start, total = stop, 0
        total += length
    if start < len(lengths):
        yield slice(start, len(lengths))
