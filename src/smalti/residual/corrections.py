"""What some images carry so that each is as near to its original as was promised."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from smalti.errors import UsageError
from smalti.residual.contexts import CONTEXTS, contexts_of
from smalti.residual.modes import EXACT, MODES, NONE, rebuild, uses_base

__all__ = [
    "SYMBOLS",
    "CorrectionCounts",
    "Corrections",
    "apply_corrections",
    "cells_of",
    "max_squared_error",
    "squared_errors",
]

SYMBOLS = 256


@dataclass(frozen=True, eq=False)
class Corrections:
    """Corrections of n images in a row.

    modes : uint8 [n], each below MODES; 0 if the image needs none
    symbols : uint8 [r, H, W, C], for the r images whose mode is not 0, in order
    """

    modes: NDArray[np.uint8]
    symbols: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.modes.ndim != 1 or self.modes.dtype != np.uint8 or (self.modes >= MODES).any():
            raise UsageError(f"correction modes: expected uint8 [n] below {MODES}")
        if self.symbols.ndim != 4 or self.symbols.dtype != np.uint8 or len(self.symbols) != len(self.rows):
            raise UsageError(f"corrections: {list(self.symbols.shape)} do not fit {len(self.rows)} corrected images")

    @property
    def rows(self) -> NDArray[np.intp]:
        """The images whose mode is not 0."""
        return np.flatnonzero(self.modes)

    @property
    def corrected(self) -> NDArray[np.bool_]:
        """Which images are the decoder's, corrected: bool [n]."""
        return self.modes >= EXACT

    @property
    def stored(self) -> NDArray[np.bool_]:
        """Which images are stored without the decoder, so that their tokens do not matter: bool [n]."""
        return ~uses_base(self.modes)

    @classmethod
    def join(cls, parts: "list[Corrections]") -> "Corrections":
        """The corrections of several batches as those of one."""
        return cls(np.concatenate([part.modes for part in parts]), np.concatenate([part.symbols for part in parts]))

    def part(self, images: slice) -> "Corrections":
        """The corrections of some of the images (a slice of step 1)."""
        ends = np.concatenate([[0], np.cumsum(self.modes != NONE)])
        start, stop, _ = images.indices(len(self.modes))
        return Corrections(self.modes[images], self.symbols[ends[start] : ends[max(start, stop)]])


def max_squared_error(max_mse: float, image_shape: tuple[int, int, int]) -> int:
    """The largest sum of squared errors, in units of 1/255, of an image of that shape whose MSE is within `max_mse`."""
    if not 0 <= max_mse < float("inf"):
        raise UsageError(f"a mean squared error of {max_mse} cannot be promised; give a number from 0 to 1")
    height, width, channels = image_shape
    return int(Fraction(max_mse) * 255**2 * height * width * channels)


def squared_errors(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The sum of squared differences of each pair of images, uint8 [n, ...] twice -> int64 [n]."""
    differences = images.astype(np.int32) - others
    sums: NDArray[np.int64] = np.square(differences).reshape(len(images), -1).sum(axis=1, dtype=np.int64)
    return sums


def apply_corrections(base: NDArray[np.uint8], corrections: Corrections) -> NDArray[np.uint8]:
    """The images that `corrections` make of what the decoder gave: uint8 [n, H, W, C] -> a new array like it."""
    images = base.copy()
    rows = corrections.rows
    images[rows] = rebuild(corrections.modes[rows], corrections.symbols, base[rows])
    return images


def cells_of(base: NDArray[np.uint8], modes: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The cell, mode * CONTEXTS + context, of each pixel of corrected images: uint16 like base [r, H, W, C].

    Stored images know nothing of the base: their context is 0.
    """
    contexts = contexts_of(base)
    contexts[~uses_base(modes)] = 0
    return contexts + modes.astype(np.uint16)[:, None, None, None] * np.uint16(CONTEXTS)


class CorrectionCounts:
    """How often each mode, and each symbol in each cell (mode and context), occurs in an archive.

    modes : int64 [MODES]
    symbols : int64 [MODES * CONTEXTS, SYMBOLS]
    """

    def __init__(self) -> None:
        self.modes = np.zeros(MODES, np.int64)
        self.symbols = np.zeros((MODES * CONTEXTS, SYMBOLS), np.int64)

    def add(self, base: NDArray[np.uint8], corrections: Corrections) -> None:
        """Count the corrections of more images, whose bases are uint8 [n, H, W, C]."""
        rows = corrections.rows
        self.modes += np.bincount(corrections.modes, minlength=MODES)
        self.add_symbols(cells_of(base[rows], corrections.modes[rows]), corrections.symbols)

    def add_symbols(self, cells: NDArray[np.uint16], symbols: NDArray[np.uint8]) -> None:
        """Count symbols in cells, arrays of one shape."""
        pairs = cells.ravel().astype(np.int32) * SYMBOLS + symbols.ravel()
        self.symbols += np.bincount(pairs, minlength=self.symbols.size).reshape(self.symbols.shape)
