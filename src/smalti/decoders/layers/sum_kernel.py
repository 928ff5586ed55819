"""Sums of weights inside kernels: many of their inputs are 0 and are left out."""

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernel

__all__ = ["add", "listed"]

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

_ZERO = np.float32(0)


@kernel
def add(sums: Singles, at: int, outputs: int, indices: Ints, values: Singles, count: int, weights: Singles) -> None:
    """Add to a row of sums [rows, outputs] each listed value times the weights that begin at its index.

    Unsigned numbers and four values at a time are what makes the compiler use whole vectors.
    """
    row, number, many, one = np.uint64(at), np.uint64(0), np.uint64(count), np.uint64(1)
    two, three, four = np.uint64(2), np.uint64(3), np.uint64(4)
    while number + four <= many:
        a, b = np.uint64(indices[number]), np.uint64(indices[number + one])
        c, d = np.uint64(indices[number + two]), np.uint64(indices[number + three])
        x, y, z, u = values[number], values[number + one], values[number + two], values[number + three]
        for output in range(np.uint64(outputs)):
            sums[row, output] += (
                x * weights[a + output] + y * weights[b + output] + z * weights[c + output] + u * weights[d + output]
            )
        number += four
    while number < many:
        a, x = np.uint64(indices[number]), values[number]
        for output in range(np.uint64(outputs)):
            sums[row, output] += x * weights[a + output]
        number += one


@kernel
def listed(rows: Singles, at: int, count: int, begin: int, stride: int, indices: Ints, values: Singles) -> int:
    """List the values of a row that are not 0 for `add`. Their weights begin at `begin`, and `stride` further for each.

    Returns how many there are.
    """
    many, index, row = np.uint64(0), begin, np.uint64(at)
    for number in range(np.uint64(count)):
        value = rows[row, number]
        indices[many], values[many] = index, value
        many += np.uint64(value != _ZERO)
        index += stride
    return np.int64(many)
