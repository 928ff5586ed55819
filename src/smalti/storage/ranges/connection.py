"""The requests that fetch byte ranges of a file, through any filesystem that fsspec knows. `http` does web servers.

`requests_for` decides which requests fetch many ranges, and `Gathering` turns the answers into these ranges again.

Where a filesystem is asynchronous (S3, Google, Azure), a file's size and its last bytes are requested at the same time:
one HEAD and one GET take the time of one. Elsewhere they are requested one after the other. The filesystems themselves
repeat requests that fail in passing (s3fs: five times).

Layer: within `storage`, above `filesystem`.
"""

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from smalti.errors import NotAnArchiveError, SourceError
from smalti.storage.address import redacted
from smalti.storage.filesystem import filesystem_of, is_web, reading_remote

__all__ = [
    "GAP_BYTES",
    "REQUESTS_AT_ONCE",
    "REQUEST_BYTES",
    "Connection",
    "Deliver",
    "Gathering",
    "Opened",
    "Version",
    "connect",
    "cut_short",
    "requests_for",
    "run_together",
]


REQUESTS_AT_ONCE = 8

Deliver = Callable[[int, bytes], None]
"""Takes the index of a request and the answer to it; called from one thread at a time."""

Version = tuple[tuple[str, str], ...]
"""Marks that differ between two files of the same name: size, ETag, time of change, as far as they are known."""

_MARKS = ("ETag", "etag", "LastModified", "last_modified", "mtime", "created", "generation", "md5Hash", "VersionId")


class Opened(NamedTuple):
    """The facts about a file that has been opened. tail : its last bytes, or all of them"""

    size_bytes: int
    tail: bytes
    version: Version

    @property
    def tail_start(self) -> int:
        """Offset of the first byte of the tail."""
        return self.size_bytes - len(self.tail)


class Connection(Protocol):
    """One file on one server. Every process makes its own. All methods raise SourceError."""

    def open(self, tail_bytes: int) -> Opened:
        """Find the file, and fetch its last bytes."""
        ...

    def fetch(self, requests: Sequence[range], deliver: Deliver, opened: Opened | None) -> None:
        """Fetch ranges of the file, several at once. opened : what `open` returned, None if it was not called"""
        ...

    def version(self) -> Version:
        """The version of the file on the server now."""
        ...


_filesystems: dict[int, Any] = {}
"""By id. They are never dropped, because finalising one in a forked child would disturb the sockets of its parent."""


def connect(url: str, *, strict: bool = False) -> Connection:
    """The connection for a URL with its storage options. No request is made yet.

    strict : for bytes without checksums of their own. Each answer of a web server must bear the marks of the file that
        was opened, and only small files are read whole
    """
    files, path = filesystem_of(url)
    if type(files).cachable:  # then all files of a server share it
        _filesystems.setdefault(id(files), files)
    if is_web(files):
        from smalti.storage.ranges.http import HttpConnection  # noqa: PLC0415 (needs aiohttp)

        return HttpConnection(files, url, path, strict=strict)
    from fsspec.asyn import AsyncFileSystem  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 (optional)

    return (_Asynchronous if issubclass(type(files), AsyncFileSystem) else _Plain)(files, url, path)


class _Plain:
    """A file of a filesystem that does one thing at a time: memory, SFTP, a ZIP file in another filesystem, ..."""

    def __init__(self, files: Any, url: str, path: str) -> None:
        self._files, self._url, self._path = files, url, path
        self._lock = threading.Lock()  # few filesystems say whether several threads may use them

    def open(self, tail_bytes: int) -> Opened:
        """Find the file, then fetch its last bytes."""
        with self._lock, reading_remote(self._url):
            info = self._files.info(self._path)
            size = _size(info, self._url)
            tail = self._files.cat_file(self._path, start=max(0, size - tail_bytes), end=size) if size else b""
        return _opened(self._url, info, bytes(tail), tail_bytes)

    def fetch(self, requests: Sequence[range], deliver: Deliver, opened: Opened | None) -> None:
        """Fetch ranges of the file, one after the other."""
        with self._lock, reading_remote(self._url):
            for index, request in enumerate(requests):
                answer = bytes(self._files.cat_file(self._path, start=request.start, end=request.stop))
                deliver(index, _checked(self._url, request, answer))

    def version(self) -> Version:
        """The version of the file now, as the filesystem reports it."""
        with self._lock, reading_remote(self._url):
            return _version(self._files.info(self._path))


