"""The order of images in an epoch: blocks shuffled, and images shuffled within a window of some blocks.

It depends on the seed, the epoch and the blocks alone. PyTorch and NumPy promise no shuffle that stays the same from
release to release, but NumPy promises the raw numbers of PCG64 (O'Neill 2014): images are sorted by such numbers.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["BlockOrder"]


class BlockOrder:
    """All images of one epoch, each once; what is not asked for is not drawn, so that any place is found at once.

    bounds : int64 [blocks + 1], where blocks begin, and N
    window_blocks : blocks of a window; images of different windows do not mix
    """

    def __init__(self, bounds: NDArray[np.int64], window_blocks: int, seed: int, epoch: int) -> None:
        self._bounds, self._window_blocks = bounds, window_blocks
        self._seed, self._epoch = seed, epoch
        self._blocks = self._shuffled(len(bounds) - 1, 0)
        sizes = np.diff(bounds)[self._blocks]
        ends = np.append(0, np.cumsum(sizes))
        self._starts = np.append(ends[:-1:window_blocks], ends[-1])  # of windows, and N

    def __len__(self) -> int:
        return int(self._bounds[-1])

    def from_place(self, place: int) -> Iterator[int]:
        """Image numbers from a place of the order on, 0 to N, to its end."""
        first = int(np.searchsorted(self._starts, place, side="right")) - 1
        for window in range(first, len(self._starts) - 1):
            yield from self._window(window)[max(place - int(self._starts[window]), 0) :].tolist()

    def _window(self, number: int) -> NDArray[np.int64]:
        blocks = self._blocks[number * self._window_blocks : (number + 1) * self._window_blocks]
        images = np.concatenate([np.arange(self._bounds[block], self._bounds[block + 1]) for block in blocks])
        return images[self._shuffled(len(images), number + 1)]

    def _shuffled(self, count: int, purpose: int) -> NDArray[np.intp]:
        generator = np.random.PCG64(np.random.SeedSequence([self._seed, self._epoch, purpose]))
        return np.argsort(generator.random_raw(count), kind="stable")
