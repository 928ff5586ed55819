"""An archive file as checked sections: finds them by the index, reads one at a time, verifies before it returns.

It knows where sections are and that they are intact, and nothing of what they mean, except the header.
"""

import os
import threading
from collections import Counter
from pathlib import Path

from smalti.archive.header import Header
from smalti.archive.layout import (
    ENTRY_BYTES,
    FIRST_ANCILLARY,
    FRAME_BYTES,
    PRELUDE_BYTES,
    TRAILER_BYTES,
    Entry,
    Section,
    Trailer,
    check_prelude,
    crc32c,
)
from smalti.archive.limits import Limits
from smalti.errors import DamagedArchiveError, NotAnArchiveError, SmaltiError, UnsupportedArchiveError

__all__ = ["SectionFile"]


class SectionFile:
    """One open archive file; reads are by position, so that threads and forked processes may share it.

    Raises NotAnArchiveError, DamagedArchiveError, UnsupportedArchiveError, LimitExceededError, and SmaltiError
    if the file cannot be read at all. Every message begins with the path.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self._lock = threading.Lock()
        self._descriptor = _open(path)
        try:
            self.archive_bytes = os.fstat(self._descriptor).st_size
            self.index, self.entries = self._read_index()
            self.header = self._read_header()
            self._check_structure()
        except BaseException as error:
            self.close()
            if isinstance(error, SmaltiError) and not str(error).startswith(str(path)):
                raise type(error)(f"{path}: {error}") from error
            raise

    def close(self) -> None:
        """Close the file; reading from it afterwards raises SmaltiError."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def entry(self, section: Section, ordinal: int = 0) -> Entry:
        """The index entry of a section; KeyError if there is none."""
        return self._by_place[section, ordinal]

    def read(self, entry: Entry) -> bytes:
        """The payload of a section, its place and checksums verified."""
        frame = self._read_at(entry.offset, entry.frame_bytes)
        if Entry.unpack_frame_head(frame[:FRAME_BYTES], entry.offset) != entry:
            raise DamagedArchiveError("it is not the section that the index lists there")
        payload = frame[FRAME_BYTES:]
        if crc32c(payload) != entry.payload_crc:
            raise DamagedArchiveError("wrong checksum")
        return payload

    def _read_at(self, offset: int, length: int) -> bytes:
        if self._descriptor < 0:
            raise SmaltiError(f"{self.path}: the archive is closed; open it again")
        parts = []
        try:
            while length > 0:
                part = self._read_some(offset, length)
                if not part:
                    raise DamagedArchiveError(f"the file ends at byte {offset}, in the middle of a section")
                parts.append(part)
                offset, length = offset + len(part), length - len(part)
        except OSError as error:
            raise SmaltiError(f"{self.path}: cannot be read ({error.strerror})") from error
        return b"".join(parts)

    def _read_some(self, offset: int, length: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, length, offset)
        with self._lock:  # platforms without pread
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, length)

    def _read_index(self) -> tuple[Entry, tuple[Entry, ...]]:
        size = self.archive_bytes
        end = self._read_at(max(0, size - TRAILER_BYTES), min(size, TRAILER_BYTES))
        check_prelude(self._read_at(0, min(size, PRELUDE_BYTES)), end)
        trailer = Trailer.unpack(end, size)
        index = Entry.unpack_frame_head(self._read_at(trailer.index_offset, FRAME_BYTES), trailer.index_offset)
        if (index.section, index.ordinal) != (Section.INDEX, 0) or index.end != size - TRAILER_BYTES:
            raise DamagedArchiveError("the index is not where the end of the file says")
        self.limits.check("index_bytes", index.payload_bytes, "the index")
        try:
            payload = self.read(index)
        except DamagedArchiveError as error:
            raise DamagedArchiveError(f"index: {error}") from error
        if len(payload) < 4 or len(payload) != 4 + ENTRY_BYTES * int.from_bytes(payload[:4], "little"):
            raise DamagedArchiveError("index: its length does not fit its number of entries")
        starts = range(4, len(payload), ENTRY_BYTES)
        return index, tuple(Entry.unpack(payload[start : start + ENTRY_BYTES]) for start in starts)

    def _read_header(self) -> Header:
        offset = PRELUDE_BYTES
        for entry in self.entries:
            if entry.offset != offset:
                raise DamagedArchiveError(f"index: {entry.name} does not begin where the section before it ends")
            offset = entry.end
        if offset != self.index.offset:
            raise DamagedArchiveError("index: the last section does not end where the index begins")
        self._by_place = {(entry.section, entry.ordinal): entry for entry in self.entries}
        if (Section.HEADER, 0) not in self._by_place:
            raise DamagedArchiveError("index: there is no header")
        entry = self._by_place[Section.HEADER, 0]
        self.limits.check("header_bytes", entry.payload_bytes, "the header")
        try:
            payload = self.read(entry)
        except DamagedArchiveError as error:
            raise DamagedArchiveError(f"header: {error}") from error
        header = Header.from_bytes(payload)
        header.check_limits(self.limits, self.archive_bytes)
        return header

    def _check_structure(self) -> None:
        """The sections are those that the header implies, each within its limit."""
        counts = Counter(entry.section for entry in self.entries)
        for section in counts:
            if section not in set(Section) and section < FIRST_ANCILLARY:
                raise UnsupportedArchiveError(f"holds a section of type {section}, unknown here: use a newer smalti")
        expected = {Section.HEADER: 1, Section.MODEL: 1, Section.PRIOR: 1, Section.TOKENS: self.header.blocks}
        for section, count in (expected | {Section.INDEX: 0}).items():
            if counts[section] != count:
                raise DamagedArchiveError(f"{counts[section]} {section.name.lower()} sections, not {count}")
        ordinals: Counter[int] = Counter()
        for entry in self.entries:
            if entry.ordinal != ordinals[entry.section]:
                raise DamagedArchiveError(f"index: {entry.name} is out of order")
            ordinals[entry.section] += 1
        limits = {
            Section.MODEL: "model_bytes",
            Section.PRIOR: "prior_bytes",
            Section.TOKENS: "block_bytes",
            Section.COLUMN: "column_bytes",
        }
        for entry in self.entries:
            if entry.section in limits:
                self.limits.check(limits[Section(entry.section)], entry.payload_bytes, entry.name)


def _open(path: Path) -> int:
    if path.exists() and not path.is_file():  # asked first, because opening a pipe would wait for a writer
        raise NotAnArchiveError(f"{path}: a folder or a device, not an archive")
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError as error:
        raise SmaltiError(f"{path}: no such file") from error
    except OSError as error:
        raise SmaltiError(f"{path}: cannot be opened ({error.strerror})") from error
