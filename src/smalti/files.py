"""Files that appear whole or not at all: written beside their place, synced, then renamed.

A kill at any moment leaves the old file or none, and at most a hidden `.NAME.*.partial` beside it. Every layer that
writes does it through here; this is one of the lowest layers, above `errors` alone.
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from smalti.errors import OutputError, OutputExistsError

__all__ = ["atomic_file", "check_output", "partial_path", "refuse_existing", "sync_folder", "writing"]

_ADVICE = {
    errno.ENOSPC: "make room or choose another place",
    errno.EDQUOT: "make room or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "choose a place that can be written",
    errno.EPERM: "choose a place that can be written",
    errno.ENOENT: "make the folder first",
    errno.ENOTDIR: "choose another place",
    errno.EEXIST: "two names collide",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def atomic_file(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A new binary file that takes its name at the end of the `with` block, and only if nothing was raised.

    Raises OutputExistsError if `path` exists, or comes into being meanwhile, and `overwrite` is not set;
    OutputError, in one line, if the system refuses to open, sync or rename. Errors of the block pass through (put
    `writing` around its writes). A link is followed: its target is replaced.
    """
    path = Path(os.path.realpath(path))
    refuse_existing(path, overwrite)
    partial = partial_path(path)
    with writing(path):
        file = partial.open("xb")
    try:
        yield file
        with writing(path):
            file.flush()
            os.fsync(file.fileno())
            file.close()
            _place(partial, path, overwrite)
    except BaseException:
        with suppress(OSError):
            file.close()  # a full disk fails here once more, which must not hide the first error
        with suppress(OSError):
            partial.unlink()
        raise
    sync_folder(path.parent)


def check_output(path: Path, overwrite: bool = False) -> None:
    """Raise OutputExistsError or OutputError if `path` cannot become a file; before long work, and touching nothing."""
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: is a folder or a device; name a file")
    refuse_existing(path, overwrite)
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: no permission to write in the folder {path.parent}; choose another place")


def partial_path(path: Path) -> Path:
    """A hidden name beside `path` that nobody else uses, for what is not whole yet."""
    return path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}.partial")


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise OutputExistsError if there is something at `path`, unless it is a file that may be overwritten."""
    if path.is_dir():
        raise OutputExistsError(f"{path}: is a folder; name a file, or a place where there is none")
    if not overwrite and os.path.lexists(path):
        raise OutputExistsError(f"{path}: exists already; choose another name, or overwrite it (-f)")


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder last through a loss of power, where the system can."""
    with suppress(OSError):  # Windows and some network file systems cannot open or sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusals to write at `path` into an OutputError of one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        advice = _ADVICE.get(error.errno or 0, "check the disk and try again")
        raise OutputError(f"{path}: cannot be written: {reason}; {advice}") from error


def _place(partial: Path, path: Path, overwrite: bool) -> None:
    if not overwrite:
        try:
            os.link(partial, path)  # unlike a rename, refuses to replace a file that came into being meanwhile
        except FileExistsError as error:
            raise OutputExistsError(f"{path}: came into being meanwhile; choose another name (or -f)") from error
        except OSError:  # a file system without links
            refuse_existing(path, overwrite)
        else:
            partial.unlink()
            return
    os.replace(partial, path)  # noqa: PTH105 (the name that says it is atomic)
