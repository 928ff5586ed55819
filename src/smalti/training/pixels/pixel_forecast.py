"""About how many bytes a collection will take with the kind `pixels`, without a fit: a predictor that learns nothing.

Each level is predicted by the median edge detector of LOCO-I (Weinberger, Seroussi & Sapiro 2000). What remains has an
entropy, given how uneven the levels around are and what remained of other channels. The bits of a fitted model are a
share of it that real fits gave.
"""

import numpy as np
from numpy.typing import NDArray

from smalti.images.seen import ALPHA_CHANNELS
from smalti.images.source import SizedSource
from smalti.training.cells.forecast import Forecast, archive_overhead
from smalti.training.cells.samples import Picture, Samples, load_images
from smalti.training.pixels.levels import Levels, levels_for
from smalti.training.pixels.pixel_settings import WEIGHT_BYTES, choose_shape

__all__ = ["fitted_share", "forecast_pixels", "level_entropy"]

_OF_EFFORTS = (1.3, 1.12, 1.03, 1.0)
"""Bits of fitted models by effort, as a share of those of effort 3 and more."""

_NOISE, _OF_GUESSED, _LEAST = 1.15, 0.72, 0.58
"""A fitted model saves the more, the more levels are as guessed: what remains is edges, which can be learned, and not
noise, which cannot. Found on three sets (results/transform/forecast.json)."""

_READ_BYTES = 4 << 20
_CROP_SIDE = 96
_MOST_PIXELS = 1 << 20
_UNEVEN = (1, 2, 3, 5, 8, 12, 18, 26)
_OTHERS = 2
"""Remainders of two other channels are seen up to this magnitude."""

_SYMBOL_BITS = 5.0
"""About what it takes to learn how often a symbol occurs in a context."""

Ints = NDArray[np.int64]


def forecast_pixels(source: SizedSource, mse: float, effort: int) -> Forecast:
    """Forecast the archive of a source at a mean squared error of pixels in [0, 1]. SourceError."""
    samples = load_images(source, _READ_BYTES).samples(1, _CROP_SIDE)
    levels = levels_for(samples, mse)
    pixels = int(source.sizes.prod(axis=1).sum())
    bits, guessed = level_entropy(samples, levels)
    entropy = bits * pixels
    tokens = fitted_share(guessed) * _OF_EFFORTS[min(effort, len(_OF_EFFORTS) - 1)] * entropy
    shape = choose_shape(tuple(len(table.values) for table in levels.tables), tokens / 8, None)
    return Forecast(entropy, tokens, round(WEIGHT_BYTES * shape.weights) + archive_overhead(pixels, 1))


def fitted_share(guessed: float) -> float:
    """The bits of a fitted model as a share of the entropy. guessed : the share of levels that are as guessed"""
    return float(np.clip(_NOISE - _OF_GUESSED * guessed, _LEAST, 1))


def level_entropy(samples: Samples, levels: Levels) -> tuple[float, float]:
    """Bits for a pixel, and the share of levels that are as guessed."""
    channels, most = len(levels.tables), max(len(table.values) for table in levels.tables)
    contexts = (len(_UNEVEN) + 1) * (2 * _OTHERS + 1) ** 2
    counts = np.zeros((channels, contexts * (2 * most + 1)), np.int64)
    every = max(1, -(-samples.pixels // _MOST_PIXELS))
    pixels = 0
    for picture in samples.pictures[(len(samples.pictures) - 1) % every // 2 :: every]:
        _count(picture, levels, most, counts)
        pixels += picture.pixels[..., 0].size
    tables = counts.reshape(channels * contexts, -1)
    learned = _SYMBOL_BITS * np.count_nonzero(tables) * pixels / max(samples.pixels, 1)
    return (_bits(tables) + learned) / pixels, float(tables[:, most].sum() / max(1, tables.sum()))


def _count(picture: Picture, levels: Levels, most: int, counts: Ints) -> None:
    """Count what remains of a picture's levels by channel, context and value."""
    found = levels.nearest(picture.pixels).astype(np.int64)
    channels = found.shape[2]
    order, shown = list(range(channels)), np.ones(found.shape[:2], np.bool_)
    if channels in ALPHA_CHANNELS:
        order = [channels - 1, *order[:-1]]
        shown = levels.tables[-1].values[found[..., -1]] > 0
        found[~shown] = 0
    before = [np.zeros_like(found[..., 0])] * 2
    for channel in order:
        padded = np.pad(found[..., channel], ((1, 0), (1, 1)))
        left, above, corner, right = padded[1:, :-2], padded[:-1, 1:-1], padded[:-1, :-2], padded[:-1, 2:]
        guess = np.clip(left + above - corner, np.minimum(left, above), np.maximum(left, above))
        rest = padded[1:, 1:-1] - guess
        uneven = np.digitize(np.abs(left - corner) + np.abs(above - corner) + np.abs(above - right), _UNEVEN)
        context = uneven
        for other in before:
            context = context * (2 * _OTHERS + 1) + np.clip(other, -_OTHERS, _OTHERS) + _OTHERS
        flat = (context * (2 * most + 1) + rest + most)[shown | (channel == order[0])]
        counts[channel] += np.bincount(flat, minlength=counts.shape[1])
        before = [rest, before[0]]


def _bits(tables: Ints) -> float:
    """The bits of symbols at the entropy of their tables [contexts, symbols]."""
    totals = np.broadcast_to(tables.sum(axis=1, keepdims=True), tables.shape)
    seen = tables > 0
    return float(-(tables[seen] * np.log2(tables[seen] / totals[seen])).sum())
