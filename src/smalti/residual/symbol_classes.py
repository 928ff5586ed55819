"""What of symbols is coded with tables: 8-bit symbols as they are, of 16-bit ones the class, before further bits.

A 16-bit symbol is split as the numbers of a network are (`smalti.entropy.integers`): within a class all symbols are
nearly alike in frequency, so that the bits below it cost what they are, and tables stay short.
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
    """How many classes symbols of uint8 or uint16 have: 256 or 60."""
    return 256 if dtype == np.uint8 else _CLASSES


def further_bits(dtype: DTypeLike) -> NDArray[np.int64]:
    """Bits that each class leaves: int64 [classes]."""
    return np.zeros(256, np.int64) if dtype == np.uint8 else _FURTHER


def classes_of(symbols: NDArray[np.integer]) -> NDArray[np.uint8]:
    """The class of each symbol, uint8 or uint16: uint8 of the same shape."""
    return symbols.astype(np.uint8, copy=False) if symbols.dtype == np.uint8 else _CLASS_OF[symbols]


def write_further(encoder: SymbolEncoder, symbols: NDArray[np.integer]) -> None:
    """Code what the classes of uint16 symbols [n] leave."""
    for plane, owners in _planes(_CLASS_OF[symbols]):
        encoder.add(symbols[owners] >> plane & 1, _COIN)


def take_further(decoder: SymbolDecoder, classes: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The uint16 symbols [n] of these classes, read back."""
    wide = classes.astype(np.int64)
    symbols = np.where(wide < 8, wide, (4 + wide % 4) << _FURTHER[classes])
    for plane, owners in _planes(classes):
        symbols[owners] |= decoder.take(len(owners), _COIN).astype(np.int64) << plane
    return symbols.astype(np.uint16)


def _planes(classes: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Each plane of further bits from the lowest on, with the places of the symbols that have it."""
    below = _FURTHER[classes]
    for plane in range(int(below.max(initial=0))):
        yield plane, np.flatnonzero(below > plane)
