"""How an image may be corrected, by a number in the file so that later ways can join.

    0        none: the image is what the decoder makes of its tokens, the base
    1 to 4   stored without the base: pixels less their prediction, modulo 256
    5        exact: pixels as they are, coded with what the base tells of them
    6 to 21  residual: clip(base + step * level, 0, 255), most levels being 0

Each way turns one symbol a pixel (uint8) into a pixel with integers alone.
"""

import numpy as np
from numpy.typing import NDArray

from smalti.errors import DamagedArchiveError

__all__ = [
    "EXACT",
    "MODES",
    "NONE",
    "PLAIN",
    "STEPS",
    "STORED",
    "predict",
    "rebuild",
    "to_levels",
    "to_symbols",
    "uses_base",
]

NONE = 0
STORED = {1: (), 2: (2,), 3: (1,), 4: (1, 2)}
"""Mode to the axes of [n, H, W, C] along which pixels are differences: none, left, up, left + up - up left."""
PLAIN = 1
"""The stored mode without a prediction: symbols are pixels."""

EXACT = 5
STEPS = {6 + place: step for place, step in enumerate((2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 255))}
"""Mode to its step."""
MODES = 6 + len(STEPS)

_STEP_OF_MODE = np.array([STEPS.get(mode, 0) for mode in range(MODES)], np.int16)


def uses_base(modes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether images of these modes are built upon the base, bool [n]: all but the stored ones."""
    return ~np.isin(modes, list(STORED))


def predict(mode: int, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The symbols of a stored mode for images [n, H, W, C]; `rebuild` is the inverse."""
    symbols = images
    for axis in STORED[mode]:
        symbols = np.diff(symbols, axis=axis, prepend=np.uint8(0))
    return symbols


def to_symbols(levels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Levels -127 to 127 as symbols 0 to 254: 0, 1, -1, 2, -2, ... become 0, 1, 2, 3, 4, ..."""
    folded: NDArray[np.integer] = 2 * np.abs(levels) - (levels > 0)
    return folded.astype(np.uint8)


def to_levels(symbols: NDArray[np.uint8]) -> NDArray[np.int16]:
    """The inverse of `to_symbols`, int16; symbol 255 is no level: DamagedArchiveError."""
    if symbols.size and int(symbols.max()) == 255:
        raise DamagedArchiveError("corrections: a symbol that is no level")
    wide = symbols.astype(np.int16)
    return np.where(wide & 1, (wide + 1) >> 1, -(wide >> 1)).astype(np.int16)


def rebuild(modes: NDArray[np.uint8], symbols: NDArray[np.uint8], base: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pixels of images: modes uint8 [r], none of them 0, symbols and base uint8 [r, H, W, C] -> the same shape.

    What `base` holds for stored and exact images does not matter.
    """
    pixels = symbols.copy()
    for mode, axes in STORED.items():
        rows = np.flatnonzero(modes == mode)
        for axis in axes if len(rows) else ():
            pixels[rows] = np.add.accumulate(pixels[rows], axis=axis, dtype=np.uint8)
    rows = np.flatnonzero(modes > EXACT)
    if len(rows):
        steps = _STEP_OF_MODE[modes[rows]][:, None, None, None]
        pixels[rows] = np.clip(base[rows] + steps * to_levels(symbols[rows]), 0, 255).astype(np.uint8)
    return pixels
