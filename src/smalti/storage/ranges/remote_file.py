"""A file behind a URL: read by position (`RemoteFile`), or with a position to seek in (`SeekableFile`).

Layer: within `storage`, above `connection`.
"""

import io
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from smalti.errors import DamagedArchiveError, SmaltiError, SourceError
from smalti.storage.address import Url, options_of, redacted
from smalti.storage.ranges.connection import Connection, Gathering, Opened, connect, requests_for

__all__ = ["BLOCK_BYTES", "MAX_CACHED_BLOCKS", "TAIL_BYTES", "ReadOnlyFile", "RemoteFile", "SeekableFile"]


TAIL_BYTES = 64 << 10
"""Opening a file fetches this much from its end and caches it: the trailer, an index of up to 2,300 sections, and
often the columns."""


class RemoteFile:
    """A file behind a URL, read by position (`smalti.storage.positioned.Positioned`).

    Nothing is fetched before the first read or the first use of `size_bytes`. A forked process makes connections of
    its own. Raises SourceError if the file cannot be reached or read, and MissingDependencyError if its scheme needs a
    package that is not installed. Messages name the URL without its secret parts.

    storage_options : for fsspec to reach the URL; None uses the options that the URL carries
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
        """Length in bytes, as the server says."""
        return self._open().size_bytes

    @property
    def tail_start(self) -> int:
        """Offset of the bytes that opening has fetched: all from here to the end."""
        return self._open().tail_start

    def close(self) -> None:
        """Drop the cache and the connection; reading afterwards raises SmaltiError."""
        self._closed = True
        self._connected = self._opened = None

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes; DamagedArchiveError if the file ends before them."""
        return self.read_many([(offset, length)])[0]

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, length), with few requests, some of them at the same time."""
        connection = self._connection()
        for offset, length in ranges if self._opened is not None else ():
            if offset + length > self.size_bytes:
                raise DamagedArchiveError(f"the file ends at byte {self.size_bytes}, in the middle of a section")
        uncached = [part for part in ranges if not self.at_hand(*part)]
        requests = requests_for(uncached)
        gathering = Gathering(uncached, requests)
        if requests:
            connection.fetch(requests, gathering.deliver, self._opened)
        fetched = gathering.parts()
        return [self._cached(*part) if self.at_hand(*part) else next(fetched) for part in ranges]

    def at_hand(self, offset: int, length: int) -> bool:
        """Whether opening has fetched these bytes."""
        return length == 0 or (self._opened is not None and offset >= self._opened.tail_start)

    def check_unchanged(self) -> None:
        """Raise SourceError if the server has another file now than the one that was opened."""
        if self._opened is not None and self._opened.version != self._connection().version():
            raise SourceError("it was changed while it was being read; open it again", path=self.path)

    def _cached(self, offset: int, length: int) -> bytes:
        opened = self._opened
        return b"" if opened is None else opened.tail[offset - opened.tail_start :][:length]

    def _open(self) -> Opened:
        if self._opened is None:
            self._opened = self._connection().open(TAIL_BYTES)
        return self._opened

    def _connection(self) -> Connection:
        if self._closed:
            raise SmaltiError("the archive is closed; open it again", path=self.path)
        if self._connected is None or self._connected[0] != os.getpid():
            self._connected = os.getpid(), connect(self._url, strict=self._strict)
        return self._connected[1]


BLOCK_BYTES = 4 << 20
"""Size of one request: large enough that its delay does not matter."""

MAX_CACHED_BLOCKS = 4


class ReadOnlyFile(io.RawIOBase):
    """A base for files to read and to seek in. A subclass has `read`, which returns all bytes that it is asked for."""

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def readall(self) -> bytes:
        """All bytes that follow."""
        return self.read() or b""

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the file goes, and return the number of bytes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view)) or b""
        view[: len(data)] = data
        return len(data)


class SeekableFile(ReadOnlyFile):
    """A remote file with a position, as libraries that read files expect it. It caches the blocks that were read last.

    `read` returns all bytes that it is asked for, or those up to the end. Making a SeekableFile fetches the end of the
    file; closing it closes the file. Raises what `RemoteFile` raises.
    """

    def __init__(self, file: RemoteFile) -> None:
        super().__init__()
        self.name = str(file.path)
        self._file = file
        self._size = file.size_bytes
        self._position = 0
        self._blocks: dict[int, bytes] = {}  # by index; the block that was read last is at the end

    def tell(self) -> int:
        """The position, in bytes from the start."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position, and return it. It may be beyond the end, where `read` returns nothing."""
        self._check_open()
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"{start + offset} is before the start of the file")
        self._position = start + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """The next `size` bytes, fewer at the end of the file. Without a size, all bytes that follow."""
        self._check_open()
        start = min(self._position, self._size)
        stop = self._size if size is None or size < 0 else min(start + size, self._size)
        data = self._bytes(start, stop)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Close the file, and drop the cached blocks."""
        if not self.closed:
            self._file.close()
            self._blocks.clear()
        super().close()

    def _bytes(self, start: int, stop: int) -> bytes:
        if self._file.at_hand(start, stop - start):
            return self._file.read(start, stop - start)
        parts = []
        while start < stop:
            index, begin = divmod(start, BLOCK_BYTES)
            end = min(stop - index * BLOCK_BYTES, BLOCK_BYTES)
            parts.append(memoryview(self._block(index))[begin:end])
            start = index * BLOCK_BYTES + end
        return b"".join(parts)

    def _block(self, index: int) -> bytes:
        block = self._blocks.pop(index, None)
        if block is None:
            start, stop = index * BLOCK_BYTES, min((index + 1) * BLOCK_BYTES, self._size)
            tail = min(stop, max(start, self._file.tail_start))  # the bytes from here on are cached already
            block = b"".join(self._file.read_many([(start, tail - start), (tail, stop - tail)]))
        self._blocks[index] = block
        if len(self._blocks) > MAX_CACHED_BLOCKS:
            del self._blocks[next(iter(self._blocks))]
        return block

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")
