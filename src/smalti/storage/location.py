"""Files and folders at a location, whether it is a path or a URL: what is there, how large, open, listed.

A URL is one that fsspec knows (`s3://`, `https://`, `memory://`, `zip://…::s3://…`). Local files are plain files, so
that they need no fsspec. A URL can carry storage options (`with_options`), and locations made from it carry them too.
Errors are SourceErrors of one line. The names of `smalti.storage.address` are found here as well.

Layer: within `storage`, above `address` and `url`.
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
    "name_of",
    "open_binary",
    "options_of",
    "redacted",
    "size_bytes",
    "with_options",
]


def kind_of(location: Location) -> Literal["file", "folder"] | None:
    """Whether a location is a file or a folder; None if it does not exist.

    A web address is a folder if it ends with a slash. Raises SourceError if this cannot be found out (no permission,
    no network) or if it is a pipe or a device.
    """
    if not is_url(location):
        return _local_kind(Path(location))
    from smalti.storage.url import remote_kind  # noqa: PLC0415 (local files do not need it)

    return remote_kind(location)


def size_bytes(location: Location) -> int:
    """Length of a file in bytes. SourceError if there is no such file, or if a server does not say."""
    if not is_url(location):
        return _local_size(Path(location))
    from smalti.storage.url import remote_size  # noqa: PLC0415 (local files do not need it)

    return remote_size(location)


def open_binary(location: Location) -> BinaryIO:
    """A file to read and to seek in. For a URL, at most 16 MiB are cached in memory, and errors are SourceErrors.

    Raises SourceError if there is no such file, it may not be read, or a server gives no ranges of bytes;
    MissingDependencyError if the scheme of a URL needs a package that is not installed.
    """
    if not is_url(location):
        return _open_local(Path(location))
    from smalti.storage.url import open_remote  # noqa: PLC0415 (local files do not need it)

    return cast(BinaryIO, open_remote(location))


def list_files(root: Location) -> Iterator[tuple[str, int]]:
    """Relative POSIX name and size in bytes of every file of a folder, at any depth.

    They are in order of their names, compared part by part by code point. One folder at a time is held in memory. Local
    links to files are followed, links to folders are not. Raises SourceError if the folder or one in it cannot be read.
    """
    if not is_url(root):
        return _list_local(Path(root))
    from smalti.storage.url import list_remote  # noqa: PLC0415 (local files do not need it)

    return list_remote(root)


def _local_kind(path: Path) -> Literal["file", "folder"] | None:
    """Whether a path is a file or a folder, None if it does not exist; SourceError for anything else."""
    try:
        if not path.exists():
            return None
        if path.is_dir():
            return "folder"
        if path.is_file():
            return "file"
    except (OSError, ValueError) as error:  # forbidden, too long for a path, or with a zero byte
        raise _unreadable(path, error) from error
    raise SourceError("is neither a file nor a folder; name a file or a folder", path=redacted(path))


def _local_size(path: Path) -> int:
    """Length in bytes; SourceError if there is no such file."""
    try:
        return path.stat().st_size
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _open_local(path: Path) -> BinaryIO:
    """A file to read and to seek in; SourceError if there is no such file or it may not be read."""
    try:
        return path.open("rb")
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _list_local(root: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Relative name and size in bytes of every file below a folder, as `list_files` yields them.

    prefix : a folder below `root`, with a slash at its end; only its files are listed, and their names begin with it
    """
    try:
        with os.scandir(root / prefix) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _list_local(root, name + "/")
            elif entry.is_file():
                yield name, entry.stat().st_size
    except (OSError, ValueError) as error:
        raise _unreadable(root / prefix, error) from error


def _unreadable(path: Path, error: OSError | ValueError) -> SourceError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return SourceError(f"cannot be read: {reason}; check the name and its permissions", path=redacted(path)[:200])
