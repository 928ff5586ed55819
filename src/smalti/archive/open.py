"""Opens what a user names: an archive, a collection, or a manifest."""

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
    """Whether a path or URL is one for `open_images`: by the first bytes of a local file, else by the name."""
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

    Prelude, trailer, index and header are checked now, all other sections when they are read.

    path : a local path, or the URL of a file that fsspec reaches (`s3://bucket/a.smalti`, `https://...`, `memory://...`;
        needs the extra `smalti[remote]` or `smalti[s3]`). Opening a URL takes one GET of its last 64 KiB, and one HEAD
        unless it is a web server's. A request for images fetches the blocks it needs together (docs/remote.md).
        Also the bytes of a file, or a file object, which is read into memory
    threads : the number of threads that decode pixels; the pixels do not depend on it
    storage_options : options of fsspec for a URL, such as {"key": ..., "endpoint_url": ...}

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
    """Open the archive or collection in an open file. Closing it closes the file; so does an error here."""
    try:
        table = find_sections(file, limits)
        if is_collection(table):
            return open_collection(file, limits, threads, table)
        return Archive(SectionFile(file, limits, table), threads)
    except BaseException as error:
        file.close()
        if isinstance(error, SmaltiError) and not str(error).startswith(str(file.path)):
            raise type(error)(f"{file.path}: {error}") from error
        raise
