"""Where files lie: a local path, or a URL that fsspec knows (`s3://`, `https://`, `memory://`, `zip://…::s3://…`).

Local files are plain files, so that neither fsspec nor what it brings is needed or imported for them. A URL can carry
storage options (`with_options`); all that is named after it carries them too.

Local files and folders: what is there, how large, open, listed. Errors of the system are SourceErrors.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, cast

from smalti.errors import SourceError
from smalti.storage.address import (
    Location,
    below,
    beside,
    is_url,
    name_of,
    options_of,
    redacted,
    with_options,
)

__all__ = [
    "Location",
    "below",
    "beside",
    "is_url",
    "kind_of",
    "list_files",
    "list_local",
    "local_kind",
    "local_size",
    "name_of",
    "open_binary",
    "open_local",
    "options_of",
    "redacted",
    "size_bytes",
    "with_options",
]


def local_kind(path: Path) -> Literal["file", "folder"] | None:
    """What is at a path, or None if there is nothing. SourceError for a pipe, a device, or what is forbidden."""
    try:
        if not path.exists():
            return None
        if path.is_dir():
            return "folder"
        if path.is_file():
            return "file"
    except (OSError, ValueError) as error:  # forbidden, too long for a path, or with a zero byte
        raise _unreadable(path, error) from error
    raise SourceError(f"{redacted(path)}: is neither a file nor a folder; name a file or a folder")


def local_size(path: Path) -> int:
    """Length in bytes; SourceError if there is ."""
    try:
        return path.stat().st_size
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def open_local(path: Path) -> BinaryIO:
    """A file to read and to seek in; SourceError if there is none or it may not be read."""
    try:
        return path.open("rb")
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def list_local(root: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Relative name and size in bytes of every file below a folder; see `smalti.storage.location.list_files`.

    prefix : of the names: a folder below `root` with a slash at its end
    """
    try:
        with os.scandir(root / prefix) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from list_local(root, name + "/")
            elif entry.is_file():
                yield name, entry.stat().st_size
    except (OSError, ValueError) as error:
        raise _unreadable(root / prefix, error) from error


def _unreadable(path: Path, error: OSError | ValueError) -> SourceError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return SourceError(f"{redacted(path)[:200]}: cannot be read: {reason}; check the name and its permissions")


# was sibling import


def kind_of(location: Location) -> Literal["file", "folder"] | None:
    """What is there, or None if there is nothing. A web address is a folder if it ends with a slash.

    Raises SourceError if that cannot be found out (no permission, no network, a pipe or a device).
    """
    if not isinstance(location, str) or not is_url(location):
        return local_kind(Path(location))
    from smalti.storage.url import remote_kind  # noqa: PLC0415 (local files do without)

    return remote_kind(location)


def size_bytes(location: Location) -> int:
    """How long a file is. SourceError if there is none, or if a server does not say."""
    if not isinstance(location, str) or not is_url(location):
        return local_size(Path(location))
    from smalti.storage.url import remote_size  # noqa: PLC0415 (local files do without)

    return remote_size(location)


def open_binary(location: Location) -> BinaryIO:
    """A file to read and to seek in; of a URL at most 16 MiB are kept in memory, and errors are SourceErrors.

    Raises SourceError if there is , it may not be read, or a server gives no ranges of bytes;
    MissingDependencyError if the scheme of a URL needs a package that is not installed.
    """
    if not isinstance(location, str) or not is_url(location):
        return open_local(Path(location))
    from smalti.storage.url import open_remote  # noqa: PLC0415 (local files do without)

    return cast(BinaryIO, open_remote(location))


def list_files(root: Location) -> Iterator[tuple[str, int]]:
    """Relative POSIX name and size in bytes of every file of a folder, at any depth.

    The order is by name, compared part by part by code point. One folder at a time is held in memory. Local links
    are followed to files, not to folders. Raises SourceError if the folder or one in it cannot be read.
    """
    if not isinstance(root, str) or not is_url(root):
        return list_local(Path(root))
    from smalti.storage.url import list_remote  # noqa: PLC0415 (local files do without)

    return list_remote(root)
