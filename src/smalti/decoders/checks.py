"""Checks that decoder kinds share: whether a network is the one that a header or a writer speaks of, and its cost."""

import math

from smalti.decoders.contract import DecoderFacts, Network, Pair, TokenSpec
from smalti.decoders.layers.integer_network import Layer
from smalti.errors import DamagedArchiveError, ModelError, UsageError

__all__ = ["check_codes", "check_fit", "check_pixels", "operations"]


def check_codes(codes: int, stated: int) -> None:
    """DamagedArchiveError if a network has another number of codes than the header states."""
    if codes != stated:
        raise DamagedArchiveError(f"it holds {codes} codes, not the {stated} that the header states")


def check_pixels(network: Network, grid: Pair, facts: DecoderFacts) -> None:
    """DamagedArchiveError if a network makes other images of its grid than the header states."""
    if network.channels != facts.channels:
        raise DamagedArchiveError(f"it makes {network.channels} channels, not {facts.channels}")
    if (size := network.output_size(grid)) != facts.padded_shape:
        raise DamagedArchiveError(f"it makes images of {list(size)}, not {list(facts.padded_shape)}")


def check_fit(spec: TokenSpec, network: Network, grid: Pair) -> None:
    """UsageError if a network does not make the images that a writer is to write. grid : what it begins with"""
    if network.codes != spec.codebook_size or network.channels != spec.image_shape[2]:
        raise UsageError(
            f"a decoder of {network.codes} codes and {network.channels} channels, the archive is to have "
            f"{spec.codebook_size} and {spec.image_shape[2]}"
        )
    if network.dtype != spec.dtype:
        raise UsageError(f"a decoder that makes pixels of {network.dtype}, the archive is to have {spec.dtype}")
    try:
        height, width = network.output_size(grid)
    except ModelError as error:
        raise UsageError(f"a token grid of {list(grid)} does not fit the decoder: {error}") from error
    if height < spec.image_shape[0] or width < spec.image_shape[1]:
        raise UsageError(
            f"the decoder makes {height}x{width} pixels of a token grid of {list(grid)}, images of "
            f"{list(spec.image_shape)} need more"
        )


def operations(layers: tuple[Layer, ...], grid: Pair) -> int:
    """Products and sums that one image takes in a chain of layers that begins with `grid`."""
    total = 0
    for layer in layers:
        result = layer.output_size(grid)
        total += math.prod(result if layer.kind == "conv" else grid) * _operations_at_a_place(layer)
        total += math.prod(result) * layer.outputs
        grid = result
    return total


def _operations_at_a_place(layer: Layer) -> int:
    taps = math.prod(layer.kernel) * layer.outputs
    return taps if layer.kind == "tokens" else taps * layer.inputs
