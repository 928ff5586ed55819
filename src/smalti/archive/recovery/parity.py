"""What a recovery section holds: one row of parity, and the table of the sections it was made of."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from smalti.archive.layout import Entry, Section
from smalti.errors import DamagedArchiveError, UnsupportedArchiveError, UsageError

__all__ = ["Key", "Member", "ParitySection", "RecoverySpec", "groups_of", "is_member"]

_CODE = 1
_HEAD = struct.Struct("<BBBBII")
_MEMBER = struct.Struct("<B3sIQI")
_ZEROS = bytes(3)
_MOST = 255  # symbols of a word of the code

Key = tuple[int, int]
"""Type and ordinal of a section, which name it within a file."""


@dataclass(frozen=True)
class RecoverySpec:
    """How much is made recoverable: any `parity` sections of every `members` that follow each other.

    Raises UsageError unless both are at least 1 and at most 255 together.
    """

    parity: int
    members: int

    def __post_init__(self) -> None:
        if min(self.parity, self.members) < 1 or self.parity + self.members > _MOST:
            raise UsageError(f"recovery {self}: both numbers must be at least 1, and at most {_MOST} together")

    def __str__(self) -> str:
        return f"{self.parity}/{self.members}"

    @classmethod
    def parse(cls, text: str) -> "RecoverySpec":
        """Read "m/n", such as "1/16"; UsageError, in one line, for anything else."""
        parity, slash, members = text.partition("/")
        if not (slash and all(part.isascii() and part.isdigit() and len(part) <= 3 for part in (parity, members))):
            raise UsageError(f"recovery {text!r} is not m/n, such as 1/16: 1 block in every 16 may be lost")
        return cls(int(parity), int(members))


@dataclass(frozen=True, slots=True)
class Member:
    """One section of a group."""

    section: int
    ordinal: int
    payload_bytes: int
    payload_crc: int

    @property
    def key(self) -> Key:
        """Type and ordinal."""
        return self.section, self.ordinal

    @classmethod
    def of(cls, entry: Entry) -> "Member":
        """Return the member that a section is."""
        return cls(entry.section, entry.ordinal, entry.payload_bytes, entry.payload_crc)


@dataclass(frozen=True)
class ParitySection:
    """Row `row` of the parity of group `group`.

    parity : as many bytes as the longest member has
    """

    spec: RecoverySpec
    group: int
    row: int
    members: tuple[Member, ...]
    parity: bytes

    @property
    def ordinal(self) -> int:
        """Its ordinal among the recovery sections."""
        return self.group * self.spec.parity + self.row

    def pack(self) -> bytes:
        """The payload; `unpack` is the inverse."""
        head = _HEAD.pack(_CODE, self.spec.members, self.spec.parity, self.row, self.group, len(self.members))
        table = (
            _MEMBER.pack(member.section, _ZEROS, member.ordinal, member.payload_bytes, member.payload_crc)
            for member in self.members
        )
        return b"".join((head, *table, self.parity))

    @classmethod
    def unpack(cls, payload: bytes) -> "ParitySection":
        """Read a payload; DamagedArchiveError if it cannot be one, UnsupportedArchiveError for another code."""
        if len(payload) < _HEAD.size:
            raise DamagedArchiveError("too short for a recovery section")
        code, members, parity, row, group, count = _HEAD.unpack_from(payload)
        if code != _CODE:
            raise UnsupportedArchiveError(f"recovery code {code} is not known to this release; use a newer smalti")
        start = _HEAD.size + _MEMBER.size * count
        if not (min(parity, members) >= 1 and parity + members <= _MOST and row < parity and 1 <= count <= members):
            raise DamagedArchiveError("recovery: its numbers cannot be")
        if len(payload) < start:
            raise DamagedArchiveError("recovery: too short for its members")
        table = tuple(_unpack_member(payload, place) for place in range(_HEAD.size, start, _MEMBER.size))
        if max(member.payload_bytes for member in table) != len(payload) - start:
            raise DamagedArchiveError("recovery: its parity is not as long as its longest member")
        return cls(RecoverySpec(parity, members), group, row, table, payload[start:])


def groups_of(keys: Iterable[Key], spec: RecoverySpec) -> list[tuple[Key, ...]]:
    """The groups of a file, in the order of their numbers, from the types and ordinals of its sections in file order.

    First the sections that all images need and the columns, then the token blocks. Copies are in no group.
    """
    found = [key for key in keys if is_member(key)]
    fixed = [key for key in found if key[0] != Section.TOKENS]
    blocks = [key for key in found if key[0] == Section.TOKENS]
    starts = [(kind, start) for kind in (fixed, blocks) for start in range(0, len(kind), spec.members)]
    return [tuple(kind[start : start + spec.members]) for kind, start in starts]


def is_member(key: Key) -> bool:
    """Whether a section of this type and ordinal is protected by parity."""
    section, ordinal = key
    if section in (Section.HEADER, Section.PRIOR):
        return ordinal == 0
    return section in (Section.MODEL, Section.CORRECTIONS, Section.TOKENS, Section.COLUMN, Section.DIGEST)


def _unpack_member(payload: bytes, place: int) -> Member:
    section, reserved, ordinal, payload_bytes, payload_crc = _MEMBER.unpack_from(payload, place)
    if reserved != _ZEROS:
        raise DamagedArchiveError("recovery: reserved bytes are not zero")
    return Member(section, ordinal, payload_bytes, payload_crc)
