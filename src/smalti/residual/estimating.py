"""Bits that corrections cost, estimated from those chosen so far. Only the writer needs this; floats may decide."""

import numpy as np
from numpy.typing import NDArray

from smalti.residual.contexts import CONTEXTS
from smalti.residual.corrections import SYMBOLS, CorrectionCounts
from smalti.residual.modes import MODES, STEPS

__all__ = ["CorrectionEstimator"]

_TRIED_IMAGES = 256  # so many images teach all ways that are tried for them, the later ones only the way they take
_GROWTH = 1.25  # bits are estimated anew when so many times the symbols have been counted
_EXPECTED_SYMBOLS = 8.0  # weight, in symbols, of what is expected of a cell before anything is counted in it


class CorrectionEstimator:
    """Bits that modes and symbols cost, learned from the corrections of the images before.

    mode_bits : float32 [MODES]
    bits : float32 [MODES, CONTEXTS * SYMBOLS], of each symbol in each context
    """

    def __init__(self) -> None:
        self._counts = CorrectionCounts()
        self._expected = _expected_frequencies()
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

    def learn_symbols(self, mode: int, contexts: NDArray[np.uint8], symbols: NDArray[np.uint8]) -> None:
        """Learn from symbols of one mode and their contexts, arrays of one shape."""
        pairs = contexts.ravel().astype(np.intp) * SYMBOLS + symbols.ravel()
        counts = np.bincount(pairs, minlength=CONTEXTS * SYMBOLS).reshape(CONTEXTS, SYMBOLS)
        self._counts.symbols[mode * CONTEXTS : (mode + 1) * CONTEXTS] += counts

    def learn_modes(self, modes: NDArray[np.uint8]) -> None:
        """Learn from the modes that images took, uint8 [n]; their symbols have been learned."""
        self._counts.modes += np.bincount(modes, minlength=MODES)
        self._tried_images += int(np.count_nonzero(modes))
        if self._counts.symbols.sum() > self._learned_symbols * _GROWTH:
            self.update()

    def update(self) -> None:
        """Estimate all bits from the counts."""
        counts = self._counts.symbols.reshape(MODES, CONTEXTS, SYMBOLS)
        pooled = counts.sum(axis=1, keepdims=True) + _EXPECTED_SYMBOLS * self._expected[:, None, :]
        pooled /= pooled.sum(axis=2, keepdims=True)
        weights = (counts + _EXPECTED_SYMBOLS * pooled).astype(np.float32)
        self.bits = (np.log2(weights.sum(axis=2, keepdims=True)) - np.log2(weights)).reshape(MODES, -1)
        modes = self._counts.modes + 0.5
        self.mode_bits = (np.log2(modes.sum()) - np.log2(modes)).astype(np.float32)
        self._learned_symbols = int(counts.sum())


def _expected_frequencies() -> NDArray[np.float64]:
    """What is expected of each mode's symbols before anything is known: float64 [MODES, SYMBOLS]."""
    expected = np.full((MODES, SYMBOLS), 1.0 / SYMBOLS)
    falling = 1.0 / (np.arange(SYMBOLS) + 1.0) ** 2
    expected[min(STEPS) :] = 0.8 * falling / falling.sum() + 0.2 / SYMBOLS
    return expected
