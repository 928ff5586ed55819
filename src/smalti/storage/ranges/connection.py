"""Ranges of bytes out of any filesystem that fsspec knows; web servers have a module of their own, `http`.

A file's size and its last bytes are asked for at once where a filesystem is asynchronous (S3, Google, Azure: one HEAD
and one GET, in the time of one), else one after the other. Failures that pass are tried again by the filesystems
themselves (s3fs: five times).

Which requests fetch many ranges of bytes, and how the answers become these ranges again.
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
"""Takes the answer to a request, by the number of the request; called from one thread at a time."""

Version = tuple[tuple[str, str], ...]
"""What tells a file from another of the same name: size, ETag, time of change, as far as they are known."""

_MARKS = ("ETag", "etag", "LastModified", "last_modified", "mtime", "created", "generation", "md5Hash", "VersionId")


class Opened(NamedTuple):
    """What is known of a file after its opening: `tail` holds its last bytes, or all of them."""

    size_bytes: int
    tail: bytes
    version: Version

    @property
    def tail_start(self) -> int:
        """Where the tail begins."""
        return self.size_bytes - len(self.tail)


class Connection(Protocol):
    """One file on one server; made anew in every process. All methods raise SourceError."""

    def open(self, tail_bytes: int) -> Opened:
        """Find the file, and fetch its last bytes."""
        ...

    def fetch(self, requests: Sequence[range], deliver: Deliver, opened: Opened | None) -> None:
        """Fetch ranges of the file, several at once; `opened` is what was found on opening, if it was opened."""
        ...

    def version(self) -> Version:
        """What the server says of the file now."""
        ...


_kept: dict[int, Any] = {}  # Never let go: to finish one in a forked child would disturb the sockets of its parent.


def connect(url: str, *, strict: bool = False) -> Connection:
    """The connection for a URL with its storage options; nothing is asked of a server yet.

    strict : for bytes without checksums of their own. A web server must answer of the file that was opened, as its
        marks tell it, and only small files are read whole
    """
    files, path = filesystem_of(url)
    if type(files).cachable:  # then there is one of it for all files of a server
        _kept.setdefault(id(files), files)
    if is_web(files):
        from smalti.storage.ranges.http import HttpConnection  # noqa: PLC0415 (needs aiohttp)

        return HttpConnection(files, url, path, strict=strict)
    from fsspec.asyn import AsyncFileSystem  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 (optional)

    return (_Asynchronous if issubclass(type(files), AsyncFileSystem) else _Plain)(files, url, path)


class _Plain:
    """A filesystem without anything at once: memory, SFTP, a ZIP file in another filesystem, ..."""

    def __init__(self, files: Any, url: str, path: str) -> None:
        self._files, self._url, self._path = files, url, path
        self._lock = threading.Lock()  # few of them say whether they may be used from several threads

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
            for number, request in enumerate(requests):
                answer = bytes(self._files.cat_file(self._path, start=request.start, end=request.stop))
                deliver(number, _whole(self._url, request, answer))

    def version(self) -> Version:
        """What the filesystem says of the file now."""
        with self._lock, reading_remote(self._url):
            return _version(self._files.info(self._path))


class _Asynchronous:
    """A filesystem that can do several things at once."""

    def __init__(self, files: Any, url: str, path: str) -> None:
        self._files, self._url, self._path = files, url, path

    def open(self, tail_bytes: int) -> Opened:
        """Find the file, and fetch its last bytes meanwhile."""
        with reading_remote(self._url):
            self._files.invalidate_cache(self._path)  # what a listing has told may be old
            info, tail = _in_loop(self._files, self._open, tail_bytes)
        return _opened(self._url, info, tail, tail_bytes)

    def fetch(self, requests: Sequence[range], deliver: Deliver, opened: Opened | None) -> None:
        """Fetch ranges of the file, several at once."""

        async def one(number: int) -> None:
            request = requests[number]
            answer = await self._files._cat_file(self._path, start=request.start, end=request.stop)
            deliver(number, _whole(self._url, request, bytes(answer)))

        with reading_remote(self._url):
            _in_loop(self._files, run_together, one, len(requests))

    def version(self) -> Version:
        """What the filesystem says of the file now."""
        with reading_remote(self._url):
            self._files.invalidate_cache(self._path)
            return _version(self._files.info(self._path))

    async def _open(self, tail_bytes: int) -> tuple[Any, bytes]:
        import asyncio  # noqa: PLC0415 (slow to import, for URLs only)

        if hasattr(self._files, "set_session"):
            await self._files.set_session()  # else both would begin one
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
            # Nothing can be the last bytes of an empty file, and some filesystems know of no ranges from the end.
            start = max(0, size - tail_bytes)
            tail = await self._files._cat_file(self._path, start=start, end=size) if size else b""
        return info, bytes(tail)


async def run_together(one: Callable[[int], Any], count: int) -> None:
    """Run one(0) to one(count - 1), coroutines, some at a time; the first error stops the others."""
    import asyncio  # noqa: PLC0415 (slow to import, for URLs only)

    slots = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def in_turn(number: int) -> None:
        async with slots:
            await one(number)

    tasks = [asyncio.ensure_future(in_turn(number)) for number in range(count)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def cut_short(url: str, request: range, came: int) -> SourceError:
    """The error for an answer of another length than was asked for."""
    return SourceError(
        f"{redacted(url)}: {came} bytes came of the {len(request)} from byte {request.start} on: it was cut short or "
        "changed; open it again"
    )


def _in_loop(files: Any, work: Callable[..., Any], *arguments: Any) -> Any:
    from fsspec.asyn import sync  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 (optional)

    return sync(files.loop, work, *arguments)


def _size(info: Mapping[str, Any], url: str) -> int:
    if info.get("type") == "directory":
        raise NotAnArchiveError(f"{redacted(url)}: a folder, not an archive")
    if info.get("size") is None:
        raise SourceError(f"{redacted(url)}: its filesystem does not say how long it is; download it first")
    return int(info["size"])


def _version(info: Mapping[str, Any]) -> Version:
    return tuple((mark, str(info[mark])) for mark in ("size", *_MARKS) if info.get(mark) is not None)


def _opened(url: str, info: Mapping[str, Any], tail: bytes, tail_bytes: int) -> Opened:
    size = _size(info, url)
    start = max(0, size - tail_bytes)
    return Opened(size, _whole(url, range(start, size), tail), _version(info))


def _whole(url: str, request: range, answer: bytes) -> bytes:
    if len(answer) != len(request):
        raise cut_short(url, request, len(answer))
    return answer


GAP_BYTES = 256 << 10
"""Two ranges no further apart are one request: the bytes between them take less time than another request."""

REQUEST_BYTES = 8 << 20
"""Longer stretches are cut, so that several requests fetch them at once and a failed one is soon repeated."""


def requests_for(
    ranges: Sequence[tuple[int, int]], gap_bytes: int = GAP_BYTES, request_bytes: int = REQUEST_BYTES
) -> list[range]:
    """The stretches to ask for: ascending, without overlap, none above `request_bytes`, and all `ranges` in them.

    ranges : (offset, length) in any order; they may overlap, and those of length 0 need nothing
    """
    stretches: list[tuple[int, int]] = []
    for start, stop in sorted((offset, offset + length) for offset, length in ranges if length > 0):
        if stretches and start - stretches[-1][1] <= gap_bytes:
            stretches[-1] = (stretches[-1][0], max(stretches[-1][1], stop))
        else:
            stretches.append((start, stop))
    return [
        range(begin, min(begin + request_bytes, stop))
        for start, stop in stretches
        for begin in range(start, stop, request_bytes)
    ]


class Gathering:
    """Ranges that are filled as answers come in, in any order, so that the bytes between ranges are not kept."""

    def __init__(self, ranges: Sequence[tuple[int, int]], requests: Sequence[range]) -> None:
        self._requests = requests
        self._parts = [bytearray(length) for _, length in ranges]
        self._wanted: list[list[tuple[int, int]]] = [[] for _ in requests]  # of each request: (range, its offset)
        starts = [request.start for request in requests]
        for number, (offset, length) in enumerate(ranges):
            place = bisect_right(starts, offset) - 1
            while length > 0 and place < len(requests) and requests[place].start < offset + length:
                self._wanted[place].append((number, offset))
                place += 1

    def deliver(self, place: int, answer: bytes) -> None:
        """Take the answer to a request."""
        request, view = self._requests[place], memoryview(answer)
        for number, offset in self._wanted[place]:
            part = self._parts[number]
            start, stop = max(request.start, offset), min(request.stop, offset + len(part))
            part[start - offset : stop - offset] = view[start - request.start : stop - request.start]

    def parts(self) -> Iterator[bytes]:
        """The bytes of each range, once; all answers must have been delivered."""
        for number, part in enumerate(self._parts):
            self._parts[number] = bytearray()
            yield bytes(part)
