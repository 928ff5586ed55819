"""Where files lie: a local path, or a URL that fsspec knows (`s3://`, `https://`, `memory://`, `zip://…::s3://…`).

Local files are plain files, so that neither fsspec nor what it brings is needed or imported for them. A URL can carry
storage options (`with_options`); all that is named after it carries them too.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, cast

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
from smalti.storage.local import list_local, local_kind, local_size, open_local

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

    Raises SourceError if there is no such file, it may not be read, or a server gives no ranges of bytes;
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
