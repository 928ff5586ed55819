"""From what a user names to an open archive or collection."""

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

from smalti.archive.collection.directory import MANIFEST_SUFFIX
from smalti.archive.collection.opening import is_collection, open_collection, open_manifest
from smalti.archive.collection.reader import Collection
from smalti.archive.limits import Limits
from smalti.archive.placing import find_sections
from smalti.archive.positioned import file_at
from smalti.archive.reader import Archive
from smalti.archive.sections import SectionFile
from smalti.errors import SmaltiError, UsageError

__all__ = ["open_images"]


def open_images(
    path: str | PathLike[str],
    limits: Limits | None = None,
    threads: int = 1,
    storage_options: Mapping[str, Any] | None = None,
) -> Archive | Collection:
    """Open an archive, a collection of archives in one file, or a manifest that lists archives.

    path, threads, storage_options : as for `smalti.archive.open_archive`: a local path or a URL

    Raises what `open_archive` raises.
    """
    if threads < 1:
        raise UsageError(f"threads is {threads}; it must be at least 1")
    limits = limits or Limits()
    if fspath(path).endswith(MANIFEST_SUFFIX):
        return open_manifest(path, limits, threads, storage_options)
    file = file_at(path, storage_options)
    try:
        places = find_sections(file, limits)
        if is_collection(places):
            return open_collection(file, limits, threads, places)
        return Archive(SectionFile(file, limits, places), threads)
    except BaseException as error:
        file.close()
        if isinstance(error, SmaltiError) and not str(error).startswith(str(file.path)):
            raise type(error)(f"{file.path}: {error}") from error
        raise
