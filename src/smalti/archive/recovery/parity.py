"""What a recovery section holds: one row of parity, and the table of the sections it was made of.

Making lost sections of a group again from the others and its parity.

Making recovery sections while an archive is written, without holding the sections themselves.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from smalti.archive.format.layout import Entry, Section, crc32c
from smalti.archive.recovery.reed_solomon import Mixture, erasure_code
from smalti.errors import DamagedArchiveError, UnsupportedArchiveError, UsageError
from smalti.storage.spool import spool_file

__all__ = [
    "Key",
    "ParityGroup",
    "ParityMember",
    "ParitySection",
    "RecoveryBuilder",
    "RecoverySpec",
    "groups_of",
    "is_member",
    "make_parity",
    "restore_group",
]


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
class ParityMember:
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
    def of(cls, entry: Entry) -> "ParityMember":
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
    members: tuple[ParityMember, ...]
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


def _unpack_member(payload: bytes, place: int) -> ParityMember:
    section, reserved, ordinal, payload_bytes, payload_crc = _MEMBER.unpack_from(payload, place)
    if reserved != _ZEROS:
        raise DamagedArchiveError("recovery: reserved bytes are not zero")
    return ParityMember(section, ordinal, payload_bytes, payload_crc)


# was sibling import


@dataclass(frozen=True)
class ParityGroup:
    """The sections that are protected together, and where their parity can be had.

    rows : what reads the parity of each row that was not lost
    """

    spec: RecoverySpec
    members: tuple[ParityMember, ...]
    rows: dict[int, Callable[[], bytes]]


def restore_group(
    group: ParityGroup, lost: set[ParityMember], read: Callable[[ParityMember], bytes]
) -> dict[ParityMember, bytes]:
    """Make the `lost` members of a group again: all of them, or none if they are more than its rows of parity.

    read : gives the payload of a member that is not lost

    Members whose checksum does not come out right, because the parity was made of other sections, are left out.
    """
    if len(lost) > len(group.rows):
        return {}
    code = erasure_code(group.spec.members, group.spec.parity)
    rows = sorted(group.rows)[: len(lost)]
    places = [place for place, member in enumerate(group.members) if member in lost]
    rest = Mixture(code.generator[rows])  # the parity less the part of what is known: what the lost ones add to it
    for place, member in enumerate(group.members):
        if member not in lost:
            rest.add(place, read(member))
    for number, row in enumerate(rows):
        rest.add_to_row(number, group.rows[row]())
    solved = Mixture(code.inverse(places, rows))
    for number, part in enumerate(rest.rows()):
        solved.add(number, part)
    made = {group.members[place]: row for place, row in zip(places, solved.rows(), strict=True)}
    cut = {member: payload[: member.payload_bytes] for member, payload in made.items()}
    return {member: payload for member, payload in cut.items() if crc32c(payload) == member.payload_crc}


def make_parity(
    spec: RecoverySpec, group: int, members: tuple[ParityMember, ...], read: Callable[[ParityMember], bytes]
) -> list[ParitySection]:
    """Make all recovery sections of a group whose members are all there."""
    mixture = Mixture(erasure_code(spec.members, spec.parity).generator)
    for place, member in enumerate(members):
        mixture.add(place, read(member))
    return [ParitySection(spec, group, row, members, parity) for row, parity in enumerate(mixture.rows())]


# was sibling import


class RecoveryBuilder:
    """Takes every section as it is written, and gives the payloads of the recovery sections at the end.

    >>> with RecoveryBuilder(RecoverySpec.parse("1/16"), out) as recovery:
    ...     recovery.add(entry, payload)                   # for each section, in file order
    ...     for payload in recovery.payloads(): ...        # in the order of the file

    Memory: for each of the two open groups, m times its longest section. Finished parity waits in a nameless
    temporary file beside the output, which vanishes when this is closed.

    Raises MissingDependencyError if the extra `recovery` is not installed.
    """

    def __init__(self, spec: RecoverySpec, spool_beside: Path) -> None:
        erasure_code(spec.members, spec.parity)
        self._spec = spec
        self._fixed = _Kind(spec, spool_beside)
        self._blocks = _Kind(spec, spool_beside)

    def __enter__(self) -> "RecoveryBuilder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fixed.close()
        self._blocks.close()

    def add(self, entry: Entry, payload: bytes) -> None:
        """Add a section; those that need no protection, such as copies, are passed over."""
        if is_member((entry.section, entry.ordinal)):
            kind = self._blocks if entry.section == Section.TOKENS else self._fixed
            kind.add(ParityMember.of(entry), payload)

    def payloads(self) -> Iterator[bytes]:
        """The payloads of all recovery sections; nothing may be added after this."""
        group = 0
        for kind in (self._fixed, self._blocks):
            for members, rows in kind.groups():
                for row, parity in enumerate(rows):
                    yield ParitySection(self._spec, group, row, members, parity).pack()
                group += 1


class _Kind:
    """The groups of one kind of section: the open one in memory, the finished ones in a file."""

    def __init__(self, spec: RecoverySpec, spool_beside: Path) -> None:
        self._spec = spec
        self._file = spool_file(spool_beside)
        self._finished: list[tuple[ParityMember, ...]] = []
        self._start()

    def add(self, member: ParityMember, payload: bytes) -> None:
        self._parity.add(len(self._members), payload)
        self._members.append(member)
        if len(self._members) == self._spec.members:
            self._finish()

    def groups(self) -> Iterator[tuple[tuple[ParityMember, ...], list[bytes]]]:
        """The members and the parity rows of each group."""
        if self._members:
            self._finish()
        self._file.seek(0)
        for members in self._finished:
            longest = max(member.payload_bytes for member in members)
            yield members, [self._file.read(longest) for _ in range(self._spec.parity)]

    def close(self) -> None:
        self._file.close()

    def _start(self) -> None:
        self._members: list[ParityMember] = []
        self._parity = Mixture(erasure_code(self._spec.members, self._spec.parity).generator)

    def _finish(self) -> None:
        self._file.writelines(self._parity.rows())
        self._finished.append(tuple(self._members))
        self._start()
