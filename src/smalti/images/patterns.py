"""Names that stand for several files: `shards-{000..003}.tar`, `{train,test}.parquet`, `shards-*.tar`."""

import fnmatch
import glob
import re
from pathlib import Path

from smalti.errors import SourceError
from smalti.images.places import Place, below, is_url, list_files, shown

__all__ = ["expand"]

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_CHOICE = re.compile(r"\{([^{}]*,[^{}]*)\}")
_MAX_FILES = 1_000_000


def expand(spec: str) -> tuple[Place, ...] | None:
    """The files that a pattern stands for, in order; None if it is no pattern.

    Ranges and choices in braces are in the order given, as in a shell, and each file is meant to be there. Names that
    match `*`, `?` and `[...]` come in the order of their paths, part by part by code point; behind a URL only `*`
    stands for something, in the last part alone.

    Raises SourceError if nothing matches, or if a range has more than a million files.
    """
    wild = "*" if is_url(spec) else "*?["
    braced = _RANGE.search(spec) or _CHOICE.search(spec)
    if not braced and not any(letter in spec for letter in wild):
        return None
    found: list[Place] = []
    for one in _braces(spec):
        if any(letter in one for letter in wild):
            found += _matching(one)
        else:
            found.append(one if is_url(one) else Path(one))
    if not found:
        raise SourceError(f"{shown(spec)}: no file matches; check the pattern")
    return tuple(found)


def _braces(spec: str) -> list[str]:
    """Each text that a pattern of braces stands for."""
    found = _RANGE.search(spec) or _CHOICE.search(spec)
    if found is None:
        return [spec]
    if found.re is _RANGE:
        first, last = found.groups()
        width = max(len(first), len(last)) if "0" in (first[0], last[0]) else 0
        step = 1 if int(first) <= int(last) else -1
        if abs(int(last) - int(first)) >= _MAX_FILES:
            raise SourceError(f"{shown(spec)}: more than {_MAX_FILES:,} files; give fewer at a time")
        parts = [f"{number:0{width}}" for number in range(int(first), int(last) + step, step)]
    else:
        parts = found[1].split(",")
    rests = _braces(spec[found.end() :])
    if len(parts) * len(rests) > _MAX_FILES:
        raise SourceError(f"{shown(spec)}: more than {_MAX_FILES:,} files; give fewer at a time")
    return [spec[: found.start()] + part + rest for part in parts for rest in rests]


def _matching(pattern: str) -> list[Place]:
    if not is_url(pattern):
        paths = [Path(name) for name in glob.glob(pattern)]  # noqa: PTH207 (that of Path takes no absolute pattern)
        return [*sorted((path for path in paths if path.is_file()), key=lambda path: path.parts)]
    folder, _, last = pattern.rpartition("/")
    return [
        below(folder, name) for name, _ in list_files(folder) if "/" not in name and fnmatch.fnmatchcase(name, last)
    ]
