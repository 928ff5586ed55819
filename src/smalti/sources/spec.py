"""The one parser of SPEC, by which a user names a source: `SET | PATTERN | LOCATION[::KEY]`.

A pattern names several files, such as `shards-{000..003}.tar`, `{train,test}.parquet` or `shards-*.tar`. Files are
looked up here and not opened: `open` does that.
"""

import fnmatch
import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from smalti.errors import SourceError
from smalti.sources.named.named import SET_NAMES
from smalti.storage.location import Location, below, is_url, kind_of, list_files, options_of, redacted, with_options

__all__ = ["SourceSpec", "absolute_spec", "expand", "parse_spec", "split_selector"]

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_CHOICE = re.compile(r"\{([^{}]*,[^{}]*)\}")
_MAX_FILES = 1_000_000


@dataclass(frozen=True)
class SourceSpec:
    """A parsed SPEC.

    text : as the user wrote it, without storage options
    kind : "set", "pattern", "folder" or "file"; None if nothing of this name exists
    locations : the files of a pattern, in order; none of a set and of an empty text; else the one location
    key : the array that `::KEY` names, without slashes at its ends; None without `::`
    """

    text: str
    kind: Literal["set", "pattern", "folder", "file"] | None
    locations: tuple[Location, ...] = ()
    key: str | None = None

    @property
    def location(self) -> Location:
        """The location of a folder or file."""
        return self.locations[0]

    @property
    def description(self) -> str:
        """The text as messages print it, without credentials."""
        return redacted(self.text)


def parse_spec(spec: str | Path) -> SourceSpec:
    """Parse what a user named, and look up what is there.

    spec : a name of `SET_NAMES` (as a string; a set wins over a path of that name), a path, a URL, or a pattern of
        either. A local path that exists wins over a pattern and over a key

    Raises SourceError if a pattern matches nothing, or if a location cannot be looked up.
    """
    text = str(spec)
    if isinstance(spec, str) and text in SET_NAMES:
        return SourceSpec(text, "set")
    if not text:  # as a path, this would be the current folder
        return SourceSpec(text, None)
    kind = None if is_url(text) else kind_of(Path(text))
    if kind is not None:
        return SourceSpec(text, kind, (Path(text),))
    options = options_of(spec)
    files = expand(with_options(text, options))
    if files is not None:
        return SourceSpec(text, "pattern", files)
    name, key = split_selector(text)
    location = with_options(name, options) if is_url(name) else Path(name)
    return SourceSpec(text, kind_of(location), (location,), key)


def absolute_spec(spec: str) -> str:
    """The same SPEC for any current folder: a path becomes absolute, a set and a URL stay."""
    if spec in SET_NAMES or is_url(spec) or not spec:
        return spec
    return os.path.abspath(spec)  # noqa: PTH100 (links stay as they are; ::KEY may follow)


def split_selector(spec: str) -> tuple[str, str | None]:
    """Split `tiles.h5::/train/images` into the location and the key of an array; the key is None without `::`.

    A `::` before a further URL (`zip://a.npy::s3://bucket/a.zip`) is one of fsspec's chains and no selector.
    """
    location, mark, key = spec.rpartition("::")
    if not mark or not location or "://" in key:
        return spec, None
    return location, key.strip("/")


def expand(spec: str) -> tuple[Location, ...] | None:
    """The files that a pattern names, in order; None for a text that is no pattern.

    Ranges and choices in braces come in the order given, as in a shell; whether each file exists is not checked.
    Names that match `*`, `?` and `[...]` come in the order of their paths, part by part by code point. In a URL, only
    `*` is a wildcard, and only in the last part.

    Raises SourceError if nothing matches, or if the braces name more than a million files.
    """
    wildcards = "*" if is_url(spec) else "*?["
    has_braces = _RANGE.search(spec) or _CHOICE.search(spec)
    if not has_braces and not any(letter in spec for letter in wildcards):
        return None
    found: list[Location] = []
    for name in _braces(spec):
        if any(letter in name for letter in wildcards):
            found += _matching(with_options(name, options_of(spec)))
        else:
            found.append(with_options(name, options_of(spec)) if is_url(name) else Path(name))
    if not found:
        raise SourceError(f"{redacted(spec)}: no file matches; check the pattern")
    return tuple(found)


def _braces(spec: str) -> list[str]:
    """Every text that a pattern with braces names."""
    found = _RANGE.search(spec) or _CHOICE.search(spec)
    if found is None:
        return [spec]
    if found.re is _RANGE:
        first, last = found.groups()
        width = max(len(first), len(last)) if "0" in (first[0], last[0]) else 0
        step = 1 if int(first) <= int(last) else -1
        if abs(int(last) - int(first)) >= _MAX_FILES:
            raise _too_many_files(spec)
        parts = [f"{number:0{width}}" for number in range(int(first), int(last) + step, step)]
    else:
        parts = found[1].split(",")
    rests = _braces(spec[found.end() :])
    if len(parts) * len(rests) > _MAX_FILES:
        raise _too_many_files(spec)
    return [spec[: found.start()] + part + rest for part in parts for rest in rests]


def _too_many_files(spec: str) -> SourceError:
    return SourceError(f"{redacted(spec)}: more than {_MAX_FILES:,} files; give fewer at a time")


def _matching(pattern: str) -> list[Location]:
    """The files that match wildcards, in the order of their paths."""
    if not is_url(pattern):
        paths = [Path(name) for name in glob.glob(pattern)]  # noqa: PTH207 (that of Path takes no absolute pattern)
        return [*sorted((path for path in paths if path.is_file()), key=lambda path: path.parts)]
    start, _, last = pattern.rpartition("/")
    folder = with_options(start, options_of(pattern))
    return [
        below(folder, name) for name, _ in list_files(folder) if "/" not in name and fnmatch.fnmatchcase(name, last)
    ]
