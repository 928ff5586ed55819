"""Which tokens of an image are of which level, and which codes they are; it knows no values of codes.

The tokens of an image follow each other level by level, and within a level row after row. In arrays they are numbers
of codes among those of all levels, or ABSENT: the codes of level 0 come first, then those of level 1, and so on.
"""

from itertools import accumulate
from math import prod

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.pyramid.pyramid_network import ABSENT, PyramidNetwork
from smalti.errors import ModelError, UsageError

__all__ = ["MAX_TOKENS", "TokenLayout"]

MAX_TOKENS = (1 << 16) - 1

Index = NDArray[np.intp]
Pair = tuple[int, int]


class TokenLayout:
    """The tokens of images for a network and a canvas grid; ModelError if they do not fit.

    grids : rows and columns of each level
    starts : the first token of each level, and T
    numbers : the number of the first code of each level, and U
    """

    def __init__(self, network: PyramidNetwork, grid: Pair) -> None:
        scales = [scale.grid(grid) for scale in network.scales]
        self.scale_grids = tuple(scales)
        self.grids = tuple(scales[level.scale] for level in network.levels)
        self.starts = tuple(accumulate((prod(each) for each in self.grids), initial=0))
        self.numbers = tuple(accumulate((level.size for level in network.levels), initial=0))
        if self.tokens > MAX_TOKENS:
            raise ModelError(f"{self.tokens} tokens an image; {MAX_TOKENS} are the most")

    @property
    def tokens(self) -> int:
        """T, tokens of an image, absent ones included."""
        return self.starts[-1]

    @property
    def levels(self) -> int:
        """L."""
        return len(self.grids)

    def part(self, level: int) -> slice:
        """Where the tokens of a level stand."""
        return slice(self.starts[level], self.starts[level + 1])

    def check(self, tokens: NDArray[np.integer]) -> Index:
        """The depth of each image, intp [n]: the levels it has; UsageError if tokens [n, T] cannot be."""
        if tokens.ndim != 2 or not np.issubdtype(tokens.dtype, np.integer) or tokens.shape[1] != self.tokens:
            raise UsageError(f"tokens are {tokens.dtype} {list(tokens.shape)}, not integers [images, {self.tokens}]")
        depths: Index = (tokens[:, self.starts[:-1]] != ABSENT).sum(axis=1, dtype=np.intp)
        for level in range(self.levels):
            found, here = tokens[:, self.part(level)], (depths > level)[:, None]
            valid = (found >= self.numbers[level]) & (found < self.numbers[level + 1])
            if not np.where(here, valid, found == ABSENT).all():
                raise UsageError(f"tokens of level {level} are not codes of it, or not all of them are absent")
        return depths

    def truncated(self, tokens: NDArray[np.integer], levels: int) -> NDArray[np.uint16]:
        """The same tokens with all but the first `levels` levels absent, uint16 [n, T]."""
        if not 0 <= levels <= self.levels:
            raise UsageError(f"{levels} levels of {self.levels}")
        shorter = tokens.astype(np.uint16)
        shorter[:, self.starts[levels] :] = ABSENT
        return shorter

    def ranks(self, tokens: NDArray[np.integer], level: int) -> Index:
        """Tokens of a level [n, rows, columns] as indices of its own codes; the number of these if absent."""
        first, past = self.numbers[level], self.numbers[level + 1]
        found = tokens[:, self.part(level)].reshape(-1, *self.grids[level])
        return np.where(found == ABSENT, past - first, found.astype(np.intp) - first)
