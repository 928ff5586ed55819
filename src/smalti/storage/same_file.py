"""An output is never a file that is being read: it would replace its own source."""

import os
from collections.abc import Iterable
from os import PathLike

from smalti.errors import UsageError

__all__ = ["FileIdentity", "identity_of", "refuse_input"]

FileIdentity = tuple[int, int]
"""Device and inode: the same for all names of one file."""


def identity_of(path: str | PathLike[str]) -> FileIdentity | None:
    """Return what tells a file from all others, links followed; None if there is no such file."""
    try:
        found = os.stat(path)  # noqa: PTH116 (a path may be text)
    except (OSError, ValueError):  # absent, not to be looked at, or no path at all: then it is not replaced either
        return None
    return found.st_dev, found.st_ino


def refuse_input(output: str | PathLike[str], inputs: Iterable[str | PathLike[str]]) -> None:
    """Raise UsageError if `output` is one of the files that are read, under whatever name. Nothing is opened.

    inputs : not looked at unless `output` exists
    """
    target = identity_of(output)
    if target is None:
        return
    for path in inputs:
        if identity_of(path) == target:
            raise UsageError(f"{os.fspath(output)}: is one of the files that are read; name another output")
