"""A reader of the sizes section, and of the units and blocks that follow from it, written from docs/format.md.

If some images are copies of others, a list of them comes first.
"""

from dataclasses import dataclass

import numpy as np

from conformance.readers.basics import Bytes, Coder, demand, read_tables
from conformance.readers.network import Arrays

ONE, LISTED, EACH = 1, 2, 3
PRECISION = 12
Unit = tuple[int, int, int, int, int]
"""Image, first row, first column, rows and columns of cells."""


@dataclass(frozen=True)
class Sizes:
    """The sections's fields. sides : H and W of each image"""

    sides: list[tuple[int, int]]
    cell: int
    region: int
    block_cells: int

    def units(self) -> list[Unit]:
        """The units of all images."""
        found: list[Unit] = []
        for image, (height, width) in enumerate(self.sides):
            rows, columns = -(-height // self.cell), -(-width // self.cell)
            if rows * columns <= self.block_cells:
                found.append((image, 0, 0, rows, columns))
                continue
            for top in range(0, rows, self.region):
                for left in range(0, columns, self.region):
                    size = min(self.region, rows - top), min(self.region, columns - left)
                    found.append((image, top, left, *size))
        return found

    def blocks(self) -> list[list[Unit]]:
        """The units of each block."""
        blocks: list[list[Unit]] = []
        held = 0
        for unit in self.units():
            cells = unit[3] * unit[4]
            if not blocks or held + cells > self.block_cells:
                blocks.append([])
                held = 0
            blocks[-1].append(unit)
            held += cells
        return blocks


def read_copies(data: bytes, images: int) -> tuple[list[int], bytes]:
    """Read the list of copies. Returns the stored number of each image, and the bytes after the list."""
    source = Bytes(data)
    copies, length, words, symbols = source.fields("IIIB")
    demand(1 <= copies < images and 1 <= symbols <= 96, "copies, symbols of a table")
    packed = Bytes(source.take(length))
    tables = read_tables(packed, 2, symbols, PRECISION)
    demand(not packed.rest(), "bytes after the tables")
    coder = Coder(source.take(words))
    arrays = Arrays(coder, tables, PRECISION)
    gaps = arrays.array(np.zeros(copies, np.int64)).tolist()
    changes = arrays.array(np.zeros(copies, np.int64), signed=True).tolist()
    coder.end()
    back, number, distance = {}, -1, 0
    for gap, change in zip(gaps, changes, strict=True):
        number, distance = number + 1 + gap, distance + change
        demand(1 <= distance <= number < images, "a copy")
        back[number] = distance
    stored: list[int] = []
    for image in range(images):
        stored.append(stored[image - back[image]] if image in back else max(stored, default=-1) + 1)
    return stored, source.rest()


def read_sizes(data: bytes, images: int) -> Sizes:
    """Read the payload of a sizes section."""
    source = Bytes(data)
    coding, cell, region, block_cells = source.fields("BBHI")
    demand(1 <= cell <= 64 and region >= 1 and region**2 <= block_cells <= 1 << 24, "cells, regions, blocks")
    if coding == ONE:
        sides = [source.fields("II")] * images
        demand(not source.rest(), "bytes after the one size")
    else:
        demand(coding in (LISTED, EACH), "coding of the sizes")
        sides = read_arrays(source, coding, images)
    demand(all(1 <= min(size) <= max(size) <= 1 << 24 for size in sides), "a side")
    demand(sum(height * width for height, width in sides) < 1 << 60, "pixels")
    return Sizes([(height, width) for height, width in sides], cell, region, block_cells)


def read_arrays(source: Bytes, coding: int, images: int) -> list[tuple[int, ...]]:
    """Read codings 2 and 3."""
    listed, length, symbols = source.fields("IIB")
    demand(1 <= symbols <= 96, "symbols of a table")
    demand(listed == 0 if coding == EACH else 1 <= listed <= min(images, 65536), "listed sizes")
    packed = Bytes(source.take(length))
    tables = read_tables(packed, 3 if coding == LISTED else 2, symbols, PRECISION)
    demand(not packed.rest(), "bytes after the tables")
    coder = Coder(source.rest())
    arrays = Arrays(coder, tables, PRECISION)
    heights, widths = (arrays.array(np.zeros(listed or images, np.int64)) + 1 for _ in range(2))
    sides = list(zip(heights.tolist(), widths.tolist(), strict=True))
    if coding == LISTED:
        numbers = arrays.array(np.zeros(images, np.int64))
        demand(int(numbers.max()) < listed, "the number of a size")
        sides = [sides[number] for number in numbers.tolist()]
    demand(arrays.used == len(tables), "a table is left over")
    coder.end()
    return sides
