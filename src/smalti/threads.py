"""How many threads to use, and one pool of threads for all work of a process, made when it is first needed.

The thread that asks works too, and takes the parts that no other thread has begun. So work that asks for more work
always ends, whatever the size of the pool. A forked process makes a pool of its own.

While parts are worked on, a product of matrices has one thread: our products are small, and the threads that a BLAS
starts for each of them wait for each other and for ours (decoding took twice the time).

Layer: the lowest, beside `errors`.
"""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["default_threads", "for_each", "threads_of_rank"]


def default_threads(asked: int | None = None) -> int:
    """Return `asked`, or by default the number of cores that this process may run on."""
    if asked is not None:
        return asked
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of_rank(asked: int | None = None) -> int:
    """Return `asked`, or by default this process's share of the cores; torchrun may have started several processes."""
    if asked is not None:
        return asked
    return max(1, default_threads() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


T = TypeVar("T")

_pools: dict[int, tuple[int, "ThreadPoolExecutor"]] = {}
"""By process id: the largest number of threads of the pool, and the pool."""


def for_each(work: Callable[[T], None], parts: Sequence[T], threads: int) -> None:
    """Do the work for every part, in up to `threads` threads at once. The caller's thread is one of them.

    After an error no further part is begun. Of all errors, that of the first part is raised, once every thread is done.
    """
    with _one_blas_thread:
        _for_each(work, parts, min(threads, len(parts)) - 1)


def _for_each(work: Callable[[T], None], parts: Sequence[T], helpers: int) -> None:
    if helpers < 1:
        for part in parts:
            work(part)
        return
    queue = _PartQueue(work, parts)
    pool = _pool(helpers)
    jobs = [pool.submit(queue.run) for _ in range(helpers)]
    try:
        queue.run()
    finally:
        queue.stop()
        for job in jobs:
            if not job.cancel():  # a job that has begun writes to the memory of the caller
                job.result()
    if queue.errors:
        raise queue.errors[min(queue.errors)]


class _OneBlasThread:
    """A context in which a BLAS has one thread. Several threads may be in it, and it may be in itself."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget who is in it: a forked process has none of the threads that were."""
        self._lock, self._inside = threading.Lock(), 0
        self._before: list[tuple[Any, int]] = []

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                libraries = _blas_libraries("scipy.linalg" in sys.modules)
                self._before = [(library, library.num_threads) for library in libraries]
                for library, threads in self._before:
                    if threads > 1:
                        _set_threads(library, 1)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                for library, threads in self._before:
                    if threads > 1:
                        _set_threads(library, threads)


def _set_threads(library: Any, threads: int) -> None:
    """Set the threads of a BLAS from any thread. threadpoolctl 3.8 hears one thread alone, and has a lock that a forked
    process would wait for: so OpenBLAS is told without it."""
    if library.internal_api == "openblas" and getattr(library, "threading_layer", "") == "pthreads":
        for name in _OPENBLAS_NAMES:
            function = getattr(library.dynlib, name, None)
            if function is not None:
                function(threads)
                return
    library.set_num_threads(threads)


_OPENBLAS_NAMES = [
    f"{prefix}openblas_set_num_threads{suffix}" for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")
]


@cache
def _blas_libraries(with_scipy: bool) -> tuple[Any, ...]:
    """Those that are loaded. SciPy brings another one, which kernels call; a process may load it later."""
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415 (it searches the libraries of the process)

    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)


_one_blas_thread = _OneBlasThread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_blas_thread.begin_anew)


class _PartQueue(Generic[T]):
    """Parts that threads take one after the other. errors : by index of the part"""

    def __init__(self, work: Callable[[T], None], parts: Sequence[T]) -> None:
        self._work, self._parts = work, parts
        self._lock = threading.Lock()
        self._next = 0
        self.errors: dict[int, Exception] = {}

    def run(self) -> None:
        """Work on the remaining parts, until there are none or one fails."""
        while (index := self._next_index()) is not None:
            try:
                self._work(self._parts[index])
            except Exception as error:  # noqa: BLE001 (the thread that asked raises it)
                self.errors[index] = error
                self.stop()

    def stop(self) -> None:
        """Drop the parts that no thread has begun."""
        with self._lock:
            self._next = len(self._parts)

    def _next_index(self) -> int | None:
        with self._lock:
            index, self._next = self._next, self._next + 1
        return index if index < len(self._parts) else None


def _pool(threads: int) -> "ThreadPoolExecutor":
    """The pool of this process, with at least so many threads. A smaller pool finishes its work and is replaced."""
    known = _pools.get(os.getpid())
    if known is None or known[0] < threads:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 (slow to import, needed for threads only)

        known = threads, ThreadPoolExecutor(threads, thread_name_prefix="smalti")
        _pools[os.getpid()] = known
    return known[1]
