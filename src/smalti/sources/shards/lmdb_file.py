"""The B+ tree of an LMDB file, read without its library, which trusts what it maps: damage would end the process.

The layout is that of LMDB 0.9 on machines of 64 bits and little-endian order (`mdb.c`). A file is pages of one size;
the first two are copies of the meta page, of which the later one holds. A page of a tree is a head of 16 bytes, the
places of its nodes, uint16, in the order of their keys, and nodes. A node is 8 bytes, its key, and its data, or the
number of the page where these begin.
"""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from smalti.errors import SourceError
from smalti.storage.location import Location, open_binary, redacted, size_bytes

__all__ = ["LmdbFile", "begins_as_lmdb"]

_META = struct.Struct("<16xI I Q Q 48s IHHQQQQQ Q Q")
_META_MAGIC, _VERSION = 0xBEEFC0DE, 1
_PAGE_SIZE_AT = 16 + 24  # in the meta page: the first field of its first table
_PAGE_HEAD = struct.Struct("<Q2xHHH")
_NODE = struct.Struct("<HHHH")
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_BIG_DATA, _SUB_DATA, _DUPLICATES = 1, 2, 4
_MAX_DEPTH = 32
_MAX_VALUE_BYTES = 1 << 30


def begins_as_lmdb(location: Location) -> bool:
    """Whether a file begins with the meta page of LMDB."""
    with open_binary(location) as file:
        return file.read(20)[16:] == _META_MAGIC.to_bytes(4, "little")


@dataclass(frozen=True, slots=True)
class _Node:
    """A node: in a leaf its data, or the page where they begin and their length; in a branch, the page below."""

    key: bytes
    page: int
    flags: int = 0
    data: bytes = b""
    data_bytes: int = 0


