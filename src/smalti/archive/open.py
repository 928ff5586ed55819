"""From what a user names to an open archive or collection."""

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

from smalti.archive.collection.collection import Collection
from smalti.archive.collection.directory import MANIFEST_SUFFIX
from smalti.archive.collection.open_collection import is_collection, open_collection, open_manifest
from smalti.archive.format.limits import Limits
from smalti.archive.read.reader import Archive
from smalti.archive.read.section_table import find_sections
from smalti.archive.read.sections import SectionFile
from smalti.errors import SmaltiError, UsageError
from smalti.storage.positioned import file_at

__all__ = ["open_images"]


def open_images(
    path: str | PathLike[str],
    limits: Limits | None = None,
    threads: int = 1,
    storage_options: Mapping[str, Any] | None = None,
) -> Archive | Collection:
    """Open an archive, a collection of archives in one file, or a manifest that lists archives.

    Its ends, index and header are checked now, the rest when it is read.

    path : a local path, or the URL of a file that fsspec reaches (`s3://bucket/a.smalti`, `https://...`, `memory://...`;
        needs the extra `smalti[remote]` or `smalti[s3]`). Opening a URL takes one GET of its last 64 KiB (and for what
        is not a web server one HEAD); requests for images fetch the blocks they need together (docs/remote.md)
    threads : how many threads may decode pixels; the pixels do not depend on it
    storage_options : what fsspec is to be told to reach a URL, such as {"key": ..., "endpoint_url": ...}

    Raises NotAnArchiveError, DamagedArchiveError, UnsupportedArchiveError, LimitExceededError; SmaltiError if the
    file is missing or cannot be read; MissingDependencyError; UsageError if threads < 1, or for storage options with
    a local path. Messages name a URL without user, password and query.
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
