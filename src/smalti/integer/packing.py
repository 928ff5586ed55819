"""A network as few bytes, and back with every check (docs/format.md, "The decoder network").

The bytes are a description in canonical JSON, frequency tables, and one string of entropy-coded symbols that
holds every number of every layer; which weights share a table is in `weights`.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.errors import DamagedArchiveError, LimitExceededError, ModelError
from smalti.integer.coding import IntegerReader, IntegerWriter
from smalti.integer.description import ActivationDescription, LayerDescription, NetworkDescription
from smalti.integer.network import MAX_SHIFT, Clip, IntegerNetwork, Layer, PixelTable
from smalti.integer.weights import Levels, choose_levels, in_range, read_weights, write_weights

__all__ = ["PRECISIONS", "pack_network", "read_layer", "unpack_network", "write_layer"]

_LENGTH = struct.Struct("<I")
PRECISIONS = (8, 10, 12)
MAX_BEND = 2 * 65_535


def pack_network(network: IntegerNetwork) -> bytes:
    """Serialise; `unpack_network` is the inverse. The same network gives the same bytes."""
    levels = [choose_levels(layer.weight) for layer in network.layers]
    return min((_pack(network, levels, precision) for precision in PRECISIONS), key=len)


def unpack_network(data: bytes, max_bytes: int, dtype: DTypeLike = np.uint8) -> IntegerNetwork:
    """Read what `pack_network` wrote.

    dtype : of the pixels, uint8 or uint16, which the bytes do not tell
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
        network = IntegerNetwork(tuple(read_layer(reader, layer, dtype) for layer in description.layers))
    except ModelError as error:
        raise DamagedArchiveError(f"network: {error}") from error
    reader.finish()
    return network


def _pack(network: IntegerNetwork, levels: list[Levels], precision: int) -> bytes:
    writer = IntegerWriter(precision)
    for layer, pair in zip(network.layers, levels, strict=True):
        write_layer(writer, layer, pair)
    packed, coded = writer.finish()
    text = NetworkDescription.of(network, writer.tables, writer.symbols, precision).to_bytes()
    return b"".join([_LENGTH.pack(len(text)), text, _LENGTH.pack(len(packed)), packed, coded])


def _split(data: bytes, what: str) -> tuple[bytes, bytes]:
    """The part that a u32 at the start gives the length of, and what follows it."""
    if len(data) < _LENGTH.size or (size := _LENGTH.unpack_from(data)[0]) > len(data) - _LENGTH.size:
        raise DamagedArchiveError(f"network: {what} would end after the data")
    return data[_LENGTH.size : _LENGTH.size + size], data[_LENGTH.size + size :]


def write_layer(writer: IntegerWriter, layer: Layer, levels: Levels) -> None:
    """Append the numbers of a layer with the levels of its weights."""
    write_weights(writer, layer.weight, levels)
    writer.add(layer.bias, signed=True)
    writer.add(layer.shift)
    if isinstance(layer.activation, PixelTable):
        values = layer.activation.values
        if values.dtype == np.uint8:
            writer.add(np.diff(values, prepend=np.uint8(0)))  # differences modulo 256
        else:
            writer.add(_bends(values), signed=True)


def _bends(values: NDArray[np.integer]) -> NDArray[np.int64]:
    """By how much the steps between values change: small numbers where a table is smooth."""
    padded = np.concatenate([[0, 0], values.astype(np.int64)])
    bends: NDArray[np.int64] = padded[2:] - 2 * padded[1:-1] + padded[:-2]
    return bends


def read_layer(reader: IntegerReader, layer: LayerDescription, dtype: DTypeLike) -> Layer:
    """Read back what `write_layer` wrote; DamagedArchiveError, or ModelError if the numbers do not fit each other."""
    weight = read_weights(reader, (layer.inputs, *layer.kernel, layer.outputs), -(1 << 15), (1 << 15) - 1)
    bias = reader.take(layer.outputs, signed=True).astype(np.int32)
    shift = in_range(reader.take(layer.outputs), 0, MAX_SHIFT, "shift").astype(np.uint8)
    activation = _read_activation(reader, layer.activation, np.dtype(dtype))
    return Layer(layer.kind, weight, bias, shift, layer.stride, layer.padding, activation)


def _read_activation(
    reader: IntegerReader, activation: ActivationDescription, dtype: np.dtype[Any]
) -> Clip | PixelTable:
    if activation.entries is None:
        return Clip(activation.low, activation.high)
    if dtype == np.uint16:
        bends = in_range(reader.take(activation.entries, signed=True), -MAX_BEND, MAX_BEND, "bend of the pixel table")
        values = in_range(np.cumsum(np.cumsum(bends)), 0, 65_535, "value of the pixel table")
        return PixelTable(activation.low, values.astype(np.uint16))
    steps = in_range(reader.take(activation.entries), 0, 255, "step of the pixel table")
    return PixelTable(activation.low, np.cumsum(steps).astype(np.uint8))
