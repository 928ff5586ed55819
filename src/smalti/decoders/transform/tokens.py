"""Tokens of coefficients, and back."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["signed", "unsigned"]


def signed(tokens: NDArray[np.uint16]) -> NDArray[np.int32]:
    """Coefficients of tokens: 0, -1, 1, -2, 2, ... for 0, 1, 2, 3, 4, ..."""
    values: NDArray[np.int16] = (tokens >> 1).view(np.int16)
    values ^= -(tokens & 1).view(np.int16)
    return values.astype(np.int32)


def unsigned(coefficients: NDArray[np.integer]) -> NDArray[np.uint16]:
    """Tokens of coefficients within int16; the inverse of `signed`."""
    values = coefficients.astype(np.int16)
    return ((values << 1) ^ (values >> 15)).view(np.uint16)
