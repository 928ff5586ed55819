"""How large a network a collection gets: what its tokens will about take, and the decoder that pays for itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from smalti.images.batch import Pixels
from smalti.training.common.scaling import EIGHT_BITS, PixelScale
from smalti.training.pyramid.pyramid_shape import PyramidShape

__all__ = ["SLICE", "Likely", "Spectrum", "choose_shape", "learned_share"]

WIDTHS = (16, 24, 32, 40, 48, 56, 64, 80, 96, 128)
WEIGHTS_PER_TOKEN_BIT = 0.015
"""Weights that about pay for themselves, for a bit of tokens of the collection: a guess, from decoders of digits."""

MOST_OPERATIONS = 4_000
"""Multiplications of a decoder for a pixel above which none is taken: fits must end, and readers be quick."""

MOST_BITS_PER_CELL = 7.0
"""Bits of a cell of 8 pixels above which cells of 4 pixels serve better in grey, and slices of latents in colour."""

SLICE = 4
"""Channels of a cell's latents for one token, where images are in colour."""

BITS_PER_SLICE = 3.0
"""Bits that a slice's token carries, about; a cell that needs more gets more slices."""

MOST_SLICES = 8
LEARNED_SHARE = {1: 0.4, 3: 1.0}
"""What a learned codec takes of the bits of the best linear one, about: drawings and garments in grey are alike in more
than colour photographs are. By channels."""

LEAST_VARIANCE = 1e-12
TILE = 16
"""Side of the tiles whose covariance is looked at, in images that are larger."""


@dataclass(frozen=True)
class Likely:
    """What the images of a collection will about come to.

    bits : of tokens of an image
    price : squared error of an image that a bit is worth (pixels scaled to 0..1)
    """

    bits: float
    price: float


class Spectrum:
    """How images of a sample differ: the variances of their principal components.

    A learned codec is taken to need a share of the rate of Gaussian vectors of the same covariance (reverse
    water-filling; Cover & Thomas 2006, 10.3.3), those of the images as wholes if they are small, else of their tiles.

    sample : pixels [n, H, W, C]    scale : theirs
    """

    def __init__(self, sample: Pixels, scale: PixelScale = EIGHT_BITS) -> None:
        count, height, width, channels = sample.shape
        rows, columns = min(height, 2 * TILE), min(width, 2 * TILE)
        if height * width > 4 * TILE * TILE:
            rows, columns = min(height, TILE), min(width, TILE)
        down, across = height // rows, width // columns
        tiles = sample[:, : down * rows, : across * columns].reshape(count, down, rows, across, columns, channels)
        flat = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(count * down * across, -1)[:20_000]
        vectors = (flat - float(scale.low)) / float(scale.high - scale.low)
        if len(vectors) < 2:  # nothing is known of how such images differ: take them to be anything
            vectors = np.stack([vectors[0], 1 - vectors[0]])
        self._variances = np.linalg.eigvalsh(np.atleast_2d(np.cov(vectors, rowvar=False))).clip(LEAST_VARIANCE)
        self._tiles = (height * width) / (rows * columns)
        self._share = learned_share(channels)

    def at_mse(self, mse: float) -> Likely:
        """Return what is likely at a mean squared error."""
        wanted = mse * len(self._variances)
        return self._at(lambda level: float(np.minimum(self._variances, level).sum()) > wanted)

    def at_bits(self, bits: float) -> Likely:
        """Return what is likely at so many bits an image."""
        return self._at(lambda level: self._bits(level) < bits)

    def _at(self, too_high: Callable[[float], bool]) -> Likely:
        """What is likely at a level of the water, which leaves each component at most its variance."""
        low, high = LEAST_VARIANCE, float(self._variances.max())
        for _ in range(60):
            level = math.sqrt(low * high)
            if too_high(level):
                high = level
            else:
                low = level
        # the slope of squared error along bits for Gaussian vectors. That of a learned codec was found to be from a
        # third of it to twice as much; too low a price at first does less harm than one that is too high
        return Likely(self._bits(level), 2 * math.log(2) * level)

    def _bits(self, level: float) -> float:
        return float(self._share * self._tiles * 0.5 * np.log2(np.maximum(self._variances / level, 1)).sum())


def learned_share(channels: int) -> float:
    """Return what a learned codec takes of the bits of the best linear one, about."""
    return LEARNED_SHARE[1 if channels < 3 else 3]


def choose_shape(
    image_shape: tuple[int, int, int], images: int, bits: float, coarse: bool = True, mixing: bool = False
) -> PyramidShape:
    """Return the network for a collection.

    bits : about what the tokens of an image will take    coarse : whether a coarse scale is allowed
    mixing : as in PyramidShape
    """
    height, width, channels = image_shape
    per_cell = bits / (-(-height // 8) * -(-width // 8))
    sliced = channels > 2 and per_cell > MOST_BITS_PER_CELL
    steps = 3 if sliced or per_cell <= MOST_BITS_PER_CELL else 2
    strides = PyramidShape.strides_for(image_shape, 2**steps)
    if not coarse:
        strides = strides[-1:]
    if sliced:
        finest = SLICE * min(MOST_SLICES, math.ceil(per_cell / BITS_PER_SLICE))
    else:
        finest = 6 if bits / (-(-height // 2**steps) * -(-width // 2**steps)) < 5 else 8
    latents = (8, finest)[-len(strides) :]
    chosen = None
    for first in WIDTHS:
        widths = tuple(max(8, 4 * round(first * share / 4)) for share in (1.0, 0.625, 0.3125)[:steps])
        wider = PyramidShape(image_shape, strides, latents, widths, mixing, sliced)
        too_slow = wider.operations > MOST_OPERATIONS * height * width
        if chosen and (too_slow or wider.weights > WEIGHTS_PER_TOKEN_BIT * images * bits):
            break
        chosen = wider
    assert chosen is not None  # the first one is always taken
    return chosen