class _Asynchronous:
    """A file of a filesystem that can do several things at once."""

    def __init__(self, files: Any, url: str, path: str) -> None:
        self._files, self._url, self._path = files, url, path

    def open(self, tail_bytes: int) -> Opened:
        """Find the file, and fetch its last bytes at the same time."""
        with reading_remote(self._url):
            self._files.invalidate_cache(self._path)  # an earlier listing may be out of date
            info, tail = _in_loop(self._files, self._open, tail_bytes)
        return _opened(self._url, info, tail, tail_bytes)

    def fetch(self, requests: Sequence[range], deliver: Deliver, opened: Opened | None) -> None:
        """Fetch ranges of the file, several at once."""

        async def fetch_one(index: int) -> None:
            request = requests[index]
            answer = await self._files._cat_file(self._path, start=request.start, end=request.stop)
            deliver(index, _checked(self._url, request, bytes(answer)))

        with reading_remote(self._url):
            _in_loop(self._files, run_together, fetch_one, len(requests))

    def version(self) -> Version:
        """The version of the file now, as the filesystem reports it."""
        with reading_remote(self._url):
            self._files.invalidate_cache(self._path)
            return _version(self._files.info(self._path))

    async def _open(self, tail_bytes: int) -> tuple[Any, bytes]:
        import asyncio  # noqa: PLC0415 (slow to import, for URLs only)

        if hasattr(self._files, "set_session"):
            await self._files.set_session()  # else both requests would begin one
        info: Any
        tail: Any
        info, tail = await asyncio.gather(
            self._files._info(self._path),
            self._files._cat_file(self._path, start=-tail_bytes),
            return_exceptions=True,
        )
        if isinstance(info, BaseException):
            raise info
        size = _size(info, self._url)
        if isinstance(tail, BaseException) or len(tail) != min(size, tail_bytes):
            # an empty file has no last bytes, and some filesystems have no ranges that count from the end
            start = max(0, size - tail_bytes)
            tail = await self._files._cat_file(self._path, start=start, end=size) if size else b""
        return info, bytes(tail)


async def run_together(work: Callable[[int], Any], count: int) -> None:
    """Run the coroutines work(0) to work(count - 1), some at a time. The first error stops the others."""
    import asyncio  # noqa: PLC0415 (slow to import, for URLs only)

    slots = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def in_slot(index: int) -> None:
        async with slots:
            await work(index)

    tasks = [asyncio.ensure_future(in_slot(index)) for index in range(count)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def cut_short(url: str, request: range, received_bytes: int) -> SourceError:
    """The error for an answer whose length differs from that of the request."""
    return SourceError(
        f"{received_bytes} bytes came of the {len(request)} from byte {request.start} on: it was cut short or "
        "changed; open it again",
        path=redacted(url),
    )


def _in_loop(files: Any, work: Callable[..., Any], *arguments: Any) -> Any:
    from fsspec.asyn import sync  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 (optional)

    return sync(files.loop, work, *arguments)


def _size(info: Mapping[str, Any], url: str) -> int:
    if info.get("type") == "directory":
        raise NotAnArchiveError("a folder, not an archive", path=redacted(url))
    if info.get("size") is None:
        raise SourceError("its filesystem does not say how long it is; download it first", path=redacted(url))
    return int(info["size"])


def _version(info: Mapping[str, Any]) -> Version:
    return tuple((mark, str(info[mark])) for mark in ("size", *_MARKS) if info.get(mark) is not None)


def _opened(url: str, info: Mapping[str, Any], tail: bytes, tail_bytes: int) -> Opened:
    size = _size(info, url)
    start = max(0, size - tail_bytes)
    return Opened(size, _checked(url, range(start, size), tail), _version(info))


def _checked(url: str, request: range, answer: bytes) -> bytes:
    if len(answer) != len(request):
        raise cut_short(url, request, len(answer))
    return answer


GAP_BYTES = 256 << 10
"""Ranges that are at most this far apart are one request: the bytes between them take less time than a request."""

REQUEST_BYTES = 8 << 20
"""A longer request is cut, so that several fetch its bytes at once and a failed one is soon repeated."""


def requests_for(
    ranges: Sequence[tuple[int, int]], gap_bytes: int = GAP_BYTES, request_bytes: int = REQUEST_BYTES
) -> list[range]:
    """The requests that cover all `ranges`: ascending, without overlap, none longer than `request_bytes`.

    ranges : (offset, length) in any order; they may overlap, and those of length 0 need no request
    """
    merged: list[tuple[int, int]] = []
    for start, stop in sorted((offset, offset + length) for offset, length in ranges if length > 0):
        if merged and start - merged[-1][1] <= gap_bytes:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return [
        range(begin, min(begin + request_bytes, stop))
        for start, stop in merged
        for begin in range(start, stop, request_bytes)
    ]


class Gathering:
    """Ranges that are filled as answers come in, in any order, so that the bytes between ranges are not stored."""

    def __init__(self, ranges: Sequence[tuple[int, int]], requests: Sequence[range]) -> None:
        self._requests = requests
        self._parts = [bytearray(length) for _, length in ranges]
        self._served: list[list[tuple[int, int]]] = [[] for _ in requests]  # for each request: (range index, offset)
        starts = [request.start for request in requests]
        for range_index, (offset, length) in enumerate(ranges):
            index = bisect_right(starts, offset) - 1
            while length > 0 and index < len(requests) and requests[index].start < offset + length:
                self._served[index].append((range_index, offset))
                index += 1

    def deliver(self, index: int, answer: bytes) -> None:
        """Take the answer to a request."""
        request, view = self._requests[index], memoryview(answer)
        for range_index, offset in self._served[index]:
            part = self._parts[range_index]
            start, stop = max(request.start, offset), min(request.stop, offset + len(part))
            part[start - offset : stop - offset] = view[start - request.start : stop - request.start]

    def parts(self) -> Iterator[bytes]:
        """Yield the bytes of each range, once. All answers must have been delivered."""
        for range_index, part in enumerate(self._parts):
            self._parts[range_index] = bytearray()
            yield bytes(part)
