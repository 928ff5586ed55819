"""An archive in memory as the reader of archives sees it: bytes, or what a file object gives."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeGuard

from smalti.errors import DamagedArchiveError, SmaltiError, UsageError

__all__ = ["FileObject", "InMemory", "MemoryFile", "in_memory", "is_in_memory"]


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
