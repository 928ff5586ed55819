"""Adding patches up where they overlap, when there are few distinct ones: look-ups and additions of whole rows.

Patches that stand `step` apart are cut into cells as large as a step. What block b of the result comes to is then
cell 0 of the patch at b, plus cell 1 of the patch at b - 1, and so on, along both axes.

Numbers for tuples of small integers: equal tuples get equal numbers, from 0 on without gaps.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.integer_network import Values

__all__ = ["Pair", "add_cells", "cut_patches", "neighbours", "number_tuples"]


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


_DIRECT = 16
"""A table of all possible keys is faster than sorting up to this many entries for each key (measured)."""

_MOST = 1 << 62


def number_tuples(places: Iterable[NDArray[Any]], values: int) -> tuple[Index, int]:
    """Number the tuples that arrays of one shape hold, one place of the tuples each.

    places : integers, each in [0, values)

    Returns their numbers, intp of the same shape, and how many distinct ones there are.
    """
    keys: Index | None = None
    space = 1
    for place in places:
        if keys is None:
            keys, space = place.astype(np.intp), values
            continue
        if space > _MOST // values:
            keys, space = _close_gaps(keys, space)
        keys *= values
        keys += place
        space *= values
    if keys is None:
        raise AssertionError("tuples of no places")
    return _close_gaps(keys, space)


def _close_gaps(keys: Index, space: int) -> tuple[Index, int]:
    """Number keys in [0, space) from 0 on in ascending order."""
    if space > _DIRECT * keys.size + 1024:
        distinct, numbers = np.unique(keys, return_inverse=True)
        return numbers.reshape(keys.shape), len(distinct)
    seen = np.zeros(space, np.bool_)
    seen[keys] = True
    distinct = np.flatnonzero(seen)
    table = np.empty(space, np.intp)
    table[distinct] = np.arange(len(distinct))
    return table[keys], len(distinct)
