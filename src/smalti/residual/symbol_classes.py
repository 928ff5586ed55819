"""The classes of symbols, which tables code: an 8-bit symbol is a class, a 16-bit symbol is a class and further bits.

16-bit symbols are split as the integers of a network are (`smalti.entropy.integers`). The symbols of a class are nearly
alike in frequency, so its further bits cost about one bit each, and tables stay short.

Layer: within `residual`, the lowest.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.entropy.coder import SymbolDecoder, SymbolEncoder
from smalti.entropy.frequency import FrequencyTable
from smalti.entropy.integers import bits_below, to_symbols

__all__ = ["class_count", "classes_of", "further_bits", "take_further", "write_further"]

_CLASS_OF = to_symbols(np.arange(1 << 16)).astype(np.uint8)
_CLASSES = int(_CLASS_OF[-1]) + 1
_FURTHER = bits_below(np.arange(_CLASSES))
_COIN = FrequencyTable(np.ones(2, np.uint32), 1)


def class_count(dtype: DTypeLike) -> int:
    """The number of classes of uint8 or uint16 symbols: 256 or 60."""
    return 256 if dtype == np.uint8 else _CLASSES


def further_bits(dtype: DTypeLike) -> NDArray[np.int64]:
    """The number of further bits of each class: int64 [classes]."""
    return np.zeros(256, np.int64) if dtype == np.uint8 else _FURTHER


def classes_of(symbols: NDArray[np.integer]) -> NDArray[np.uint8]:
    """The class of each uint8 or uint16 symbol: uint8 of the same shape."""
    return symbols.astype(np.uint8, copy=False) if symbols.dtype == np.uint8 else _CLASS_OF[symbols]


def write_further(encoder: SymbolEncoder, symbols: NDArray[np.integer]) -> None:
    """Code the further bits of uint16 symbols [n]."""
    for plane, owners in _planes(_CLASS_OF[symbols]):
        encoder.add(symbols[owners] >> plane & 1, _COIN)


def take_further(decoder: SymbolDecoder, classes: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The uint16 symbols [n] of these classes, with their further bits from the decoder."""
    wide = classes.astype(np.int64)
    symbols = np.where(wide < 8, wide, (4 + wide % 4) << _FURTHER[classes])
    for plane, owners in _planes(classes):
        symbols[owners] |= decoder.take(len(owners), _COIN).astype(np.int64) << plane
    return symbols.astype(np.uint16)


def _planes(classes: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Each plane of further bits from the lowest on, with the positions of the symbols that have it."""
    below = _FURTHER[classes]
    for plane in range(int(below.max(initial=0))):
        yield plane, np.flatnonzero(below > plane)
