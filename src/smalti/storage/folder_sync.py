"""The files of one folder brought to the disk, before the folder takes its name."""

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

__all__ = ["sync_files_below"]


def sync_files_below(folder: Path) -> None:
    """Bring all files and folders below `folder`, and itself, to the disk. OSError if the system cannot.

    On Linux this is one call for the file system that holds the folder, because one for each of many thousand small
    files takes minutes. Other file systems are left alone. Elsewhere it is one call for each file and folder.
    """
    sync_file_system = _syncfs()
    if sync_file_system is not None:
        _with_descriptor(folder, sync_file_system)
        return
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            _with_descriptor(Path(root) / name, os.fsync)
        if sys.platform != "win32":  # where a folder cannot be opened
            _with_descriptor(Path(root), os.fsync)


def _with_descriptor(path: Path, sync: Callable[[int], None]) -> None:
    # Windows syncs only what may be written to
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


@cache
def _syncfs() -> Callable[[int], None] | None:
    """The system call `syncfs` of Linux, which Python does not offer; None where there is none."""
    if sys.platform != "linux":
        return None
    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError):
        return None

    def syncfs(descriptor: int) -> None:
        if call(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs
