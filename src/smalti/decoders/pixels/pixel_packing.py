"""The bytes of a pixel model and of a pixel prior, and back with every check (docs/format.md, "The pixel model")."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.numbers import NumberReader, pack_numbers
from smalti.decoders.pixels.mixture_network import MOST_MIXED_LEVELS
from smalti.decoders.pixels.pixel_network import (
    MAX_DEPTH,
    MAX_RADIUS,
    MAX_SHIFT,
    MAX_WIDTH,
    MOST_PLACES,
    OWN_FEATURES,
    SCORES_OF_CANDIDATE,
    ChannelNetwork,
    PixelNetwork,
    candidates_of,
)
from smalti.decoders.pixels.wavefront import context_size
from smalti.errors import DamagedArchiveError
from smalti.images.seen import ALPHA_CHANNELS

__all__ = ["pack_levels", "pack_prior", "unpack_levels", "unpack_prior", "whole_numbers"]

Levels = tuple[NDArray[np.int64], ...]

_LEVEL_KEYS: Mapping[str, tuple[int, int]] = {"channels": (1, 4), "hides": (0, 1)}
_KEYS: Mapping[str, tuple[int, int]] = {
    "depth": (0, MAX_DEPTH),
    "lefts": (1, MOST_PLACES),
    "radius": (1, MAX_RADIUS),
    "rights": (1, MOST_PLACES),
    "tops": (1, MOST_PLACES),
    "width": (1, MAX_WIDTH),
}


def pack_levels(levels: Levels, hides: bool) -> bytes:
    """Serialise the numbers of a PixelModel. `unpack_levels` is the inverse."""
    counts = [len(values) for values in levels]
    description: dict[str, Any] = {"channels": len(levels), "hides": int(hides), "levels": counts}
    return pack_numbers(description, [np.diff(values, prepend=0) for values in levels])


def unpack_levels(data: bytes, largest: int, limit_bytes: int) -> tuple[Levels, bool]:
    """Read the bytes of `pack_levels`. largest : of the samples. Raises DamagedArchiveError, LimitExceededError."""
    reader = NumberReader(data, "model", _LEVEL_KEYS, limit_bytes)
    counts = reader.description.get("levels")
    if set(reader.description) != {*reader.keys, "levels"} or not whole_numbers(
        counts, 1, MOST_MIXED_LEVELS, reader.description["channels"]
    ):
        raise DamagedArchiveError("model: a description with other keys or values than those of format 1")
    assert isinstance(counts, list)
    levels = tuple(np.cumsum(reader.take((count,), 0, largest)) for count in counts)
    reader.finish()
    for values in levels:
        if (np.diff(values) < 1).any() or int(values[-1]) > largest:
            raise DamagedArchiveError(f"model: levels that do not ascend, or beyond {largest}")
    hides = bool(reader.description["hides"])
    if hides and len(levels) not in ALPHA_CHANNELS:
        raise DamagedArchiveError(f"model: colours are hidden, but {len(levels)} channels have no alpha")
    return levels, hides


def pack_prior(network: PixelNetwork) -> bytes:
    """Serialise a network. `unpack_prior` is the inverse."""
    description: dict[str, Any] = {
        "depth": network.depth,
        "lefts": len(network.lefts),
        "radius": network.radius,
        "rights": len(network.rights),
        "shifts": [shift for own in network.networks for shift in own.shifts],
        "tops": len(network.tops),
        "width": network.width,
    }
    arrays = [network.context, network.tops, network.lefts, network.rights]
    for own in network.networks:
        arrays += [own.own, own.bias, *own.middle, own.middle_bias, own.scores, own.scores_bias]
    return pack_numbers(description, arrays)


def unpack_prior(data: bytes, levels: list[int], limit_bytes: int) -> PixelNetwork:
    """Read the bytes of `pack_prior`. levels : of each channel

    Raises DamagedArchiveError, LimitExceededError, ModelError.
    """
    reader = NumberReader(data, "prior", _KEYS, limit_bytes)
    found = reader.description
    depth, radius, width = (found[key] for key in ("depth", "radius", "width"))
    shifts = found.get("shifts")
    if set(found) != {*reader.keys, "shifts"} or not whole_numbers(shifts, 0, MAX_SHIFT, len(levels) * (depth + 2)):
        raise DamagedArchiveError("prior: a description with other keys or values than those of format 1")
    assert isinstance(shifts, list)
    context = reader.take((context_size(radius) * len(levels), width))
    tops, lefts, rights = (reader.take((found[key], width)) for key in ("tops", "lefts", "rights"))
    networks = []
    for number, count in enumerate(levels):
        own, bias = reader.take((OWN_FEATURES * number, width)), reader.take((width,))
        outputs = count + SCORES_OF_CANDIDATE * candidates_of(number)
        middle = [reader.take((width, width)) for _ in range(depth)]
        networks.append(
            ChannelNetwork(
                own,
                bias,
                np.stack(middle) if middle else np.zeros((0, width, width), np.int64),
                reader.take((depth, width)),
                reader.take((width, outputs)),
                reader.take((outputs,)),
                tuple(shifts[number * (depth + 2) : (number + 1) * (depth + 2)]),
            )
        )
    reader.finish()
    return PixelNetwork(radius, context, tops, lefts, rights, tuple(networks))


def whole_numbers(found: Any, low: int, high: int, count: int) -> bool:
    """Whether this is a list of `count` whole numbers in low..high."""
    return (
        type(found) is list
        and len(found) == count
        and all(type(number) is int and low <= number <= high for number in found)
    )
