"""The stack coder inside kernels (docs/format.md, "Entropy-coded groups"): the same words as those of `coder`.

A kernel that decodes takes symbols off the stack. One that encodes lists where each symbol lies in the 2**24 units, in
the order of decoding, and the stack is made of them at the end.

Layer: within `entropy`, above `coder`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernel
from smalti.entropy.coder import checked_words
from smalti.entropy.frequency import MAX_PRECISION
from smalti.errors import DamagedArchiveError

__all__ = ["Coder", "decoding", "encoding", "ended", "lefts_of", "stack", "step"]

Words = NDArray[np.uint32]

_LOW = np.uint64((1 << 32) - 1)
_FULL = np.uint64(1 << 32)
_WORD = np.uint64(32)
_PRECISION = np.uint64(24)


class Coder(NamedTuple):
    """Where symbols come from, or go to.

    words : of the stream that is decoded
    state : uint64 [2], of the decoder, and how many words are left; if symbols are known, how many so far, and nothing
    lefts, units : uint32 [symbols], of known symbols    known : whether symbols are known
    """

    words: Words
    state: NDArray[np.uint64]
    lefts: Words
    units: Words
    known: bool

    def with_room(self, symbols: int) -> "Coder":
        """This coder, or one with room for so many more known symbols."""
        count = int(self.state[0])
        if not self.known or count + symbols <= len(self.lefts):
            return self
        room = max(count + symbols, 2 * len(self.lefts)) - len(self.lefts)
        return self._replace(lefts=np.pad(self.lefts, (0, room)), units=np.pad(self.units, (0, room)))


def decoding(data: bytes) -> Coder:
    """A coder before the first symbol of a stream; DamagedArchiveError."""
    words = checked_words(data)
    state, left = 0, len(words)
    while left and state < 1 << 32:
        left -= 1
        state = state << 32 | int(words[left])
    none = np.zeros(0, np.uint32)
    return Coder(words, np.array([state, left], np.uint64), none, none, False)


def ended(coder: Coder) -> None:
    """Raise DamagedArchiveError unless all data were used, to the last bit."""
    if coder.state.any():
        raise DamagedArchiveError("entropy-coded data: something is left after the last symbol")


def encoding(symbols: int) -> Coder:
    """A coder with room for so many known symbols."""
    lefts, units = (np.empty(symbols, np.uint32) for _ in range(2))
    return Coder(np.zeros(0, np.uint32), np.zeros(2, np.uint64), lefts, units, True)


def stack(coder: Coder) -> bytes:
    """The bytes of all known symbols, as `SymbolEncoder.finish` returns them."""
    count = int(coder.state[0])
    return _stacked(coder.lefts[:count], coder.units[:count]).astype("<u4").tobytes()


def lefts_of(tables: NDArray[np.uint32], precision: int) -> NDArray[np.int64]:
    """Where the units of each symbol begin, [tables, symbols + 1], for frequencies that add up to 2**precision."""
    units = tables.astype(np.int64) << (MAX_PRECISION - precision)
    return np.pad(units.cumsum(axis=1), ((0, 0), (1, 0)))


@kernel
def step(words: Words, state: NDArray[np.uint64], left: int, units: int) -> None:
    """Go on from a symbol that has `units` of the units, from `left` on."""
    place = state[0] & np.uint64((1 << 24) - 1)
    state[0] = (state[0] >> _PRECISION) * np.uint64(units) + (place - np.uint64(left))
    if state[0] < _FULL and state[1] > np.uint64(0):
        state[1] -= np.uint64(1)
        state[0] = (state[0] << _WORD) | np.uint64(words[state[1]])


@kernel
def _stacked(lefts: Words, units: Words) -> Words:
    """The words of symbols with these units [n], each from its `left` on."""
    words = np.empty(len(units) + 2, np.uint32)
    count, state = 0, np.uint64(0)
    for number in range(len(units) - 1, -1, -1):
        own = np.uint64(units[number])
        if (state >> np.uint64(40)) >= own:
            words[count] = np.uint32(state & _LOW)
            count += 1
            state >>= _WORD
        quotient = state // own
        state = (quotient << _PRECISION) | (np.uint64(lefts[number]) + (state - quotient * own))
    while state > np.uint64(0):
        words[count] = np.uint32(state & _LOW)
        count += 1
        state >>= _WORD
    return words[:count]
