"""What a lossless archive will take, without a fit: the entropy of what a linear forecast leaves.

What is left of a level is counted by how uneven the levels around it are, and by what was left of the channel before.
Drawings are foretold as the kind `pixels` is (`pixel_forecast`), if that is less.
"""

import numpy as np
from numpy.typing import NDArray

from smalti.images.source import SizedSource
from smalti.training.cells.forecast import Forecast, archive_overhead
from smalti.training.cells.samples import Samples, load_samples
from smalti.training.lossless.exact_levels import exact_levels
from smalti.training.lossless.lossless_settings import FEW_LEVELS, choose_mixture, choose_scores
from smalti.training.lossless.occurring import occurring_in
from smalti.training.pixels.levels import Levels
from smalti.training.pixels.linear_forecast import differences_of, fit_foretelling, left_over
from smalti.training.pixels.pixel_forecast import fitted_share, level_entropy
from smalti.training.pixels.pixel_settings import WEIGHT_BYTES, PixelSettings

__all__ = ["forecast_lossless"]

_READ_BYTES = 4 << 20
_CROP_SIDE = 96
_PIXELS = 1 << 18
_RADIUS = 2

_FITTED = (0.99, 0.97, 0.95, 0.93, 0.92, 0.91)
"""Bits of fitted models by effort, as a share of this entropy. At effort 3 it was .86 for CIFAR-10 and .98 for a
radiograph; the others are guesses."""

_MOST_COUNTED = 256
_UNEVEN = 14
_MISSED = 4
_EXACT = 24
"""What is left is counted exactly up to this magnitude, and by its octave and the bits below it beyond."""

Ints = NDArray[np.int64]


def forecast_lossless(source: SizedSource, settings: PixelSettings) -> Forecast:
    """Forecast the archive of a source. SourceError if no image can be read."""
    assert settings.goal.max_error is not None
    samples = load_samples(source, 1, _CROP_SIDE, _READ_BYTES, fill=False)
    found = occurring_in(samples)
    levels = exact_levels(found, settings.goal.max_error)
    sizes, counts = source.sizes, tuple(len(table.values) for table in levels.tables)
    pixels = int(sizes.prod(axis=1).sum())
    same = (int(sizes[0, 0]), int(sizes[0, 1])) if bool((sizes == sizes[0]).all()) else None
    if max(counts) <= FEW_LEVELS:
        entropy, guessed = level_entropy(samples, levels)
        share = fitted_share(guessed)
        weights = choose_scores(counts, entropy * pixels / 8, same, settings.effort).weights
    else:
        entropy, share = _entropy(samples, levels), _FITTED[min(settings.effort, len(_FITTED) - 1)]
        if max(counts) <= _MOST_COUNTED:  # drawings are foretold by edges, not by straight lines
            drawn, guessed = level_entropy(samples, levels)
            entropy, share = min((entropy, share), (drawn, fitted_share(guessed)), key=lambda each: each[0] * each[1])
        deep = source.dtype.itemsize == 2
        weights = choose_mixture(counts, entropy * pixels / 8, same, settings.effort, deep).weights
    stored = round(WEIGHT_BYTES * weights) + archive_overhead(pixels, 1)
    return Forecast(entropy * pixels, share * entropy * pixels, stored)


def _entropy(samples: Samples, levels: Levels) -> float:
    """Bits for a pixel."""
    generator = np.random.default_rng(0)
    stacks = [levels.nearest(samples.crops(generator, _PIXELS // 8)[0]) for _ in range(8)]
    foretelling = fit_foretelling(stacks, _RADIUS)
    parts = [differences_of(stack, _RADIUS) for stack in stacks]
    around, own = (np.concatenate(each) for each in zip(*parts, strict=True))
    channels, bits = own.shape[1], 0.0
    uneven = np.minimum(np.log2(1 + np.abs(around).mean(axis=1)) * 2, _UNEVEN - 1).astype(np.int64)
    missed = np.zeros(len(own), np.int64)
    for number in range(channels):
        left = left_over(foretelling, number, around, own)
        bits += _bits(uneven * _MISSED + missed, left)
        missed = np.minimum(np.log2(1 + np.abs(left)), _MISSED - 1).astype(np.int64)
    return bits / len(own)


def _bits(contexts: Ints, left: Ints) -> float:
    """The bits of what is left, at the entropy of each context's symbols, and what it takes to learn them."""
    magnitudes = np.abs(left)
    octaves = np.log2(np.maximum(magnitudes, 1)).astype(np.int64)
    below = np.where(magnitudes > _EXACT, octaves - 2, 0)
    symbols = np.sign(left) * np.where(
        magnitudes > _EXACT, 64 + 4 * octaves + (magnitudes >> np.maximum(below, 0)), magnitudes
    )
    size = 512
    flat = contexts * size + symbols + size // 2
    counts = np.bincount(flat, minlength=(int(contexts.max()) + 1) * size).reshape(-1, size)
    totals = np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)
    seen = counts > 0
    learned = 0.5 * float(np.log2(np.maximum(counts.sum(axis=1), 1)) @ np.maximum(seen.sum(axis=1) - 1, 0))
    entropy = float(-(counts[seen] * np.log2(counts[seen] / totals[seen])).sum())
    return min(entropy + learned, 1.05 * entropy + 1) + float(below.sum())
