"""The members of a TAR file, read in order as data; nothing is ever written to disk.

TAR files may come from anybody. Members that are links or devices, or whose names lead out of a folder, are skipped
and listed. A damaged header, an impossible size and a missing end are errors. Headers (ustar, pax and GNU) are parsed
by the standard library's `TarInfo`, which gets at most 1 MiB for the header of a member.
"""

import gzip
import io
import posixpath
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from smalti.errors import MissingDependencyError, SourceError
from smalti.images.batch import SkippedFile
from smalti.storage.location import Location, name_of, open_binary, redacted

__all__ = ["TarMember", "TarMembers", "open_tar"]

_MAX_HEADER_BYTES = 1 << 20
_SKIP_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TarMember:
    """A file in a TAR file.

    name : its path, relative and inside a folder
    offset : where its header begins, in bytes of the unpacked TAR file
    """

    name: str
    offset: int
    data_offset: int
    size_bytes: int


class TarMembers:
    """Reads members in order, and can seek forwards to any of them. Opened by `open_tar`.

    file : the unpacked TAR file, which can seek forwards
    where : what messages call it
    skipped : receives the skipped members; None in later passes
    """

    def __init__(self, file: BinaryIO, where: str, skipped: list[SkippedFile] | None = None) -> None:
        self._file = file
        self._where = where
        self._skipped = skipped
        self._heads = _Heads(fileobj=cast(BinaryIO, _HeadReader(file)), mode="r")
        self._peeked: TarMember | None = None
        self._ended = False

    def peek(self) -> TarMember | None:
        """Return the next member that is a file, and stay before it; None at the end."""
        if self._peeked is None and not self._ended:
            self._peeked = self._next()
            self._ended = self._peeked is None
        return self._peeked

    def take(self) -> TarMember | None:
        """Return the next member that is a file, and go past it; None at the end."""
        member = self.peek()
        self._peeked = None
        return member

    def go_to(self, offset: int) -> None:
        """Continue with the member whose header begins at `offset`, no earlier than the one that `peek` returns."""
        if self._peeked is None or self._peeked.offset != offset:
            self._peeked, self._ended = None, False
            self._heads.offset = offset

    def read(self, member: TarMember) -> bytes:
        """Return the bytes of a member; SourceError if some are missing."""
        self._seek(member.data_offset)
        data = self._file.read(member.size_bytes)
        if len(data) < member.size_bytes:
            raise self._cut_off(member.data_offset + len(data))
        return data

    def _next(self) -> TarMember | None:
        while (info := self._next_info()) is not None:
            if info.size < 0:
                raise SourceError(f"{self._where}: damaged at byte {info.offset:,}: a member of negative size")
            name = info.name.removeprefix("./")
            reason = _objection(info, name)
            if reason is None and info.isreg():
                return TarMember(posixpath.normpath(name), info.offset, info.offset_data, info.size)
            if reason is not None and self._skipped is not None:
                self._skipped.append(SkippedFile(name.encode(errors="backslashreplace").decode(), reason))
        return None

    def _next_info(self) -> tarfile.TarInfo | None:
        """Return the next header; None at the mark that ends the file. SourceError if there is neither."""
        at = self._heads.offset
        self._seek(at)
        try:
            return tarfile.TarInfo.fromtarfile(self._heads)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            self._check_end(at)
            return None
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise self._cut_off(at) from error
        except (tarfile.TarError, ValueError, RecursionError, OverflowError) as error:
            if at == 0:
                raise SourceError(f"{self._where}: is no TAR file ({error}); check what it is") from error
            raise SourceError(f"{self._where}: damaged at byte {at:,} ({error}); copy or write it again") from error

    def _check_end(self, at: int) -> None:
        """Raise SourceError if anything but zeros follows the end mark: concatenated TAR files would lose the rest."""
        while rest := self._file.read(_SKIP_BYTES):
            if rest.strip(b"\0"):
                words = f"another one follows behind its end at byte {at:,}"
                raise SourceError(f"{self._where}: {words}; pack their files into one, or give each by itself")

    def _seek(self, offset: int) -> None:
        try:
            self._file.seek(offset)
        except (ValueError, OverflowError, OSError) as error:  # beyond what a file can be
            raise self._cut_off(offset) from error
        at = self._file.tell()
        if at != offset:  # compressed streams stop at their end
            raise self._cut_off(at)

    def _cut_off(self, at: int) -> SourceError:
        if at == 0:
            return SourceError(f"{self._where}: is no TAR file, or is cut off at its beginning; check what it is")
        return SourceError(
            f"{self._where}: is cut off before byte {at:,}, without its end mark; copy or write it again"
        )


@contextmanager
def open_tar(location: Location, skipped: list[SkippedFile] | None = None) -> Iterator[TarMembers]:
    """Open a TAR file, plain or compressed as its suffix says (`TAR_SUFFIXES`), at its beginning.

    Raises SourceError, also inside the `with` block, if it cannot be read or decompressed; MissingDependencyError for
    .tar.zst and .tzst without zstandard.
    """
    where, suffix = redacted(location), name_of(location).lower().rpartition(".")[2]
    unpacking_errors: tuple[type[Exception], ...] = (EOFError, zlib.error, OSError)
    with open_binary(location) as packed:
        file: BinaryIO = packed
        if suffix in ("gz", "tgz"):
            file = cast(BinaryIO, _Forwards(cast(BinaryIO, gzip.GzipFile(fileobj=packed, mode="rb"))))
        elif suffix in ("zst", "tzst"):
            try:
                import zstandard  # noqa: PLC0415 (optional: only .zst needs it)
            except ImportError as error:
                raise MissingDependencyError.of(f"reading {where}", "zstandard", "zstd") from error
            unpacking_errors = (*unpacking_errors, zstandard.ZstdError)
            stream = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
            file = cast(BinaryIO, _Forwards(cast(BinaryIO, stream)))
        try:
            yield TarMembers(file, where, skipped)
        except unpacking_errors as error:
            why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise SourceError(f"{where}: cannot be read: {why}; copy or write it again") from error


def _objection(info: tarfile.TarInfo, name: str) -> str | None:
    """Return the reason to skip a member; None for regular files, and for folders."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "name is not valid UTF-8; rename it"
    if name.startswith("/") or ".." in name.split("/") or any(ord(letter) < 32 for letter in name):
        return "name leads out of the folder, or holds control characters"
    if info.isdir():
        return None
    if info.issym() or info.islnk():
        return "a link, which is not followed"
    if info.issparse():
        return "a sparse file; pack it whole"
    return None if info.isreg() and name else "not a regular file"


class _Heads(tarfile.TarFile):
    """A TarFile for `TarInfo.fromtarfile` alone: it reads nothing on opening, and stores no members."""

    def next(self) -> tarfile.TarInfo | None:
        return None


class _HeadReader:
    """Limits a read of headers to a few blocks, whatever sizes they state."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise tarfile.HeaderError(f"a header of {size:,} bytes")
        return self._file.read(size)

    def tell(self) -> int:
        return self._file.tell()


class _Forwards:
    """A stream that is decompressed as it is read: the same for every compression. It seeks forwards, by reading."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._at = 0

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0 and (part := self._stream.read(min(size, _SKIP_BYTES))):
            parts.append(part)
            size -= len(part)
            self._at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int) -> int:
        if offset < self._at:
            raise io.UnsupportedOperation(f"cannot go back from {self._at} to {offset}")
        while self._at < offset and self.read(min(offset - self._at, _SKIP_BYTES)):
            pass
        return self._at
