"""A file behind a URL, read by position.

A file behind a URL to read and to seek in, as libraries that read files expect.
"""

import io
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from smalti.errors import DamagedArchiveError, SmaltiError, SourceError
from smalti.storage.address import Url, options_of, redacted
from smalti.storage.ranges.connection import Connection, Gathering, Opened, connect, requests_for

__all__ = ["BLOCKS_KEPT", "BLOCK_BYTES", "TAIL_BYTES", "RemoteFile", "SeekableFile"]


TAIL_BYTES = 64 << 10
"""Fetched from the end of a file on opening, and kept: the trailer, an index of up to 2,300 sections, often columns."""


class RemoteFile:
    """A file behind a URL, read by position (`smalti.storage.positioned.Positioned`).

    Nothing is fetched before the first read or the first look at `size_bytes`. A process that was forked makes
    connections of its own. Raises SourceError if the file cannot be reached or read, and MissingDependencyError if
    its scheme needs a package that is not installed; messages name the URL without what may be secret in it.

    storage_options : what fsspec needs to reach the URL; None takes those that the URL carries
    strict : see `connect`
    """

    is_remote = True

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None, *, strict: bool = False) -> None:
        self.path = redacted(url)
        self._url = Url(url, options_of(url) if storage_options is None else storage_options)
        self._strict = strict
        self._connected: tuple[int, Connection] | None = None
        self._opened: Opened | None = None
        self._closed = False

    def __reduce__(self) -> tuple[object, ...]:
        return partial(RemoteFile, strict=self._strict), (self._url,)

    @property
    def size_bytes(self) -> int:
        """How many bytes there are, as the server says."""
        return self._open().size_bytes

    @property
    def tail_start(self) -> int:
        """From which byte on all bytes were fetched on opening."""
        return self._open().tail_start

    def close(self) -> None:
        """Forget what is kept; reading afterwards raises SmaltiError."""
        self._closed = True
        self._connected = self._opened = None

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes; DamagedArchiveError if the file ends before them."""
        return self.read_many([(offset, length)])[0]

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, length), with few requests, some of them at once."""
        connection = self._connection()
        for offset, length in ranges if self._opened is not None else ():
            if offset + length > self.size_bytes:
                raise DamagedArchiveError(f"the file ends at byte {self.size_bytes}, in the middle of a section")
        far = [place for place in ranges if not self.at_hand(*place)]
        requests = requests_for(far)
        gathering = Gathering(far, requests)
        if requests:
            connection.fetch(requests, gathering.deliver, self._opened)
        fetched = gathering.parts()
        return [self._kept(*place) if self.at_hand(*place) else next(fetched) for place in ranges]

    def at_hand(self, offset: int, length: int) -> bool:
        """Whether these bytes were fetched on opening."""
        return length == 0 or (self._opened is not None and offset >= self._opened.tail_start)

    def check_unchanged(self) -> None:
        """Raise SourceError if the server tells of another file than the one that was opened."""
        if self._opened is not None and self._opened.version != self._connection().version():
            raise SourceError(f"{self.path}: it was changed while it was being read; open it again")

    def _kept(self, offset: int, length: int) -> bytes:
        opened = self._opened
        return b"" if opened is None else opened.tail[offset - opened.tail_start :][:length]

    def _open(self) -> Opened:
        if self._opened is None:
            self._opened = self._connection().open(TAIL_BYTES)
        return self._opened

    def _connection(self) -> Connection:
        if self._closed:
            raise SmaltiError(f"{self.path}: the archive is closed; open it again")
        if self._connected is None or self._connected[0] != os.getpid():
            self._connected = os.getpid(), connect(self._url, strict=self._strict)
        return self._connected[1]


# was sibling import


BLOCK_BYTES = 4 << 20
"""Of one request; large enough that its delay does not count."""

BLOCKS_KEPT = 4


class SeekableFile(io.RawIOBase):
    """A remote file with a position; it keeps the blocks that were read last. Closing it closes the file.

    `read` returns all that was asked for, or up to the end. Opening it asks the server for the file's end. Raises what
    `RemoteFile` raises.
    """

    def __init__(self, file: RemoteFile) -> None:
        super().__init__()
        self.name = str(file.path)
        self._file = file
        self._size = file.size_bytes
        self._position = 0
        self._blocks: dict[int, bytes] = {}  # by their numbers; those that were read last are at the end

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position, in bytes from the start."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position, and return it; beyond the end there is nothing to read."""
        self._check_open()
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"{start + offset} is before the start of the file")
        self._position = start + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """The next `size` bytes, fewer at the end of the file; all that follow without a size."""
        self._check_open()
        start = min(self._position, self._size)
        stop = self._size if size is None or size < 0 else min(start + size, self._size)
        data = self._bytes(start, stop)
        self._position += len(data)
        return data

    def readall(self) -> bytes:
        """All bytes that follow."""
        return self.read()

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the file goes; how many bytes that were."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file, and forget what is kept of it."""
        if not self.closed:
            self._file.close()
            self._blocks.clear()
        super().close()

    def _bytes(self, start: int, stop: int) -> bytes:
        if self._file.at_hand(start, stop - start):
            return self._file.read(start, stop - start)
        parts = []
        while start < stop:
            block, begin = divmod(start, BLOCK_BYTES)
            end = min(stop - block * BLOCK_BYTES, BLOCK_BYTES)
            parts.append(memoryview(self._block(block))[begin:end])
            start = block * BLOCK_BYTES + end
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        block = self._blocks.pop(number, None)
        if block is None:
            start, stop = number * BLOCK_BYTES, min((number + 1) * BLOCK_BYTES, self._size)
            tail = min(stop, max(start, self._file.tail_start))  # from here on the bytes are there already
            block = b"".join(self._file.read_many([(start, tail - start), (tail, stop - tail)]))
        self._blocks[number] = block
        if len(self._blocks) > BLOCKS_KEPT:
            del self._blocks[next(iter(self._blocks))]
        return block

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")
