"""The modes of residuals, and how each turns symbols into pixels. Mode numbers are in files, so that more can follow.

    0        none: the image is the base, which is what the decoder makes of its tokens
    1 to 4   stored without the base: pixels less their prediction, modulo 256 (16 bits: 65,536)
    5        exact: the pixels (16 bits: less the base), coded in contexts that the base gives
    6 to 21  stepped: clip(base + step * level), most levels being 0

Every mode has one symbol for each pixel, both uint8 or both uint16, and uses integers alone. With 16 bits, symbols
stand for signed levels in every mode but 1, so that values near 0 are small symbols. The context of a symbol is a
small number that the base gives from the surroundings of its pixel.

Layer: within `residual`, the lowest.
"""

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.errors import DamagedArchiveError
from smalti.images.batch import Pixels

__all__ = [
    "CONTEXTS",
    "EXACT",
    "MODES",
    "NONE",
    "PLAIN",
    "STEPS",
    "STORED",
    "contexts_of",
    "exact",
    "mode_count",
    "predict",
    "rebuild",
    "steps_of",
    "to_levels",
    "to_symbols",
    "uses_base",
]


NONE = 0
STORED = {1: (), 2: (2,), 3: (1,), 4: (1, 2)}
"""By mode, the axes of [n, H, W, C] along which symbols are differences. The predictions are none, left, up, and
left + up - up left."""
PLAIN = 1
"""The stored mode without a prediction, in which symbols are pixels."""

EXACT = 5
STEPS = {6 + index: step for index, step in enumerate((2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 255))}
"""Mode to its step, for 8 bits."""
WIDE_STEPS = {mode: 1 << (mode - EXACT) for mode in range(6, 21)}
"""Mode to its step, for 16 bits."""
MODES = 6 + len(STEPS)


def steps_of(dtype: DTypeLike) -> dict[int, int]:
    """Mode to its step, for pixels of uint8 or uint16."""
    return STEPS if dtype == np.uint8 else WIDE_STEPS


def mode_count(dtype: DTypeLike) -> int:
    """The number of modes for pixels of uint8 or uint16. This release does not know mode numbers from here on."""
    return 6 + len(steps_of(dtype))


