"""A network as few bytes, and back with every check (docs/format.md, "The decoder network").

The bytes are a description in canonical JSON, frequency tables, and one string of entropy-coded symbols that
holds every number of every layer. Rows and channels of weights differ in size, so each has a level, in half
octaves, and weights of equal level (row + channel) share a table.
"""

import struct
from math import prod

import numpy as np
from numpy.typing import NDArray

from smalti.entropy import FrequencyTable
from smalti.entropy.tables import pack_tables
from smalti.errors import DamagedArchiveError, LimitExceededError, ModelError
from smalti.integer.coding import IntegerReader, IntegerWriter, to_symbols
from smalti.integer.description import ActivationDescription, LayerDescription, NetworkDescription
from smalti.integer.network import MAX_SHIFT, Clip, IntegerNetwork, Layer, PixelTable

__all__ = ["pack_network", "unpack_network"]

MAX_LEVEL = 15
_LENGTH = struct.Struct("<I")
_PRECISIONS = (8, 10, 12)

Levels = NDArray[np.int64]


def pack_network(network: IntegerNetwork) -> bytes:
    """Serialise; `unpack_network` is the inverse. The same network gives the same bytes."""
    levels = [_choose_levels(layer.weight) for layer in network.layers]
    return min((_pack(network, levels, precision) for precision in _PRECISIONS), key=len)


def unpack_network(data: bytes, max_bytes: int) -> IntegerNetwork:
    """Read what `pack_network` wrote.

    max_bytes : of the unpacked numbers; nothing is allocated for more

    Raises DamagedArchiveError for bytes that no `pack_network` writes, UnsupportedArchiveError for a kind of layer
    or activation that is not known, LimitExceededError.
    """
    text, rest = _split(data, "its description")
    description = NetworkDescription.from_bytes(text)
    if description.unpacked_bytes > max_bytes:
        raise LimitExceededError(
            f"the decoder network takes {description.unpacked_bytes:,} bytes, more than the {max_bytes:,} that are "
            "allowed; raise the limit if you trust the file"
        )
    packed, coded = _split(rest, "its tables")
    reader = IntegerReader(packed, coded, description.tables, description.symbols, description.precision)
    try:
        network = IntegerNetwork(tuple(_read_layer(reader, layer) for layer in description.layers))
    except ModelError as error:
        raise DamagedArchiveError(f"network: {error}") from error
    reader.finish()
    return network


def _pack(network: IntegerNetwork, levels: list[tuple[Levels, Levels]], precision: int) -> bytes:
    writer = IntegerWriter(precision)
    for layer, pair in zip(network.layers, levels, strict=True):
        _write_layer(writer, layer, pair)
    packed, coded = writer.finish()
    text = NetworkDescription.of(network, writer.tables, writer.symbols, precision).to_bytes()
    return b"".join([_LENGTH.pack(len(text)), text, _LENGTH.pack(len(packed)), packed, coded])


def _split(data: bytes, what: str) -> tuple[bytes, bytes]:
    """The part that a u32 at the start gives the length of, and what follows it."""
    if len(data) < _LENGTH.size or (size := _LENGTH.unpack_from(data)[0]) > len(data) - _LENGTH.size:
        raise DamagedArchiveError(f"network: {what} would end after the data")
    return data[_LENGTH.size : _LENGTH.size + size], data[_LENGTH.size + size :]


def _write_layer(writer: IntegerWriter, layer: Layer, levels: tuple[Levels, Levels]) -> None:
    for each in levels:
        writer.add(each)
    writer.add(layer.weight.ravel(), _groups(layer.weight.shape, *levels), signed=True)
    writer.add(layer.bias, signed=True)
    writer.add(layer.shift)
    if isinstance(layer.activation, PixelTable):
        writer.add(np.diff(layer.activation.values, prepend=np.uint8(0)))  # uint8: differences modulo 256


def _read_layer(reader: IntegerReader, layer: LayerDescription) -> Layer:
    levels = [_in_range(reader.take(size), 0, MAX_LEVEL, "level") for size in (layer.inputs, layer.outputs)]
    shape = (layer.inputs, *layer.kernel, layer.outputs)
    weights = reader.take(prod(shape), _groups(shape, *levels), signed=True)
    weight = _in_range(weights, -(1 << 15), (1 << 15) - 1, "weight").astype(np.int16).reshape(shape)
    bias = reader.take(layer.outputs, signed=True).astype(np.int32)
    shift = _in_range(reader.take(layer.outputs), 0, MAX_SHIFT, "shift").astype(np.uint8)
    activation = _read_activation(reader, layer.activation)
    return Layer(layer.kind, weight, bias, shift, layer.stride, layer.padding, activation)


def _read_activation(reader: IntegerReader, activation: ActivationDescription) -> Clip | PixelTable:
    if activation.entries is None:
        return Clip(activation.low, activation.high)
    steps = _in_range(reader.take(activation.entries), 0, 255, "step of the pixel table")
    return PixelTable(activation.low, np.cumsum(steps).astype(np.uint8))


def _in_range(values: NDArray[np.int64], low: int, high: int, what: str) -> NDArray[np.int64]:
    if int(values.min()) < low or int(values.max()) > high:
        raise DamagedArchiveError(f"network: a {what} is outside {low}..{high}")
    return values


def _groups(shape: tuple[int, ...], rows: Levels, channels: Levels) -> NDArray[np.uint8]:
    """The group of each weight, in the order of the weights: level of its input + level of its output."""
    sums = (rows[:, None, None, None] + channels).astype(np.uint8)
    return np.broadcast_to(sums, shape).ravel()


def _choose_levels(weight: NDArray[np.int16]) -> tuple[Levels, Levels]:
    """Levels of inputs and of outputs; all 0 along an axis where telling them apart does not pay."""
    magnitudes = np.abs(weight.astype(np.int64))
    rows, channels = _half_octaves(magnitudes.sum(axis=(1, 2, 3))), _half_octaves(magnitudes.sum(axis=(0, 1, 2)))
    symbols = to_symbols(magnitudes.ravel())
    choices = [(row, channel) for row in (0 * rows, rows) for channel in (0 * channels, channels)]
    return min(choices, key=lambda levels: _cost_bits(symbols, _groups(weight.shape, *levels), levels))


def _half_octaves(sums: NDArray[np.int64]) -> Levels:
    """floor(2 * log2(sum)), counted from the largest, which is at MAX_LEVEL; nothing is below 0."""
    fraction, exponent = np.frexp(sums.astype(np.float64))
    levels: Levels = 2 * exponent.astype(np.int64) + (fraction >= 0.5**0.5)
    return np.maximum(levels - int(levels.max()) + MAX_LEVEL, 0)


def _cost_bits(symbols: NDArray[np.int64], groups: NDArray[np.uint8], levels: tuple[Levels, Levels]) -> float:
    """About what weights, their tables and their levels cost; bits that cost the same either way are left out."""
    counts = [np.bincount(symbols[groups == group], minlength=64) for group in np.flatnonzero(np.bincount(groups))]
    counts += [np.bincount(each, minlength=64) for each in levels]
    tables = [FrequencyTable.from_counts(row.astype(np.int64), _PRECISIONS[0]) for row in counts]
    packed = pack_tables(np.stack([table.frequencies for table in tables]), _PRECISIONS[0])
    return 8.0 * len(packed) + sum(table.cost_bits(row) for table, row in zip(tables, counts, strict=True))
