"""Large buffers that the C library keeps: fits and packing need the same ones in every step.

By default, glibc takes every buffer of some megabytes from the system and gives it back after use. The system clears
each page anew, which costs a network of wide layers up to half of its time (docs/training.md). Elsewhere nothing is
changed. Layer: the lowest, beside `errors`.
"""

import ctypes
import sys

__all__ = ["keep_large_buffers"]

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Parameters of mallopt in malloc.h."""

_KEPT_BYTES = 1 << 30
_HIGHEST_OLD_THRESHOLD = 32 << 20
"""The highest threshold that older releases of glibc accept."""

_PAD_BYTES = 64 << 20


def keep_large_buffers() -> bool:
    """Let glibc keep freed buffers of up to a gigabyte for the next use; return whether it does.

    It holds for the rest of the process. It changes no result.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 (absent from other C libraries)
        mallopt = library.mallopt
    except (OSError, AttributeError):
        return False
    kept = mallopt(_MMAP_THRESHOLD, _KEPT_BYTES) or mallopt(_MMAP_THRESHOLD, _HIGHEST_OLD_THRESHOLD)
    return bool(kept and mallopt(_TRIM_THRESHOLD, _KEPT_BYTES) and mallopt(_TOP_PAD, _PAD_BYTES))
