"""How far images with alpha are from their originals, over what is seen; and decibels.

An image with alpha is laid on some ground. What an eye gets of a pixel is its colour times its alpha, and its alpha, by
which the ground shows. So the error of a pixel is the mean over channels of the squared differences of these:
(r·a, g·a, b·a, a), or (grey·a, a), all in [0, 1]. A colour under alpha 0 is not seen, and costs nothing.

An image's error is the sum over all pixels, divided by the number of pixels whose original alpha is not 0. Were it
divided by all pixels, an image would gain quality by its empty margin: emoji of which half is empty would gain 3 dB.
Where the original has alpha 0 and the decoded image has not, that is seen too, so it is in the sum; the divisor is that
of the original, which no codec can change. An image of which nothing is seen is divided by all its pixels.

Colour is counted as it is on black. On white, the difference is (c·a - a) of colour and alpha, and both are small where
these four are; no ground is better than another here. For an opaque image, decoded as opaque, the error is 3/4 of that
of its colours alone (1/2 for grey), since alpha is a channel without error.

Layer: within `images`, above `batch`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from smalti.images.batch import Pixels

__all__ = ["ALPHA_CHANNELS", "has_alpha", "mse_at_db", "psnr_db", "seen_errors"]

ALPHA_CHANNELS = (2, 4)
"""Numbers of channels of which the last is alpha."""

_CHUNK_VALUES = 1 << 16
_LOW = np.uint64(0xFFFFFFFF)


def has_alpha(pixels: Pixels) -> bool:
    """Whether the last channel of images [n, H, W, C] is alpha."""
    return pixels.shape[3] in ALPHA_CHANNELS


def seen_errors(original: Pixels, decoded: Pixels) -> NDArray[np.float64]:
    """The mean squared error of each image over what is seen, in [0, 1]; of exact sums, rounded once.

    original, decoded : uint8 or uint16 [n, H, W, 2 or 4], of one shape and dtype; returns float64 [n]

    Raises ValueError for other channels.
    """
    if original.shape != decoded.shape or original.dtype != decoded.dtype or not has_alpha(original):
        raise ValueError(f"originals {original.shape} and decoded images {decoded.shape} must have 2 or 4 channels")
    channels, pixels = original.shape[3], math.prod(original.shape[1:3])
    unit = channels * int(np.iinfo(original.dtype).max) ** 4
    step = max(1, _CHUNK_VALUES // (pixels * channels))
    errors: list[float] = []
    for start in range(0, len(original), step):
        chunk = slice(start, start + step)
        seen = np.count_nonzero(original[chunk, ..., -1], axis=(1, 2)).tolist()
        sums = _sums(original[chunk], decoded[chunk])
        errors += [total / (unit * (count or pixels)) for total, count in zip(sums, seen, strict=True)]
    return np.array(errors, np.float64)


def _sums(original: Pixels, decoded: Pixels) -> list[int]:
    """The sum of squares of each image, exact, in units of 1/largest⁴.

    Products of colour and alpha are below 2^32, and their squares below 2^64: the halves of these are summed apart.
    """
    difference = _products(original) - _products(decoded)
    magnitude = np.abs(difference).astype(np.uint64).reshape(len(difference), -1)
    squares = magnitude * magnitude
    low, high = (squares & _LOW).sum(axis=1), (squares >> np.uint64(32)).sum(axis=1)
    return [(int(upper) << 32) + int(lower) for upper, lower in zip(high, low, strict=True)]


def _products(pixels: Pixels) -> NDArray[np.int64]:
    """Colours times alpha, and alpha, in units of 1/largest²: int64 of the same shape."""
    wide: NDArray[np.int64] = pixels.astype(np.int64)
    wide[..., :-1] *= wide[..., -1:]
    wide[..., -1] *= int(np.iinfo(pixels.dtype).max)
    return wide


def psnr_db(mse: float, span: float = 1.0) -> float | None:
    """10·log10(span² / mse); None if there is no error.

    mse : of pixels in [0, 1]: 8 bits times 1/255, 16 bits times 1/65,535
    span : what counts as the full range of pixels: (largest - smallest) / 65,535 for decibels of a collection's range
    """
    return 10 * math.log10(span * span / mse) if mse else None


def mse_at_db(decibels: float, span: float = 1.0) -> float:
    """The mean squared error at which `psnr_db` is `decibels`: 36 dB of the full range are 0.000251."""
    return float(span * span * 10 ** (-decibels / 10))
