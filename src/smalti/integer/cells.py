"""Adding patches up where they overlap, when there are few distinct ones: look-ups and additions of whole rows.

Patches that stand `step` apart are cut into cells as large as a step. What block b of the result comes to is then
cell 0 of the patch at b, plus cell 1 of the patch at b - 1, and so on, along both axes.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from smalti.integer.activation import Values

__all__ = ["Pair", "add_cells", "cut_patches", "neighbours"]

Index = NDArray[np.intp]
Pair = tuple[int, int]


def cut_patches(patches: Values, step: Pair) -> Values:
    """Cut patches [r, y, x, channels] into cells: [r, cells, values of a cell], the last ones filled up with zeros."""
    count, height, width, channels = patches.shape
    rows, columns = -(-height // step[0]), -(-width // step[1])
    filled = np.zeros((count, rows * step[0], columns * step[1], channels), patches.dtype)
    filled[:, :height, :width] = patches
    by_cell = filled.reshape(count, rows, step[0], columns, step[1], channels).transpose(0, 1, 3, 2, 4, 5)
    return by_cell.reshape(count, rows * columns, step[0] * step[1] * channels)


def neighbours(places: Index, cells: Pair) -> Iterator[Index]:
    """For each cell, the numbers of the patches that give it to the blocks [.., y, x].

    places : numbers of patches [..., y + cells[0] - 1, x + cells[1] - 1], those above and to the left included
    """
    height, width = places.shape[-2] - cells[0] + 1, places.shape[-1] - cells[1] + 1
    for y in range(cells[0] - 1, -1, -1):
        for x in range(cells[1] - 1, -1, -1):
            yield places[..., y : y + height, x : x + width]


def add_cells(table: Values, numbers: Iterator[Index]) -> Values:
    """Sums of cells: [n, values of a cell].

    table : [patches, cells, values of a cell]
    numbers : for each cell, the patch that it comes from, n altogether
    """
    cells = table.shape[1]
    rows = table.reshape(-1, table.shape[2])
    sums: Values = rows.take(next(numbers).ravel() * cells, axis=0)
    buffer = np.empty_like(sums)
    for cell, patch in enumerate(numbers, start=1):
        # mode="clip" lets NumPy write straight into `out`; no index is ever out of range
        rows.take(patch.ravel() * cells + cell, axis=0, out=buffer, mode="clip")
        sums += buffer
    return sums
