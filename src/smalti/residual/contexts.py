"""What the base tells of a pixel before its symbol is seen: a small number from its surroundings.

It depends on the base alone, so the contexts of all pixels are known at once, and all symbols of one context are
decoded in one call.
"""

import numpy as np
from numpy.typing import NDArray

from smalti.images.batch import Pixels

__all__ = ["CONTEXTS", "contexts_of"]

VALUE_BOUNDS = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 160, 192, 224, 240, 250)
"""A pixel's value class is the number of these that it reaches."""
ACTIVITY_BOUNDS = (2, 6, 16, 40, 90, 150, 210)
"""The class of the largest less the smallest value among a pixel and its eight neighbours, likewise."""
CONTEXTS = (len(VALUE_BOUNDS) + 1) * (len(ACTIVITY_BOUNDS) + 1)
WIDE_ACTIVITIES = 16
"""Classes of activity with 16 bits; the other factor of CONTEXTS are those of value."""

_VALUE_CLASS = np.searchsorted(VALUE_BOUNDS, np.arange(256), side="right").astype(np.uint8)
_ACTIVITY_CLASS = np.searchsorted(ACTIVITY_BOUNDS, np.arange(256), side="right").astype(np.uint8)
_DIGITS = np.frexp(np.arange(1 << 16, dtype=np.float64))[1].astype(np.uint8)


def contexts_of(base: Pixels) -> NDArray[np.uint8]:
    """The context of each pixel of images uint8 or uint16 [n, H, W, C]: uint8 like them, each in [0, CONTEXTS).

    Channels stand for themselves; beyond the edges the nearest pixel is repeated. With 16 bits the classes are numbers
    of binary digits, since such images fill any part of their range.
    """
    activity = _widen(base, np.maximum) - _widen(base, np.minimum)
    if base.dtype == np.uint16:
        value = np.minimum(_DIGITS[base] >> 1, CONTEXTS // WIDE_ACTIVITIES - 1)
        wide: NDArray[np.uint8] = value * np.uint8(WIDE_ACTIVITIES)
        wide += np.minimum(_DIGITS[activity], WIDE_ACTIVITIES - 1)
        return wide
    contexts: NDArray[np.uint8] = _VALUE_CLASS[base] * np.uint8(len(ACTIVITY_BOUNDS) + 1) + _ACTIVITY_CLASS[activity]
    return contexts


def _widen(images: Pixels, extreme: np.ufunc) -> Pixels:
    """The extreme of each 3 x 3 neighbourhood. Repeating edges adds no value that is not in it already."""
    down = images.copy()
    down[:, 1:] = extreme(down[:, 1:], images[:, :-1])
    down[:, :-1] = extreme(down[:, :-1], images[:, 1:])
    out = down.copy()
    out[:, :, 1:] = extreme(out[:, :, 1:], down[:, :, :-1])
    out[:, :, :-1] = extreme(out[:, :, :-1], down[:, :, 1:])
    return out
