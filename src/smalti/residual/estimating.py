"""Bits that corrections cost, estimated from those chosen so far. Only the writer needs this; floats may decide."""

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.images.batch import Pixels
from smalti.residual.classes import class_count, classes_of, further_bits
from smalti.residual.contexts import CONTEXTS
from smalti.residual.corrections import CorrectionCounts
from smalti.residual.modes import EXACT, MODES

__all__ = ["CorrectionEstimator"]

_TRIED_IMAGES = 256  # so many images teach all ways that are tried for them, the later ones only the way they take
_GROWTH = 1.25  # bits are estimated anew when so many times the symbols have been counted
_EXPECTED_SYMBOLS = 8.0  # weight, in symbols, of what is expected of a cell before anything is counted in it


class CorrectionEstimator:
    """Bits that modes and symbols cost, learned from the corrections of the images before.

    dtype : of pixels and symbols
    classes : of symbols
    mode_bits : float32 [MODES]
    bits : float32 [MODES, CONTEXTS * classes], of each class of symbols in each context, its further bits included
    """

    def __init__(self, dtype: DTypeLike = np.uint8) -> None:
        self._counts = CorrectionCounts(dtype)
        self.classes = class_count(dtype)
        self._further = further_bits(dtype).astype(np.float32)
        self._expected = _expected_frequencies(self.classes)
        self._tried_images = 0
        self.update()

    @property
    def is_new(self) -> bool:
        """Whether nothing was learned so far."""
        return self._tried_images == 0

    @property
    def learns_all(self) -> bool:
        """Whether to learn from every way that is tried, and not only from the one that is chosen."""
        return self._tried_images < _TRIED_IMAGES

    def learn_symbols(self, mode: int, contexts: NDArray[np.uint8], symbols: Pixels) -> None:
        """Learn from symbols of one mode and their contexts, arrays of one shape."""
        pairs = contexts.ravel().astype(np.intp) * self.classes + classes_of(symbols).ravel()
        counts = np.bincount(pairs, minlength=CONTEXTS * self.classes).reshape(CONTEXTS, self.classes)
        self._counts.symbols[mode * CONTEXTS : (mode + 1) * CONTEXTS] += counts

    def learn_modes(self, modes: NDArray[np.uint8]) -> None:
        """Learn from the modes that images took, uint8 [n]; their symbols have been learned."""
        self._counts.modes += np.bincount(modes, minlength=MODES)
        self._tried_images += int(np.count_nonzero(modes))
        if self._counts.symbols.sum() > self._learned_symbols * _GROWTH:
            self.update()

    def update(self) -> None:
        """Estimate all bits from the counts."""
        counts = self._counts.symbols.reshape(MODES, CONTEXTS, self.classes)
        pooled = counts.sum(axis=1, keepdims=True) + _EXPECTED_SYMBOLS * self._expected[:, None, :]
        pooled /= pooled.sum(axis=2, keepdims=True)
        weights = (counts + _EXPECTED_SYMBOLS * pooled).astype(np.float32)
        bits = np.log2(weights.sum(axis=2, keepdims=True)) - np.log2(weights)
        self.bits = (bits + self._further).reshape(MODES, -1)
        modes = self._counts.modes + 0.5
        self.mode_bits = (np.log2(modes.sum()) - np.log2(modes)).astype(np.float32)
        self._learned_symbols = int(counts.sum())


def _expected_frequencies(classes: int) -> NDArray[np.float64]:
    """What is expected of each mode's symbols before anything is known: float64 [MODES, classes]."""
    expected = np.full((MODES, classes), 1.0 / classes)
    falling = 1.0 / (np.arange(classes) + 1.0) ** 2
    expected[EXACT + 1 :] = 0.8 * falling / falling.sum() + 0.2 / classes
    return expected
