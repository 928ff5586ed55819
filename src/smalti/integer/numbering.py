"""Numbers for tuples of small integers: equal tuples get equal numbers, from 0 on without gaps."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["number_tuples"]

_DIRECT = 16
"""A table of all possible keys is faster than sorting up to this many entries for each key (measured)."""

_MOST = 1 << 62

Index = NDArray[np.intp]


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
