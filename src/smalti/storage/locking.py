"""One change of an archive at a time: a lock that is held from its reading until the new file has its name.

The lock is the system's own on the file (flock), so it vanishes with its process, and leaves nothing behind. It holds
between the processes of one machine; docs/collections.md says what holds on file systems of a network.
"""

import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from smalti.errors import OutputError

if sys.platform != "win32":
    import fcntl

__all__ = ["locked"]

_TAKEN = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


class _Held(threading.local):
    """The files that this thread has locked, by their real paths."""

    def __init__(self) -> None:
        self.paths: set[str] = set()


_held = _Held()


@contextmanager
def locked(path: str | PathLike[str]) -> Iterator[None]:
    """Within, no other process or thread changes the archive at `path` through smalti. Readers are not held up.

    A thread that has the lock may take it again. A path without a file, and a system or file system without locks,
    raise nothing: there is no lock then. Raises OutputError at once if another has it.
    """
    real = os.path.realpath(path)
    if real in _held.paths:
        yield
        return
    descriptor = _lock(real, str(path))
    _held.paths.add(real)
    try:
        yield
    finally:
        _held.paths.discard(real)
        if descriptor is not None:
            os.close(descriptor)


def _lock(real: str, shown: str) -> int | None:
    """Open and lock the file that has this path now; None if there is nothing to lock."""
    if sys.platform == "win32":
        return None
    while True:
        descriptor = _open(real)
        if descriptor is None:
            return None
        try:
            _take(descriptor, shown)
            if _is_at(descriptor, real):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # another file took its name meanwhile, and that one is to be locked


def _open(path: str) -> int | None:
    """A descriptor; None if there is no regular file that can be opened, of which the reader knows more to say."""
    if not Path(path).is_file():  # opening a pipe would wait
        return None
    for mode in (os.O_RDWR, os.O_RDONLY):  # some network file systems lock only what may be written
        try:
            return os.open(path, mode)
        except OSError:
            continue
    return None


def _take(descriptor: int, shown: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise OutputError(f"{shown}: another process is changing it; try again when that one has ended") from error
        # a file system without locks: then there is none, as the documentation says


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), Path(path).stat())
    except FileNotFoundError:
        return False
