"""The levels of samples that may be off by no more than an error: as few as there can be."""

import numpy as np
from numpy.typing import NDArray

from smalti.training.lossless.occurring import Occurring
from smalti.training.pixels.levels import Levels, LevelTable

__all__ = ["exact_levels"]

_AROUND = 33
"""How dense the samples of a channel are is looked at so far around each."""

_GAP_BITS = 1.5
"""About what the distance to the next level takes in a file, if there are gaps."""

Ints = NDArray[np.int64]


def exact_levels(occurring: Occurring, max_error: int) -> Levels:
    """Levels within `max_error` of every sample that occurs. Alpha stays exact, so that what is hidden stays hidden."""
    channels = len(occurring.counts)
    alpha = channels - 1 if channels in (2, 4) else None
    tables = []
    for channel, counts in enumerate(occurring.counts):
        error = 0 if channel == alpha else max_error
        tables.append(LevelTable(_covering(_wanted(counts), error), len(counts) - 1))
    return Levels(tuple(tables), 0.0)


def _wanted(counts: Ints) -> Ints:
    """The samples to have levels for: those that occur, or all between them if a list with gaps does not pay."""
    found = np.flatnonzero(counts)
    if len(found) < 2:
        return found if len(found) else np.zeros(1, np.int64)
    if len(counts) == 256:  # the list is short
        return found
    density = np.convolve(counts > 0, np.ones(_AROUND) / _AROUND, "same")
    saved = float(-(counts[found] * np.log2(np.minimum(density[found], 1))).sum())
    whole = len(found) == found[-1] - found[0] + 1
    return found if whole or saved > _GAP_BITS * len(found) else np.arange(found[0], found[-1] + 1)


def _covering(samples: Ints, error: int) -> Ints:
    """The fewest levels that are within an error of ascending samples."""
    if not error:
        return samples
    levels, place = [], 0
    while place < len(samples):
        level = min(int(samples[place]) + error, int(samples[-1]))
        levels.append(level)
        place = int(np.searchsorted(samples, level + error, side="right"))
    return np.array(levels, np.int64)
