"""The model section: read, and checked against the header and the limits. No pickle, no code."""

import math

import numpy as np
from numpy.typing import DTypeLike

from smalti.archive.format.header import Header
from smalti.archive.format.limits import Limits
from smalti.archive.read.image_model import ImageModel, Prior, PyramidModel, TokenModel
from smalti.decoders.layers.integer_network import IntegerNetwork, Layer, PixelTable
from smalti.decoders.layers.network_packing import unpack_network
from smalti.decoders.pyramid.context import latent_numbers
from smalti.decoders.pyramid.pyramid_network import PyramidNetwork
from smalti.decoders.pyramid.pyramid_packing import unpack_pyramid
from smalti.decoders.pyramid.pyramid_prior import PyramidPrior
from smalti.decoders.pyramid.token_layout import TokenLayout
from smalti.errors import DamagedArchiveError, ModelError

__all__ = ["BLACK_SIDE", "black_network", "check_prior", "unpack_model"]

BLACK_SIDE = 16

Pair = tuple[int, int]


def unpack_model(data: bytes, header: Header, limits: Limits) -> ImageModel:
    """Read a model section.

    Raises DamagedArchiveError if it is not the model of `header`, LimitExceededError, UnsupportedArchiveError.
    """
    try:
        return _unpack_pyramid(data, header, limits) if header.decoder == "pyramid" else _unpack(data, header, limits)
    except ModelError as error:
        raise DamagedArchiveError(str(error)) from error


def check_prior(prior: Prior, limits: Limits) -> None:
    """LimitExceededError if coding one image takes more than the limit allows."""
    if isinstance(prior, PyramidPrior):
        limits.check("network_operations", prior.operations, "the prior of an image")


def _unpack(data: bytes, header: Header, limits: Limits) -> TokenModel:
    used, codes = header.codes_used, header.codebook_size
    ids_bytes = 0 if used == codes else 2 * used
    if len(data) < ids_bytes:
        raise DamagedArchiveError("too short for the numbers of its codes")
    code_ids = np.frombuffer(data, "<u2", used).astype(np.uint16) if ids_bytes else np.arange(used, dtype=np.uint16)
    if (np.diff(code_ids.astype(np.int64)) <= 0).any() or int(code_ids[-1]) >= codes:
        raise DamagedArchiveError("the numbers of its codes are not ascending within the codebook")
    network = unpack_network(data[ids_bytes:], limits.model_bytes, header.pixel_type)
    _check_codes(network.codes, used)
    limits.check("network_operations", _operations(network.layers, header.token_grid), "an image")
    _check_pixels(network, header.token_grid, header)
    return TokenModel(network, code_ids, codes, header.token_grid)


def _unpack_pyramid(data: bytes, header: Header, limits: Limits) -> PyramidModel:
    network, grid = unpack_pyramid(data, limits.model_bytes, header.pixel_type)
    _check_codes(network.codes, header.codebook_size)
    layout = TokenLayout(network, grid)
    if header.token_grid != (1, layout.tokens):
        raise DamagedArchiveError(f"it takes {layout.tokens} tokens an image, not {list(header.token_grid)}")
    operations = _operations(network.layers, grid)
    for scale in network.scales:
        operations += math.prod(scale.grid(grid)) * scale.stem.size + math.prod(grid) * len(network.bias)
    limits.check("network_operations", operations, "an image")
    block_images = min(header.block_images, header.images)
    limits.check("block_bytes", 4 * latent_numbers(network, layout) * block_images, "the latents of a token block")
    _check_pixels(network, grid, header)
    return PyramidModel(network, grid)


def _check_codes(codes: int, stated: int) -> None:
    if codes != stated:
        raise DamagedArchiveError(f"it holds {codes} codes, not the {stated} that the header states")


def _check_pixels(network: IntegerNetwork | PyramidNetwork, grid: Pair, header: Header) -> None:
    if network.channels != header.image_shape[2]:
        raise DamagedArchiveError(f"it makes {network.channels} channels, not {header.image_shape[2]}")
    if (size := network.output_size(grid)) != header.padded_shape:
        raise DamagedArchiveError(f"it makes images of {list(size)}, not {list(header.padded_shape)}")


def _operations(layers: tuple[Layer, ...], grid: Pair) -> int:
    """Products and sums that one image takes."""
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


def black_network(channels: int, dtype: DTypeLike = np.uint8) -> IntegerNetwork:
    """The smallest network: one code, which makes `BLACK_SIDE` by `BLACK_SIDE` black pixels."""
    layer = Layer(
        kind="tokens",
        weight=np.zeros((1, BLACK_SIDE, BLACK_SIDE, channels), np.int16),
        bias=np.zeros(channels, np.int32),
        shift=np.zeros(channels, np.uint8),
        stride=(BLACK_SIDE, BLACK_SIDE),
        padding=(0, 0),
        activation=PixelTable(0, np.zeros(1, dtype)),
    )
    return IntegerNetwork((layer,))
