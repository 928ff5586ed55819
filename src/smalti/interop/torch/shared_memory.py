"""Memory that a process shares with those that it starts, and numbered locks between them.

On Linux it is a file in memory without a name: it needs no room in /dev/shm, which containers keep small, and is gone
with the last process that has it. Locks are those of `fcntl` on its bytes, so a process that dies holds none. Elsewhere
each process has memory of its own, and no other process to be locked out.
"""

import mmap
import os
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen
from typing import Any

if sys.platform == "linux":
    import fcntl

__all__ = ["SharedMemory"]


class SharedMemory:
    """Bytes that are 0 at first, and take memory once they are written.

    Locks are of the process: threads of one process must keep each other apart by other means. Raises OSError if there
    is no memory.
    """

    def __init__(self, size: int, descriptor: int | None = None) -> None:
        self._size, self._process = size, os.getpid()
        self._descriptor = descriptor
        if sys.platform == "linux":
            if self._descriptor is None:
                self._descriptor = os.memfd_create("smalti")
                os.ftruncate(self._descriptor, size)
            weakref.finalize(self, os.close, self._descriptor)
        self.buffer = mmap.mmap(-1 if self._descriptor is None else self._descriptor, size)

    @property
    def is_shared(self) -> bool:
        """Whether the process that asks may use it: the one that made it, or any that has its locks."""
        return self._descriptor is not None or self._process == os.getpid()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle for a process that is being started, the only time that a descriptor can be handed on."""
        if self._descriptor is None or get_spawning_popen() is None:
            return _nothing, ()
        return _attached, (self._size, reduction.DupFd(self._descriptor))

    @contextmanager
    def lock(self, number: int, to_write: bool) -> Iterator[None]:
        """Wait for a lock: alone to write, else together with others that do not write."""
        if sys.platform == "linux" and self._descriptor is not None:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX if to_write else fcntl.LOCK_SH, 1, number)
        try:
            yield
        finally:
            self.unlock(number)

    def try_lock(self, number: int) -> bool:
        """Take a lock alone, unless another process has it."""
        if sys.platform == "linux" and self._descriptor is not None:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            except (BlockingIOError, PermissionError):  # POSIX lets systems choose
                return False
        return True

    def unlock(self, number: int) -> None:
        """Give a lock back."""
        if sys.platform == "linux" and self._descriptor is not None:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, number)


def _attached(size: int, descriptor: Any) -> SharedMemory:
    return SharedMemory(size, descriptor.detach())


def _nothing() -> None:
    """What memory becomes where it cannot be shared."""
