"""Where images lie: a local path, or a URL that fsspec knows (`s3://`, `https://`, `memory://`, `zip://…::s3://…`).

A place is a `Path` or a `str`; only a `str` can be a URL, because a `Path` folds `//`. Local files are plain files, so
that neither fsspec nor what it brings is needed or imported for them. What is remote is done in `remote`.
"""

import os
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, cast

from smalti.errors import SourceError

__all__ = [
    "Location",
    "below",
    "beside",
    "is_url",
    "kind_of",
    "list_files",
    "name_of",
    "open_binary",
    "redacted",
    "size_bytes",
]

Location = Path | str
"""A local path, or a URL (never a `Path`)."""

# Two letters at least, so that C:// of Windows is no scheme. A chain may begin with a bare word: simplecache::s3://b/a
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]+::)*[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_url(place: Location) -> bool:
    """Whether this is a URL and no local path: it begins with a scheme of two letters or more, and `://`."""
    return isinstance(place, str) and _URL.match(place) is not None


def redacted(place: Location) -> str:
    """A place as it may be printed: a URL without user, password, query and fragment, which can hold credentials."""
    if not is_url(place):
        text = str(place)
        return text if text.isprintable() and text else repr(text)
    return "::".join(_without_secrets(link) for link in str(place).split("::"))


def name_of(place: Location) -> str:
    """The last part of a place's path: `s3://bucket/a/tiles.npy?versionId=3` has `tiles.npy`."""
    if not is_url(place):
        return Path(place).name
    path = _first_link(place)[1].rstrip("/").rsplit("/", 1)[-1]
    return urllib.parse.unquote(path) if _is_http(place) else path


def beside(place: Location, name: str) -> Location:
    """The place called `name` in the same folder (or server path); a query is kept."""
    if not is_url(place):
        return Path(place).with_name(name)
    return _with_path(place, _first_link(place)[1].rstrip("/").rpartition("/")[0], name)


def below(root: Location, name: str) -> Location:
    """The place of relative POSIX path `name` under a folder; a query is kept."""
    if not is_url(root):
        return Path(root) / name
    return _with_path(root, _first_link(root)[1].rstrip("/"), name)


def kind_of(place: Location) -> Literal["file", "folder"] | None:
    """What is there, or None if there is nothing. A web address is a folder if it ends with a slash.

    Raises SourceError if that cannot be found out (no permission, no network, a pipe or a device).
    """
    if is_url(place):
        from smalti.storage.url import remote_kind  # noqa: PLC0415 (local places do without)

        return remote_kind(str(place))
    path = Path(place)
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


def size_bytes(place: Location) -> int:
    """How long a file is. SourceError if there is none, or if a server does not say."""
    if is_url(place):
        from smalti.storage.url import remote_size  # noqa: PLC0415 (local places do without)

        return remote_size(str(place))
    try:
        return Path(place).stat().st_size
    except (OSError, ValueError) as error:
        raise _unreadable(place, error) from error


def open_binary(place: Location) -> BinaryIO:
    """A file to read and to seek in; of a URL at most 16 MiB are kept in memory, and errors are SourceErrors.

    Raises SourceError if there is no such file, it may not be read, or a server gives no ranges of bytes;
    MissingDependencyError if the scheme of a URL needs a package that is not installed.
    """
    if is_url(place):
        from smalti.storage.url import open_remote  # noqa: PLC0415 (local places do without)

        return cast(BinaryIO, open_remote(str(place)))
    try:
        return Path(place).open("rb")
    except (OSError, ValueError) as error:
        raise _unreadable(place, error) from error


def list_files(root: Location) -> Iterator[tuple[str, int]]:
    """Relative POSIX name and size in bytes of every file of a folder, at any depth.

    The order is by name, compared part by part by code point. One folder at a time is held in memory. Local links
    are followed to files, not to folders. Raises SourceError if the folder or one in it cannot be read.
    """
    if is_url(root):
        from smalti.storage.url import list_remote  # noqa: PLC0415 (local places do without)

        return list_remote(str(root))
    return _list_local(Path(root), "")


def _list_local(root: Path, prefix: str) -> Iterator[tuple[str, int]]:
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


def _unreadable(place: Location, error: OSError | ValueError) -> SourceError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return SourceError(f"{redacted(place)[:200]}: cannot be read: {reason}; check the name and its permissions")


def _is_http(place: Location) -> bool:
    return str(place).lower().startswith(("http://", "https://"))


def _first_link(url: Location) -> tuple[str, str, str]:
    """Of the first link of a chain: `scheme://`, the path with its host, and all that follows (query, other links)."""
    first, joint, rest = str(url).partition("::")
    if "://" not in first:  # simplecache::s3://bucket/a: the path is that of the next link
        scheme, path, tail = _first_link(rest)
        return f"{first}::{scheme}", path, tail
    scheme, _, path = first.partition("://")
    cut = re.search(r"[?#]", path) if _is_http(first) else re.search(r"\?versionId=", path)
    end = cut.start() if cut else len(path)
    return f"{scheme}://", path[:end], path[end:] + joint + rest


def _with_path(url: Location, folder: str, name: str) -> str:
    scheme, _, tail = _first_link(url)
    name = urllib.parse.quote(name) if _is_http(url) else name
    return f"{scheme}{folder}/{name}{tail}" if folder else f"{scheme}{name}{tail}"


def _without_secrets(link: str) -> str:
    scheme, mark, rest = link.partition("://")
    if not mark:
        return link
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
