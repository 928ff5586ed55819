"""The order in which pixels are decoded, many at once, and where each finds the pixels before it.

A pixel looks at `radius` pixels to its left, and at rows of 2 * radius + 1 pixels above it. So all pixels of one value
of column + (radius + 1) * row can be decoded at once: a wave that goes over a picture from its top left. The waves of
all pictures go together. A picture never sees another one, nor anything beyond its own edges.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["Wavefront", "context_size"]

Ints = NDArray[np.int64]


def context_size(radius: int) -> int:
    """The number of pixels that a pixel looks at."""
    return 2 * radius * (radius + 1)


class Wavefront:
    """The pixels of pictures, one list, picture after picture, row by row; and a canvas with room around pictures.

    grids : int64 [pictures, 2], rows and columns of pixels
    places : int64 [pixels], of each pixel on the canvas, which has `room` places. Others are outside all pictures
    rows, columns, after : int64 [pixels], the row, the column, and how many pixels follow in the row
    """

    def __init__(self, grids: Ints, radius: int) -> None:
        across = np.arange(-radius, radius + 1)
        self._up = np.append(np.repeat(np.arange(radius, 0, -1), len(across)), np.zeros(radius, np.int64))
        self._beside = np.append(np.tile(across, radius), np.arange(-radius, 0))
        heights, widths = grids[:, 0], grids[:, 1]
        numbers = np.repeat(np.arange(len(grids)), heights * widths)
        starts = np.cumsum(heights * widths) - heights * widths
        within = np.arange(len(numbers)) - starts[numbers]
        width = widths[numbers]
        self.rows, self.columns = np.divmod(within, width)
        self.after = width - 1 - self.columns
        strides = widths + radius  # the room after a row is that before the next one
        sizes = (heights + radius) * strides
        first = np.cumsum(sizes) - sizes + radius
        self._strides = strides[numbers]
        self._stride = int(strides[0]) if len(grids) and bool((strides == strides[0]).all()) else 0
        self.places = first[numbers] + (self.rows + radius) * self._strides + self.columns
        self.room = int(sizes.sum()) + 2 * radius
        self._waves = self.columns + (radius + 1) * self.rows

    def waves(self) -> Iterator[Ints]:
        """The pixels that are decoded at once, in coding order; ascending within a wave."""
        order = np.argsort(self._waves, kind="stable")
        counts = np.bincount(self._waves)
        start = 0
        for count in counts.tolist():
            if count:
                yield order[start : start + count]
            start += count

    def nearest(self, pixels: Ints) -> tuple[Ints, Ints, Ints]:
        """The places of the pixels to the left, above, and above to the left of each: int64 [n]."""
        places = self.places[pixels]
        above = places - self._strides[pixels]
        return places - 1, above, above - 1

    def context(self, pixels: Ints) -> Ints:
        """The places of the pixels that each looks at, int64 [n, context_size]: row by row, the own row last."""
        if self._stride:  # all pictures are as wide
            return np.asarray(self.places[pixels][:, None] + (self._beside - self._stride * self._up))
        return np.asarray(self.places[pixels][:, None] + self._beside - self._strides[pixels][:, None] * self._up)
