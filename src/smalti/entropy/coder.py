"""The entropy coder: symbols to bytes and back, many symbols of one distribution at a time; and tables as bytes.

It is a thin layer over constriction's stack coder (asymmetric numeral systems, Duda 2009; `AnsCoder`). Words are stored
little-endian, a table of one symbol costs no bit and no call, and a decoder knows whether it got exactly the bytes that
were written. It knows nothing of images or tokens.

A group of symbols has one table, or a distribution for each symbol. The latter are rows of weights: for each symbol,
the units of 2**-24 that it gets, less one, in whole numbers. docs/decisions/0002-entropy-coder.md says why the coder's
table is then exactly that of the weights.

Layer: within `entropy`, above `frequency`.
"""

import struct
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from smalti.entropy.frequency import FrequencyTable
from smalti.errors import DamagedArchiveError, UsageError

__all__ = ["StackEncoder", "SymbolDecoder", "SymbolEncoder", "Weights", "checked_words", "pack_tables", "unpack_tables"]


Weights = NDArray[np.float32]
"""One distribution for each of n symbols, [n, S] with S >= 2: units less one, in whole numbers; each row sums to
2**24 - S."""

_MODEL_OF_ROWS: Any = constriction.stream.model.Categorical(perfect=False)
"""A model whose distributions are given with each call, one for each symbol."""


class SymbolEncoder:
    """Collects groups of symbols, each group with its table, and codes them into one string of bytes.

    >>> encoder = SymbolEncoder()
    >>> encoder.add(symbols, table)
    >>> decoder = SymbolDecoder(encoder.finish())
    >>> decoder.take(len(symbols), table)   # equals symbols
    >>> decoder.finish()                    # nothing is left over
    """

    def __init__(self) -> None:
        self._groups: list[tuple[NDArray[np.int32], FrequencyTable]] = []

    def add(self, symbols: NDArray[np.integer], table: FrequencyTable) -> None:
        """Append symbols, integers [n]. UsageError if one has no frequency in `table`."""
        self._groups.append((_code_indices(symbols, table), table))

    def finish(self) -> bytes:
        """Code all groups. The length is a multiple of 4 bytes, and 0 if no group carried information."""
        encoder = StackEncoder()
        for code_indices, table in reversed(self._groups):
            encoder.push_code_indices(code_indices, table)
        return encoder.finish()


class StackEncoder:
    """Codes groups of symbols as they come. It is a stack: a decoder takes the group first that was pushed last."""

    def __init__(self) -> None:
        self._coder = constriction.stream.stack.AnsCoder()

    def push(self, symbols: NDArray[np.integer], table: FrequencyTable) -> None:
        """Put a group, integers [n], before the pushed ones. UsageError if a symbol has no frequency in `table`."""
        self.push_code_indices(_code_indices(symbols, table), table)

    def push_code_indices(self, code_indices: NDArray[np.int32], table: FrequencyTable) -> None:
        """As `push`, for symbols given as their indices in `table.symbols`."""
        if table.coder_model is not None:
            self._coder.encode_reverse(code_indices, table.coder_model)

    def push_each(self, symbols: NDArray[np.integer], weights: Weights) -> None:
        """Put a group, integers [n] in [0, S), before the pushed ones. weights : a distribution for each symbol"""
        self._coder.encode_reverse(np.ascontiguousarray(symbols, np.int32), _MODEL_OF_ROWS, weights)

    def finish(self) -> bytes:
        """The bytes of all groups, as `SymbolEncoder.finish` returns them."""
        return np.asarray(self._coder.get_compressed()).astype("<u4").tobytes()


class SymbolDecoder:
    """Decodes groups of symbols, in the order in which `SymbolEncoder` got them.

    Raises DamagedArchiveError if `data` cannot come from a `SymbolEncoder`.
    """

    def __init__(self, data: bytes) -> None:
        self._coder = constriction.stream.stack.AnsCoder(checked_words(data))

    def take(self, count: int, table: FrequencyTable) -> NDArray[np.int32]:
        """Decode the next `count` symbols of one table, int32 [count]."""
        if table.coder_model is None or count == 0:
            return np.full(count, table.symbols[0], np.int32)
        code_indices: NDArray[np.int32] = self._coder.decode(table.coder_model, count)
        return table.symbols[code_indices]

    def take_each(self, weights: Weights) -> NDArray[np.int32]:
        """Decode the next symbols, one of each row of `weights` [n, S]: int32 [n], each in [0, S)."""
        symbols: NDArray[np.int32] = self._coder.decode(_MODEL_OF_ROWS, weights)
        return symbols

    def finish(self) -> None:
        """Raise DamagedArchiveError unless all data were used, to the last bit."""
        if not self._coder.is_empty():
            raise DamagedArchiveError("entropy-coded data: something is left after the last symbol")


