"""Bytes read by position, so that threads and forked processes may share them: a local file, or a stretch of a file.

What reads archives knows the protocol alone; files behind URLs follow it in `smalti.storage.ranges`.

An archive in memory as the reader of archives sees it: bytes, or what a file object gives.
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

    It is pickled as an order to open it again. `path` is a local path, or a URL without what may be secret in it; if
    `is_remote`, ranges are better read together than one by one.
    """

    @property
    def path(self) -> Path | str:
        """What messages call it."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether reading costs requests."""
        ...

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes; DamagedArchiveError if the file ends before them, SmaltiError if it cannot be read."""
        ...

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, length), in any order and number, as `read` gives them."""
        ...

    def at_hand(self, offset: int, length: int) -> bool:
        """Whether reading these bytes costs no request."""
        ...

    def check_unchanged(self) -> None:
        """Raise SmaltiError if the file is another one than was opened, as far as that can be told."""
        ...

    def close(self) -> None:
        """Close the file; reading from it afterwards raises SmaltiError."""
        ...


def file_at(place: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> Positioned:
    """The file at a path or a URL.

    storage_options : what fsspec is to be told to reach a URL, such as {"key": ..., "endpoint_url": ...}

    Raises NotAnArchiveError for a folder or a device, SmaltiError if there is no file or it cannot be opened,
    UsageError for storage options with a local path. A remote file is not asked for yet.
    """
    if isinstance(place, str) and is_url(place) and not place.lower().startswith("file://"):
        from smalti.storage.ranges.remote_file import RemoteFile  # noqa: PLC0415 (local files do without)

        return RemoteFile(place, storage_options)
    if storage_options:
        raise UsageError(f"{place}: storage options are for URLs; leave them out for a local file")
    return PositionedFile(_local(place))


class PositionedFile:
    """An open local file; raises SmaltiError if it cannot be opened, NotAnArchiveError for a folder or a device."""

    is_remote = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._descriptor: _Descriptor | None = _Descriptor(_open(path))
        self.size_bytes = os.fstat(self._descriptor.number).st_size

    def __reduce__(self) -> tuple[object, ...]:
        return PositionedFile, (self.path,)

    def close(self) -> None:
        """Close the file; reading from it afterwards raises SmaltiError. A read that goes on is finished first."""
        self._descriptor = None

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes; DamagedArchiveError if the file ends before them."""
        descriptor = self._descriptor  # held until the last byte, so that no other file gets its number meanwhile
        if descriptor is None:
            raise SmaltiError(f"{self.path}: the archive is closed; open it again")
        if offset + length > self.size_bytes:  # asked first: the system would set memory aside for it
            raise DamagedArchiveError(f"the file ends at byte {self.size_bytes}, in the middle of a section")
        parts = []
        try:
            while length > 0:
                part = self._read_some(descriptor.number, offset, length)
                if not part:
                    raise DamagedArchiveError(f"the file ends at byte {offset}, in the middle of a section")
                parts.append(part)
                offset, length = offset + len(part), length - len(part)
        except OSError as error:
            raise SmaltiError(f"{self.path}: cannot be read ({error.strerror})") from error
        return b"".join(parts)

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, length)."""
        return [self.read(offset, length) for offset, length in ranges]

    def at_hand(self, offset: int, length: int) -> bool:
        """Always: it costs no request."""
        return True

    def check_unchanged(self) -> None:
        """Nothing: an open file stays the one it is, also when another takes its name."""

    def _read_some(self, descriptor: int, offset: int, length: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(descriptor, length, offset)
        with self._lock:  # platforms without pread
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.read(descriptor, length)


class _Descriptor:
    """An open file of the system, closed when nobody holds it any more. number : what the system calls it"""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # `os` may be gone when Python ends
        close(self.number)


class PositionedWindow:
    """A stretch of another file as a file of its own: an archive that lies as a member in a larger one.

    path : what messages call it; made of the file's and the place if it is not given
    owns : whether closing it closes the file; one that was pickled owns the file that it opened again

    Raises DamagedArchiveError if the stretch is not within the file. If the file is remote, the last bytes of the
    stretch are fetched at once and kept, as those of a whole file are.
    """

    def __init__(
        self, file: Positioned, offset: int, length: int, path: str | None = None, *, owns: bool = True
    ) -> None:
        if min(offset, length) < 0:
            raise UsageError(f"{length} bytes from byte {offset} on are no stretch of a file")
        self.path = f"{file.path}[{offset}:{offset + length}]" if path is None else path
        self.size_bytes = length
        self.is_remote = file.is_remote
        self._file, self._offset, self._owns = file, offset, owns
        self._tail_start, self._tail = length, b""
        if file.is_remote:
            from smalti.storage.ranges.remote_file import TAIL_BYTES  # noqa: PLC0415 (local files do without)

            self._tail_start = max(0, length - TAIL_BYTES)
            self._tail = file.read(offset + self._tail_start, length - self._tail_start)
        elif offset + length > file.size_bytes:
            raise DamagedArchiveError(f"{self.path}: {file.path} has {file.size_bytes} bytes only")

    def __reduce__(self) -> tuple[object, ...]:
        return PositionedWindow, (self._file, self._offset, self.size_bytes, self.path)

    def close(self) -> None:
        """Close the file that this is a stretch of, if it is its own."""
        if self._owns:
            self._file.close()

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes of the stretch; DamagedArchiveError if it ends before them."""
        return self.read_many([(offset, length)])[0]

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, length)."""
        for offset, length in ranges:
            if offset + length > self.size_bytes:
                raise DamagedArchiveError(f"the file ends at byte {self.size_bytes}, in the middle of a section")
        far = [(offset, length) for offset, length in ranges if not self._is_kept(offset)]
        read = iter(self._file.read_many([(self._offset + offset, length) for offset, length in far]))
        return [
            self._tail[offset - self._tail_start :][:length] if self._is_kept(offset) else next(read)
            for offset, length in ranges
        ]

    def at_hand(self, offset: int, length: int) -> bool:
        """Whether the file has these bytes at hand, or they are among the last ones."""
        return self._is_kept(offset) or self._file.at_hand(self._offset + offset, length)

    def check_unchanged(self) -> None:
        """Raise SmaltiError if the file that this is a stretch of has changed."""
        self._file.check_unchanged()

    def _is_kept(self, offset: int) -> bool:
        return self.is_remote and offset >= self._tail_start


def _local(place: str | os.PathLike[str]) -> Path:
    if not isinstance(place, str) or not is_url(place):
        return Path(place)
    from urllib.parse import urlsplit  # noqa: PLC0415 (both slow to import, for file:// alone)
    from urllib.request import url2pathname  # noqa: PLC0415

    return Path(url2pathname(urlsplit(place).path))


def _open(path: Path) -> int:
    if path.exists() and not path.is_file():  # asked first, because opening a pipe would wait for a writer
        raise NotAnArchiveError(f"{path}: a folder or a device, not an archive")
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError as error:
        raise SmaltiError(f"{path}: ") from error
    except OSError as error:
        raise SmaltiError(f"{path}: cannot be opened ({error.strerror})") from error


class FileObject(Protocol):
    """A file that is open for reading bytes, such as a BytesIO."""

    def read(self) -> bytes:
        """All bytes from its position on."""
        ...


InMemory = bytes | bytearray | memoryview | FileObject


def is_in_memory(given: object) -> TypeGuard[InMemory]:
    """Whether something is bytes or a file object, and no path."""
    return isinstance(given, bytes | bytearray | memoryview) or (
        callable(getattr(given, "read", None)) and not hasattr(given, "__fspath__")
    )


def in_memory(given: InMemory) -> "MemoryFile":
    """The bytes, or those of a file object from its position on; they are copied, and the object is left open.

    Raises UsageError for a file of text, SmaltiError if it cannot be read.
    """
    if isinstance(given, bytes | bytearray | memoryview):
        return MemoryFile(bytes(given), "<bytes>")
    name = getattr(given, "name", None)
    shown = name if isinstance(name, str) else f"<{type(given).__name__}>"
    try:
        data = given.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise SmaltiError(f"{shown}: cannot be read ({error})") from error
    if not isinstance(data, bytes):
        raise UsageError(f"{shown}: gives {type(data).__name__}, not bytes; open it in binary mode")
    return MemoryFile(data, shown)


class MemoryFile:
    """Bytes as a file that is read by position (`smalti.storage.positioned.Positioned`). path : for messages"""

    is_remote = False

    def __init__(self, data: bytes, path: str) -> None:
        self.path: Path | str = path
        self.size_bytes = len(data)
        self._data: bytes | None = data

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes; DamagedArchiveError if the file ends before them."""
        if self._data is None:
            raise SmaltiError(f"{self.path}: the archive is closed; open it again")
        if offset + length > self.size_bytes:
            raise DamagedArchiveError(f"the file ends at byte {self.size_bytes}, in the middle of a section")
        return self._data[offset : offset + length]

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, length)."""
        return [self.read(offset, length) for offset, length in ranges]

    def at_hand(self, offset: int, length: int) -> bool:
        """Always: it costs no request."""
        return True

    def check_unchanged(self) -> None:
        """Nothing: nobody else has these bytes."""

    def close(self) -> None:
        """Let go of the bytes; reading afterwards raises SmaltiError."""
        self._data = None
