"""Which images a token block holds: the one concept of this that both forms of archive answer.

    FixedLayout   images of one shape: a block holds so many images
    SizedLayout   images of any sizes: a block holds units, which are whole images, or regions of large ones
    CopiedLayout  the same, if some images are copies of others, which are stored once

Everything follows from the header and the sizes section, so no block need be read.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.copies import Copies
from smalti.archive.format.layout import ENTRY_BYTES
from smalti.archive.format.limits import Limits
from smalti.archive.format.sizes import IMAGE_BYTES, MOST_PIXELS, Sizes
from smalti.errors import DamagedArchiveError

__all__ = ["CopiedLayout", "FixedLayout", "Layout", "Rectangle", "SizedLayout", "joined", "spanned"]


class Layout(Protocol):
    """Images and blocks of an archive."""

    @property
    def images(self) -> int:
        """N."""

    @property
    def blocks(self) -> int:
        """Number of token blocks."""

    @property
    def pixels(self) -> int:
        """Pixels of all images, H * W each."""

    @property
    def block_bounds(self) -> NDArray[np.int64]:
        """int64 [n + 1], ascending: the first image of each run of images that is best read together, and N.

        A run is a token block; where a block begins within an image, the image belongs to the run before.
        """

    def image_runs(self, block: int) -> list[range]:
        """The images that need the tokens of a block, ascending; each run is as long as it can be."""

    def images_up_to(self, block: int) -> int:
        """How many images there are up to the last one that is stored in a block."""

    def blocks_of(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first and the last block of each image: int64 [n] each."""


