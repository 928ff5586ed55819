"""The numbers of a transform decoder as bytes, and back with every check (docs/format.md, "The transform network")."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from smalti.decoders.layers.numbers import NumberReader, pack_numbers
from smalti.decoders.transform.fixed_bases import whole_bases
from smalti.decoders.transform.transform_network import (
    CELLS,
    LARGEST_MATRIX,
    LARGEST_STEP,
    MATRIX_BITS,
    MAX_FRACTION,
    MAX_SHIFT,
    MAX_WIDTH,
    MOST_COMPONENTS,
    Mixing,
    TransformNetwork,
)
from smalti.errors import DamagedArchiveError, LimitExceededError

__all__ = ["pack_transform", "unpack_transform"]

_KEYS: Mapping[str, tuple[int, int]] = {
    "cell": (min(CELLS), max(CELLS)),
    "channels": (1, 4),
    "components": (1, MOST_COMPONENTS),
    "fraction": (0, MAX_FRACTION),
    "mixing": (0, MAX_WIDTH),
    "shift1": (0, MAX_SHIFT),
    "shift2": (0, MAX_SHIFT),
    "shift3": (0, MAX_SHIFT),
}


def pack_transform(network: TransformNetwork) -> bytes:
    """Serialise a network. `unpack_transform` is the inverse."""
    mixing = network.mixing
    shifts = (0, 0, 0) if mixing is None else mixing.shifts
    description: dict[str, Any] = {
        "cell": network.cell,
        "channels": network.channels,
        "components": network.components,
        "fraction": network.fraction,
        "mixing": 0 if mixing is None else mixing.width,
        **{f"shift{number}": shift for number, shift in enumerate(shifts, 1)},
    }
    cosines, lap = whole_bases(network.cell, MATRIX_BITS)
    arrays = [
        network.mean, network.colour, *(network.rows - cosines), *(network.columns - cosines), network.lap - lap,
        network.places, network.steps,
    ]  # fmt: skip
    if mixing is not None:
        arrays += [
            mixing.weight1, mixing.bias1, mixing.weight2.reshape(-1, mixing.width), mixing.bias2, mixing.weight3,
            mixing.bias3,
        ]  # fmt: skip
    return pack_numbers(description, arrays)


def unpack_transform(data: bytes, dtype: str, limit_bytes: int) -> TransformNetwork:
    """Read the bytes of `pack_transform`. Raises DamagedArchiveError, LimitExceededError, ModelError."""
    reader = NumberReader(data, "model", _KEYS, limit_bytes)
    found = reader.description
    if set(found) != reader.keys:
        raise DamagedArchiveError("model: a description with other keys than those of format 1")
    cell, channels, components, width = (found[key] for key in ("cell", "channels", "components", "mixing"))
    if cell not in CELLS:
        raise DamagedArchiveError(f"model: cells of {cell} pixels")
    if components > channels * cell**2:
        raise DamagedArchiveError(f"model: {components} components of a cell of {channels * cell**2} values")
    if 8 * components * cell**2 > limit_bytes:
        raise LimitExceededError("model: its basis functions take more than the limit of the model's bytes allows")
    matrix = (-LARGEST_MATRIX, LARGEST_MATRIX)
    mean = reader.take((channels,), 0)
    colour = reader.take((channels, channels), *matrix)
    cosines, filter_ = whole_bases(cell, MATRIX_BITS)
    rows = np.stack([cosines + reader.take((cell, cell), *matrix) for _ in range(channels)])
    columns = np.stack([cosines + reader.take((cell, cell), *matrix) for _ in range(channels)])
    lap = filter_ + reader.take((cell, cell), *matrix)
    places = reader.take((components,), 0, channels * cell * cell - 1)
    steps = reader.take((components,), 1, LARGEST_STEP)
    mixing = None
    if width:
        weight1, bias1 = reader.take((components, width)), reader.take((width,))
        weight2, bias2 = reader.take((9 * width, width)).reshape(9, width, width), reader.take((width,))
        weight3, bias3 = reader.take((width, components)), reader.take((components,))
        shifts = (found["shift1"], found["shift2"], found["shift3"])
        mixing = Mixing(weight1, bias1, weight2, bias2, weight3, bias3, shifts)
    reader.finish()
    return TransformNetwork(dtype, found["fraction"], mean, colour, rows, columns, lap, places, steps, mixing)
