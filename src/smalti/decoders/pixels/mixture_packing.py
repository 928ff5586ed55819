"""The bytes of a mixture prior, and back with every check (docs/format.md, "The mixture prior")."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from smalti.decoders.layers.numbers import NumberReader, pack_numbers
from smalti.decoders.pixels.mixture import MOST_COMPONENTS, outputs_of
from smalti.decoders.pixels.mixture_network import MixtureChannel, MixtureNetwork, mixture_inputs, own_inputs
from smalti.decoders.pixels.pixel_network import MAX_DEPTH, MAX_RADIUS, MAX_SHIFT, MAX_WIDTH, MOST_PLACES
from smalti.decoders.pixels.pixel_packing import whole_numbers
from smalti.decoders.pixels.wavefront import context_size
from smalti.errors import DamagedArchiveError

__all__ = ["pack_mixture_prior", "unpack_mixture_prior"]

_KEYS: Mapping[str, tuple[int, int]] = {
    "components": (1, MOST_COMPONENTS),
    "depth": (0, MAX_DEPTH),
    "lefts": (1, MOST_PLACES),
    "places": (0, 16),
    "radius": (1, MAX_RADIUS),
    "rights": (1, MOST_PLACES),
    "tops": (1, MOST_PLACES),
    "width": (1, MAX_WIDTH),
}


def pack_mixture_prior(network: MixtureNetwork) -> bytes:
    """Serialise a network. `unpack_mixture_prior` is the inverse."""
    description: dict[str, Any] = {
        "components": network.components,
        "depth": network.depth,
        "lefts": len(network.lefts),
        "places": network.networks[0].places,
        "radius": network.radius,
        "rights": len(network.rights),
        "shifts": [shift for own in network.networks for shift in own.shifts],
        "tops": len(network.tops),
        "width": network.width,
    }
    arrays = [network.context, network.tops, network.lefts, network.rights]
    for own in network.networks:
        arrays += [own.weights, own.own, own.bias, *own.middle, own.middle_bias, own.outputs, own.outputs_bias]
    return pack_numbers(description, arrays)


def unpack_mixture_prior(data: bytes, levels: list[int], limit_bytes: int) -> MixtureNetwork:
    """Read the bytes of `pack_mixture_prior`. levels : of each channel

    Raises DamagedArchiveError, LimitExceededError, ModelError.
    """
    reader = NumberReader(data, "prior", _KEYS, limit_bytes)
    found = reader.description
    depth, radius, width, components = (found[key] for key in ("depth", "radius", "width", "components"))
    shifts = found.get("shifts")
    if set(found) != {*reader.keys, "shifts"} or not whole_numbers(shifts, 0, MAX_SHIFT, len(levels) * (depth + 2)):
        raise DamagedArchiveError("prior: a description with other keys or values than those of format 1")
    assert isinstance(shifts, list)
    context = reader.take((mixture_inputs(radius, len(levels)), width))
    tops, lefts, rights = (reader.take((found[key], width)) for key in ("tops", "lefts", "rights"))
    networks = []
    for number in range(len(levels)):
        weights = reader.take((context_size(radius) * len(levels) + number,))
        own, bias = reader.take((own_inputs(number), width)), reader.take((width,))
        middle = [reader.take((width, width)) for _ in range(depth)]
        networks.append(
            MixtureChannel(
                weights,
                found["places"],
                own,
                bias,
                np.stack(middle) if middle else np.zeros((0, width, width), np.int64),
                reader.take((depth, width)),
                reader.take((width, outputs_of(components))),
                reader.take((outputs_of(components),)),
                tuple(shifts[number * (depth + 2) : (number + 1) * (depth + 2)]),
            )
        )
    reader.finish()
    return MixtureNetwork(radius, levels, context, tops, lefts, rights, tuple(networks))
