"""Products of small matrices of whole numbers, as a kernel."""

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernel

__all__ = ["add_products", "begin_with"]

Singles = NDArray[np.float32]


@kernel
def begin_with(sums: Singles, bias: Singles) -> None:
    """Begin sums [m, columns] with a bias [m]."""
    for unit in range(len(sums)):
        start = bias[unit]
        for at in range(sums.shape[1]):
            sums[unit, at] = start


@kernel
def add_products(weights: Singles, inputs: Singles, sums: Singles) -> None:
    """Add products of weights [n, m] and inputs [n, columns] to sums [m, columns].

    Four inputs at once: some hundred columns stay in the caches, and are too few for a BLAS. All sums are exact, in
    any order.
    """
    fours, twos = len(weights) & ~3, len(sums) & ~1
    for start in range(0, fours, 4):
        for unit in range(0, twos, 2):
            first, second, third, fourth = (
                weights[start, unit],
                weights[start + 1, unit],
                weights[start + 2, unit],
                weights[start + 3, unit],
            )
            fifth, sixth, seventh, eighth = (
                weights[start, unit + 1],
                weights[start + 1, unit + 1],
                weights[start + 2, unit + 1],
                weights[start + 3, unit + 1],
            )
            for at in range(sums.shape[1]):
                one, two = inputs[start, at], inputs[start + 1, at]
                three, four = inputs[start + 2, at], inputs[start + 3, at]
                sums[unit, at] += first * one + second * two + third * three + fourth * four
                sums[unit + 1, at] += fifth * one + sixth * two + seventh * three + eighth * four
        if twos < len(sums):
            first, second, third, fourth = (
                weights[start, twos],
                weights[start + 1, twos],
                weights[start + 2, twos],
                weights[start + 3, twos],
            )
            for at in range(sums.shape[1]):
                one, two = inputs[start, at], inputs[start + 1, at]
                three, four = inputs[start + 2, at], inputs[start + 3, at]
                sums[twos, at] += first * one + second * two + third * three + fourth * four
    for start in range(fours, len(weights)):
        for unit in range(len(sums)):
            weight = weights[start, unit]
            for at in range(sums.shape[1]):
                sums[unit, at] += weight * inputs[start, at]
