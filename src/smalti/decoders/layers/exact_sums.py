"""The check that sums of whole numbers stay where float32 is exact, in any order (docs/exactness.md). NumPy alone."""

import numpy as np
from numpy.typing import NDArray

from smalti.errors import ModelError

__all__ = ["check_sums"]

_EXACT_SINGLE = 1 << 24

Ints = NDArray[np.int64]


def check_sums(weight: Ints, bias: Ints, largest: int | Ints, what: str) -> None:
    """Raise ModelError if sums of inputs up to `largest` (one number, or one for each input) may exceed 2**24.

    weight : [inputs, outputs]    bias : [outputs]
    """
    sums = np.abs(weight * np.asarray(largest).reshape(-1, 1)).sum(axis=0) + np.abs(bias)
    if sums.size and int(sums.max()) > _EXACT_SINGLE:
        raise ModelError(f"sums of {what} may exceed 2**24 and would not be exact")