class FixedLayout:
    """The layout of images of one shape.

    images : N    block_images : images of a block, the last one may have fewer    size : H, W
    """

    def __init__(self, images: int, block_images: int, size: tuple[int, int]) -> None:
        self.images, self.block_images = images, block_images
        self.blocks = -(-images // block_images)
        self.pixels = images * size[0] * size[1]

    @property
    def block_bounds(self) -> NDArray[np.int64]:
        """int64 [blocks + 1]: the first image of each block, and N."""
        return np.minimum(np.arange(self.blocks + 1, dtype=np.int64) * self.block_images, self.images)

    def image_range(self, block: int) -> range:
        """The images of a block."""
        return range(block * self.block_images, min((block + 1) * self.block_images, self.images))

    def image_runs(self, block: int) -> list[range]:
        """The images of a block, in one run."""
        return [self.image_range(block)]

    def images_up_to(self, block: int) -> int:
        """How many images the blocks up to this one have."""
        return self.image_range(block).stop

    def blocks_of(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The block of each image, twice."""
        blocks = numbers // self.block_images
        return blocks, blocks


class Rectangle(NamedTuple):
    """Whole cells of an image: rows [top, top + rows) and columns [left, left + columns)."""

    image: int
    top: int
    left: int
    rows: int
    columns: int

    @property
    def cells(self) -> int:
        """Their number."""
        return self.rows * self.columns


class SizedLayout:
    """The layout of images of any sizes (docs/format.md, "Sizes").

    An image of at most `block_cells` cells is one unit. A larger one is cut into regions, row by row, each a unit.
    Units are numbered through. A block takes units in order, as long as it has at most `block_cells` cells.

    images : N    blocks : number of token blocks    pixels : of all images    cells : of all images
    units : their number
    largest_block : the most cells that a block has
    widest_row : the most cells that a row of regions has; 0 if no image is cut

    Raises LimitExceededError before it allocates arrays that are too large.
    """

    def __init__(self, sizes: Sizes, limits: Limits) -> None:
        self.sizes, self.images = sizes, len(sizes)
        self._rows, self._columns = (-(-sides // sizes.cell) for sides in (sizes.heights, sizes.widths))
        self.pixels = sizes.pixels
        cells = _products(self._rows, self._columns)
        self.cells = int(cells.sum())
        limits.check("index_bytes", ENTRY_BYTES * (self.cells // sizes.block_cells), "the number of token blocks")
        counts = np.ones(self.images, np.int64)
        self._cut = cells > sizes.block_cells
        large = np.flatnonzero(self._cut)
        counts[large] = _products(self._regions(self._rows[large]), self._regions(self._columns[large]))
        self.widest_row = sizes.region * int(self._columns[large].max(initial=0))
        self.units = int(counts.sum())
        limits.check("column_bytes", IMAGE_BYTES * self.units, "the table of regions")
        self._first_units = np.concatenate([[0], np.cumsum(counts)])
        if len(large):
            parts = self._rectangles(np.arange(self.units, dtype=np.int64))
            cells = _products(parts[3], parts[4])
        self._cells_before = np.concatenate([[0], np.cumsum(cells)])
        self._first_of_block = self._blocks()
        self.blocks = len(self._first_of_block) - 1
        self.largest_block = int(np.diff(self._cells_before[self._first_of_block]).max())

    @property
    def block_bounds(self) -> NDArray[np.int64]:
        """int64 [n + 1]: the image of the first unit of each block, if it begins there, and N."""
        begins = np.searchsorted(self._first_units, self._first_of_block[:-1], side="left")
        return np.unique(np.append(begins, self.images)).astype(np.int64)

    def image_range(self, block: int) -> range:
        """The images that have cells in a block."""
        units = self.block_units(block)
        first, last = np.searchsorted(self._first_units, [units.start, units.stop - 1], side="right").tolist()
        return range(first - 1, last)

    def image_runs(self, block: int) -> list[range]:
        """The images that have cells in a block, in one run."""
        return [self.image_range(block)]

    def images_up_to(self, block: int) -> int:
        """How many images there are up to the last one of a block."""
        return self.image_range(block).stop

    def blocks_of(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first and the last block of each image: int64 [n] each."""
        return self.blocks_of_units(self._first_units[numbers]), self.blocks_of_units(
            self._first_units[numbers + 1] - 1
        )

    def size(self, image: int) -> tuple[int, int]:
        """H and W of an image."""
        return int(self.sizes.heights[image]), int(self.sizes.widths[image])

    def grid(self, image: int) -> tuple[int, int]:
        """Rows and columns of cells of an image."""
        return int(self._rows[image]), int(self._columns[image])

    def is_cut(self, image: int) -> bool:
        """Whether an image is cut into regions."""
        return bool(self._cut[image])

    def cut(self, images: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether images are cut into regions: bool [n]."""
        return self._cut[images]

    def image_grids(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows and columns of cells of images: int64 [n, 2]."""
        return np.stack([self._rows[images], self._columns[images]], axis=1).astype(np.int64)

    def image_places(self, images: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The block of each image that is not cut, and how many cells of the block come before it: int64 [n] each."""
        units = self._first_units[images]
        blocks = self.blocks_of_units(units)
        return blocks, self._cells_before[units] - self._cells_before[self._first_of_block[blocks]]

    def first_unit(self, image: int) -> int:
        """The number of the first unit of an image."""
        return int(self._first_units[image])

    def block_units(self, block: int) -> range:
        """The units of a block."""
        return range(int(self._first_of_block[block]), int(self._first_of_block[block + 1]))

    def blocks_of_units(self, units: NDArray[np.int64]) -> NDArray[np.int64]:
        """The block of each unit: int64 [n]."""
        return np.searchsorted(self._first_of_block, units, side="right") - 1

    def grids(self, block: int) -> NDArray[np.int64]:
        """Rows and columns of cells of each unit of a block: int64 [units, 2]."""
        units = self.block_units(block)
        return np.stack(self._rectangles(np.arange(units.start, units.stop, dtype=np.int64))[3:], axis=1)

    def place(self, unit: int) -> tuple[int, int]:
        """The block of a unit, and how many cells of the block come before it."""
        block = int(np.searchsorted(self._first_of_block, unit, side="right")) - 1
        return block, int(self._cells_before[unit] - self._cells_before[self._first_of_block[block]])

    def rectangles(self, units: range) -> list[Rectangle]:
        """The cells of units in order."""
        parts = self._rectangles(np.arange(units.start, units.stop, dtype=np.int64))
        return [Rectangle(*part) for part in zip(*(values.tolist() for values in parts), strict=True)]

    def units_of(self, image: int) -> range:
        """The units of an image."""
        return range(int(self._first_units[image]), int(self._first_units[image + 1]))

    def units_in(self, wanted: Rectangle) -> list[tuple[int, Rectangle]]:
        """The units that have cells in a rectangle, each with its own rectangle."""
        first = self.first_unit(wanted.image)
        rows, columns = self.grid(wanted.image)
        if not self.is_cut(wanted.image):
            return [(first, Rectangle(wanted.image, 0, 0, rows, columns))]
        side = self.sizes.region
        across = -(-columns // side)
        return [
            (
                first + y * across + x,
                Rectangle(wanted.image, y * side, x * side, min(side, rows - y * side), min(side, columns - x * side)),
            )
            for y in range(wanted.top // side, -(-(wanted.top + wanted.rows) // side))
            for x in range(wanted.left // side, -(-(wanted.left + wanted.columns) // side))
        ]

    def around(self, wanted: Rectangle, reach: int) -> Rectangle:
        """A rectangle with `reach` cells more on each side, as far as the image has them."""
        rows, columns = self.grid(wanted.image)
        top, left = max(0, wanted.top - reach), max(0, wanted.left - reach)
        bottom = min(rows, wanted.top + wanted.rows + reach)
        right = min(columns, wanted.left + wanted.columns + reach)
        return Rectangle(wanted.image, top, left, bottom - top, right - left)

    def _rectangles(self, units: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Image, top, left, rows and columns of units: int64 [n] each."""
        images = np.searchsorted(self._first_units, units, side="right") - 1
        rows, columns = self._rows[images].astype(np.int64), self._columns[images].astype(np.int64)
        side = np.where(self._cut[images], self.sizes.region, np.maximum(rows, columns))
        y, x = np.divmod(units - self._first_units[images], -(-columns // side))
        top, left = y * side, x * side
        return images, top, left, np.minimum(side, rows - top), np.minimum(side, columns - left)

    def _regions(self, sides: NDArray[np.int32]) -> NDArray[np.int64]:
        return -(-sides.astype(np.int64) // self.sizes.region)

    def _blocks(self) -> NDArray[np.int64]:
        """The first unit of each block, and the number of units: int64 [blocks + 1]."""
        starts = [0]
        while starts[-1] < self.units:
            most = self._cells_before[starts[-1]] + self.sizes.block_cells
            # no unit has more cells than a block may have, so a block has one unit at least
            starts.append(int(np.searchsorted(self._cells_before, most, side="right")) - 1)
        return np.array(starts, np.int64)


class CopiedLayout:
    """The layout of images of any sizes, some of which are copies: it speaks of all images.

    stored : the layout of the stored images, which speaks of their numbers    copies : the copies among all images

    Raises DamagedArchiveError if there are more pixels than an archive can hold.
    """

    def __init__(self, stored: SizedLayout, copies: Copies) -> None:
        self.stored, self.copies = stored, copies
        self.images, self.blocks = copies.images, stored.blocks
        uses = np.bincount(copies.numbers_of_images, minlength=copies.stored)
        pixels = _products(stored.sizes.heights, stored.sizes.widths)
        if float(np.sum(pixels.astype(np.float64) * uses)) >= MOST_PIXELS:
            raise DamagedArchiveError("more pixels than an archive can hold")
        self.pixels = int((pixels * uses).sum())

    @property
    def block_bounds(self) -> NDArray[np.int64]:
        """int64 [n + 1]: the first image of each block, if it begins there, and N. Copies belong to no block."""
        return np.append(self.copies.firsts[self.stored.block_bounds[:-1]], self.images)

    def image_runs(self, block: int) -> list[range]:
        """The images that have cells in a block, and all their copies."""
        numbers = self.copies.images_of(self.stored.image_range(block))
        ends = np.flatnonzero(np.diff(numbers) > 1)
        firsts, lasts = numbers[np.append(0, ends + 1)].tolist(), numbers[np.append(ends, len(numbers) - 1)].tolist()
        return [range(first, last + 1) for first, last in zip(firsts, lasts, strict=True)]

    def images_up_to(self, block: int) -> int:
        """How many images come before the first one that is stored in a later block."""
        stop = self.stored.image_range(block).stop
        return int(self.copies.firsts[stop]) if stop < self.copies.stored else self.images

    def blocks_of(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first and the last block of each image: int64 [n] each."""
        return self.stored.blocks_of(self.copies.numbers_of_images[numbers])


def joined(runs: Iterable[range]) -> list[range]:
    """Runs of images in ascending order, those that touch or overlap being one."""
    found: list[range] = []
    for run in sorted(runs, key=lambda run: run.start):
        if found and run.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, run.stop))
        else:
            found.append(run)
    return found


def spanned(firsts: NDArray[np.int64], lasts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The blocks, ascending, from any first one to its last one: int64 [n].

    firsts, lasts : int64 [m], m from 1
    """
    start = int(firsts.min())
    changes = np.bincount(firsts - start, minlength=int(lasts.max()) + 2 - start)
    changes -= np.bincount(lasts + 1 - start, minlength=len(changes))
    return np.flatnonzero(np.cumsum(changes)) + start


def _products(left: NDArray[np.integer], right: NDArray[np.integer]) -> NDArray[np.int64]:
    return left.astype(np.int64) * right
