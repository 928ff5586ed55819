"""Local files and folders: what is there, how large, open, listed. Errors of the system are SourceErrors."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from smalti.errors import SourceError
from smalti.storage.address import redacted

__all__ = ["list_local", "local_kind", "local_size", "open_local"]


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
    """Length in bytes; SourceError if there is no such file."""
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
