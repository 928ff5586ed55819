"""A file read by position, so that threads and forked processes may share it."""

import os
import threading
from pathlib import Path

from smalti.errors import DamagedArchiveError, NotAnArchiveError, SmaltiError

__all__ = ["PositionedFile"]


class PositionedFile:
    """An open file; raises SmaltiError if it cannot be opened or read, NotAnArchiveError for a folder or a device."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._descriptor = _open(path)
        self.size_bytes = os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Close the file; reading from it afterwards raises SmaltiError."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes; DamagedArchiveError if the file ends before them."""
        if self._descriptor < 0:
            raise SmaltiError(f"{self.path}: the archive is closed; open it again")
        if offset + length > self.size_bytes:  # asked first: the system would set memory aside for it
            raise DamagedArchiveError(f"the file ends at byte {self.size_bytes}, in the middle of a section")
        parts = []
        try:
            while length > 0:
                part = self._read_some(offset, length)
                if not part:
                    raise DamagedArchiveError(f"the file ends at byte {offset}, in the middle of a section")
                parts.append(part)
                offset, length = offset + len(part), length - len(part)
        except OSError as error:
            raise SmaltiError(f"{self.path}: cannot be read ({error.strerror})") from error
        return b"".join(parts)

    def _read_some(self, offset: int, length: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, length, offset)
        with self._lock:  # platforms without pread
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, length)


def _open(path: Path) -> int:
    if path.exists() and not path.is_file():  # asked first, because opening a pipe would wait for a writer
        raise NotAnArchiveError(f"{path}: a folder or a device, not an archive")
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError as error:
        raise SmaltiError(f"{path}: no such file") from error
    except OSError as error:
        raise SmaltiError(f"{path}: cannot be opened ({error.strerror})") from error
