"""Byte ranges from a web server, one GET each. Opening a file is one GET too, whose answer gives the size of the file.

The session is fsspec's, with the options that the caller gave it. This module does what fsspec's own reader does not:
it checks that each answer is the requested range, never reads more into memory than it requested, and repeats requests
that fail in passing.

Layer: within `storage`, above `connection`.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import aiohttp
from fsspec.asyn import sync  # type: ignore[import-untyped, unused-ignore]

from smalti.errors import SourceError
from smalti.storage.address import redacted
from smalti.storage.filesystem import NO_RANGES, reading_remote
from smalti.storage.ranges.connection import Deliver, Opened, Version, cut_short, run_together

__all__ = ["STRICT_WHOLE_BYTES", "TRIES", "WHOLE_BYTES", "HttpConnection"]

WHOLE_BYTES = 64 << 20
"""From a server that gives no ranges, a file up to this size is read whole, once."""

STRICT_WHOLE_BYTES = 4 << 20
"""The same for strict connections, because a folder may have many files."""

TRIES = 3
_WAIT_SECONDS = 0.2  # before the second try, and four times as long before the third
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_PARTIAL, _NO_SUCH_RANGE = 206, 416
_CHUNK_BYTES = 1 << 18


class _Answer(NamedTuple):
    """The bytes of a file from byte `start` on. size_bytes : of the file, None if the server does not say"""

    data: bytes
    start: int
    size_bytes: int | None
    mark: str


class _NoSuchRange(Exception):  # noqa: N818 (for control flow; no user sees it)
    """The server does not give this range."""


class HttpConnection:
    """One file of a web server. All methods raise SourceError.

    strict : whether every answer must bear the marks of the file that was opened (ETag, or time of change). Then only
        small files are read whole from a server that gives no ranges
    """

    def __init__(self, files: Any, url: str, path: str, *, strict: bool = False) -> None:
        self._files, self._url, self._path, self._strict = files, url, path, strict

    def open(self, tail_bytes: int) -> Opened:
        """Fetch the last bytes of the file, or all of it if the server gives no ranges."""
        with reading_remote(self._url):
            answer: _Answer = sync(self._files.loop, self._open, tail_bytes)
        size = answer.start + len(answer.data)
        if answer.size_bytes not in (None, size):
            raise cut_short(self._url, range(max(0, size - tail_bytes), size), 0)
        return Opened(size, answer.data, _version(size, answer))

    def fetch(self, requests: Sequence[range], deliver: Deliver, opened: Opened | None) -> None:
        """Fetch ranges of the file, several at once."""

        async def fetch_one(index: int) -> None:
            request = requests[index]
            answer = await self._range(request)
            if opened is not None:
                self._check_same(opened, answer)
            deliver(index, answer.data)

        with reading_remote(self._url):
            sync(self._files.loop, run_together, fetch_one, len(requests))

    def version(self) -> Version:
        """The version of the file on the server now."""
        with reading_remote(self._url):
            answer: _Answer = sync(self._files.loop, self._range, range(1))
        return _version(answer.size_bytes, answer)

    def _check_same(self, opened: Opened, answer: "_Answer") -> None:
        """Raise SourceError if an answer comes from another file than the one that was opened."""
        if answer.size_bytes not in (None, opened.size_bytes):
            sizes = f"it had {opened.size_bytes} bytes and has {answer.size_bytes} now"
            raise self._error(f"{sizes}: it was changed; open it again")
        if self._strict and opened.version != _version(opened.size_bytes, answer):
            raise self._error("it was changed while it was being read; open it again")

    def _error(self, message: str) -> SourceError:
        return SourceError(message, path=redacted(self._url))

    async def _open(self, tail_bytes: int) -> _Answer:
        whole_bytes = STRICT_WHOLE_BYTES if self._strict else WHOLE_BYTES
        try:
            return await self._get(f"bytes=-{tail_bytes}", tail_bytes, whole_bytes)
        except _NoSuchRange:  # an empty file has no last bytes, and some servers have no ranges that count from the end
            size = (await self._files._info(self._path)).get("size")
        if size is None:
            raise self._error("the server does not say how long it is; download it first")
        if size == 0:
            return _Answer(b"", 0, 0, "")
        return await self._range(range(max(0, size - tail_bytes), size))

    async def _range(self, request: range) -> _Answer:
        try:
            answer = await self._get(f"bytes={request.start}-{request.stop - 1}", len(request), 0)
        except _NoSuchRange:
            raise cut_short(self._url, request, 0) from None
        if answer.start != request.start or len(answer.data) != len(request):
            raise cut_short(self._url, request, len(answer.data))
        return answer

    async def _get(self, byte_range: str, max_bytes: int, whole_bytes: int) -> _Answer:
        """One range, or the whole file if the server gives no ranges; requests that fail in passing are repeated.

        byte_range : value of the header `Range`    max_bytes, whole_bytes : largest sizes of a range and of a file
        """
        wait = _WAIT_SECONDS
        for attempt in range(1, TRIES + 1):
            try:
                return await self._try(byte_range, max_bytes, whole_bytes, last=attempt == TRIES)
            except (TimeoutError, _PassingFailure, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                if attempt == TRIES:
                    raise
            await asyncio.sleep(wait)
            wait *= 4
        raise AssertionError

    async def _try(self, byte_range: str, max_bytes: int, whole_bytes: int, last: bool) -> _Answer:
        session = await self._files.set_session()
        options = dict(self._files.kwargs)
        # uncompressed, because a range of compressed bytes is no range of the file
        options["headers"] = {**options.get("headers", {}), "Range": byte_range, "Accept-Encoding": "identity"}
        async with session.get(self._files.encode_url(self._path), **options) as response:
            if response.status == _NO_SUCH_RANGE:
                raise _NoSuchRange
            if response.status in _PASSING:
                if not last:
                    raise _PassingFailure
                answer = f"the server answers {response.status} {response.reason or ''}".rstrip()
                raise self._error(f"{answer}, {TRIES} times; try again later")
            response.raise_for_status()
            mark = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
            if response.status != _PARTIAL:
                return _Answer(await self._body(response, whole_bytes), 0, None, mark)
            sent = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
            data = await self._body(response, max_bytes)
        if sent is None or int(sent[2]) + 1 - int(sent[1]) != len(data):
            raise self._error("the server does not say which bytes it sends; download it first")
        return _Answer(data, int(sent[1]), None if sent[3] == "*" else int(sent[3]), mark)

    async def _body(self, response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
        """The bytes of an answer. SourceError if they are more than `max_bytes`; no more than these are read."""
        data, size = bytearray(), response.content_length or 0
        if size <= max_bytes:
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                data += chunk
                if len(data) > max_bytes:
                    break
        if max(size, len(data)) > max_bytes and self._strict:
            raise self._error(NO_RANGES)
        if max(size, len(data)) > max_bytes:
            limit = f"only files up to {WHOLE_BYTES >> 20} MiB are read whole, on opening"
            raise self._error(f"the server gives no ranges of bytes, and {limit}: download it first")
        return bytes(data)


class _PassingFailure(Exception):  # noqa: N818 (for control flow; no user sees it)
    """A failure of the server that may pass, so that the request is repeated."""


def _version(size_bytes: int | None, answer: _Answer) -> Version:
    return (("size", str(size_bytes)), ("mark", answer.mark))
