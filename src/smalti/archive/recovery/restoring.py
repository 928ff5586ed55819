"""Making lost sections of a group again from the others and its parity."""

from collections.abc import Callable
from dataclasses import dataclass

from smalti.archive.layout import crc32c
from smalti.archive.recovery.code import Mixture, erasure_code
from smalti.archive.recovery.parity import Member, ParitySection, RecoverySpec

__all__ = ["Group", "make_parity", "restore_group"]


@dataclass(frozen=True)
class Group:
    """The sections that are protected together, and where their parity can be had.

    rows : what reads the parity of each row that was not lost
    """

    spec: RecoverySpec
    members: tuple[Member, ...]
    rows: dict[int, Callable[[], bytes]]


def restore_group(group: Group, lost: set[Member], read: Callable[[Member], bytes]) -> dict[Member, bytes]:
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
    spec: RecoverySpec, group: int, members: tuple[Member, ...], read: Callable[[Member], bytes]
) -> list[ParitySection]:
    """Make all recovery sections of a group whose members are all there."""
    mixture = Mixture(erasure_code(spec.members, spec.parity).generator)
    for place, member in enumerate(members):
        mixture.add(place, read(member))
    return [ParitySection(spec, group, row, members, parity) for row, parity in enumerate(mixture.rows())]
