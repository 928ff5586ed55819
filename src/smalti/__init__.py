"""smalti: learned compression for collections of images.

>>> import smalti
>>> smalti.compress(images, "out.smalti")       # uint8 [N, H, W] or [N, H, W, C], or any SOURCE
>>> with smalti.open("out.smalti") as archive:  # no torch imported
...     archive[3], archive[10:20], archive.labels

Everything is imported when it is first asked for, so that the command line is awake, and hears a Ctrl-C, before
anything slow begins.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from smalti.errors import (
    DamagedArchiveError,
    DownloadError,
    ImageIndexError,
    LimitExceededError,
    MissingDependencyError,
    ModelError,
    NotAnArchiveError,
    OutputError,
    OutputExistsError,
    SmaltiError,
    SourceError,
    UnsupportedArchiveError,
    UsageError,
)
from smalti.version import __version__

if TYPE_CHECKING:
    from smalti.archive.collection.collection import Collection
    from smalti.archive.collection.collection_info import CollectionInfo
    from smalti.archive.edit.edit import drop_images as drop
    from smalti.archive.edit.edit import merge_archives as merge
    from smalti.archive.edit.edit import relabel
    from smalti.archive.format.limits import Limits
    from smalti.archive.open import open_images as open  # noqa: A004 (the name users expect)
    from smalti.archive.read.reader import Archive
    from smalti.archive.report import ArchiveInfo
    from smalti.front import append, compress, estimate, extract, fit, repair, test

__all__ = [
    "Archive",
    "ArchiveInfo",
    "Collection",
    "CollectionInfo",
    "DamagedArchiveError",
    "DownloadError",
    "ImageIndexError",
    "LimitExceededError",
    "Limits",
    "MissingDependencyError",
    "ModelError",
    "NotAnArchiveError",
    "OutputError",
    "OutputExistsError",
    "SmaltiError",
    "SourceError",
    "UnsupportedArchiveError",
    "UsageError",
    "__version__",
    "append",
    "compress",
    "drop",
    "estimate",
    "extract",
    "fit",
    "merge",
    "open",
    "relabel",
    "repair",
    "test",
]

_ARCHIVE, _FRONT = "smalti.archive", "smalti.front"
_HOMES = {
    **{name: (_ARCHIVE, name) for name in ("Archive", "ArchiveInfo", "Collection", "CollectionInfo", "Limits")},
    "drop": (_ARCHIVE, "drop_images"),
    "merge": (_ARCHIVE, "merge_archives"),
    "open": (_ARCHIVE, "open_images"),
    "relabel": (_ARCHIVE, "relabel"),
    **{name: (_FRONT, name) for name in ("append", "compress", "estimate", "extract", "fit", "repair", "test")},
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, found_as = _HOMES[name]
    found: object = getattr(import_module(home), found_as)
    globals()[name] = found  # so that it is asked for once
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
