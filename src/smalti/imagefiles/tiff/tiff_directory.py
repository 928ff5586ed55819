"""Directories of TIFF files: classic TIFF and BigTIFF of either byte order, each page and each directory below a page.

TIFF 6.0 (Adobe, 1992): a header with the offset of the first directory; a directory is a list of tags and the offset of
the next one. BigTIFF is the same with wider numbers. Values of tags are read when they are asked for.

Files come from anybody. So all directories together may not be larger than the file: then they cannot overlap, and the
time to walk them is in proportion to its size. The bytes of values that are read are bounded in the same way. A chain
that leads to a directory a second time is damage.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from smalti.imagefiles.format import UnreadableImageError

__all__ = ["HEADS", "Directory", "TiffFile", "Value"]

HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"MM*\0", b"II\0*")
"""The first bytes of TIFF files. In the last two the version has the other byte order; some programs write so."""

_BIG = b"+"
_CHILDREN = 330
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}
_MAX_VALUE_BYTES = 1 << 28
_MAX_NUMBERS_BYTES = 1 << 25
_MAX_DIRECTORIES = 1 << 18

_Entry = tuple[int, int, int, bytes]  # a tag, its kind, how many values, and the values or their offset


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a tag as stored: its kind (TIFF 6.0, section 2), and how many there are."""

    kind: int
    count: int
    data: bytes


class Directory:
    """The tags of one page.

    order : the byte order, as for `struct`
    offset : its place in the file
    """

    __slots__ = ("_all", "_entries", "_file", "_inline", "offset", "order")

    def __init__(self, file: "TiffFile", offset: int, entries: Sequence[_Entry]) -> None:
        self._file = file
        self._all = entries
        self._entries = {
            entry[0]: entry for entry in reversed(entries)
        }  # of a tag that is there twice, the first counts
        self._inline = file.word
        self.offset = offset
        self.order = file.order

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def count(self, tag: int) -> int:
        """Return how many values a tag has; 0 without it."""
        return self._entries[tag][2] if tag in self._entries else 0

    @property
    def stored_bytes(self) -> int:
        """The bytes of the directory and of the values beside it."""
        sizes = (_SIZES.get(kind, 1) * count for _, kind, count, _ in self._all)
        return sum(20 + (size if size > self._inline else 0) for size in sizes) + 16

    def value(self, tag: int, most: int = _MAX_VALUE_BYTES) -> Value:
        """Read the value of a tag that is there. UnreadableImageError if it is cut off, or larger than `most` bytes."""
        return self._value(self._entries[tag], most)

    def _value(self, entry: _Entry, most: int) -> Value:
        tag, kind, count, inline = entry
        size = _SIZES.get(kind, 1) * count
        if size <= self._inline:
            return Value(kind, count, inline[:size])
        if size > most:
            raise UnreadableImageError(f"damaged: tag {tag} has {size:,} bytes")
        (offset,) = struct.unpack(self.order + ("Q" if self._inline == 8 else "I"), inline)
        return Value(kind, count, self._file.value_at(offset, size))

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return the whole numbers of a tag; () without it. UnreadableImageError if they are of another kind."""
        if tag not in self._entries:
            return ()
        _, kind, count, inline = self._entries[tag]
        if count == 1 and kind == 3:  # by far the most common, so that many pages are read fast
            return struct.unpack_from(self.order + "H", inline)
        value = self.value(tag, _MAX_NUMBERS_BYTES)
        if kind not in _INTEGERS:
            raise UnreadableImageError(f"damaged: tag {tag} is no whole number")
        return tuple(np.frombuffer(value.data, self.order + _INTEGERS[kind]).tolist())

    def number(self, tag: int, absent: int) -> int:
        """Return the first number of a tag; `absent` without it."""
        return next(iter(self.numbers(tag)), absent)

    def texts(self, tag: int, most: int = _MAX_VALUE_BYTES) -> list[str]:
        """Return the texts of a tag, without zeros at the end (tifffile writes two); larger ones are left out."""
        entries = [entry for entry in self._all if entry[0] == tag and entry[2] <= most]
        return [self._value(entry, most).data.rstrip(b"\0").decode("utf-8", "replace") for entry in entries]


class TiffFile:
    """An open TIFF file.

    order : "<" or ">"    word : the bytes of an offset, 4 or 8    size : the bytes of the file
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, 2)
        file.seek(0)
        head = file.read(16)
        self.order = "<" if head.startswith(b"II") else ">"
        self.word = 8 if _BIG in head[2:4] else 4
        if len(head) < 2 * self.word:
            raise UnreadableImageError("damaged: cut off within its header")
        self._first = int.from_bytes(head[self.word : 2 * self.word], "little" if self.order == "<" else "big")
        self._left = self.size  # bytes of directories
        self._values_left = _MAX_VALUE_BYTES + 8 * self.size  # each value is read for the headers and for its image
        self._seen: set[int] = set()

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Read bytes of the file. UnreadableImageError if they are not all there."""
        if offset + size > self.size:
            raise UnreadableImageError("damaged: cut off, or an offset leads out of the file")
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) < size:
            raise UnreadableImageError("damaged: cut off")
        return data

    def value_at(self, offset: int, size: int) -> bytes:
        """Read the value of a tag. UnreadableImageError if many tags have the same bytes, which takes time."""
        self._values_left -= size
        if self._values_left < 0:
            raise UnreadableImageError("damaged: the values of its tags are larger than the file")
        return self.bytes_at(offset, size)

    def pages(self) -> list[Directory]:
        """Return the directories of the main chain, in order. UnreadableImageError if it breaks off."""
        return list(self._chain(self._first))

    def children(self, parent: Directory) -> list[Directory]:
        """Return the directories below a page, in order: those that it lists, and those that follow one of them."""
        return list(self._each(parent.numbers(_CHILDREN)))

    def _chain(self, offset: int) -> Iterator[Directory]:
        while offset:
            directory, offset = self._read(offset)
            yield directory

    def _each(self, offsets: Iterable[int]) -> Iterator[Directory]:
        for first in offsets:
            offset = first  # 0 if a program left a place for a directory that it never wrote
            while offset and offset not in self._seen:
                directory, offset = self._read(offset)
                yield directory

    def _read(self, offset: int) -> tuple[Directory, int]:
        """Read a directory, and the offset of the next one, which is 0 after the last."""
        if offset in self._seen:
            raise UnreadableImageError("damaged: its pages lead in a circle")
        self._seen.add(offset)
        if len(self._seen) > _MAX_DIRECTORIES:
            raise UnreadableImageError(f"more than {_MAX_DIRECTORIES:,} pages; write several files")
        big = self.word == 8
        (count,) = struct.unpack(self.order + ("Q" if big else "H"), self.bytes_at(offset, 8 if big else 2))
        size = count * (20 if big else 12) + self.word
        self._left -= size
        if self._left < 0:
            raise UnreadableImageError("damaged: its directories are larger than the file")
        data = self.bytes_at(offset + (8 if big else 2), size)
        form = struct.Struct(self.order + ("HHQ8s" if big else "HHI4s"))
        entries = list(form.iter_unpack(data[: -self.word]))
        (following,) = struct.unpack(self.order + ("Q" if big else "I"), data[-self.word :])
        return Directory(self, offset, entries), following