class LmdbFile:
    """The unnamed table of a file: keys and values in the order of the bytes of the keys.

    The number of entries is in the meta page. The first reading of entries reads the heads of all pages of the tree.
    Memory: 16 bytes for each page of entries. SourceError for a file that is cut off, damaged or of another kind.
    """

    def __init__(self, location: Location) -> None:
        self.description = redacted(location)
        self._location = location
        with open_binary(location) as file:
            head = file.read(_META.size)
            if len(head) < _META.size or head[16:20] != _META_MAGIC.to_bytes(4, "little"):
                raise SourceError(f"{self.description}: is no LMDB file; check what it is")
            self._page_size = int.from_bytes(head[_PAGE_SIZE_AT : _PAGE_SIZE_AT + 4], "little")
            if self._page_size not in (1 << power for power in range(9, 17)):
                raise SourceError(f"{self.description}: pages of {self._page_size:,} bytes, which LMDB has not")
            file.seek(self._page_size)
            metas = [_META.unpack(page) for page in (head, file.read(_META.size)) if len(page) == _META.size]
        metas = [meta for meta in metas if meta[0] == _META_MAGIC]
        meta = max(metas, key=lambda found: int(found[-1]))
        version, flags, depth, entries, root, last_page = meta[1], meta[6], meta[7], meta[11], meta[12], meta[13]
        if version != _VERSION:
            raise SourceError(f"{self.description}: version {version} of LMDB's format; version {_VERSION} is read")
        if flags & _DUPLICATES:
            raise SourceError(f"{self.description}: has several values for a key, which is not read")
        if (last_page + 1) * self._page_size > size_bytes(location):
            raise SourceError(f"{self.description}: is cut off; copy it again")
        if depth > _MAX_DEPTH or entries > (last_page + 1) * self._page_size:
            raise self._damaged("its meta page")
        self._depth, self._root, self._last_page = depth, root, last_page
        self._entries = 0 if depth == 0 else int(entries)
        self._leaves = array("q")
        self._first_of: list[int] = []

    def __len__(self) -> int:
        return self._entries

    def items(self, numbers: Iterable[int]) -> Iterator[tuple[bytes, bytes | int]]:
        """Yield the keys and values of entries by ascending numbers; of a value above 1 GiB, its length alone."""
        with self._opened() as file:
            self._find_leaves(file)
            at, nodes = -1, list[_Node]()
            for number in numbers:
                leaf = bisect_right(self._first_of, number) - 1
                if leaf != at:
                    at, (_, nodes) = leaf, self._page(file, self._leaves[leaf])
                node = nodes[number - self._first_of[leaf]]
                yield node.key, self._value(file, node)

    def get(self, key: bytes) -> bytes | int | None:
        """Return the value of a key, as `items` does; None if there is no such key."""
        if not self._entries:
            return None
        with self._opened() as file:
            number = self._root
            for _ in range(self._depth):
                is_leaf, nodes = self._page(file, number)
                if is_leaf:
                    found = next((node for node in nodes if node.key == key), None)
                    return None if found is None else self._value(file, found)
                # The key of a first node is empty; it stands for all keys below that of the second.
                number = nodes[bisect_right([node.key for node in nodes[1:]], key)].page
        raise self._damaged("a tree deeper than it says")

    def _find_leaves(self, file: BinaryIO) -> None:
        """Note all pages of entries, in order, once."""
        if self._first_of or not self._entries:
            return
        below, leaves, firsts, entries, visits = [(self._root, 1)], array("q"), list[int](), 0, 0
        while below:
            number, level = below.pop()
            visits += 1
            if level > self._depth or visits > self._last_page:  # no page is in a tree twice
                raise self._damaged("a tree that is none")
            head = self._head(file, number)
            if head[0]:
                leaves.append(number)
                firsts.append(entries)
                entries += head[1]
            else:
                _, nodes = self._page(file, number)
                below += [(node.page, level + 1) for node in reversed(nodes)]
        if entries != self._entries:
            raise self._damaged(f"it holds {entries:,} entries, not {self._entries:,} as it says")
        self._leaves, self._first_of = leaves, firsts

    def _head(self, file: BinaryIO, number: int) -> tuple[bool, int]:
        """Read the head of a page: whether it is a leaf, and how many nodes it has."""
        if not 2 <= number <= self._last_page:
            raise self._damaged(f"page {number:,} is not in the file")
        file.seek(number * self._page_size)
        head = file.read(_PAGE_HEAD.size)
        if len(head) < _PAGE_HEAD.size:
            raise self._damaged(f"page {number:,} is cut off")
        own_number, flags, lower, upper = _PAGE_HEAD.unpack(head)
        kind = flags & (_BRANCH | _LEAF | _OVERFLOW)
        sound = own_number == number and kind in (_BRANCH, _LEAF) and 16 <= lower <= upper <= self._page_size
        if not sound or lower % 2 or (kind == _BRANCH and lower == 16):
            raise self._damaged(f"page {number:,}")
        return kind == _LEAF, (lower - 16) // 2

    def _page(self, file: BinaryIO, number: int) -> tuple[bool, list[_Node]]:
        """Read a page: whether it is a leaf, and its nodes."""
        is_leaf, count = self._head(file, number)
        file.seek(number * self._page_size)
        page = file.read(self._page_size)
        try:
            places = struct.unpack_from(f"<{count}H", page, 16)
            return is_leaf, [self._node(page, place, is_leaf) for place in places]
        except struct.error as error:
            raise self._damaged(f"page {number:,}") from error

    def _node(self, page: bytes, place: int, is_leaf: bool) -> _Node:
        low, high, flags, key_bytes = _NODE.unpack_from(page, place)
        start = place + _NODE.size + key_bytes
        key = page[place + _NODE.size : start]
        if not is_leaf:
            return _Node(key, low | high << 16 | flags << 32)
        length = low | high << 16
        if flags & _BIG_DATA:
            return _Node(key, int(struct.unpack_from("<Q", page, start)[0]), flags, data_bytes=length)
        if start + length > len(page):
            raise self._damaged("a value that ends behind its page")
        return _Node(key, 0, flags, page[start : start + length], length)

    def _value(self, file: BinaryIO, node: _Node) -> bytes | int:
        if node.flags & (_SUB_DATA | _DUPLICATES):
            raise SourceError(
                f"{self.description}: holds named tables, which are not read; copy one to a file of its own"
            )
        if not node.flags & _BIG_DATA:
            return node.data
        if node.data_bytes > _MAX_VALUE_BYTES:
            return node.data_bytes
        pages = -(-(16 + node.data_bytes) // self._page_size)
        if not 2 <= node.page <= self._last_page + 1 - pages:
            raise self._damaged("a value that is not in the file")
        file.seek(node.page * self._page_size)
        head = file.read(_PAGE_HEAD.size)
        data = file.read(node.data_bytes)
        if len(data) < node.data_bytes or not _PAGE_HEAD.unpack(head)[1] & _OVERFLOW:
            raise self._damaged("a value that is not in the file")
        return data

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        with open_binary(self._location) as file:
            yield file

    def _damaged(self, what: str) -> SourceError:
        return SourceError(f"{self.description}: damaged: {what}; copy it again")
