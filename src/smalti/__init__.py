"""smalti: learned compression for collections of images.

>>> import smalti
>>> smalti.compress(images, "out.smalti")       # uint8 [N, H, W] or [N, H, W, C], or any SOURCE
>>> with smalti.open("out.smalti") as archive:  # no torch imported
...     archive[3], archive[10:20], archive.labels

A name is imported when it is first used. So the command line starts at once, and handles Ctrl-C before a slow import
begins.
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
    from smalti.archive.edit.edit import merge_archives as merge
    from smalti.archive.format.limits import Limits
    from smalti.archive.open import open_images as open  # noqa: A004 (the name users expect)
    from smalti.archive.read.reader import Archive
    from smalti.archive.report import ArchiveInfo
    from smalti.front.from_archives import drop, extract, relabel, repair, test
    from smalti.front.from_images import append, compress, estimate, fit, plan, run_plan

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
    "plan",
    "relabel",
    "repair",
    "run_plan",
    "test",
]

_ARCHIVE, _FROM_ARCHIVES, _FROM_IMAGES = "smalti.archive", "smalti.front.from_archives", "smalti.front.from_images"
_HOMES = {
    **{name: (_ARCHIVE, name) for name in ("Archive", "ArchiveInfo", "Collection", "CollectionInfo", "Limits")},
    "merge": (_ARCHIVE, "merge_archives"),
    "open": (_ARCHIVE, "open_images"),
    **{name: (_FROM_ARCHIVES, name) for name in ("drop", "extract", "relabel", "repair", "test")},
    **{name: (_FROM_IMAGES, name) for name in ("append", "compress", "estimate", "fit", "plan", "run_plan")},
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, found_as = _HOMES[name]
    found: object = getattr(import_module(home), found_as)
    globals()[name] = found  # found without this function from now on
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
