"""The order in which pixels are decoded, many at once, and where each finds the pixels before it.

A pixel looks at `radius` pixels to its left, and at rows of 2 * radius + 1 pixels above it. So all pixels of one value
of column + (radius + 1) * row can be decoded at once: a wave that goes over a picture from its top left. The waves of
all pictures go together. A picture never sees another one, nor anything beyond its own edges.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["PIECE_PIXELS", "Wavefront", "context_size", "place_of"]

PIECE_PIXELS = 2048
"""The most pixels that are decoded at once, so that what is computed for them stays in the caches. The order of the
symbols of an archive depends on it."""

_MOST_ROOM = 2
"""With more places for each pixel than this, the room around pictures would take more memory than they do."""

Ints = NDArray[np.int64]


def context_size(radius: int) -> int:
    """The number of pixels that a pixel looks at."""
    return 2 * radius * (radius + 1)


def place_of(radius: int, up: int, right: int) -> int:
    """The number of a place among those that a pixel looks at. up : rows    right : columns"""
    return (radius - up) * (2 * radius + 1) + radius + right


class Wavefront:
    """The pixels of pictures, one list, picture after picture, row by row; and a canvas with a place for each.

    grids : int64 [pictures, 2], rows and columns of pixels
    places : int64 [pixels], of each pixel on the canvas, which has `room` places. Others are outside all pictures
    rows, columns, after : int64 [pixels], the row, the column, and how many pixels follow in the row

    Around pictures there are places outside, so that a context is found by steps from its pixel. The room around small
    pictures would be far larger than they are: then one place stands for all that is outside.
    """

    def __init__(self, grids: Ints, radius: int) -> None:
        across = np.arange(-radius, radius + 1)
        self._up = np.append(np.repeat(np.arange(radius, 0, -1), len(across)), np.zeros(radius, np.int64))
        self._beside = np.append(np.tile(across, radius), np.arange(-radius, 0))
        heights, widths = grids[:, 0], grids[:, 1]
        numbers = np.repeat(np.arange(len(grids)), heights * widths)
        starts = np.cumsum(heights * widths) - heights * widths
        width = widths[numbers]
        self.rows, self.columns = np.divmod(np.arange(len(numbers)) - starts[numbers], width)
        self.after = width - 1 - self.columns
        self._radius = radius
        strides = widths + radius  # the room after a row is that before the next one
        sizes = (heights + radius) * strides
        self.room = int(sizes.sum()) + 2 * radius
        self._has_room = self.room <= _MOST_ROOM * len(numbers)
        if self._has_room:
            first = np.cumsum(sizes) - sizes + radius
            self._strides = strides[numbers]
            self.places = first[numbers] + (self.rows + radius) * self._strides + self.columns
        else:
            self.room = len(numbers) + 1
            strides, self._strides, self.places = widths, width, np.arange(len(numbers))
        self._stride = int(strides[0]) if len(grids) and bool((strides == strides[0]).all()) else 0

    def pieces(self) -> tuple[Ints, Ints]:
        """All pixels in the order of waves, ascending within each; and where pieces of them begin, and the last ends.

        A piece is decoded at once: a wave, or PIECE_PIXELS of it, or what is left of it.
        """
        waves = self.columns + (self._radius + 1) * self.rows
        order = np.argsort(waves, kind="stable")
        begins = np.flatnonzero(np.diff(waves[order], prepend=-1))
        counts = -(-np.diff(begins, append=len(order)) // PIECE_PIXELS)
        before = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        return order, np.append(np.repeat(begins, counts) + PIECE_PIXELS * before, len(order))

    def nearest(self, pixels: Ints) -> tuple[Ints, Ints, Ints]:
        """The pixels to the left, above, and above to the left of each: int64 [n]. -1 is outside the picture."""
        columns, inside = self.columns[pixels], self.rows[pixels] > 0
        above = pixels - (columns + self.after[pixels] + 1)
        return (
            np.where(columns > 0, pixels - 1, -1),
            np.where(inside, above, -1),
            np.where(inside & (columns > 0), above - 1, -1),
        )

    def context(self, pixels: Ints) -> Ints:
        """The places of the pixels that each looks at, int64 [n, context_size]: row by row, the own row last."""
        up = self._stride * self._up if self._stride else self._strides[pixels][:, None] * self._up
        found = np.asarray(self.places[pixels][:, None] + (self._beside - up))
        if not self._has_room:
            outside = self._beside < -self.columns[pixels][:, None]
            outside |= self._beside > self.after[pixels][:, None]
            outside |= self._up > self.rows[pixels][:, None]
            found[outside] = self.room - 1
        return found
