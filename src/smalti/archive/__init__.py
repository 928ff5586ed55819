"""The `.smalti` file: writing it, reading images back by number, checking it (docs/format.md).

No framework is imported here or below. Layer: below `codec`, above `residual`, `entropy` and `integer`.

A name is imported when it is first asked for: to open an archive needs neither the writer nor what images go out by.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smalti.archive.batch import ArchiveBatch
    from smalti.archive.collection.info import CollectionInfo
    from smalti.archive.collection.reader import Collection
    from smalti.archive.comparing import Comparison, compare, pixels_sha256
    from smalti.archive.editing import append_archive, drop_images, merge_archives, relabel, write_manifest
    from smalti.archive.extracting import Extracted, extract
    from smalti.archive.limits import Limits
    from smalti.archive.opening import open_images
    from smalti.archive.reader import Archive, open_archive
    from smalti.archive.report import ArchiveInfo, DamagedBlock, Level, LevelInfo, SectionBytes, VerifyReport
    from smalti.archive.spec import ArchiveSpec
    from smalti.archive.writer import ArchiveWriter

__all__ = [
    "Archive",
    "ArchiveBatch",
    "ArchiveInfo",
    "ArchiveSpec",
    "ArchiveWriter",
    "Collection",
    "CollectionInfo",
    "Comparison",
    "DamagedBlock",
    "Extracted",
    "Level",
    "LevelInfo",
    "Limits",
    "SectionBytes",
    "VerifyReport",
    "append_archive",
    "compare",
    "drop_images",
    "extract",
    "merge_archives",
    "open_archive",
    "open_images",
    "pixels_sha256",
    "relabel",
    "write_manifest",
]

_HOMES = {
    "Archive": "reader",
    "ArchiveBatch": "batch",
    "ArchiveInfo": "report",
    "ArchiveSpec": "spec",
    "ArchiveWriter": "writer",
    "Collection": "collection.reader",
    "CollectionInfo": "collection.info",
    "Comparison": "comparing",
    "DamagedBlock": "report",
    "Extracted": "extracting",
    "Level": "report",
    "LevelInfo": "report",
    "Limits": "limits",
    "SectionBytes": "report",
    "VerifyReport": "report",
    "append_archive": "editing",
    "compare": "comparing",
    "drop_images": "editing",
    "extract": "extracting",
    "merge_archives": "editing",
    "open_archive": "reader",
    "open_images": "opening",
    "pixels_sha256": "comparing",
    "relabel": "editing",
    "write_manifest": "editing",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found  # so that it is asked for once
    return found
