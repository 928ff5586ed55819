"""The cells of pictures: their neighbours, and the phases in which they are decoded.

Pictures are grids of cells. All cells of a block are one list, picture after picture, row by row, so that a step of the
decoder works on all pictures at once. A picture never sees another one.
"""

from collections.abc import Callable

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
        self.cells = int(grids.prod(axis=1).sum())
        self._bounds = np.concatenate([[0], np.cumsum(grids.prod(axis=1))]).astype(np.int64)
        self._neighbours: dict[int, NDArray[np.int64]] = {}

    def neighbours(self, reach: int) -> NDArray[np.int64]:
        """The 3 x 3 cells around each cell, `reach` apart, row by row: int64 [cells, 9]; `cells` if there is none."""
        if reach not in self._neighbours:
            self._neighbours[reach] = self._each(9, lambda rows, columns: _around(rows, columns, reach), self.cells)
        return self._neighbours[reach]

    def first_phase(self) -> list[NDArray[np.int64]]:
        """The cells of each phase of the first component, ascending."""
        phase = self._each(1, _first_phase)[:, 0]
        return [np.flatnonzero(phase == number) for number in range(FIRST_PHASES)]

    def phase(self) -> list[NDArray[np.int64]]:
        """The cells of each phase of the other components, ascending."""
        phase = self._each(1, lambda rows, columns: np.indices((rows, columns)).sum(axis=0).reshape(-1, 1) % PHASES)[
            :, 0
        ]
        return [np.flatnonzero(phase == number) for number in range(PHASES)]

    def places(self, grid: tuple[int, int]) -> NDArray[np.int64] | None:
        """The number of each cell within its picture, row by row; those of pictures of other grids have h * w.

        None if no picture has this grid (h, w).
        """
        if not (self.grids == grid).all(axis=1).any():
            return None
        none = grid[0] * grid[1]

        def numbered(rows: int, columns: int) -> NDArray[np.int64]:
            own = (rows, columns) == grid
            return (np.arange(none) if own else np.full(rows * columns, none)).reshape(-1, 1)

        return self._each(1, numbered)[:, 0]

    def _each(
        self, width: int, make: Callable[[int, int], NDArray[np.int64]], absent: int | None = None
    ) -> NDArray[np.int64]:
        """Put together what `make` gives for every picture. absent : indices of cells; stands for those below 0"""
        result = np.empty((self.cells, width), np.int64)
        for (rows, columns), pictures in same_grids(self.grids):
            made = make(rows, columns)
            if absent is None:
                values = np.broadcast_to(made, (len(pictures), *made.shape))
            else:
                values = np.where(made < 0, absent, made + self._bounds[pictures][:, None, None])
            cells = self._bounds[pictures][:, None] + np.arange(rows * columns)
            result[cells.ravel()] = values.reshape(-1, width)
        return result

    def of_pictures(self, pictures: NDArray[np.int64], grid: tuple[int, int]) -> NDArray[np.int64]:
        """The cells of pictures of one grid: int64 [pictures, rows * columns]."""
        return self._bounds[pictures][:, None] + np.arange(grid[0] * grid[1])


def same_grids(grids: Grids) -> list[tuple[tuple[int, int], NDArray[np.int64]]]:
    """Each distinct grid (rows, columns), and the numbers of its pictures, ascending."""
    distinct, inverse = np.unique(grids, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    order = np.argsort(inverse, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(inverse, minlength=len(distinct)))[:-1])
    return [((int(rows), int(columns)), part) for (rows, columns), part in zip(distinct, parts, strict=True)]


def _around(rows: int, columns: int, reach: int) -> NDArray[np.int64]:
    numbers = np.full((rows + 2 * reach, columns + 2 * reach), -1, np.int64)
    numbers[reach : reach + rows, reach : reach + columns] = np.arange(rows * columns).reshape(rows, columns)
    steps = [(dy * reach, dx * reach) for dy in range(3) for dx in range(3)]
    return np.stack([numbers[y : y + rows, x : x + columns].ravel() for y, x in steps], axis=1)


def _first_phase(rows: int, columns: int) -> NDArray[np.int64]:
    row, column = np.indices((rows, columns))
    phase = np.full((rows, columns), 6)
    for side, centres in ((2, 5), (4, 3), (8, 1)):
        half = side // 2
        on = (row % half == 0) & (column % half == 0)
        phase[on & ((row % side != 0) | (column % side != 0))] = centres + 1
        phase[on & (row % side != 0) & (column % side != 0)] = centres
    phase[(row % 8 == 0) & (column % 8 == 0)] = 0
    return phase.reshape(-1, 1)
