"""How large a network a collection gets: what its tokens will about take, and the decoder that pays for itself."""

import math

import numpy as np
from numpy.typing import NDArray

from smalti.training.pyramid.shape import PyramidShape

__all__ = ["choose_shape", "likely_bits"]

WIDTHS = (16, 24, 32, 40, 48, 56, 64, 80, 96, 128)
WEIGHTS_PER_TOKEN_BIT = 0.03
"""Weights that about pay for themselves, for a bit of tokens of the collection: a guess, from decoders of digits."""

MOST_OPERATIONS = 2_500_000
"""Multiplications of a decoder above which none is taken: fits must end, and readers be quick."""

MOST_BITS_PER_CELL = 7.0
"""Bits of a cell of 8 pixels above which cells of 4 pixels serve better."""

LEARNED_SHARE = 0.4
"""What a learned codec takes of the bits of the best linear one, about."""

TILE = 16
"""Side of the tiles whose covariance is looked at, in images that are larger."""


def likely_bits(sample: NDArray[np.uint8], mse: float) -> float:
    """Return about the bits of tokens an image will take at a mean squared error, from uint8 [n, H, W, C].

    It is a share of the rate of Gaussian vectors with the covariance of the images (reverse water-filling; Cover &
    Thomas 2006, 10.3.3), of the images as wholes if they are small, else of their tiles.
    """
    count, height, width, channels = sample.shape
    rows, columns = min(height, 2 * TILE), min(width, 2 * TILE)
    if height * width > 4 * TILE * TILE:
        rows, columns = min(height, TILE), min(width, TILE)
    down, across = height // rows, width // columns
    tiles = sample[:, : down * rows, : across * columns].reshape(count, down, rows, across, columns, channels)
    vectors = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(count * down * across, -1)[:20_000] / 255.0
    if len(vectors) < 2:  # nothing is known of how such images differ: take them to be anything
        vectors = np.stack([vectors[0], 1 - vectors[0]])
    spectrum = np.linalg.eigvalsh(np.cov(vectors, rowvar=False)).clip(1e-12)
    level = _water_level(spectrum, mse * vectors.shape[1])
    bits = 0.5 * np.log2(np.maximum(spectrum / level, 1)).sum()
    return float(LEARNED_SHARE * bits * (height * width) / (rows * columns))


def _water_level(spectrum: NDArray[np.float64], distortion: float) -> float:
    """The level that leaves this much distortion in all, each component being left at most its variance."""
    low, high = 1e-12, float(spectrum.max())
    for _ in range(60):
        level = math.sqrt(low * high)
        if float(np.minimum(spectrum, level).sum()) > distortion:
            high = level
        else:
            low = level
    return low


def choose_shape(
    image_shape: tuple[int, int, int], images: int, bits: float, coarse: bool = True, mixing: bool = False
) -> PyramidShape:
    """Return the network for a collection.

    bits : about what the tokens of an image will take    coarse : whether a coarse scale is allowed
    mixing : as in PyramidShape
    """
    height, width, _ = image_shape
    cells = -(-height // 8) * -(-width // 8)
    steps = 3 if bits / cells <= MOST_BITS_PER_CELL else 2
    strides = PyramidShape.strides_for(image_shape, 2**steps)
    if not coarse:
        strides = strides[-1:]
    per_cell = bits / (-(-height // 2**steps) * -(-width // 2**steps))
    latents = (8, 6 if per_cell < 5 else 8)[-len(strides) :]
    chosen = None
    for first in WIDTHS:
        widths = tuple(max(8, 4 * round(first * share / 4)) for share in (1.0, 0.625, 0.3125)[:steps])
        wider = PyramidShape(image_shape, strides, latents, widths, mixing)
        if chosen and (wider.weights > WEIGHTS_PER_TOKEN_BIT * images * bits or wider.operations > MOST_OPERATIONS):
            break
        chosen = wider
    assert chosen is not None  # the first one is always taken
    return chosen
