"""The sizes section of an archive whose images have any size: H and W of each (docs/format.md, "Sizes").

If some images are copies of others, a list of these comes before it (`copies`). It also states how images are cut into
units, from which `block_layout` computes all else.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.limits import Limits
from smalti.entropy.integers import MAX_SYMBOLS, IntegerReader, IntegerWriter
from smalti.errors import DamagedArchiveError, UsageError

__all__ = ["IMAGE_BYTES", "MAX_BLOCK_CELLS", "MAX_CELL", "MAX_SIDE", "MOST_PIXELS", "Sizes"]

MAX_SIDE = 1 << 24
MAX_CELL = 64
MAX_BLOCK_CELLS = 1 << 24
MOST_PIXELS = 1 << 60
"""Pixels of all images: fewer, so that an int64 counts bytes."""
IMAGE_BYTES = 16
"""Bytes that count against the limit for each image, and for each unit: about what a reader keeps of it."""

_HEAD = struct.Struct("<BBHI")  # coding, cell, region, block_cells
_ONE = struct.Struct("<II")  # H, W
_TABLES = struct.Struct("<IIB")  # distinct sizes, bytes of the tables, symbols of a table
_ONE_SIZE, _TABLE, _EACH = 1, 2, 3
_PRECISION = 12
_MOST_DISTINCT = 1 << 16


@dataclass(frozen=True, eq=False)
class Sizes:
    """The sizes of N images, and how they are cut into units.

    heights, widths : int32 [N], each 1 to MAX_SIDE
    cell : rows and columns of pixels of a cell
    region : rows and columns of cells of the regions that a large image is cut into
    block_cells : an image of more cells is large; the most cells of a token block

    Raises UsageError if a number is out of range.
    """

    heights: NDArray[np.int32]
    widths: NDArray[np.int32]
    cell: int
    region: int
    block_cells: int

    def __post_init__(self) -> None:
        if not 1 <= self.cell <= MAX_CELL:
            raise UsageError(f"cells of {self.cell} pixels are outside 1..{MAX_CELL}")
        if not 1 <= self.block_cells <= MAX_BLOCK_CELLS:
            raise UsageError(f"blocks of {self.block_cells} cells are outside 1..{MAX_BLOCK_CELLS}")
        if not 1 <= self.region <= 0xFFFF or self.region**2 > self.block_cells:
            raise UsageError(f"regions of {self.region} x {self.region} cells do not fit blocks of {self.block_cells}")
        if not len(self.heights):
            raise UsageError("there are no images")
        for sides in (self.heights, self.widths):
            if int(sides.min()) < 1 or int(sides.max()) > MAX_SIDE:
                raise UsageError(f"a side of {int(sides.min())} to {int(sides.max())} pixels is outside 1..{MAX_SIDE}")
        if float(np.sum(self.heights.astype(np.float64) * self.widths)) >= MOST_PIXELS:
            raise UsageError("more pixels than an archive can hold")

    def __len__(self) -> int:
        return len(self.heights)

    @property
    def largest(self) -> tuple[int, int]:
        """The largest H and the largest W, of any images."""
        return int(self.heights.max()), int(self.widths.max())

    @property
    def pixels(self) -> int:
        """Pixels of all images."""
        return int((self.heights.astype(np.int64) * self.widths).sum())

    def to_bytes(self) -> bytes:
        """The payload of the section, the shortest of its codings. `from_bytes` is the inverse."""
        pairs = self.heights.astype(np.int64) << 32 | self.widths
        distinct, index, counts = np.unique(pairs, return_inverse=True, return_counts=True)
        if len(distinct) == 1:
            return self._head(_ONE_SIZE) + _ONE.pack(int(self.heights[0]), int(self.widths[0]))
        order = np.argsort(-counts, kind="stable")  # frequent sizes have the small numbers, which cost least
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        table = distinct[order]
        bodies = [self._head(_EACH) + _coded(0, [self.heights - 1, self.widths - 1])]
        if len(distinct) < _MOST_DISTINCT:
            arrays = [(table >> 32) - 1, (table & 0xFFFFFFFF) - 1, rank[index.ravel()]]
            bodies.insert(0, self._head(_TABLE) + _coded(len(distinct), arrays))
        return min(bodies, key=len)

    def _head(self, coding: int) -> bytes:
        return _HEAD.pack(coding, self.cell, self.region, self.block_cells)

    @classmethod
    def from_bytes(cls, data: bytes, images: int, limits: Limits) -> "Sizes":
        """Read a payload of `images` sizes. DamagedArchiveError, LimitExceededError.

        The arrays are allocated once their bytes are within the limit.
        """
        limits.check("column_bytes", IMAGE_BYTES * images, "the table of sizes")
        if len(data) < _HEAD.size:
            raise DamagedArchiveError("too short for a table of sizes")
        coding, cell, region, block_cells = _HEAD.unpack_from(data)
        try:
            heights, widths = _sides(coding, data[_HEAD.size :], images)
            return cls(heights, widths, cell, region, block_cells)
        except UsageError as error:
            raise DamagedArchiveError(str(error)) from error
        except DamagedArchiveError as error:
            raise DamagedArchiveError(str(error).removeprefix("network: ")) from error


def _coded(distinct: int, arrays: Sequence[NDArray[np.integer]]) -> bytes:
    writer = IntegerWriter(_PRECISION)
    for array in arrays:
        writer.add(array)
    tables, words = writer.finish()
    return _TABLES.pack(distinct, len(tables), writer.symbols) + tables + words


def _sides(coding: int, data: bytes, images: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Heights and widths, int32 [images], their range not checked."""
    if coding == _ONE_SIZE:
        if len(data) != _ONE.size:
            raise DamagedArchiveError(f"{len(data)} bytes are no size")
        height, width = (min(side, MAX_SIDE + 1) for side in _ONE.unpack(data))
        return np.full(images, height, np.int32), np.full(images, width, np.int32)
    if coding not in (_TABLE, _EACH):
        raise DamagedArchiveError(f"sizes of coding {coding}, which cannot be")
    if len(data) < _TABLES.size:
        raise DamagedArchiveError("too short for a table of sizes")
    distinct, tables_bytes, symbols = _TABLES.unpack_from(data)
    end = _TABLES.size + tables_bytes
    if end > len(data) or not 1 <= symbols <= MAX_SYMBOLS:
        raise DamagedArchiveError("its tables end after its data, or have too many symbols")
    if distinct > min(images, _MOST_DISTINCT) or (distinct == 0) != (coding == _EACH):
        raise DamagedArchiveError(f"{distinct} distinct sizes of {images} images cannot be")
    tables = 3 if coding == _TABLE else 2
    reader = IntegerReader(data[_TABLES.size : end], data[end:], tables, symbols, _PRECISION)
    heights, widths = (reader.take(distinct or images).astype(np.int32) + np.int32(1) for _ in range(2))
    if coding == _TABLE:
        index = reader.take(images)
        if int(index.max()) >= distinct:
            raise DamagedArchiveError("the number of a size that is not listed")
        heights, widths = heights[index], widths[index]
    reader.finish()
    return heights, widths
