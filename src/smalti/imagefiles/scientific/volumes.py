"""Planes of one shape that follow each other in a file, as scientific formats store volumes and series.

A format's module reads the header of its file with the library of the format and says where the samples lie. One plane
at a time is read here, from a plain file or from a gzip stream, so that no file is in memory as a whole.
"""

import gzip
import io
import math
import zlib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, BinaryIO, cast, overload

import numpy as np
from numpy.typing import NDArray

from smalti.imagefiles.format import ImageHeader, UnreadableImageError, check_size
from smalti.images.batch import INT16, PIXEL_DTYPES, PixelDtype, Pixels, Scalar

__all__ = [
    "ROWS_FROM_BOTTOM",
    "STORED_DTYPE",
    "Headers",
    "Stream",
    "Volume",
    "Volumes",
    "first_bytes",
    "gzip_stream",
    "pixel_dtype",
    "plain_stream",
    "raw_volume",
    "stored_fields",
    "stream_of",
]

ROWS_FROM_BOTTOM = "rows_from_bottom"
"""The field that is true if the first row of the pixels is the lowest of the picture, by the format's convention."""

STORED_DTYPE = "stored_dtype"
"""The field with the dtype in the file, if pixels have a wider one: "int8"."""

_GZIP = b"\x1f\x8b"
_LARGEST_RATIO = 1032  # deflate makes no more than this from one byte
_BLOCK_BYTES = 1 << 20


class Stream:
    """The bytes of a file, unpacked.

    file : the file itself, or a gzip stream, which is fast in ascending order only
    most_bytes : the length of the file; of a gzip stream, the most that it can unpack to
    is_packed : whether it is a gzip stream
    """

    def __init__(self, file: BinaryIO, most_bytes: int, is_packed: bool) -> None:
        self.file, self.most_bytes, self.is_packed = file, most_bytes, is_packed
        self._fault: str | None = None
        self._is_checked = not is_packed

    def check(self, samples_end: int) -> None:
        """Raise UnreadableImageError if a gzip stream, of which so many bytes are read, is damaged.

        Its checksum is at its end: the stream is unpacked once, before samples of it are believed.
        """
        if not self._is_checked:
            self._is_checked = True
            try:
                self.file.seek(0)
                while self.file.tell() <= samples_end + _BLOCK_BYTES and self.file.read(_BLOCK_BYTES):
                    pass
            except (OSError, EOFError, zlib.error):
                self._fault = "damaged: its gzip stream is cut off or changed"
        if self._fault is not None:
            raise UnreadableImageError(self._fault)


def stream_of(file: BinaryIO) -> Stream:
    """Return the bytes of a file: as they are, or unpacked if it begins as gzip."""
    file.seek(0)
    if file.read(2) == _GZIP:
        return gzip_stream(file, 0)
    return plain_stream(file)


def plain_stream(file: BinaryIO) -> Stream:
    """Return the bytes of a file as they are. The file is at its beginning then."""
    size = file.seek(0, 2)
    file.seek(0)
    return Stream(file, size, is_packed=False)


def gzip_stream(file: BinaryIO, start: int) -> Stream:
    """Return the unpacked bytes of a gzip stream that begins at byte `start` of a file."""
    size = file.seek(0, 2)
    unpacked = gzip.GzipFile(fileobj=io.BufferedReader(_From(file, start)))
    return Stream(cast(BinaryIO, unpacked), (size - start) * _LARGEST_RATIO, is_packed=True)


