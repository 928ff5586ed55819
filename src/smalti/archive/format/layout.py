"""The fixed-size parts of the format: prelude, frame heads, index and trailer (docs/format.md).

`pack` stands beside `unpack`. Nothing here knows the meaning of a section's payload.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import google_crc32c

from smalti.errors import DamagedArchiveError, UnsupportedArchiveError

__all__ = [
    "COLLECTION",
    "COPIES",
    "END_MAGIC",
    "ENTRY_BYTES",
    "FIRST_ANCILLARY",
    "FRAME_BYTES",
    "MAGIC",
    "MARKER",
    "PRELUDE_BYTES",
    "SHARED_MODEL",
    "SHARED_PRIOR",
    "SIZED",
    "TRAILER_BYTES",
    "VERSION",
    "Entry",
    "Section",
    "Trailer",
    "check_prelude",
    "check_version",
    "crc32c",
    "pack_index",
    "pack_prelude",
    "unpack_index",
]

MAGIC = b"\x89SML\r\n\x1a\n"
END_MAGIC = b"\x89SMZ\r\n\x1a\n"
MARKER = b"\xf5SEC"
VERSION = 1
FIRST_ANCILLARY = 128

COLLECTION = 1 << 0
"""Required feature: the file is a collection of archives (docs/collections.md)."""
SHARED_MODEL = 1 << 1
"""Required feature: the model section names a model that several archives of the collection share."""
SHARED_PRIOR = 1 << 2
"""Required feature: the prior section names a prior that several archives of the collection share."""
SIZED = 1 << 3
"""Required feature: the images have any sizes, which a section of the file lists."""
COPIES = 1 << 4
"""Required feature: some images are copies of others, which are stored once. Their list begins the sizes section."""
_KNOWN_FEATURES = COLLECTION | SHARED_MODEL | SHARED_PRIOR | SIZED | COPIES

_PRELUDE = struct.Struct("<8sHHII")
_FRAME = struct.Struct("<4sB3sIQI")
_ENTRY = struct.Struct("<B3sIQQI")
_TRAILER = struct.Struct("<QQ")
_CRC = struct.Struct("<I")
_COUNT = struct.Struct("<I")  # entries of the index
_ZEROS = bytes(3)

PRELUDE_BYTES = _PRELUDE.size + 4
FRAME_BYTES = _FRAME.size + 4
ENTRY_BYTES = _ENTRY.size
TRAILER_BYTES = _TRAILER.size + 4 + len(END_MAGIC)


class Section(IntEnum):
    """Types of sections. 128 and above are ancillary: a reader skips those it does not know."""

    HEADER = 1
    MODEL = 2
    PRIOR = 3
    TOKENS = 4
    COLUMN = 5
    INDEX = 6
    CORRECTIONS = 7
    DIGEST = 8
    RECOVERY = 9
    MEMBER = 10
    SHARED = 11
    DIRECTORY = 12
    SIZES = 13


_NUMBERED = (Section.COLUMN, Section.RECOVERY, Section.MEMBER, Section.SHARED)


def crc32c(data: bytes | memoryview, before: int = 0) -> int:
    """CRC-32C (Castagnoli, RFC 3720) of `data`. before : the checksum of the bytes that precede `data`"""
    return int(google_crc32c.extend(before, bytes(data)))


def pack_prelude(required_features: int = 0) -> bytes:
    """The first 24 bytes of a file."""
    head = _PRELUDE.pack(MAGIC, VERSION, 0, required_features, 0)
    return head + _CRC.pack(crc32c(head))


def check_prelude(start: bytes) -> int:
    """Check the first 24 bytes of a file and return its required features.

    Raises DamagedArchiveError if they are not intact, UnsupportedArchiveError for another version or for features that
    this release does not know.
    """
    if len(start) < PRELUDE_BYTES or not start.startswith(MAGIC):
        raise DamagedArchiveError("the first bytes are damaged: they are not those of a smalti archive")
    if _CRC.unpack_from(start, _PRELUDE.size)[0] != crc32c(start[: _PRELUDE.size]):
        raise DamagedArchiveError("the first bytes are damaged: wrong checksum")
    _, version, reserved, required, _ = _PRELUDE.unpack_from(start)
    if reserved:
        raise UnsupportedArchiveError(
            f"reserved field is {reserved}, which this release does not know: use a newer one"
        )
    check_version(version, required)
    return int(required)


def check_version(version: int, required_features: int) -> None:
    """Raise UnsupportedArchiveError unless this release reads this version with these required features."""
    if version != VERSION:
        advice = "pack the images again" if version < VERSION else "install a release that reads it"
        raise UnsupportedArchiveError(f"format version {version}; this release reads version {VERSION} only: {advice}")
    if unknown := required_features & ~_KNOWN_FEATURES:
        bits = ", ".join(str(bit) for bit in range(32) if unknown >> bit & 1)
        raise UnsupportedArchiveError(f"needs feature bit {bits}, which this release does not know: use a newer one")


@dataclass(frozen=True, slots=True)
class Entry:
    """An index entry: type and ordinal of a section, offset of its frame, size and crc32c of its payload."""

    section: int
    ordinal: int
    offset: int
    payload_bytes: int
    payload_crc: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of the whole frame, head and payload."""
        return FRAME_BYTES + self.payload_bytes

    @property
    def end(self) -> int:
        """Offset of the first byte after the frame."""
        return self.offset + self.frame_bytes

    @property
    def name(self) -> str:
        """The section's name in messages, such as "token block 3"."""
        if self.section == Section.TOKENS:
            return f"token block {self.ordinal}"
        if self.section in (Section.HEADER, Section.PRIOR, Section.SIZES) and self.ordinal:
            return f"copy of the {Section(self.section).name.lower()}"
        known = self.section in set(Section)
        name = Section(self.section).name.lower() if known else f"section of type {self.section}"
        return f"{name} {self.ordinal}" if self.section in _NUMBERED or not known else name

    def pack(self) -> bytes:
        """The 28 bytes of an index entry."""
        return _ENTRY.pack(self.section, _ZEROS, self.ordinal, self.offset, self.payload_bytes, self.payload_crc)

    @classmethod
    def unpack(cls, data: bytes) -> "Entry":
        """Read the 28 bytes of an index entry."""
        section, reserved, ordinal, offset, payload_bytes, payload_crc = _ENTRY.unpack(data)
        if reserved != _ZEROS:
            raise DamagedArchiveError("index: reserved bytes are not zero")
        return cls(section, ordinal, offset, payload_bytes, payload_crc)

    def pack_frame_head(self) -> bytes:
        """The 28 bytes before the payload."""
        head = _FRAME.pack(MARKER, self.section, _ZEROS, self.ordinal, self.payload_bytes, self.payload_crc)
        return head + _CRC.pack(crc32c(head))

    @classmethod
    def unpack_frame_head(cls, data: bytes, offset: int) -> "Entry":
        """Read the 28 bytes before a payload, found at `offset`. DamagedArchiveError if they are not intact."""
        if len(data) != FRAME_BYTES or _CRC.unpack_from(data, _FRAME.size)[0] != crc32c(data[: _FRAME.size]):
            raise DamagedArchiveError(f"the head of the section at byte {offset} is damaged: wrong checksum")
        marker, section, reserved, ordinal, payload_bytes, payload_crc = _FRAME.unpack_from(data)
        if marker != MARKER or reserved != _ZEROS:
            raise DamagedArchiveError(f"there is no section at byte {offset}")
        return cls(section, ordinal, offset, payload_bytes, payload_crc)


