"""A pyramid network as few bytes, and back with every check (docs/format.md, "The pyramid network").

The bytes are a description, frequency tables, and one string of entropy-coded symbols that holds every number.
"""

import numpy as np
from numpy.typing import DTypeLike

from smalti.decoders.layers.integer_network import MAX_SHIFT
from smalti.decoders.layers.network_packing import PRECISIONS, read_layer, write_layer
from smalti.decoders.layers.weights import Levels, choose_levels, in_range, read_weights, write_weights
from smalti.decoders.pyramid.description import Coding, Fields, PyramidDescription
from smalti.decoders.pyramid.pyramid_network import MAX_CODE, Level, PyramidNetwork, Scale
from smalti.entropy.integers import IntegerReader, IntegerWriter
from smalti.errors import DamagedArchiveError, LimitExceededError, ModelError

__all__ = ["pack_pyramid", "unpack_pyramid"]

Pair = tuple[int, int]


def pack_pyramid(network: PyramidNetwork, grid: Pair) -> bytes:
    """Serialise a network for a canvas `grid` (h, w); `unpack_pyramid` is the inverse.

    The same network gives the same bytes. Raises ModelError if it does not fit the grid.
    """
    network.output_size(grid)
    arrays = [scale.stem for scale in network.scales]
    arrays += [level.codes for level in network.levels]
    arrays += [layer.weight for layer in network.layers]
    levels = [choose_levels(array) for array in arrays]
    return min((_pack(network, grid, levels, precision) for precision in PRECISIONS), key=len)


def unpack_pyramid(data: bytes, max_bytes: int, dtype: DTypeLike = np.uint8) -> tuple[PyramidNetwork, Pair]:
    """Read what `pack_pyramid` wrote: the network, and the grid of its canvas.

    dtype : of the pixels, uint8 or uint16, which the bytes do not tell
    max_bytes : of the unpacked numbers; nothing is allocated for more

    Raises DamagedArchiveError for bytes that no `pack_pyramid` writes, UnsupportedArchiveError for a kind of layer
    that is not known, LimitExceededError.
    """
    fields = Fields(data, "pyramid")
    try:
        description = PyramidDescription.read(fields)
        if description.unpacked_bytes > max_bytes:
            raise LimitExceededError(
                f"the pyramid network takes {description.unpacked_bytes:,} bytes, more than the {max_bytes:,} that "
                "are allowed; raise the limit if you trust the file"
            )
        reader = open_reader(fields, description.coding)
        network = _read(reader, description, dtype)
        network.output_size(description.grid)
    except ModelError as error:
        raise DamagedArchiveError(f"pyramid: {error}") from error
    reader.finish()
    return network, description.grid


def open_reader(fields: Fields, coding: Coding) -> IntegerReader:
    """The reader of the numbers that follow the fields."""
    packed, coded = fields.split(coding.packed_bytes)
    return IntegerReader(packed, coded, coding.tables, coding.symbols, coding.precision)


def _pack(network: PyramidNetwork, grid: Pair, levels: list[Levels], precision: int) -> bytes:
    writer, of_arrays = IntegerWriter(precision), iter(levels)
    for scale in network.scales:
        write_weights(writer, scale.stem, next(of_arrays))
    writer.add(network.bias, signed=True)
    writer.add(network.shift)
    for level in network.levels:
        write_weights(writer, level.codes, next(of_arrays))
    for layer in network.layers:
        write_layer(writer, layer, next(of_arrays))
    packed, coded = writer.finish()
    coding = Coding(writer.tables, writer.symbols, precision, len(packed))
    return PyramidDescription.of(network, grid, coding).to_bytes() + packed + coded


def _read(reader: IntegerReader, description: PyramidDescription, dtype: DTypeLike) -> PyramidNetwork:
    channels = description.channels
    scales = [
        Scale(scale.stride, read_weights(reader, (scale.channels, *scale.kernel, channels), -128, 127), scale.padding)
        for scale in description.scales
    ]
    bias = reader.take(channels, signed=True).astype(np.int32)
    shift = in_range(reader.take(channels), 0, MAX_SHIFT, "shift").astype(np.uint8)
    levels = [
        Level(level.scale, level.start, read_weights(reader, (level.size, level.width), -MAX_CODE, MAX_CODE))
        for level in description.levels
    ]
    layers = [read_layer(reader, layer, dtype) for layer in description.layers]
    return PyramidNetwork(tuple(scales), tuple(levels), bias, shift, description.clip, tuple(layers))