class _From(io.RawIOBase):
    """A file without its first bytes: a gzip stream begins anew at byte 0 of what it reads."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start, self._place = file, start, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_END:
            offset += self._file.seek(0, 2) - self._start
        self._place = offset + (self._place if whence == io.SEEK_CUR else 0)
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        self._file.seek(self._start + self._place)
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def first_bytes(head: bytes) -> bytes:
    """Return the first bytes of a file that begins with `head`, unpacked as far as possible if it is gzip."""
    if not head.startswith(_GZIP):
        return head
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head, 4096)
    except zlib.error:
        return b""


@dataclass(frozen=True)
class Volume:
    """Planes of one shape and dtype.

    shape, dtype : those of each plane as it is read, [H, W, C]
    axes : name and size of each axis along which planes lie, the slowest first
    read : reads the pixels of a plane by its number, in which the last axis runs fastest
    fields : further fields, the same for all planes
    """

    shape: tuple[int, int, int]
    dtype: PixelDtype
    axes: tuple[tuple[str, int], ...]
    read: Callable[[int], Pixels]
    fields: Mapping[str, Scalar] = field(default_factory=dict)

    def __len__(self) -> int:
        return math.prod(size for _, size in self.axes)

    def header(self, number: int, unread: str | None) -> ImageHeader:
        """Return the header of a plane: the places on all axes of more than one plane are fields."""
        places: dict[str, Scalar] = {}
        for name, size in reversed(self.axes):
            number, place = divmod(number, size)
            if size > 1:
                places[name] = place
        return ImageHeader(self.shape, self.dtype, {**dict(reversed(places.items())), **self.fields}, unread)


class Volumes:
    """The images of a file: the planes of its volumes, one volume after the other."""

    def __init__(self, volumes: Sequence[Volume], unread: str | None = None) -> None:
        """Take at least one volume, and words for further pixels of the file, which its first image then bears."""
        self._volumes = volumes
        self._ends = list(accumulate(len(volume) for volume in volumes))
        self._unread = unread

    @property
    def headers(self) -> Sequence[ImageHeader]:
        """The header of each plane: a small file may state very many planes."""
        return Headers(self._ends[-1], self._header)

    def image(self, number: int) -> tuple[ImageHeader, Pixels]:
        """Read one plane."""
        volume, place = self._place(number)
        return self._header(number), volume.read(place)

    def _header(self, number: int) -> ImageHeader:
        volume, place = self._place(number)
        return volume.header(place, self._unread if number == 0 else None)

    def _place(self, number: int) -> tuple[Volume, int]:
        if not 0 <= number < self._ends[-1]:
            raise IndexError(number)
        index = bisect_right(self._ends, number)
        return self._volumes[index], number - (self._ends[index] - len(self._volumes[index]))


class Headers(Sequence[ImageHeader]):
    """Headers that are made when they are asked for."""

    def __init__(self, count: int, made: Callable[[int], ImageHeader]) -> None:
        self._count, self._made = count, made

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> ImageHeader: ...
    @overload
    def __getitem__(self, index: slice) -> list[ImageHeader]: ...
    def __getitem__(self, index: int | slice) -> ImageHeader | list[ImageHeader]:
        if isinstance(index, slice):
            return [self._made(number) for number in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)  # this also ends a loop over all headers
        return self._made(index % self._count)


def pixel_dtype(stored: np.dtype[Any]) -> PixelDtype:
    """Return the dtype of pixels for stored samples: their own, and int16 for int8. UnreadableImageError for others."""
    if stored == np.int8:
        return INT16
    native = stored.newbyteorder("=")
    found = next((dtype for dtype in PIXEL_DTYPES if dtype == native), None)
    if found is None:
        kinds = {"f": "float", "c": "complex", "u": "unsigned", "i": "signed"}
        kind = f"{8 * stored.itemsize}-bit {kinds[stored.kind]}" if stored.kind in kinds else str(stored)
        raise UnreadableImageError(f"{kind} samples; images have integers of 8 or 16 bits, scale and convert")
    return found


def stored_fields(stored: np.dtype[Any]) -> dict[str, Scalar]:
    """Return the field that says which dtype was widened; empty without any."""
    return {STORED_DTYPE: "int8"} if stored == np.int8 else {}


def raw_volume(
    stream: Stream,
    start: int,
    stored: np.dtype[Any],
    plane: tuple[int, ...],
    axes: Sequence[tuple[str, int]],
    fields: Mapping[str, Scalar],
) -> tuple[Volume, str | None]:
    """Return the volume of uncompressed samples from `start` on, and words for bytes that follow it.

    stored : dtype of the samples, with their byte order
    plane : the stored shape of a plane, [H, W] or [H, W, C]
    axes : as for `Volume`

    UnreadableImageError if there is no such plane, or if the file is shorter than that.
    """
    height, width, *rest = plane
    channels = rest[0] if rest else 1
    dtype = pixel_dtype(stored)
    count = math.prod(size for _, size in axes)
    if min([*plane, *(size for _, size in axes)]) < 1:
        raise UnreadableImageError("an axis of less than 1 sample; there is nothing to read")
    check_size(width, height)
    plane_bytes = height * width * channels * stored.itemsize
    spare = stream.most_bytes - start - count * plane_bytes
    if start < 0 or spare < 0:
        raise UnreadableImageError(f"damaged: {-spare:,} bytes shorter than its header says")

    def read(number: int) -> Pixels:
        stream.check(start + count * plane_bytes)
        stream.file.seek(start + number * plane_bytes)
        data = stream.file.read(plane_bytes)
        if len(data) < plane_bytes:
            raise UnreadableImageError("damaged: cut off within its samples")
        samples: NDArray[Any] = np.frombuffer(data, stored)
        return cast(Pixels, samples.astype(dtype).reshape(height, width, channels))

    further = spare >= plane_bytes and not stream.is_packed
    unread = f"{spare:,} bytes behind its planes of {plane_bytes:,} bytes each" if further else None
    return Volume((height, width, channels), dtype, tuple(axes), read, {**fields, **stored_fields(stored)}), unread