def pack_index(entries: Sequence[Entry]) -> bytes:
    """The payload of the index section: the number of entries, then each entry."""
    return _COUNT.pack(len(entries)) + b"".join(entry.pack() for entry in entries)


def unpack_index(payload: bytes) -> tuple[Entry, ...]:
    """The inverse of `pack_index`; DamagedArchiveError if the payload is no index."""
    if len(payload) < _COUNT.size or len(payload) != _COUNT.size + ENTRY_BYTES * _COUNT.unpack_from(payload)[0]:
        raise DamagedArchiveError("index: its length does not fit its number of entries")
    starts = range(_COUNT.size, len(payload), ENTRY_BYTES)
    return tuple(Entry.unpack(payload[start : start + ENTRY_BYTES]) for start in starts)


@dataclass(frozen=True)
class Trailer:
    """The last bytes of a file: the offset of the index and the size of the file."""

    index_offset: int
    archive_bytes: int

    def pack(self) -> bytes:
        """The 28 bytes of the trailer."""
        head = _TRAILER.pack(self.index_offset, self.archive_bytes)
        return head + _CRC.pack(crc32c(head)) + END_MAGIC

    @classmethod
    def unpack(cls, end: bytes, archive_bytes: int) -> "Trailer":
        """Read the last 28 bytes of a file of `archive_bytes`. DamagedArchiveError if they do not fit it."""
        if len(end) != TRAILER_BYTES or not end.endswith(END_MAGIC):
            raise DamagedArchiveError("its end is missing: the file was cut short or added to; fetch it again")
        if _CRC.unpack_from(end, _TRAILER.size)[0] != crc32c(end[: _TRAILER.size]):
            raise DamagedArchiveError("its last bytes are damaged: wrong checksum")
        trailer = cls(*_TRAILER.unpack_from(end))
        if trailer.archive_bytes != archive_bytes:
            raise DamagedArchiveError(f"it was {trailer.archive_bytes} bytes when written and is {archive_bytes} now")
        if not PRELUDE_BYTES <= trailer.index_offset <= archive_bytes - TRAILER_BYTES - FRAME_BYTES:
            raise DamagedArchiveError("the index lies outside the file")
        return trailer
