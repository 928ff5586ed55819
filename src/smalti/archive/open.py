"""From what a user names to an open archive or collection."""

from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from smalti.archive.collection.collection import Collection
from smalti.archive.collection.directory import MANIFEST_SUFFIX
from smalti.archive.collection.open_collection import is_collection, open_collection, open_manifest
from smalti.archive.format.layout import MAGIC
from smalti.archive.format.limits import Limits
from smalti.archive.read.reader import Archive
from smalti.archive.read.section_table import find_sections
from smalti.archive.read.sections import SectionFile
from smalti.errors import SmaltiError, UsageError
from smalti.storage.positioned import InMemory, Positioned, file_at, in_memory, is_in_memory

__all__ = ["is_archive", "open_images"]


def is_archive(path: str | PathLike[str]) -> bool:
    """Whether `open_images` is for what is there: by the first bytes of a local file, by the name of any other."""
    if fspath(path).endswith((".smalti", MANIFEST_SUFFIX)):
        return True
    if not Path(path).is_file():
        return False
    file = file_at(path)
    try:
        return file.size_bytes >= len(MAGIC) and file.read(0, len(MAGIC)) == MAGIC
    finally:
        file.close()


def open_images(
    path: str | PathLike[str] | InMemory,
    limits: Limits | None = None,
    threads: int = 1,
    storage_options: Mapping[str, Any] | None = None,
) -> Archive | Collection:
    """Open an archive, a collection of archives in one file, or a manifest that lists archives.

    Its ends, index and header are checked now, the rest when it is read.

    path : a local path, or the URL of a file that fsspec reaches (`s3://bucket/a.smalti`, `https://...`, `memory://...`;
        needs the extra `smalti[remote]` or `smalti[s3]`). Opening a URL takes one GET of its last 64 KiB (and for what
        is not a web server one HEAD); requests for images fetch the blocks they need together (docs/remote.md).
        Or the bytes of a file, or a file object, of which all bytes are read into memory
    threads : how many threads may decode pixels; the pixels do not depend on it
    storage_options : what fsspec is to be told to reach a URL, such as {"key": ..., "endpoint_url": ...}

    Raises NotAnArchiveError, DamagedArchiveError, UnsupportedArchiveError, LimitExceededError; SmaltiError if the
    file is missing or cannot be read; MissingDependencyError; UsageError if threads < 1, or for storage options with
    a local path. Messages name a URL without user, password and query.
    """
    if threads < 1:
        raise UsageError(f"threads is {threads}; it must be at least 1")
    limits = limits or Limits()
    if is_in_memory(path):
        if storage_options:
            raise UsageError("storage options are for URLs; leave them out for bytes")
        return _opened(in_memory(path), limits, threads)
    if not isinstance(path, str | PathLike):
        raise UsageError(f"{type(path).__name__} is no path, URL, bytes or file object that can be opened")
    if fspath(path).endswith(MANIFEST_SUFFIX):
        return open_manifest(path, limits, threads, storage_options)
    return _opened(file_at(path, storage_options), limits, threads)


def _opened(file: Positioned, limits: Limits, threads: int) -> Archive | Collection:
    """What lies in an open file, which is closed with it, and closed if this raises."""
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
