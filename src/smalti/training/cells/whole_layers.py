"""From the floats of a layer to whole numbers whose sums float32 computes exactly.

A layer's largest activation on real data becomes 255. Weights get as many bits as are asked for and as sums below 2**24
allow; a shift takes the rest.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["MAX_SHIFT", "as_array", "unit_of", "whole", "whole_layer"]

MAX_SHIFT = 24

_EXACT = 1 << 24
_HEADROOM = 1.1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def whole_layer(weight: Floats, bias: Floats, largest: Ints, bits: int) -> tuple[Ints, Ints, int]:
    """Weights [inputs, outputs], biases and the shift of a layer, with half a unit in the bias, which rounds.

    largest : the largest magnitudes of the inputs    bits : that the largest weight may have
    """
    for shift in range(MAX_SHIFT, -1, -1):
        scaled = whole(weight * 2.0**shift)
        moved = whole(bias * 2.0**shift) + (1 << shift >> 1)
        sums = np.abs(scaled * largest.reshape(-1, 1)).sum(axis=0) + np.abs(moved)
        if int(np.abs(scaled).max(initial=0)) < 1 << bits and int(sums.max(initial=0)) <= _EXACT:
            return scaled, moved, shift
    limit = (1 << bits) - 1  # weights this large are of no use; they are cut
    return np.clip(whole(weight), -limit, limit), whole(bias), 0


def unit_of(values: Tensor) -> float:
    """What an activation of 1 of 255 stands for."""
    return max(float(values.max()) * _HEADROOM, 1e-3) / 255


def as_array(values: Tensor) -> Floats:
    """The values as float64."""
    return np.asarray(values.detach().cpu().double().numpy())


def whole(values: Floats) -> Ints:
    """The nearest whole numbers, halves up."""
    return np.asarray(np.floor(values + 0.5).astype(np.int64))
