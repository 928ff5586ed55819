"""Silences decoders: a fault of a file becomes one reason, without warnings and lines on stderr.

Warning filters, and the error handler of Pillow's libtiff, belong to the whole process. They are changed only while an
image is decoded, never across a yield of a source. Several threads may decode at once: the first one changes them, the
last one restores them.
"""

import ctypes
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from PIL import _imaging

__all__ = ["quiet_decoders"]


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Silence Pillow's warnings (odd EXIF data, many pixels) and libtiff's lines on stderr."""
    _state.enter()
    try:
        yield
    finally:
        _state.leave()


class _State:
    """The number of threads that decode now, and the settings to restore after the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._decoding = 0
        self._warnings: warnings.catch_warnings[Any] | None = None
        self._handler: int | None = None

    def enter(self) -> None:
        with self._lock:
            self._decoding += 1
            if self._decoding > 1:
                return
            self._warnings = warnings.catch_warnings()
            self._warnings.__enter__()
            warnings.simplefilter("ignore")
            set_handler = _libtiff_error_handler()
            if set_handler is not None:
                self._handler = set_handler(None)

    def leave(self) -> None:
        with self._lock:
            self._decoding -= 1
            if self._decoding or self._warnings is None:
                return
            self._warnings.__exit__(None, None, None)
            set_handler = _libtiff_error_handler()
            if set_handler is not None:
                set_handler(self._handler)


@cache
def _libtiff_error_handler() -> Any:
    """Return TIFFSetErrorHandler of the libtiff that Pillow uses; None if it cannot be found."""
    try:
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (AttributeError, OSError, TypeError):  # Pillow without libtiff, or one that exports no names
        return None
    set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
    return set_handler


_state = _State()
