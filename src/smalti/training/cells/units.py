"""The parts of images that an archive codes alone: images, and regions of large ones."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.training.training_kind import REGION_PIXELS, block_pixels

__all__ = ["Unit", "units_of", "works_of"]

_WORK_PIXELS = 1 << 18
"""Pixels of images that are coded at once."""


@dataclass(frozen=True, eq=False)
class Unit:
    """An image, or a region of a large one: it is coded alone. cells : its cells among those of a batch"""

    cells: NDArray[np.int64]
    grid: tuple[int, int]


def units_of(images: int, grid: tuple[int, int], cell: int) -> list[Unit]:
    """The units of images of one grid of cells, in the order and of the sizes that an archive has."""
    rows, columns = grid
    numbers = np.arange(images * rows * columns).reshape(images, rows, columns)
    if rows * columns <= block_pixels(cell) // cell**2:
        return [Unit(image.ravel(), grid) for image in numbers]
    side = math.isqrt(REGION_PIXELS // cell**2)
    parts = [
        image[top : top + side, left : left + side]
        for image in numbers
        for top in range(0, rows, side)
        for left in range(0, columns, side)
    ]
    return [Unit(part.ravel(), (part.shape[0], part.shape[1])) for part in parts]


def works_of(units: list[Unit], cell: int) -> list[list[Unit]]:
    """Units in a row that are coded at once."""
    works: list[list[Unit]] = []
    left = 0
    for unit in units:
        if left < len(unit.cells):
            works.append([])
            left = max(_WORK_PIXELS // cell**2, len(unit.cells))
        works[-1].append(unit)
        left -= len(unit.cells)
    return works
