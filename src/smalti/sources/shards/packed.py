"""Unpacks what shards are packed with, into memory, with a limit: the numbers in a shard may come from anybody."""

import bz2
import gzip
from io import BytesIO
from typing import BinaryIO, cast

from smalti.errors import MissingDependencyError, SourceError
from smalti.imagefiles.format import imagecodecs_for

__all__ = ["unpacked"]

_MAX_BYTES = 1 << 30


def unpacked(kind: str, data: bytes, where: str, size: int | None = None) -> bytes:
    """Return the bytes that were packed.

    kind : "zstd", "gz", "bz2", "br" or "snappy", with a level behind a colon or without
    where : what messages call the file
    size : the number of bytes that it must be; None if it is not known

    Raises SourceError for damaged data, another size, more than 1 GiB or another kind; MissingDependencyError without
    the package that unpacks it.
    """
    name = kind.partition(":")[0]
    limit = _MAX_BYTES if size is None else size
    if not 0 <= limit <= _MAX_BYTES:
        raise SourceError(f"{where}: {limit:,} bytes unpacked, more than a shard has")
    try:
        found = _unpacked(name, data, limit, where)
    except (SourceError, MissingDependencyError):
        raise
    except Exception as error:  # each library has errors of its own
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise SourceError(f"{where}: cannot be unpacked: {line}; copy or write it again") from error
    if len(found) > limit or (size is not None and len(found) < size):
        raise SourceError(f"{where}: unpacks to another size than it says ({limit:,} bytes); write it again")
    return found


def _unpacked(name: str, data: bytes, limit: int, where: str) -> bytes:
    """Return at most one byte more than the limit."""
    if name == "zstd":
        try:
            import zstandard  # noqa: PLC0415 (optional: only such shards need it)
        except ImportError as error:
            raise MissingDependencyError.of(f"reading {where}", "zstandard", "zstd") from error
        stream = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
        return _all_of(cast(BinaryIO, stream), limit)
    if name == "gz":
        return _all_of(cast(BinaryIO, gzip.GzipFile(fileobj=BytesIO(data))), limit)
    if name == "bz2":
        return _all_of(cast(BinaryIO, bz2.BZ2File(BytesIO(data))), limit)
    if name in ("br", "snappy"):
        codecs = imagecodecs_for(f"reading {where}")
        decode = codecs.brotli_decode if name == "br" else codecs.snappy_decode
        return bytes(decode(data, out=limit + (name == "br")))  # it fills what it gets; what is beyond is an error
    raise SourceError(f"{where}: is packed by {name!r}; zstd, gz, bz2, br and snappy are read")


def _all_of(stream: BinaryIO, limit: int) -> bytes:
    parts: list[bytes] = []
    missing = limit + 1
    while missing > 0 and (part := stream.read(min(missing, 1 << 20))):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
