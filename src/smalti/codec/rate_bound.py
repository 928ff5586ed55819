"""What a linear codec would spend on a sample of images, and how far the sample is from a Gaussian cloud.

Nothing is learned here. An image is a vector of its pixels, or several of its tiles if images are large or few.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.images.batch import Pixels
from smalti.training.common.scaling import EIGHT_BITS, PixelScale

__all__ = ["RateBound", "rate_bound"]

MOST_VALUES = 1_024
VECTORS_PER_VALUE = 2
"""Values of a vector at most, and vectors to each at least, so that a covariance is known: else images are cut up."""

MOST_VECTORS = 16_000
NEIGHBOURS_AMONG = 2_000
CUT = 2
"""How far from black or white a value may be to count as cut off there, in 255ths of the range."""

SEED = 0


@dataclass(frozen=True)
class RateBound:
    """What was found, for an image.

    linear_bits : the rate of Gaussian vectors of the same covariance at the error asked for
    components : principal components that leave no more than that error, if they are kept as they are
    closeness : bits by which images are nearer to their likes than such Gaussian vectors are, as a share of
        `linear_bits`; 0 for noise, .4 for handwritten digits
    cut : share of the values that are black or white (or nearly), where a decoder may overshoot for nothing
    """

    linear_bits: float
    components: float
    closeness: float
    cut: float


def rate_bound(sample: Pixels, mse: float, scale: PixelScale = EIGHT_BITS) -> RateBound:
    """Return the rate bound of images [n, H, W, C] at a mean squared error of values in [0, 1], as `scale` has them.

    The rate is by reverse water-filling (Cover & Thomas 2006, 10.3.3). Closeness compares the distances to nearest
    neighbours with those of Gaussian vectors, as estimators of entropy do (Kozachenko & Leonenko 1987), no finer than
    the error asked for.
    """
    margin = CUT * (scale.high - scale.low) / 255
    cut = float(((sample <= scale.low + margin) | (sample >= scale.high - margin)).mean())
    vectors, per_image = _vectors(sample, scale)
    mean = vectors.mean(0)
    spectrum, axes = np.linalg.eigh((vectors - mean).T @ (vectors - mean) / max(1, len(vectors) - 1))
    spectrum = spectrum.clip(0)
    allowed = mse * vectors.shape[1]
    components = len(spectrum) - int(np.searchsorted(np.cumsum(spectrum), allowed, side="right"))
    level = _water_level(spectrum, allowed)
    active = spectrum > level
    if not active.any():
        return RateBound(0.0, 0.0, 0.0, cut)
    bits = float(0.5 * np.log2(spectrum[active] / level).sum())
    seen = (vectors[:NEIGHBOURS_AMONG] - mean) @ axes[:, active]
    made = np.random.default_rng(SEED).normal(size=seen.shape) * np.sqrt(spectrum[active])
    spared = _neighbour_bits(made, level) - _neighbour_bits(seen, level)
    return RateBound(bits * per_image, components * per_image, spared / bits, cut)


def _vectors(sample: Pixels, scale: PixelScale) -> tuple[NDArray[np.float64], float]:
    """Return the vectors [m, d] in a mixed order, and how many of them make an image."""
    count, height, width, channels = sample.shape
    for parts in range(1, max(height, width) + 1):
        rows, columns = max(1, height // parts), max(1, width // parts)
        down, across = height // rows, width // columns
        values = rows * columns * channels
        if values <= MOST_VALUES and count * down * across >= VECTORS_PER_VALUE * values:
            break
    tiles = sample[:, : down * rows, : across * columns].reshape(count, down, rows, across, columns, channels)
    flat = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(count * down * across, -1)
    order = np.random.default_rng(SEED).permutation(len(flat))[:MOST_VECTORS]
    values = (flat[order].astype(np.float64) - scale.low) / (scale.high - scale.low)
    return values, height * width / (rows * columns)


def _water_level(spectrum: NDArray[np.float64], distortion: float) -> float:
    """The level that leaves this much distortion in all, each component being left at most its variance."""
    low, high = 1e-12, max(1e-12, float(spectrum.max()))
    for _ in range(60):
        level = math.sqrt(low * high)
        if float(np.minimum(spectrum, level).sum()) > distortion:
            high = level
        else:
            low = level
    return low


def _neighbour_bits(vectors: NDArray[np.float64], level: float) -> float:
    """The mean logarithm of the distance to the nearest neighbour, in all dimensions: entropy, but for a constant."""
    count, dimensions = vectors.shape
    squares = np.square(vectors).sum(1)
    nearest = np.zeros(count)
    for start in range(0, count, 500):
        part = slice(start, min(start + 500, count))
        far = squares[part, None] + squares - 2 * vectors[part] @ vectors.T
        far[np.arange(len(far)), np.arange(part.start, part.stop)] = np.inf if count > 1 else 0.0
        nearest[part] = far.min(1).clip(0)
    return float(0.5 * dimensions * np.log2(nearest + dimensions * level).mean())
