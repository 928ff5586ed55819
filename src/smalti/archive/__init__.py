"""The `.smalti` file: writing it, reading images back by number, checking it (docs/format.md).

No framework is imported here or below. Layer: below `codec`, above `entropy` and `floating`.
"""

from smalti.archive.compare import Comparison, compare, pixels_sha256
from smalti.archive.extract import extract
from smalti.archive.limits import Limits
from smalti.archive.reader import Archive, open_archive
from smalti.archive.report import ArchiveInfo, DamagedBlock, SectionBytes, VerifyReport
from smalti.archive.writer import ArchiveSpec, ArchiveWriter

__all__ = [
    "Archive",
    "ArchiveInfo",
    "ArchiveSpec",
    "ArchiveWriter",
    "Comparison",
    "DamagedBlock",
    "Limits",
    "SectionBytes",
    "VerifyReport",
    "compare",
    "extract",
    "open_archive",
    "pixels_sha256",
]
