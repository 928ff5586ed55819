"""The cells of pictures: their neighbours, and the phases in which they are decoded.

Pictures are grids of cells. All cells of a block are one list, picture after picture, row by row, so that a step of the
decoder works on all pictures at once. A picture never sees another one.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIRST_PHASES", "PHASES", "REACHES", "CellLists", "same_grids"]

FIRST_PHASES = 7
"""Phases of the first component: a lattice of every 8th cell that becomes finer by its centres, then by its edges."""

REACHES = (0, 4, 4, 2, 2, 1, 1)
"""How far away the neighbours are that a phase of the first component looks at; none for the first phase."""

PHASES = 2
"""Phases of all other components: the black and the white cells of a checkerboard."""

Grids = NDArray[np.int64]


class CellLists:
    """The cells of pictures. grids : int64 [pictures, 2], rows and columns of cells"""

    def __init__(self, grids: Grids) -> None:
        self.grids = grids
        counts = grids.prod(axis=1)
        self.cells = int(counts.sum())
        self._starts = np.cumsum(counts) - counts
        self._pictures = np.repeat(np.arange(len(grids)), counts)
        self._heights, self._widths = grids[self._pictures].T
        self._rows, self._columns = np.divmod(np.arange(self.cells) - self._starts[self._pictures], self._widths)

    def neighbours(self, reach: int, of: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """The 3 x 3 cells around each cell, `reach` apart, row by row: int64 [cells, 9]; `cells` if there is none.

        of : the cells whose neighbours are wanted; None for all
        """
        own = np.arange(self.cells) if of is None else of
        rows, columns, heights, widths = (
            values[own] for values in (self._rows, self._columns, self._heights, self._widths)
        )
        found = np.empty((len(own), 9), np.int64)
        for place in range(9):
            down, right = (place // 3 - 1) * reach, (place % 3 - 1) * reach
            row, column = rows + down, columns + right
            inside = (row >= 0) & (row < heights) & (column >= 0) & (column < widths)
            found[:, place] = np.where(inside, own + down * widths + right, self.cells)
        return found

    def first_phase(self) -> list[NDArray[np.int64]]:
        """The cells of each phase of the first component, ascending."""
        rows, columns = self._rows, self._columns
        phases = np.full(self.cells, FIRST_PHASES - 1, np.int8)
        for side, centres in ((2, 5), (4, 3), (8, 1)):
            half = side // 2
            on = (rows % half == 0) & (columns % half == 0)
            across, along = rows % side != 0, columns % side != 0
            phases[on & (across | along)] = centres + 1
            phases[on & across & along] = centres
        phases[(rows % 8 == 0) & (columns % 8 == 0)] = 0
        return [np.flatnonzero(phases == number) for number in range(FIRST_PHASES)]

    def phase(self) -> list[NDArray[np.int64]]:
        """The cells of each phase of the other components, ascending."""
        phases = (self._rows + self._columns) % PHASES
        return [np.flatnonzero(phases == number) for number in range(PHASES)]

    def places(self, grid: tuple[int, int]) -> NDArray[np.int64] | None:
        """The number of each cell within its picture, row by row; those of pictures of other grids have h * w.

        None if no picture has this grid (h, w).
        """
        own = (self.grids == grid).all(axis=1)[self._pictures]
        if not own.any():
            return None
        return np.where(own, self._rows * grid[1] + self._columns, grid[0] * grid[1])

    def of_pictures(self, pictures: NDArray[np.int64], grid: tuple[int, int]) -> NDArray[np.int64]:
        """The cells of pictures of one grid: int64 [pictures, rows * columns]."""
        return np.asarray(self._starts[pictures][:, None] + np.arange(grid[0] * grid[1]))


def same_grids(grids: Grids) -> list[tuple[tuple[int, int], NDArray[np.int64]]]:
    """Each distinct grid (rows, columns), and the numbers of its pictures, ascending."""
    distinct, inverse = np.unique(grids, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    order = np.argsort(inverse, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(inverse, minlength=len(distinct)))[:-1])
    return [((int(rows), int(columns)), part) for (rows, columns), part in zip(distinct, parts, strict=True)]
