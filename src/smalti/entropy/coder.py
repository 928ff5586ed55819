"""Symbols to bytes and back, many symbols of one distribution at a time.

A thin layer over constriction's stack coder (asymmetric numeral systems, Duda 2009; `AnsCoder`): the words are
stored little-endian, a table of one symbol costs no bit and no call, and a decoder knows when it has been given
exactly the bytes that were written. It knows nothing of images or tokens.

A group has one table, or a distribution for each of its symbols. Such distributions are rows of weights: the units of
2**-24 that each symbol takes, less one, in whole numbers. Why the coder's table is then exactly that of the weights is
in docs/decisions/0002-entropy-coder.md.
"""

from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from smalti.entropy.frequency import FrequencyTable
from smalti.errors import DamagedArchiveError, UsageError

__all__ = ["StackEncoder", "SymbolDecoder", "SymbolEncoder", "Weights"]

Weights = NDArray[np.float32]
"""Distributions of symbols, [n, S] with S from 2: units less one, whole numbers, each row summing to 2**24 - S."""

_EACH: Any = constriction.stream.model.Categorical(perfect=False)
"""A distribution for each symbol."""


class SymbolEncoder:
    """Collects groups of symbols, each with its table, and codes them into one string of bytes.

    >>> encoder = SymbolEncoder()
    >>> encoder.add(symbols, table)
    >>> decoder = SymbolDecoder(encoder.finish())
    >>> decoder.take(len(symbols), table)   # equals symbols
    >>> decoder.finish()                    # nothing is left over
    """

    def __init__(self) -> None:
        self._groups: list[tuple[NDArray[np.int32], FrequencyTable]] = []

    def add(self, symbols: NDArray[np.integer], table: FrequencyTable) -> None:
        """Append `symbols` (integers [n], each with a frequency > 0 in `table`), else raise UsageError."""
        self._groups.append((_ranks(symbols, table), table))

    def finish(self) -> bytes:
        """Code everything that was added; the length is a multiple of 4 bytes, 0 if nothing carried information."""
        encoder = StackEncoder()
        for ranks, table in reversed(self._groups):
            encoder.push_ranks(ranks, table)
        return encoder.finish()


class StackEncoder:
    """Codes groups of symbols as they come, the last group first: a stack gives them back the other way round."""

    def __init__(self) -> None:
        self._coder = constriction.stream.stack.AnsCoder()

    def push(self, symbols: NDArray[np.integer], table: FrequencyTable) -> None:
        """Put a group before those that were pushed; as `SymbolEncoder.add`."""
        self.push_ranks(_ranks(symbols, table), table)

    def push_ranks(self, ranks: NDArray[np.int32], table: FrequencyTable) -> None:
        """The same for symbols as places among those of the table that can be coded."""
        if table.coder_model is not None:
            self._coder.encode_reverse(ranks, table.coder_model)

    def push_each(self, symbols: NDArray[np.integer], weights: Weights) -> None:
        """Put a group (integers [n] in [0, S)) with a distribution each before those that were pushed."""
        self._coder.encode_reverse(np.ascontiguousarray(symbols, np.int32), _EACH, weights)

    def finish(self) -> bytes:
        """What was coded, as `SymbolEncoder.finish`."""
        return np.asarray(self._coder.get_compressed()).astype("<u4").tobytes()


class SymbolDecoder:
    """Takes groups of symbols back out, in the order in which `SymbolEncoder` was given them.

    Raises DamagedArchiveError if `data` cannot have come from a `SymbolEncoder`.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) % 4:
            raise DamagedArchiveError(f"entropy-coded data: {len(data)} bytes are no whole number of words")
        words = np.frombuffer(data, "<u4").astype(np.uint32)
        if words.size and words[-1] == 0:
            raise DamagedArchiveError("entropy-coded data: the last word is zero, which no encoder writes")
        self._coder = constriction.stream.stack.AnsCoder(words)

    def take(self, count: int, table: FrequencyTable) -> NDArray[np.int32]:
        """Decode the next `count` symbols of one table, int32 [count]."""
        if table.coder_model is None or count == 0:
            return np.full(count, table.symbols[0], np.int32)
        ranks: NDArray[np.int32] = self._coder.decode(table.coder_model, count)
        return table.symbols[ranks]

    def take_each(self, weights: Weights) -> NDArray[np.int32]:
        """Decode the next symbols, one of each row of `weights` [n, S]: int32 [n], each in [0, S)."""
        symbols: NDArray[np.int32] = self._coder.decode(_EACH, weights)
        return symbols

    def finish(self) -> None:
        """Check that the data are used up to the last bit, else raise DamagedArchiveError."""
        if not self._coder.is_empty():
            raise DamagedArchiveError("entropy-coded data: something is left after the last symbol")


def _ranks(symbols: NDArray[np.integer], table: FrequencyTable) -> NDArray[np.int32]:
    """Places of symbols among those that can be coded; UsageError if one cannot."""
    if symbols.size and (int(symbols.min()) < 0 or int(symbols.max()) >= len(table.frequencies)):
        raise UsageError(f"symbol outside the alphabet of {len(table.frequencies)}")
    if not table.frequencies[symbols].all():
        raise UsageError("symbol of frequency 0 in its table cannot be coded")
    return np.searchsorted(table.symbols, symbols).astype(np.int32)
