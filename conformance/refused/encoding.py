"""Encoders of entropy-coded groups, tables of frequencies and networks, written from docs/format.md.

They check nothing: the bytes decode, and a reader must refuse what some of them decode to.
"""

import struct
from collections.abc import Sequence
from typing import Any

from conformance.refused.files import canonical

PRECISION, CLASS_PRECISION = 12, 12


class Encoder:
    """Collects all groups of symbols before it encodes them: the coder is a stack, filled from the end."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []

    def group(self, frequencies: Sequence[int], precision: int, symbols: Sequence[int]) -> None:
        """Add symbols of one table."""
        lefts, left = {}, 0
        for symbol, frequency in enumerate(frequencies):
            if frequency:
                units = frequency << 24 - precision
                lefts[symbol] = (left, units)
                left += units
        if len(lefts) > 1:
            self.steps += [lefts[symbol] for symbol in symbols]

    def to_bytes(self) -> bytes:
        """The words."""
        state, words = 0, []
        for left, units in reversed(self.steps):
            if state >> 40 >= units:
                words.append(state & 0xFFFFFFFF)
                state >>= 32
            state = (state // units << 24) + left + state % units
        while state:
            words.append(state & 0xFFFFFFFF)
            state >>= 32
        return struct.pack(f"<{len(words)}I", *words)


def frequencies_of(symbols: Sequence[int], size: int, precision: int = PRECISION) -> list[int]:
    """Frequencies that sum to 2^precision, above 0 for each symbol that occurs."""
    counts = [symbols.count(symbol) for symbol in range(size)]
    counts = counts if any(counts) else [1, *counts[1:]]
    occurring = sum(count > 0 for count in counts)
    spare = (1 << precision) - occurring
    found = [1 + count * spare // sum(counts) if count else 0 for count in counts]
    found[counts.index(max(counts))] += (1 << precision) - sum(found)
    return found


def pack_tables(tables: Sequence[Sequence[int]], precision: int = PRECISION) -> bytes:
    """Pack tables as a prior has them: class frequencies, coded classes, planes of bits."""
    values = [frequency for table in tables for frequency in table]
    classes = [value.bit_length() for value in values]
    class_frequencies = frequencies_of(classes, precision + 2, CLASS_PRECISION)
    coder = Encoder()
    coder.group(class_frequencies, CLASS_PRECISION, classes)
    words = coder.to_bytes()
    bits = [value >> plane & 1 for plane in range(precision) for value in values if value.bit_length() > plane + 1]
    bits += [0] * (-len(bits) % 8)
    planes = int("".join(map(str, bits)) or "0", 2).to_bytes(len(bits) // 8, "big")
    return struct.pack(f"<{precision + 2}HI", *class_frequencies, len(words) // 4) + words + planes


class ArrayEncoder:
    """Arrays of numbers, each of one group with a table of its own."""

    def __init__(self, symbols: int = 96) -> None:
        self.symbols = symbols
        self.tables: list[list[int]] = []
        self.coder = Encoder()

    def array(self, numbers: Sequence[int], signed: bool = False) -> None:
        """One array."""
        magnitudes = [abs(number) for number in numbers]
        symbols = [split(magnitude) for magnitude in magnitudes]
        table = frequencies_of([symbol for symbol, _ in symbols], self.symbols)
        self.tables.append(table)
        self.coder.group(table, PRECISION, [symbol for symbol, _ in symbols])
        for plane in range(max((further for _, further in symbols), default=0)):
            self.bits(
                [of >> plane & 1 for of, (_, further) in zip(magnitudes, symbols, strict=True) if further > plane]
            )
        if signed:
            self.bits([int(number < 0) for number in numbers if number])

    def weights(self, rows: int, columns: int, numbers: Sequence[int], level: int = 0) -> None:
        """Pack weights whose levels are all the same, so that they are one group."""
        self.array([level] * rows)
        self.array([0] * columns)
        self.array(numbers, signed=True)

    def bits(self, bits: Sequence[int]) -> None:
        """Pack bits with two equal frequencies."""
        self.coder.group([1, 1], 1, bits)


def split(magnitude: int) -> tuple[int, int]:
    """The symbol of a magnitude, and the number of its further bits."""
    if magnitude < 8:
        return magnitude, 0
    digits = magnitude.bit_length()
    return 4 * (digits - 2) + (magnitude >> digits - 3) % 4, digits - 3


Layers = list[dict[str, Any]]


def pack_network(layers: Layers, extra_tables: int = 0, description: dict[str, Any] | None = None) -> bytes:
    """A decoder network.

    layers : descriptions, with `weight`, `bias` and `shift`; `values` are the steps or bends of the last layer, and
        `level` is what all levels of inputs are
    extra_tables : tables that no array uses
    description : what is put in the place of the description's own values
    """
    arrays = ArrayEncoder()
    for layer in layers:
        arrays.weights(layer["inputs"], layer["outputs"], layer["weight"], layer.get("level", 0))
        arrays.array(layer["bias"], signed=True)
        arrays.array(layer["shift"])
        if "values" in layer:
            arrays.array(layer["values"], signed=layer.get("wide", False))
    tables = arrays.tables + [arrays.tables[0]] * extra_tables
    numbers = ("weight", "bias", "shift", "values", "level", "wide")
    described = [{key: value for key, value in layer.items() if key not in numbers} for layer in layers]
    text = canonical(
        {"layers": described, "precision": PRECISION, "symbols": arrays.symbols, "tables": len(tables)}
        | (description or {})
    )
    packed = pack_tables(tables)
    parts = struct.pack("<I", len(text)), text, struct.pack("<I", len(packed)), packed, arrays.coder.to_bytes()
    return b"".join(parts)


def pack_numbers(description: dict[str, Any], arrays: Sequence[Any]) -> bytes:
    """Packed numbers. arrays : lists of numbers, or of rows of them    description : of the file that they are from"""
    coder = ArrayEncoder()
    for array in arrays:
        if isinstance(array[0], list):
            coder.weights(len(array), len(array[0]), [number for row in array for number in row])
        else:
            coder.array(array, signed=True)
    own = {"precision": PRECISION, "symbols": coder.symbols, "tables": len(coder.tables)}
    text, packed = canonical(description | own), pack_tables(coder.tables)
    parts = struct.pack("<I", len(text)), text, struct.pack("<I", len(packed)), packed, coder.coder.to_bytes()
    return b"".join(parts)
