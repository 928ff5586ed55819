"""A file behind a URL, read by position."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from smalti.errors import DamagedArchiveError, SmaltiError, SourceError
from smalti.storage.address import Url, options_of, redacted
from smalti.storage.ranges.coalesce import Gathering, requests_for
from smalti.storage.ranges.connection import Connection, Opened, connect

__all__ = ["TAIL_BYTES", "RemoteFile"]

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
