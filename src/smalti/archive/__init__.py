"""The `.smalti` file: writing it, reading images back by number, checking it (docs/format.md).

No framework is imported here or below. Layer: below `codec`, above `entropy` and `floating`.
"""

from smalti.archive.limits import Limits
from smalti.archive.reader import Archive, open_archive
from smalti.archive.report import ArchiveInfo, DamagedBlock, SectionBytes, VerifyReport
from smalti.archive.writer import ArchiveSpec, ArchiveWriter

__all__ = [
    "Archive",
    "ArchiveInfo",
    "ArchiveSpec",
    "ArchiveWriter",
    "DamagedBlock",
    "Limits",
    "SectionBytes",
    "VerifyReport",
    "open_archive",
]
