"""One change of an archive at a time: a lock from the reading of the archive until the new file has its name.

It is the system's own lock on the file (flock). So it vanishes with its process and leaves nothing behind. It holds
between the processes of one machine; docs/collections.md says what holds on network file systems.

Layer: within `storage`, above `errors` alone.
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

_LOCKED_ELSEWHERE = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


class _ThreadLocks(threading.local):
    """The real paths of the files that this thread has locked."""

    def __init__(self) -> None:
        self.paths: set[str] = set()


_locks = _ThreadLocks()


@contextmanager
def locked(path: str | PathLike[str]) -> Iterator[None]:
    """Keep other processes and threads from changing the archive at `path` through smalti. Readers go on.

    A thread that has the lock may take it again. Without a file at `path`, or on a system or file system without
    locks, nothing is locked and nothing is raised. Raises OutputError at once if somebody else has the lock.
    """
    real = os.path.realpath(path)
    if real in _locks.paths:
        yield
        return
    descriptor = _lock(real, path)
    _locks.paths.add(real)
    try:
        yield
    finally:
        _locks.paths.discard(real)
        if descriptor is not None:
            os.close(descriptor)


def _lock(real: str, path: str | PathLike[str]) -> int | None:
    """Open and lock the file that has this real path now; None if there is nothing to lock. path : for the message"""
    if sys.platform == "win32":
        return None
    while True:
        descriptor = _open(real)
        if descriptor is None:
            return None
        try:
            _lock_open_file(descriptor, path)
            if _is_at(descriptor, real):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # another file took its name meanwhile; lock that one


def _open(path: str) -> int | None:
    """A descriptor; None if no regular file can be opened, for which the reader of the archive has a better error."""
    if not Path(path).is_file():  # opening a pipe would wait
        return None
    for mode in (os.O_RDWR, os.O_RDONLY):  # some network file systems lock only files that are open for writing
        try:
            return os.open(path, mode)
        except OSError:
            continue
    return None


def _lock_open_file(descriptor: int, path: str | PathLike[str]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _LOCKED_ELSEWHERE:
            line = "another process is changing it; try again when that one has ended"
            raise OutputError(line, path=path) from error
        # a file system without locks: nothing is locked, as the documentation says


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), Path(path).stat())
    except FileNotFoundError:
        return False
