"""The network of a transform prior as a kernel, for some hundred cells at once, whose features stay in the caches.

Numba calls SciPy's BLAS for its products.
"""

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernel

__all__ = ["fill_outputs", "see"]

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

_ROWS = 256  # cells for which the network runs at once
_ZERO, _MOST = np.float32(0), np.float32(255)


@kernel
def see(sums: Singles, bias: Singles, scale: np.float32, features: Singles) -> None:
    """The activities of a group as features of all cells."""
    for cell in range(len(sums)):
        for unit in range(sums.shape[1]):
            features[cell, unit] = min(max(np.floor((sums[cell, unit] + bias[unit]) * scale), _ZERO), _MOST)


@kernel
def fill_outputs(
    features: Singles,
    signed: Singles,
    around: Ints,
    context: Singles,
    context_bias: Singles,
    places: Singles,
    place_of: Ints,
    hidden: Singles,
    hidden_bias: Singles,
    scale_weight: Singles,
    scale_bias: Singles,
    mean_weight: Singles,
    mean_bias: Singles,
    linear: Singles,
    shifts: Singles,
    scales: Singles,
    means: Singles,
) -> None:
    """Fill scales [cells, components] and the means of signed components. around : int64 [cells, 9]"""
    width, own = len(hidden_bias), means.shape[1]
    inputs, before = np.empty((_ROWS, len(context)), np.float32), np.empty((_ROWS, len(linear)), np.float32)
    first, second = np.empty((_ROWS, width), np.float32), np.empty((_ROWS, width), np.float32)
    moved = np.empty((_ROWS, own), np.float32)
    for start in range(0, len(around), _ROWS):
        many = min(_ROWS, len(around) - start)
        part = slice(start, start + many)
        _gather(features, around[part], inputs)
        np.dot(inputs[:many], context, first[:many])
        if len(place_of):
            for row in range(many):
                first[row] += places[place_of[start + row]]
        _activate(first, context_bias, shifts[1], many)
        np.dot(first[:many], hidden, second[:many])
        _activate(second, hidden_bias, shifts[2], many)
        np.dot(second[:many], scale_weight, scales[part])
        _floor(scales[part], scale_bias, shifts[3])
        if own:
            np.dot(second[:many], mean_weight, means[part])
            _floor(means[part], mean_bias, shifts[4])
            _gather(signed, around[part], before)
            np.dot(before[:many], linear, moved[:many])
            for row in range(many):
                for component in range(own):
                    means[start + row, component] += np.floor(moved[row, component] * shifts[5])


@kernel
def _gather(features: Singles, around: Ints, found: Singles) -> None:
    """Features [cells, F] of the cells `around` [n, 9] side by side."""
    many = features.shape[1]
    for row in range(len(around)):
        for place in range(around.shape[1]):
            cell, first = np.uint64(around[row, place]), np.uint64(place * many)
            for feature in range(np.uint64(many)):
                found[row, first + feature] = features[cell, feature]


@kernel
def _activate(sums: Singles, bias: Singles, scale: np.float32, many: int) -> None:
    """The hidden values of sums, in place."""
    for row in range(many):
        for unit in range(len(bias)):
            sums[row, unit] = min(max(np.floor((sums[row, unit] + bias[unit]) * scale), _ZERO), _MOST)


@kernel
def _floor(sums: Singles, bias: Singles, scale: np.float32) -> None:
    """Whole numbers of sums, in place."""
    for row in range(len(sums)):
        for unit in range(len(bias)):
            sums[row, unit] = np.floor((sums[row, unit] + bias[unit]) * scale)