def uses_base(modes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether images of these modes are rebuilt from the base, bool [n]. All but the stored ones are."""
    return ~np.isin(modes, list(STORED))


def predict(mode: int, images: Pixels) -> Pixels:
    """The symbols of a stored mode for images [n, H, W, C]; `rebuild` is the inverse."""
    symbols = images
    for axis in STORED[mode]:
        symbols = np.diff(symbols, axis=axis, prepend=symbols.dtype.type(0))
    return symbols if symbols.dtype == np.uint8 or mode == PLAIN else fold(symbols)


def exact(original: Pixels, base: Pixels) -> Pixels:
    """The symbols of the mode EXACT for images [n, H, W, C]; `rebuild` is the inverse."""
    return original if original.dtype == np.uint8 else fold(np.subtract(original, base, dtype=np.uint16))


def fold(values: Pixels) -> NDArray[np.uint16]:
    """Numbers modulo 65,536 as symbols: 0, 1, -1, 2, -2, ... become 0, 1, 2, 3, 4, ..."""
    negative = (-values).view(np.int16)
    symbols: NDArray[np.uint16] = ((negative << 1) ^ (negative >> 15)).view(np.uint16)
    return symbols


def unfold(symbols: Pixels) -> NDArray[np.uint16]:
    """The inverse of `fold`, for uint16."""
    values: NDArray[np.uint16] = np.bitwise_xor(symbols >> 1, -(symbols & 1), dtype=np.uint16)
    return -values


def to_symbols(levels: NDArray[np.integer], dtype: DTypeLike = np.uint8) -> Pixels:
    """Levels -127 to 127 (16 bits: -32,767 to 32,768) as symbols: 0, 1, -1, 2, -2, ... become 0, 1, 2, 3, 4, ..."""
    folded: NDArray[np.integer] = 2 * np.abs(levels) - (levels > 0)
    symbols: Pixels = folded.astype(dtype)
    return symbols


def to_levels(symbols: Pixels) -> NDArray[np.int32]:
    """The inverse of `to_symbols`, int32. DamagedArchiveError for symbol 255 of uint8, which is no level."""
    if symbols.dtype == np.uint8 and symbols.size and int(symbols.max()) == 255:
        raise DamagedArchiveError("corrections: a symbol that is no level")
    wide = symbols.astype(np.int32)
    return np.where(wide & 1, (wide + 1) >> 1, -(wide >> 1))


def rebuild(modes: NDArray[np.uint8], symbols: Pixels, base: Pixels) -> Pixels:
    """The pixels of images from their residuals: an array like `symbols`.

    modes : uint8 [r], none of them 0
    symbols, base : [r, H, W, C]; the base of stored images, and with 8 bits of exact ones, does not matter
    """
    pixels, dtype = symbols.copy(), symbols.dtype
    for mode, axes in STORED.items():
        rows = np.flatnonzero(modes == mode)
        if len(rows) and axes and dtype == np.uint16:
            pixels[rows] = unfold(pixels[rows])
        for axis in axes if len(rows) else ():
            pixels[rows] = np.add.accumulate(pixels[rows], axis=axis, dtype=dtype)
    rows = np.flatnonzero(modes == EXACT)
    if len(rows) and dtype == np.uint16:
        pixels[rows] = np.add(base[rows], unfold(symbols[rows]), dtype=np.uint16)
    rows = np.flatnonzero(modes > EXACT)
    if len(rows):
        of_mode = np.zeros(MODES, np.int32)
        of_mode[list(steps_of(dtype))] = list(steps_of(dtype).values())
        steps = of_mode[modes[rows]][:, None, None, None]
        values = base[rows] + steps * to_levels(symbols[rows])  # below 2**31, because steps and levels are up to 2**15
        pixels[rows] = np.clip(values, 0, np.iinfo(dtype).max).astype(dtype)
    return pixels


VALUE_BOUNDS = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 160, 192, 224, 240, 250)
"""The value class of a pixel is the number of these bounds that it reaches."""
ACTIVITY_BOUNDS = (2, 6, 16, 40, 90, 150, 210)
"""Bounds of activity: the largest less the smallest value among a pixel and its eight neighbours."""
CONTEXTS = (len(VALUE_BOUNDS) + 1) * (len(ACTIVITY_BOUNDS) + 1)
WIDE_ACTIVITIES = 16
"""The number of activity classes with 16 bits. CONTEXTS is this times the number of value classes."""

_VALUE_CLASS = np.searchsorted(VALUE_BOUNDS, np.arange(256), side="right").astype(np.uint8)
_ACTIVITY_CLASS = np.searchsorted(ACTIVITY_BOUNDS, np.arange(256), side="right").astype(np.uint8)
_DIGITS = np.frexp(np.arange(1 << 16, dtype=np.float64))[1].astype(np.uint8)


def contexts_of(base: Pixels) -> NDArray[np.uint8]:
    """The context of each pixel of images uint8 or uint16 [n, H, W, C]: uint8 [n, H, W, C], each in [0, CONTEXTS).

    A context depends on the base alone, so all contexts are known before any symbol, and one call decodes all symbols
    of a context. Every channel has contexts of its own. Beyond the edges, the nearest pixel is repeated. With 16 bits,
    the classes are numbers of binary digits, because such images may fill any part of their range.
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
    """The extreme of each 3 x 3 neighbourhood. Repeated edges add no value that it does not have already."""
    down = images.copy()
    down[:, 1:] = extreme(down[:, 1:], images[:, :-1])
    down[:, :-1] = extreme(down[:, :-1], images[:, 1:])
    out = down.copy()
    out[:, :, 1:] = extreme(out[:, :, 1:], down[:, :, :-1])
    out[:, :, :-1] = extreme(out[:, :, :-1], down[:, :, 1:])
    return out
