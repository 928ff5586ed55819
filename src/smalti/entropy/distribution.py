"""From the scores of codes to the distribution that codes them, by integers alone.

A score is in units of 1/16 bit. With e the distance to the best score, at most 255, a code weighs EXP[e], which is
2**16 * 2**(-e / 16) as listed integers and shifts have it; the 2**24 units of the coder are shared out in proportion:

    units_k = 1 + floor(w_k * (2**24 - K) / sum of w)         what is left goes to the first code of the best score

All numbers are whole and held exactly: products below 2**40 in float64, and the floor of their rounded quotient is the
floor of the true one, since a quotient below 2**24 of such numbers is further than that rounding from a whole number.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.entropy.coder import Weights

__all__ = ["EXP", "FARTHEST", "UNITS", "share_units"]

UNITS = 1 << 24
FARTHEST = 255

# round(2**16 * 2**(-j / 16)) for j = 0 to 15
_SIXTEENTHS = (
    65536, 62757, 60097, 57549, 55109, 52773, 50535, 48393,
    46341, 44376, 42495, 40693, 38968, 37316, 35734, 34219,
)  # fmt: skip

EXP: NDArray[np.int64] = np.array([_SIXTEENTHS[e % 16] >> e // 16 for e in range(FARTHEST + 1)], np.int64)
"""Weights by distance from the best score."""

_EXACT_EXP = EXP.astype(np.float64)


def share_units(scores: NDArray[Any]) -> Weights:
    """Units less one of each code, float32 [n, K], for scores [n, K] (whole numbers within 2**24; K from 2)."""
    codes = scores.shape[1]
    distances = scores.max(axis=1, keepdims=True) - scores
    best = distances.argmin(axis=1)
    np.minimum(distances, FARTHEST, out=distances)
    shares = _EXACT_EXP.take(distances.astype(np.intp))
    total = shares.sum(axis=1, keepdims=True)
    shares *= UNITS - codes
    shares /= total
    np.floor(shares, out=shares)
    shares[np.arange(len(shares)), best] += (UNITS - codes) - shares.sum(axis=1)
    weights: Weights = shares.astype(np.float32)
    return weights
