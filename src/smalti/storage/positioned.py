"""Bytes read by position, so that threads and forked processes can share a file.

Readers of archives know the protocol `Positioned` alone. It is implemented here for local files, for a byte range of
a file, and for bytes in memory; `smalti.storage.ranges` implements it for files behind URLs.

Layer: within `storage`, above `address`.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from smalti.errors import DamagedArchiveError, NotAnArchiveError, SmaltiError, UsageError
from smalti.storage.address import is_url

__all__ = [
    "FileObject",
    "InMemory",
    "MemoryFile",
    "Positioned",
    "PositionedFile",
    "PositionedWindow",
    "file_at",
    "in_memory",
    "is_in_memory",
]


class Positioned(Protocol):
    """Bytes by position; safe to use from several threads, and in a process that was forked after it was opened.

    Pickling it stores how to open it again.
    """

    @property
    def path(self) -> Path | str:
        """Its name in messages: a local path, or a URL without its secret parts."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether reading costs requests. Then `read_many` is better than many calls of `read`."""
        ...

    @property
    def size_bytes(self) -> int:
        """Length in bytes."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes. DamagedArchiveError if the file ends before them, SmaltiError if it cannot be read."""
        ...

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, length). The ranges may be in any order and may overlap. Raises as `read` does."""
        ...

    def at_hand(self, offset: int, length: int) -> bool:
        """Whether these bytes can be read without a request."""
        ...

    def check_unchanged(self) -> None:
        """Raise SmaltiError if the file is no longer the one that was opened, as far as this can be known."""
        ...

    def close(self) -> None:
        """Close the file; reading from it afterwards raises SmaltiError."""
        ...


def file_at(location: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> Positioned:
    """The file at a path or a URL. No request is made yet for a remote file.

    storage_options : for fsspec to reach a URL, for example {"key": ..., "endpoint_url": ...}

    Raises NotAnArchiveError for a folder or a device, SmaltiError if there is no file or it cannot be opened,
    UsageError for storage options with a local path.
    """
    if isinstance(location, str) and is_url(location) and not location.lower().startswith("file://"):
        from smalti.storage.ranges.remote_file import RemoteFile  # noqa: PLC0415 (local files do not need it)

        return RemoteFile(location, storage_options)
    if storage_options:
        raise UsageError("storage options are for URLs; leave them out for a local file", path=location)
    return PositionedFile(_local_path(location))


class PositionedFile:
    """An open local file. Raises SmaltiError if it cannot be opened, NotAnArchiveError for a folder or a device."""

    is_remote = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._descriptor: _Descriptor | None = _Descriptor(_open(path))
        self.size_bytes = os.fstat(self._descriptor.number).st_size

    def __reduce__(self) -> tuple[object, ...]:
        return PositionedFile, (self.path,)

    def close(self) -> None:
        """Close the file; reading from it afterwards raises SmaltiError. Reads that are under way finish first."""
        self._descriptor = None

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes; DamagedArchiveError if the file ends before them."""
        descriptor = self._descriptor  # referenced until the last byte, so that no other file gets its number meanwhile
        if descriptor is None:
            raise _closed(self.path)
        _check_range(offset, length, self.size_bytes)  # first, because the system would allocate memory for it
        parts = []
        try:
            while length > 0:
                part = self._read_some(descriptor.number, offset, length)
                if not part:
                    raise DamagedArchiveError(f"the file ends at byte {offset}, in the middle of a section")
                parts.append(part)
                offset, length = offset + len(part), length - len(part)
        except OSError as error:
            raise SmaltiError(f"cannot be read ({error.strerror})", path=self.path) from error
        return b"".join(parts)

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, length)."""
        return [self.read(offset, length) for offset, length in ranges]

    def at_hand(self, offset: int, length: int) -> bool:
        """Always true: no request is needed."""
        return True

    def check_unchanged(self) -> None:
        """Do nothing: an open file stays the same, even if another file takes its name."""

    def _read_some(self, descriptor: int, offset: int, length: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(descriptor, length, offset)
        with self._lock:  # platforms without pread
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.read(descriptor, length)


class _Descriptor:
    """A file descriptor of the system, closed when the last reference to it goes. number : as the system counts"""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # `os` may be gone when Python ends
        close(self.number)


class PositionedWindow:
    """A byte range of another file as a file of its own, for example an archive that is a member of a larger one.

    path : its name in messages; by default the path of the file with the byte range
    owns : whether closing the window closes the file; a window that was pickled owns the file that it opened again

    Raises DamagedArchiveError if the byte range is not within the file. If the file is remote, the last bytes of the
    range are fetched at once and cached, as those of a whole file are.
    """

    def __init__(
        self, file: Positioned, offset: int, length: int, path: str | None = None, *, owns: bool = True
    ) -> None:
        if min(offset, length) < 0:
            raise UsageError(f"{length} bytes from byte {offset} on are no byte range of a file")
        self.path = f"{file.path}[{offset}:{offset + length}]" if path is None else path
        self.size_bytes = length
        self.is_remote = file.is_remote
        self._file, self._offset, self._owns = file, offset, owns
        self._tail_start, self._tail = length, b""
        if file.is_remote:
            from smalti.storage.ranges.remote_file import TAIL_BYTES  # noqa: PLC0415 (local files do not need it)

            self._tail_start = max(0, length - TAIL_BYTES)
            self._tail = file.read(offset + self._tail_start, length - self._tail_start)
        elif offset + length > file.size_bytes:
            raise DamagedArchiveError(f"{file.path} has {file.size_bytes} bytes only", path=self.path)

    def __reduce__(self) -> tuple[object, ...]:
        return PositionedWindow, (self._file, self._offset, self.size_bytes, self.path)

    def close(self) -> None:
        """Close the file, if the window owns it."""
        if self._owns:
            self._file.close()

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes of the range; DamagedArchiveError if it ends before them."""
        return self.read_many([(offset, length)])[0]

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, length)."""
        for offset, length in ranges:
            _check_range(offset, length, self.size_bytes)
        uncached = [(self._offset + offset, length) for offset, length in ranges if not self._is_cached(offset)]
        read = iter(self._file.read_many(uncached))
        return [
            self._tail[offset - self._tail_start :][:length] if self._is_cached(offset) else next(read)
            for offset, length in ranges
        ]

    def at_hand(self, offset: int, length: int) -> bool:
        """Whether these bytes are among the cached last ones, or the file can read them without a request."""
        return self._is_cached(offset) or self._file.at_hand(self._offset + offset, length)

    def check_unchanged(self) -> None:
        """Raise SmaltiError if the file has changed."""
        self._file.check_unchanged()

    def _is_cached(self, offset: int) -> bool:
        return self.is_remote and offset >= self._tail_start


def _local_path(location: str | os.PathLike[str]) -> Path:
    if not isinstance(location, str) or not is_url(location):
        return Path(location)
    from urllib.parse import urlsplit  # noqa: PLC0415 (both are slow to import, and needed for file:// only)
    from urllib.request import url2pathname  # noqa: PLC0415

    return Path(url2pathname(urlsplit(location).path))


def _open(path: Path) -> int:
    if path.exists() and not path.is_file():  # checked first, because opening a pipe would wait for a writer
        raise NotAnArchiveError("a folder or a device, not an archive", path=path)
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError as error:
        raise SmaltiError("no such file", path=path) from error
    except OSError as error:
        raise SmaltiError(f"cannot be opened ({error.strerror})", path=path) from error


def _closed(path: Path | str) -> SmaltiError:
    return SmaltiError("the archive is closed; open it again", path=path)


def _check_range(offset: int, length: int, size_bytes: int) -> None:
    """Raise DamagedArchiveError if a byte range reaches beyond the end of the file."""
    if offset + length > size_bytes:
        raise DamagedArchiveError(f"the file ends at byte {size_bytes}, in the middle of a section")


class FileObject(Protocol):
    """A file that is open for reading bytes, for example a BytesIO."""

    def read(self) -> bytes:
        """All bytes from the current position on."""
        ...


InMemory = bytes | bytearray | memoryview | FileObject


def is_in_memory(given: object) -> TypeGuard[InMemory]:
    """Whether something is bytes or a file object, rather than a path."""
    return isinstance(given, bytes | bytearray | memoryview) or (
        callable(getattr(given, "read", None)) and not hasattr(given, "__fspath__")
    )


def in_memory(given: InMemory) -> "MemoryFile":
    """A copy of the bytes, or of the bytes of a file object from its current position on. The object stays open.

    Raises UsageError for a text file, SmaltiError if the object cannot be read.
    """
    if isinstance(given, bytes | bytearray | memoryview):
        return MemoryFile(bytes(given), "<bytes>")
    name = getattr(given, "name", None)
    path = name if isinstance(name, str) else f"<{type(given).__name__}>"
    try:
        data = given.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise SmaltiError(f"cannot be read ({error})", path=path) from error
    if not isinstance(data, bytes):
        raise UsageError(f"gives {type(data).__name__}, not bytes; open it in binary mode", path=path)
    return MemoryFile(data, path)


class MemoryFile:
    """Bytes in memory as a `Positioned` file. path : its name in messages"""

    is_remote = False

    def __init__(self, data: bytes, path: str) -> None:
        self.path: Path | str = path
        self.size_bytes = len(data)
        self._data: bytes | None = data

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes; DamagedArchiveError if the file ends before them."""
        if self._data is None:
            raise _closed(self.path)
        _check_range(offset, length, self.size_bytes)
        return self._data[offset : offset + length]

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, length)."""
        return [self.read(offset, length) for offset, length in ranges]

    def at_hand(self, offset: int, length: int) -> bool:
        """Always true: no request is needed."""
        return True

    def check_unchanged(self) -> None:
        """Do nothing: nobody else can change these bytes."""

    def close(self) -> None:
        """Drop the bytes; reading afterwards raises SmaltiError."""
        self._data = None
