"""From the sums of a layer to its values, by exact operations on whole numbers in floating point."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.integer.network import EXACT, Clip, Layer

__all__ = ["Activation", "Float", "Values"]

Float = type[np.floating[Any]]
"""np.float32 or np.float64: what integers are held in."""

Values = NDArray[Any]
"""Whole numbers, held as floating-point numbers; uint8 or uint16 after a pixel table."""


class Activation:
    """What a layer makes of its sums. dtype : of its values"""

    def __init__(self, layer: Layer, dtype: Float) -> None:
        activation, shift = layer.activation, layer.shift
        self.dtype = np.dtype(dtype) if isinstance(activation, Clip) else activation.values.dtype
        self._activation = activation
        self._cuts = bool(shift.any())
        scale = np.ldexp(1.0, -shift.astype(np.int32)).astype(dtype)  # powers of two, so products are exact
        self._scale = scale[:1] if (shift == shift[0]).all() else scale  # one number for all is faster
        high = activation.high if isinstance(activation, Clip) else activation.low + len(activation.values) - 1
        # sums lie within +-2**24, as float32 can tell them apart: so must the range be that they are clipped to
        self._range = dtype(activation.low), dtype(min(high, EXACT))

    def apply(self, sums: Values) -> Values:
        """Values [..., channels] of sums [..., channels], which are overwritten."""
        if self._cuts:
            np.multiply(sums, self._scale, out=sums)
            np.floor(sums, out=sums)
        np.clip(sums, *self._range, out=sums)
        if isinstance(self._activation, Clip):
            return sums
        places = sums.astype(np.intp)
        places -= self._activation.low
        return self._activation.values.take(places)
