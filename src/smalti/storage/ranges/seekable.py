"""A file behind a URL to read and to seek in, as libraries that read files expect."""

import io
from typing import Any

from smalti.storage.ranges.remote_file import RemoteFile

__all__ = ["BLOCKS_KEPT", "BLOCK_BYTES", "SeekableFile"]

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
