"""The `.smalti` file: writing it, reading images by number, checking it (docs/format.md).

Layer: below `codec`, above `residual`, `decoders` and `entropy`. No deep-learning framework is imported here or below.

Each name is imported when it is first asked for, so that opening an archive does not import the writer.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smalti.archive.collection.collection import Collection
    from smalti.archive.collection.collection_info import CollectionInfo
    from smalti.archive.edit.edit import append_archive, drop_images, merge_archives, relabel, write_manifest
    from smalti.archive.format.limits import Limits
    from smalti.archive.open import open_images
    from smalti.archive.read.reader import Archive, open_archive
    from smalti.archive.read.selection import ArchiveBatch
    from smalti.archive.report import ArchiveInfo, DamagedBlock, Level, LevelInfo, SectionBytes, VerifyReport
    from smalti.archive.write.sized_writer import SizedArchiveWriter, SizedSpec
    from smalti.archive.write.spec import ArchiveSpec
    from smalti.archive.write.writer import ArchiveWriter

__all__ = [
    "Archive",
    "ArchiveBatch",
    "ArchiveInfo",
    "ArchiveSpec",
    "ArchiveWriter",
    "Collection",
    "CollectionInfo",
    "DamagedBlock",
    "Level",
    "LevelInfo",
    "Limits",
    "SectionBytes",
    "SizedArchiveWriter",
    "SizedSpec",
    "VerifyReport",
    "append_archive",
    "drop_images",
    "merge_archives",
    "open_archive",
    "open_images",
    "relabel",
    "write_manifest",
]

_HOMES = {
    "Archive": "read.reader",
    "ArchiveBatch": "read.selection",
    "ArchiveInfo": "report",
    "ArchiveSpec": "write.spec",
    "ArchiveWriter": "write.writer",
    "Collection": "collection.collection",
    "CollectionInfo": "collection.collection_info",
    "DamagedBlock": "report",
    "Level": "report",
    "LevelInfo": "report",
    "Limits": "format.limits",
    "SectionBytes": "report",
    "SizedArchiveWriter": "write.sized_writer",
    "SizedSpec": "write.sized_writer",
    "VerifyReport": "report",
    "append_archive": "edit.edit",
    "drop_images": "edit.edit",
    "merge_archives": "edit.edit",
    "open_archive": "read.reader",
    "open_images": "open",
    "relabel": "edit.edit",
    "write_manifest": "edit.edit",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found  # so that this is called once for each name
    return found