def checked_words(data: bytes) -> NDArray[np.uint32]:
    """The words of a stream; DamagedArchiveError if no encoder writes them."""
    if len(data) % 4:
        raise DamagedArchiveError(f"entropy-coded data: {len(data)} bytes are no whole number of words")
    words = np.frombuffer(data, "<u4").astype(np.uint32)
    if words.size and words[-1] == 0:
        raise DamagedArchiveError("entropy-coded data: the last word is zero, which no encoder writes")
    return words


def _code_indices(symbols: NDArray[np.integer], table: FrequencyTable) -> NDArray[np.int32]:
    """Indices of symbols in `table.symbols`; UsageError if a symbol is not in it."""
    if symbols.size and (int(symbols.min()) < 0 or int(symbols.max()) >= len(table.frequencies)):
        raise UsageError(f"symbol outside the alphabet of {len(table.frequencies)}")
    if not table.frequencies[symbols].all():
        raise UsageError("symbol of frequency 0 in its table cannot be coded")
    return np.searchsorted(table.symbols, symbols).astype(np.int32)


_CLASS_PRECISION = 12
_WORD_COUNT = struct.Struct("<I")


def pack_tables(tables: NDArray[np.uint32], precision: int) -> bytes:
    """Serialise frequencies uint32 [tables, S], each row a table of `precision`. `unpack_tables` is the inverse.

    A frequency f is split into its class, bit_length(f), and the class - 1 bits below its leading one. The classes of
    all tables are entropy-coded with one small table of their own. The bits below follow raw, because they are nearly
    random. docs/format.md has the layout byte by byte.
    """
    flat = tables.ravel()
    classes = _bit_length(flat)
    class_table = FrequencyTable.from_counts(
        np.bincount(classes, minlength=precision + 2).astype(np.int64), _CLASS_PRECISION
    )
    encoder = SymbolEncoder()
    encoder.add(classes, class_table)
    coded = encoder.finish()
    head = class_table.frequencies.astype("<u2").tobytes() + _WORD_COUNT.pack(len(coded) // 4)
    return head + coded + _pack_low_bits(flat, classes)


def unpack_tables(data: bytes, tables: int, symbols: int, precision: int) -> NDArray[np.uint32]:
    """Read the bytes of `pack_tables`: uint32 [tables, symbols].

    `FrequencyTable` checks whether each row sums to 2**precision. Raises DamagedArchiveError if `pack_tables` cannot
    have written these bytes for so many tables and symbols.
    """
    head = 2 * (precision + 2)
    if len(data) < head + _WORD_COUNT.size:
        raise DamagedArchiveError(f"frequency tables: {len(data)} bytes are too few")
    try:
        class_table = FrequencyTable(np.frombuffer(data, "<u2", precision + 2).astype(np.uint32), _CLASS_PRECISION)
    except UsageError as error:
        raise DamagedArchiveError(f"frequency tables: class frequencies: {error}") from error
    start = head + _WORD_COUNT.size
    end = start + 4 * _WORD_COUNT.unpack_from(data, head)[0]
    if end > len(data):
        raise DamagedArchiveError("frequency tables: the classes end after the data")
    decoder = SymbolDecoder(data[start:end])
    classes = decoder.take(tables * symbols, class_table)
    decoder.finish()
    return _unpack_low_bits(data[end:], classes).reshape(tables, symbols)


def _bit_length(values: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Number of binary digits of each value: 0 for 0, 1 for 1, 2 for 2 and 3, ... (frexp is exact below 2**53)."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int32)


def _pack_low_bits(values: NDArray[np.uint32], classes: NDArray[np.int32]) -> bytes:
    """The bits below the leading ones, plane by plane from the lowest. Plane p holds values of class > p + 1."""
    planes = [
        ((values[classes > plane + 1] >> np.uint32(plane)) & np.uint32(1)).astype(np.uint8)
        for plane in range(int(classes.max()))
    ]
    return np.packbits(np.concatenate(planes)).tobytes()


def _unpack_low_bits(data: bytes, classes: NDArray[np.int32]) -> NDArray[np.uint32]:
    stored = int(np.maximum(classes.astype(np.int64) - 1, 0).sum())
    if len(data) != (stored + 7) // 8:
        raise DamagedArchiveError(f"frequency tables: {len(data)} bytes of low bits do not fit their classes")
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    if bits[stored:].any():
        raise DamagedArchiveError("frequency tables: the bits that fill the last byte are not zero")
    values = np.where(classes > 0, np.uint32(1) << np.maximum(classes - 1, 0).astype(np.uint32), np.uint32(0))
    start = 0
    for plane in range(int(classes.max())):
        owners = np.flatnonzero(classes > plane + 1)
        values[owners] |= bits[start : start + len(owners)].astype(np.uint32) << np.uint32(plane)
        start += len(owners)
    return values.astype(np.uint32)
