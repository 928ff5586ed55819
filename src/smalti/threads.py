"""How many threads work takes if nobody says.

Layer: beside `errors`, the lowest.

Work shared among the threads of a process: one pool for all of it, made when it is first needed.

The thread that asks works too, and takes what no other thread has begun. So work that is asked for within work always
ends, whatever the size of the pool. A process that is forked makes a pool of its own.

Layer: beside `errors`, the lowest.
"""

import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["default_threads", "for_each", "threads_of_rank"]


def default_threads(asked: int | None = None) -> int:
    """Return the threads to use: those asked for, else the cores this process may run on."""
    if asked is not None:
        return asked
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of_rank(asked: int | None = None) -> int:
    """Return the threads of this process: those asked for, else its share of the cores, if torchrun started several."""
    if asked is not None:
        return asked
    return max(1, default_threads() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


T = TypeVar("T")

_pools: dict[int, tuple[int, "ThreadPoolExecutor"]] = {}
"""By process, of how many threads it is at most, and the pool."""


def for_each(work: Callable[[T], None], parts: Sequence[T], threads: int) -> None:
    """Do the work for every part, in up to `threads` threads at once, of which the caller's is one.

    The first error, by the order of parts, is raised when what has begun is done; what has not begun is left.
    """
    helpers = min(threads, len(parts)) - 1
    if helpers < 1:
        for part in parts:
            work(part)
        return
    todo = _Todo(work, parts)
    pool = _pool(helpers)
    jobs = [pool.submit(todo.run) for _ in range(helpers)]
    try:
        todo.run()
    finally:
        todo.stop()
        for job in jobs:
            if not job.cancel():  # one that has begun writes to what belongs to the caller
                job.result()
    if todo.errors:
        raise todo.errors[min(todo.errors)]


class _Todo(Generic[T]):
    """Parts that threads take one after the other. errors : by the number of the part"""

    def __init__(self, work: Callable[[T], None], parts: Sequence[T]) -> None:
        self._work, self._parts = work, parts
        self._lock = threading.Lock()
        self._next = 0
        self.errors: dict[int, Exception] = {}

    def run(self) -> None:
        """Do what is left, until nothing is or something fails."""
        while (number := self._take()) is not None:
            try:
                self._work(self._parts[number])
            except Exception as error:  # noqa: BLE001 (raised by the thread that asked)
                self.errors[number] = error
                self.stop()

    def stop(self) -> None:
        """Leave what has not begun."""
        with self._lock:
            self._next = len(self._parts)

    def _take(self) -> int | None:
        with self._lock:
            number, self._next = self._next, self._next + 1
        return number if number < len(self._parts) else None


def _pool(threads: int) -> "ThreadPoolExecutor":
    """The pool of this process, of at least so many threads. One that is too small ends with the work it has."""
    known = _pools.get(os.getpid())
    if known is None or known[0] < threads:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 (slow to import, for threads only)

        known = threads, ThreadPoolExecutor(threads, thread_name_prefix="smalti")
        _pools[os.getpid()] = known
    return known[1]
