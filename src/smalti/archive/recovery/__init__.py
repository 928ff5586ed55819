"""Recovery sections: parity by which lost sections are made again (docs/format.md, "Recovery").

Writing and using them needs the extra `smalti[recovery]`; reading and testing an archive never does.
"""

from smalti.archive.recovery.building import RecoveryBuilder
from smalti.archive.recovery.code import require_reedsolo
from smalti.archive.recovery.parity import Key, Member, ParitySection, RecoverySpec, groups_of
from smalti.archive.recovery.restoring import Group, make_parity, restore_group

__all__ = [
    "Group",
    "Key",
    "Member",
    "ParitySection",
    "RecoveryBuilder",
    "RecoverySpec",
    "groups_of",
    "make_parity",
    "require_reedsolo",
    "restore_group",
]
