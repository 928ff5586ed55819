"""Kernels that Numba compiles, where it is installed (`smalti[fast]`), and when they are worth their start.

NumPy alone reads and writes every archive, and is the reference. A kernel does the same arithmetic of whole numbers in
one pass and gives the same bits. It takes seconds to compile, once for each installation, and a tenth of a second to
load after that. So a process begins with NumPy, and goes on with kernels when it has enough to do.

SMALTI_KERNELS=always takes them from the start, SMALTI_KERNELS=never leaves them out.

Layer: the lowest, beside `errors`.
"""

import os
import re
import sys
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["expect_much", "inlined_kernel", "kernel", "kernels_pay"]

WORTH = 2_000_000_000
"""Products and sums in NumPy, about a second of them, after which a process takes kernels."""

_EXACT = {"contract", "nsz", "nnan", "ninf", "reassoc"}
"""What Numba may change about sums: nothing of it changes one of whole numbers that is exact in every order. So in no
order may a float exceed 2**24 on its way."""

_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": _EXACT, "error_model": "numpy"}

Function = TypeVar("Function", bound=Callable[..., Any])

_done = 0


def kernels_pay(operations: int) -> bool:
    """Whether to do this work by a kernel. operations : products and sums of it, which are counted"""
    global _done  # noqa: PLW0603 (two threads may count work twice or not at all, which does no harm)
    wanted = os.environ.get("SMALTI_KERNELS", "")
    if wanted == "never" or not _has_numba():
        return False
    _done += operations
    return wanted == "always" or _done > WORTH


def expect_much() -> None:
    """Take kernels from now on, since this process has much to do."""
    global _done  # noqa: PLW0603
    _done = max(_done, WORTH)


@cache
def _has_numba() -> bool:
    """Whether there is Numba, and SciPy, whose BLAS it calls."""
    return all(find_spec(name) is not None for name in ("numba", "scipy"))


def inlined_kernel(function: Function) -> Function:
    """A small function that becomes a part of every kernel that calls it. To hand arrays over takes as long as its
    work, for Numba counts who holds them."""
    from numba import njit  # noqa: PLC0415

    compiled: Function = njit(inline="always", **_OPTIONS)(function)
    return compiled


def kernel(function: Function) -> Function:
    """Compile a function when it is first called. It does not hold the interpreter's lock, so threads run at once.

    What it was compiled to is kept beside the source, or where Numba keeps such files, in files that have the name of
    the function. Numba notices if the file of the function changes, not if another one does whose functions or numbers
    it takes, and it fails if a class of the arguments is gone. So the name says what it was compiled from.
    """
    from numba import njit  # noqa: PLC0415

    _fork_between_compilations()
    try:
        function.__qualname__ += f"-{_sources_of(function.__module__)}"
        compiled: Function = njit(cache=True, **_OPTIONS)(function)
    except (OSError, RuntimeError):  # there are no sources, or there is no folder that can be written
        compiled = njit(**_OPTIONS)(function)
    return compiled


@cache
def _fork_between_compilations() -> None:
    """Let no process be forked while one of its threads compiles or loads a kernel: the new process would wait for
    Numba's lock for ever."""
    from numba.core.compiler_lock import global_compiler_lock as lock  # noqa: PLC0415

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


@cache
def _sources_of(module: str) -> str:
    """A hash of the sources of a module and of all in this package that it imports, and these import."""
    found: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in sys.modules and name not in found:
            found[name] = Path(sys.modules[name].__file__ or "").read_bytes()
            waiting += [other.decode() for other in re.findall(rb"^from (smalti[\w.]*) import", found[name], re.M)]
    return sha256(b"".join(found[name] for name in sorted(found))).hexdigest()[:16]
