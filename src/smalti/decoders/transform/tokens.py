"""Tokens of coefficients, and back."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["signed", "unsigned"]


def signed(tokens: NDArray[np.uint16]) -> NDArray[np.int32]:
    """Coefficients of tokens: 0, -1, 1, -2, 2, ... for 0, 1, 2, 3, 4, ..."""
    values = tokens.astype(np.int32)
    return (values >> 1) ^ -(values & 1)


def unsigned(coefficients: NDArray[np.integer]) -> NDArray[np.uint16]:
    """Tokens of coefficients within int16; the inverse of `signed`."""
    values = coefficients.astype(np.int32)
    return ((values << 1) ^ (values >> 31)).astype(np.uint16)
