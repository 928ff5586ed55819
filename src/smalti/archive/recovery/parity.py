"""Recovery sections: their payload, their making while an archive is written, and the restoring of lost sections.

A recovery section is one row of parity and the table of the sections that the parity covers. The code itself is in
`reed_solomon`; which sections of a damaged file are left is in `salvage`.
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
"""Type and ordinal of a section, which identify it within a file."""


@dataclass(frozen=True)
class RecoverySpec:
    """How much is recoverable: any `parity` sections out of every `members` in a row.

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
        """Read "m/n", such as "1/16". UsageError for anything else."""
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
        """Return the member for an index entry."""
        return cls(entry.section, entry.ordinal, entry.payload_bytes, entry.payload_crc)


@dataclass(frozen=True)
class ParitySection:
    """Row `row` of the parity of group `group`.

    parity : as many bytes as the longest member
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
        """The payload. `unpack` is the inverse."""
        head = _HEAD.pack(_CODE, self.spec.members, self.spec.parity, self.row, self.group, len(self.members))
        table = (
            _MEMBER.pack(member.section, _ZEROS, member.ordinal, member.payload_bytes, member.payload_crc)
            for member in self.members
        )
        return b"".join((head, *table, self.parity))

    @classmethod
    def unpack(cls, payload: bytes) -> "ParitySection":
        """Read a payload. DamagedArchiveError if its fields cannot be, UnsupportedArchiveError for another code."""
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
        table = tuple(_unpack_member(payload, offset) for offset in range(_HEAD.size, start, _MEMBER.size))
        if max(member.payload_bytes for member in table) != len(payload) - start:
            raise DamagedArchiveError("recovery: its parity is not as long as its longest member")
        return cls(RecoverySpec(parity, members), group, row, table, payload[start:])


def groups_of(keys: Iterable[Key], spec: RecoverySpec) -> list[tuple[Key, ...]]:
    """Return the groups of a file, in the order of their numbers.

    keys : of all sections, in file order

    The first groups have the sections that all images need, and the columns; the others have the token blocks. Copies
    are in no group.
    """
    found = [key for key in keys if is_member(key)]
    fixed = [key for key in found if key[0] != Section.TOKENS]
    blocks = [key for key in found if key[0] == Section.TOKENS]
    starts = [(kind, start) for kind in (fixed, blocks) for start in range(0, len(kind), spec.members)]
    return [tuple(kind[start : start + spec.members]) for kind, start in starts]


def is_member(key: Key) -> bool:
    """Whether parity protects a section."""
    section, ordinal = key
    if section in (Section.HEADER, Section.SIZES, Section.PRIOR):
        return ordinal == 0
    return section in (Section.MODEL, Section.CORRECTIONS, Section.TOKENS, Section.COLUMN, Section.DIGEST)


def _unpack_member(payload: bytes, offset: int) -> ParityMember:
    section, reserved, ordinal, payload_bytes, payload_crc = _MEMBER.unpack_from(payload, offset)
    if reserved != _ZEROS:
        raise DamagedArchiveError("recovery: reserved bytes are not zero")
    return ParityMember(section, ordinal, payload_bytes, payload_crc)


@dataclass(frozen=True)
class ParityGroup:
    """Sections that are protected together, and their parity.

    rows : by row, a function that reads its parity; rows that are lost are missing
    """

    spec: RecoverySpec
    members: tuple[ParityMember, ...]
    rows: dict[int, Callable[[], bytes]]


def restore_group(
    group: ParityGroup, lost: set[ParityMember], read: Callable[[ParityMember], bytes]
) -> dict[ParityMember, bytes]:
    """Restore the lost members of a group: all of them, or none if there are fewer rows of parity than lost members.

    read : returns the payload of a member that is not lost

    A member with a wrong checksum is omitted: the parity was made of other sections.
    """
    if len(lost) > len(group.rows):
        return {}
    code = erasure_code(group.spec.members, group.spec.parity)
    rows = sorted(group.rows)[: len(lost)]
    positions = [position for position, member in enumerate(group.members) if member in lost]
    rest = Mixture(code.generator[rows])  # the parity less the known members: the lost members' part of it
    for position, member in enumerate(group.members):
        if member not in lost:
            rest.add(position, read(member))
    for number, row in enumerate(rows):
        rest.add_to_row(number, group.rows[row]())
    solved = Mixture(code.inverse(positions, rows))
    for number, part in enumerate(rest.rows()):
        solved.add(number, part)
    made = {group.members[position]: row for position, row in zip(positions, solved.rows(), strict=True)}
    cut = {member: payload[: member.payload_bytes] for member, payload in made.items()}
    return {member: payload for member, payload in cut.items() if crc32c(payload) == member.payload_crc}


def make_parity(
    spec: RecoverySpec, group: int, members: tuple[ParityMember, ...], read: Callable[[ParityMember], bytes]
) -> list[ParitySection]:
    """Make all recovery sections of a group. No member may be lost."""
    mixture = Mixture(erasure_code(spec.members, spec.parity).generator)
    for position, member in enumerate(members):
        mixture.add(position, read(member))
    return [ParitySection(spec, group, row, members, parity) for row, parity in enumerate(mixture.rows())]


class RecoveryBuilder:
    """Makes the recovery sections of an archive while its sections are written.

    >>> with RecoveryBuilder(RecoverySpec.parse("1/16"), out) as recovery:
    ...     recovery.add(entry, payload)                   # for each section, in file order
    ...     for payload in recovery.payloads(): ...        # in the order of the file

    Memory: for each of the two open groups, m times its longest section. Finished parity is spooled to a nameless
    temporary file beside the output `out_path`, which vanishes when this is closed.

    Raises MissingDependencyError if the extra `recovery` is not installed.
    """

    def __init__(self, spec: RecoverySpec, out_path: Path) -> None:
        erasure_code(spec.members, spec.parity)
        self._spec = spec
        self._fixed = _Kind(spec, out_path)
        self._blocks = _Kind(spec, out_path)

    def __enter__(self) -> "RecoveryBuilder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fixed.close()
        self._blocks.close()

    def add(self, entry: Entry, payload: bytes) -> None:
        """Add a section. Sections without protection, such as copies, are skipped."""
        if is_member((entry.section, entry.ordinal)):
            kind = self._blocks if entry.section == Section.TOKENS else self._fixed
            kind.add(ParityMember.of(entry), payload)

    def payloads(self) -> Iterator[bytes]:
        """Yield the payloads of all recovery sections. Nothing may be added after this."""
        group = 0
        for kind in (self._fixed, self._blocks):
            for members, rows in kind.groups():
                for row, parity in enumerate(rows):
                    yield ParitySection(self._spec, group, row, members, parity).pack()
                group += 1


class _Kind:
    """The groups of one kind of section: the open group in memory, finished groups in a file."""

    def __init__(self, spec: RecoverySpec, out_path: Path) -> None:
        self._spec = spec
        self._file = spool_file(out_path)
        self._finished: list[tuple[ParityMember, ...]] = []
        self._start()

    def add(self, member: ParityMember, payload: bytes) -> None:
        self._parity.add(len(self._members), payload)
        self._members.append(member)
        if len(self._members) == self._spec.members:
            self._finish()

    def groups(self) -> Iterator[tuple[tuple[ParityMember, ...], list[bytes]]]:
        """Yield the members and the parity rows of each group."""
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
