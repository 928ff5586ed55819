"""The levels of samples: evenly spaced between the least and the largest, as many as a goal needs.

A uniform quantiser with choices by rate and distortion is close to the best there is at every rate (Sullivan 1996).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.images.batch import Pixels
from smalti.training.cells.samples import Samples, seen_weights

__all__ = ["LevelTable", "Levels", "find_levels", "levels_for", "sample_counts"]

MOST_LEVELS = 256
"""More are never needed for 8 bits, and would make a network of 16 bits slow."""

_CHOSEN_PAYS = 0.78
"""Choosing levels by their bits adds this much to the error of the nearest ones: levels are for less."""

Ints = NDArray[np.int64]


class LevelTable:
    """The levels of one channel. values : the samples that they stand for, ascending    largest : of the dtype"""

    def __init__(self, values: Ints, largest: int) -> None:
        self.values = values
        middles = (values[1:] + values[:-1] + 1) // 2
        self.nearest = np.searchsorted(middles, np.arange(largest + 1), side="right").astype(np.uint16)


@dataclass(frozen=True, eq=False)
class Levels:
    """The levels of all channels, and the squared step of one, of samples in [0, 1]."""

    tables: tuple[LevelTable, ...]
    squared_step: float

    def nearest(self, pixels: Pixels) -> NDArray[np.uint16]:
        """The level nearest to each sample of [..., C]."""
        found = np.empty(pixels.shape, np.uint16)
        for channel, table in enumerate(self.tables):
            found[..., channel] = table.nearest[pixels[..., channel]]
        return found


def sample_counts(samples: Samples) -> NDArray[np.float64]:
    """How much the samples of each value of each channel weigh in the mean squared error: [C, largest + 1].

    The error of a collection is the mean of those of its images, whatever their sizes are: each image weighs 1.
    """
    largest = int(np.iinfo(samples.pictures[0].pixels.dtype).max)
    channels = samples.pictures[0].pixels.shape[2]
    counts = np.zeros((channels, largest + 1))
    for picture in samples.pictures:
        weights = seen_weights(picture.pixels[None])
        seen = picture.pixels[..., 0].size if weights is None else np.count_nonzero(picture.pixels[..., -1])
        share = 1 / (len(samples.pictures) * channels * (seen or picture.pixels[..., 0].size))
        for channel in range(channels):
            own = None if weights is None else weights[0, ..., channel].ravel()
            counts[channel] += share * np.bincount(picture.pixels[..., channel].ravel(), own, largest + 1)
    return counts


def levels_for(samples: Samples, mse: float) -> Levels:
    """The levels for a mean squared error, of samples in [0, 1], after the choice of levels by their bits."""
    return find_levels(sample_counts(samples), mse * _CHOSEN_PAYS, samples.scale.high - samples.scale.low)


def find_levels(counts: NDArray[np.float64], mse: float, width: int) -> Levels:
    """The fewest levels whose squared error is at most `mse`, of samples in [0, 1].

    counts : of `sample_counts`    width : samples this far apart are 1 apart
    """
    low, high = 2, MOST_LEVELS
    while low < high:
        middle = (low + high) // 2
        if _error(counts, _tables(counts, middle)) <= mse * width**2:
            high = middle
        else:
            low = middle + 1
    tables = _tables(counts, low)
    steps = [float(np.diff(table.values).mean()) for table in tables if len(table.values) > 1]
    return Levels(tables, (max(steps, default=0.0) / width) ** 2)


def _tables(counts: NDArray[np.float64], most: int) -> tuple[LevelTable, ...]:
    """Levels of each channel, as far apart as `most` levels of the widest one are."""
    occurring = [np.flatnonzero(own) for own in counts]
    ends = [(int(own[0]), int(own[-1])) if len(own) else (0, 0) for own in occurring]
    step = max(1.0, max(high - low for low, high in ends) / (most - 1))
    made = []
    for low, high in ends:
        number = max(1, round((high - low) / step))
        values = np.unique(np.floor(np.linspace(low, high, number + 1) + 0.5).astype(np.int64))
        made.append(LevelTable(values, counts.shape[1] - 1))
    return tuple(made)


def _error(counts: NDArray[np.float64], tables: tuple[LevelTable, ...]) -> float:
    values = np.arange(counts.shape[1])
    return float(
        sum(
            (own * (table.values[table.nearest] - values) ** 2).sum() for own, table in zip(counts, tables, strict=True)
        )
    )
