"""About how many bytes a collection will take with `photo`, without a fit: a transform codec that learns nothing.

A sample is analysed with the KLT of its own cells and quantised to the wanted error. Its coefficients have an entropy,
given how large the coefficients around them are. The bits of a fitted model are a share of it that real fits gave.
"""

from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from smalti.images.batch import Pixels
from smalti.images.seen import ALPHA_CHANNELS
from smalti.images.source import SizedSource
from smalti.training.cells.forecast import Forecast, archive_overhead
from smalti.training.cells.samples import Picture, Samples
from smalti.training.transform.bases import coefficients
from smalti.training.transform.survey import Start, survey
from smalti.training.transform.transform_settings import TransformSettings, weight_bytes

__all__ = ["FITTED_SHARES", "forecast"]

FITTED_SHARES = (0.95, 0.87, 0.8)
"""Bits of fitted models by effort, as a share of the entropy that is found here; the last is for all higher efforts
(results/transform/forecast.json)."""

DEAD_ZONE = 0.17
_LARGEST = 15
_CONTEXTS = (0.01, 0.03, 0.06, 0.1, 0.16, 0.25, 0.4, 0.6, 0.9, 1.4, 2.2, 3.5, 6.0)
_RANKS = (1, 4, 10, 25, 60, 150)
_BEFORE = 8
_MOST_PIXELS = 1 << 21


def forecast(source: SizedSource, settings: TransformSettings, start: Start | None = None) -> Forecast:
    """Forecast the archive of a source. start : a brief survey of it, if there is one. Raises SourceError."""
    start = start or survey(source, settings, brief=True)
    cell = start.basis.cell
    pixels = int((-(-source.sizes // cell)).prod(axis=1).sum()) * cell**2
    entropy = _entropy(start) * pixels
    other = weight_bytes(start.shape) + archive_overhead(pixels, cell)
    share = FITTED_SHARES[min(settings.effort, len(FITTED_SHARES) - 1)]
    return Forecast(entropy, share * entropy, other)


def _entropy(start: Start) -> float:
    """Bits for a pixel of the images of a survey, in whole cells."""
    basis, order = start.basis, np.array(start.shape.places)
    values, weights, pixels = [], [], 0
    for pictures in _even_part(start.samples):
        stack = cast(Pixels, np.stack([picture.pixels for picture in pictures]))
        unit = start.samples.scale.to_unit(stack)
        values.append(np.ascontiguousarray(coefficients(unit, basis)[..., order]))
        weights.append(_seen(stack, [picture.size for picture in pictures], basis.cell))
        pixels += stack[..., 0].size
    cells = sum(float(weight.sum()) for weight in weights) or 1.0
    allowed = start.mse * basis.variances.size  # for a cell
    dropped = basis.variances.sum() - basis.variances[order].sum()
    step = _step(values, weights, max(allowed - dropped, 0.1 * allowed) * cells)
    counts: dict[tuple[int, int], NDArray[np.int64]] = {}
    bits = sum(_count(_quantised(some, step), counts) for some in values)
    return (bits + sum(map(_bits, counts.values()))) / pixels


def _even_part(samples: Samples) -> list[list[Picture]]:
    """Some of the pictures, evenly spread, those of one size together."""
    every = max(1, -(-samples.pixels // _MOST_PIXELS))
    by_size: dict[tuple[int, ...], list[Picture]] = {}
    for picture in samples.pictures[(len(samples.pictures) - 1) % every // 2 :: every]:
        by_size.setdefault(picture.pixels.shape, []).append(picture)
    return list(by_size.values())


def _seen(stack: Pixels, sizes: list[tuple[int, int]], cell: int) -> NDArray[np.float32]:
    """How much of each cell of [n, H, W, C] is of an image and seen, by which errors count: [n, rows, columns]."""
    count, height, width, channels = stack.shape
    seen = stack[..., -1] > 0 if channels in ALPHA_CHANNELS else np.ones((count, height, width), np.bool_)
    high, wide = (np.array(sides)[:, None] for sides in zip(*sizes, strict=True))
    inside = (np.arange(height) < high)[:, :, None] & (np.arange(width) < wide)[:, None]
    parts = (seen & inside).reshape(count, height // cell, cell, width // cell, cell)
    return np.asarray(parts.mean(axis=(2, 4)), np.float32)


def _step(values: list[NDArray[np.float32]], weights: list[NDArray[np.float32]], error: float) -> float:
    """The step at which all coefficients together have this squared error."""
    low, high = 1e-6, 4.0
    for _ in range(16):
        step = (low * high) ** 0.5
        found = sum(map(partial(_error, step), values, weights))
        low, high = (low, step) if found > error else (step, high)
    return low


def _error(step: float, values: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    """The squared error of quantised coefficients, by the weights of their cells."""
    difference = _quantised(values, step) * np.float32(step) - values
    return float((np.einsum("nrck,nrck->nrc", difference, difference) * weights).sum(dtype=np.float64))


def _quantised(values: NDArray[np.float32], step: float) -> NDArray[np.float32]:
    scaled = values / np.float32(step)
    return np.asarray(np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(0.5 - DEAD_ZONE)))


def _count(whole: NDArray[np.float32], counts: dict[tuple[int, int], NDArray[np.int64]]) -> float:
    """Count magnitudes [n, rows, columns, M] by rank and context; returns the bits of signs and of what is beyond."""
    whole = whole.copy()
    first = whole[..., 0].copy()
    whole[:, 1:, 1:, 0] -= np.round((first[:, :-1, 1:] + first[:, 1:, :-1]) / 2)
    magnitudes = np.abs(whole)
    around = np.zeros_like(magnitudes)
    around[:, 1:] += magnitudes[:, :-1]
    around[:, :-1] += magnitudes[:, 1:]
    around[:, :, 1:] += magnitudes[:, :, :-1]
    around[:, :, :-1] += magnitudes[:, :, 1:]
    sums = np.cumsum(magnitudes, axis=-1)
    before = np.zeros_like(sums)
    before[..., 1:] = sums[..., :-1]
    before[..., _BEFORE + 1 :] -= sums[..., : -_BEFORE - 1]
    contexts = np.digitize(around / 8 + before / (2 * _BEFORE), _CONTEXTS)
    ranks = np.digitize(np.arange(magnitudes.shape[-1]), _RANKS)
    capped = np.minimum(magnitudes, _LARGEST).astype(np.int64)
    for rank in np.unique(ranks).tolist():
        own = ranks == rank
        flat = contexts[..., own] * (_LARGEST + 1) + capped[..., own]
        table = np.bincount(flat.ravel(), minlength=(len(_CONTEXTS) + 1) * (_LARGEST + 1)).reshape(-1, _LARGEST + 1)
        for context, row in enumerate(table):
            counts[rank, context] = counts.get((rank, context), 0) + row
    beyond = magnitudes[magnitudes >= _LARGEST]
    return float((magnitudes > 0).sum() + (2 * np.log2(beyond - _LARGEST + 1) + 1).sum())


def _bits(row: NDArray[np.int64]) -> float:
    """The bits of symbols with these counts at their own entropy."""
    seen = row[row > 0].astype(np.float64)
    return float(-(seen * np.log2(seen / seen.sum())).sum())
