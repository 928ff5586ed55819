"""Paths and URLs as text: the parts of a location, its neighbours, and how to print it. Nothing is opened.

A location is a `Path` or a `str`. Only a `str` can be a URL, because a `Path` turns `//` into `/`.

Layer: within `storage`, the lowest.
"""

import re
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from smalti.errors import UsageError

__all__ = [
    "Location",
    "Url",
    "below",
    "beside",
    "is_url",
    "name_of",
    "options_behind",
    "options_of",
    "redacted",
    "secrets_of",
    "with_options",
]

Location = Path | str
"""A local path, or a URL. A URL is never a `Path`."""

# A scheme has at least two letters, because C:// is a drive of Windows. A chain may begin with a bare word:
# simplecache::s3://b/a
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]+::)*[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_SECRET_OPTIONS = re.compile(r"key|secret|token|pass|auth|cookie|cred|sas|connection_string", re.IGNORECASE)
_MIN_SECRET_LETTERS = 4  # a shorter text is no secret, and to replace it would hide parts of ordinary words


class Url(str):
    """A URL with the options that fsspec needs to reach it. `beside` and `below` pass them on; `str(url)` drops them.

    storage_options : for example {"key": ..., "secret": ..., "endpoint_url": ...}; they are never printed
    """

    __slots__ = ("storage_options",)
    storage_options: Mapping[str, Any]

    def __new__(cls, url: str, storage_options: Mapping[str, Any] | None = None) -> "Url":
        """Make the text, and store the options with it."""
        self = super().__new__(cls, url)
        self.storage_options = dict(storage_options or {})
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        return str(self), self.storage_options


def is_url(location: Location) -> TypeGuard[str]:
    """Whether this is a URL rather than a local path: it begins with a scheme of two or more letters and `://`."""
    return isinstance(location, str) and _URL.match(location) is not None


def with_options(location: str, storage_options: Mapping[str, Any] | None) -> str:
    """The URL with these storage options, or `location` unchanged if there are none.

    Raises UsageError for options with a local path.
    """
    if not storage_options:
        return location
    if not is_url(location):
        raise UsageError("storage options are for URLs; leave them out for a local file", path=location)
    return Url(location, storage_options)


def options_of(location: Location) -> Mapping[str, Any]:
    """The storage options of a location. A path, or a URL without options, has none."""
    return location.storage_options if isinstance(location, Url) else {}


def options_behind(url: str, storage_options: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the storage options of `url` into those of a chain that ends with `::url`.

    In a chain, fsspec takes the options of the first link as they are, and those of each other link under its scheme.
    """
    schemes = [link.partition("://")[0] for link in url.split("::")]
    own = {name: value for name, value in storage_options.items() if name not in schemes}
    named = {name: value for name, value in storage_options.items() if name in schemes}
    return {**named, schemes[0]: {**named.get(schemes[0], {}), **own}} if own else named


def redacted(location: Location) -> str:
    """A location as it may be printed: of a URL, without user, password, query and fragment, which may be secret."""
    if not is_url(location):
        text = str(location)
        return text if text.isprintable() and text else repr(text)
    return "::".join(_without_secrets(link) for link in str(location).split("::"))


def secrets_of(url: str) -> Iterator[str]:
    """The parts of a URL that `redacted` removes, and the values of its storage options that may be secret."""
    for link in url.split("::"):
        rest = link.partition("://")[2]
        user = rest.partition("/")[0].rpartition("@")[0]
        yield from (part for part in (user, *re.split(r"[?#]", rest)[1:]) if part)
        password = user.partition(":")[2]
        if password:
            yield password
    yield from _secret_values(options_of(url), secret=False)


def name_of(location: Location) -> str:
    """The last part of a location's path: `tiles.npy` of `s3://bucket/a/tiles.npy?versionId=3`."""
    if not is_url(location):
        return Path(location).name
    path = _first_link(location)[1].rstrip("/").rsplit("/", 1)[-1]
    return urllib.parse.unquote(path) if _is_http(location) else path


def beside(location: Location, name: str) -> Location:
    """The location `name` in the same folder or server path, with the same query and storage options."""
    if not is_url(location):
        return Path(location).with_name(name)
    return _with_path(location, _first_link(location)[1].rstrip("/").rpartition("/")[0], name)


def below(root: Location, name: str) -> Location:
    """The location of the relative POSIX path `name` in a folder, with the same query and storage options."""
    if not is_url(root):
        return Path(root) / name
    return _with_path(root, _first_link(root)[1].rstrip("/"), name)


def _is_http(location: Location) -> bool:
    return str(location).lower().startswith(("http://", "https://"))


def _first_link(url: Location) -> tuple[str, str, str]:
    """Split a chain after its first link: `scheme://`, the host and path, and the rest (query and other links)."""
    first, joint, rest = str(url).partition("::")
    if "://" not in first:  # simplecache::s3://bucket/a: the next link has the path
        scheme, path, tail = _first_link(rest)
        return f"{first}::{scheme}", path, tail
    scheme, _, path = first.partition("://")
    cut = re.search(r"[?#]", path) if _is_http(first) else re.search(r"\?versionId=", path)
    end = cut.start() if cut else len(path)
    return f"{scheme}://", path[:end], path[end:] + joint + rest


def _with_path(url: Location, folder: str, name: str) -> str:
    scheme, _, tail = _first_link(url)
    name = urllib.parse.quote(name) if _is_http(url) else name
    return with_options(f"{scheme}{folder}/{name}{tail}" if folder else f"{scheme}{name}{tail}", options_of(url))


def _without_secrets(link: str) -> str:
    scheme, mark, rest = link.partition("://")
    if not mark:
        return link
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _secret_values(options: Mapping[Any, Any], secret: bool) -> Iterator[str]:
    """The texts among options, at any depth, whose own name or whose group's name says that they are secret."""
    for name, value in options.items():
        hidden = secret or _SECRET_OPTIONS.search(str(name)) is not None
        if isinstance(value, Mapping):
            yield from _secret_values(value, hidden)
        elif hidden and isinstance(value, str) and len(value) >= _MIN_SECRET_LETTERS:
            yield value
