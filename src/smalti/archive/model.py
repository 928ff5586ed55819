"""The model section: which codes are in use, and the decoder network for them. No pickle, no code."""

import math

import numpy as np
from numpy.typing import NDArray

from smalti.archive.header import Header
from smalti.archive.limits import Limits
from smalti.errors import DamagedArchiveError, ModelError
from smalti.integer import IntegerNetwork, Layer, PixelTable, pack_network, unpack_network

__all__ = ["BLACK_SIDE", "black_network", "pack_model", "unpack_model"]

BLACK_SIDE = 16


def pack_model(network: IntegerNetwork, code_ids: NDArray[np.integer], codebook_size: int) -> bytes:
    """Serialise `network` for the codes in use, whose numbers in [0, K) are `code_ids` (ascending [U])."""
    ids = b"" if len(code_ids) == codebook_size else code_ids.astype("<u2").tobytes()
    return ids + pack_network(network)


def unpack_model(data: bytes, header: Header, limits: Limits) -> tuple[IntegerNetwork, NDArray[np.uint16]]:
    """Read back what `pack_model` wrote: the network, and code_ids uint16 [U].

    Raises DamagedArchiveError if it is not the model of `header`, LimitExceededError, UnsupportedArchiveError.
    """
    used, codes = header.codes_used, header.codebook_size
    ids_bytes = 0 if used == codes else 2 * used
    if len(data) < ids_bytes:
        raise DamagedArchiveError("too short for the numbers of its codes")
    code_ids = np.frombuffer(data, "<u2", used).astype(np.uint16) if ids_bytes else np.arange(used, dtype=np.uint16)
    if (np.diff(code_ids.astype(np.int64)) <= 0).any() or int(code_ids[-1]) >= codes:
        raise DamagedArchiveError("the numbers of its codes are not ascending within the codebook")
    network = unpack_network(data[ids_bytes:], limits.model_bytes)
    _check_against(header, network, limits)
    return network, code_ids


def _check_against(header: Header, network: IntegerNetwork, limits: Limits) -> None:
    if network.codes != header.codes_used:
        raise DamagedArchiveError(f"it holds {network.codes} codes, not the {header.codes_used} that the header states")
    if network.channels != header.image_shape[2]:
        raise DamagedArchiveError(f"it makes {network.channels} channels, not {header.image_shape[2]}")
    try:
        limits.check("network_operations", _operations(network, header.token_grid), "an image")
        size = network.output_size(header.token_grid)
    except ModelError as error:
        raise DamagedArchiveError(str(error)) from error
    if size != header.padded_shape:
        raise DamagedArchiveError(f"it makes images of {list(size)}, not {list(header.padded_shape)}")


def _operations(network: IntegerNetwork, grid: tuple[int, int]) -> int:
    """Products and sums that one image takes."""
    total = 0
    for layer in network.layers:
        result = layer.output_size(grid)
        total += math.prod(result if layer.kind == "conv" else grid) * _operations_at_a_place(layer)
        total += math.prod(result) * layer.outputs
        grid = result
    return total


def _operations_at_a_place(layer: Layer) -> int:
    taps = math.prod(layer.kernel) * layer.outputs
    return taps if layer.kind == "tokens" else taps * layer.inputs


def black_network(channels: int) -> IntegerNetwork:
    """The smallest network: one code, which makes `BLACK_SIDE` by `BLACK_SIDE` black pixels."""
    layer = Layer(
        kind="tokens",
        weight=np.zeros((1, BLACK_SIDE, BLACK_SIDE, channels), np.int16),
        bias=np.zeros(channels, np.int32),
        shift=np.zeros(channels, np.uint8),
        stride=(BLACK_SIDE, BLACK_SIDE),
        padding=(0, 0),
        activation=PixelTable(0, np.zeros(1, np.uint8)),
    )
    return IntegerNetwork((layer,))
