"""The decoder of an archive that stores all its images without one: a grid of a single code, which makes black."""

import numpy as np
from numpy.typing import DTypeLike

from smalti.decoders.contract import TokenSpec, WriterModel
from smalti.decoders.grid.grid_kind import GridWriter
from smalti.decoders.layers.integer_network import IntegerNetwork, Layer, PixelTable

__all__ = ["BLACK_SIDE", "black_network", "blank_grid", "blank_writer"]

BLACK_SIDE = 16


def blank_grid(image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """The token grid that covers images of this shape."""
    height, width, _ = image_shape
    return -(-height // BLACK_SIDE), -(-width // BLACK_SIDE)


def blank_writer(spec: TokenSpec) -> WriterModel:
    """A writer for a blank grid, whose tokens are all 0. The codebook may have any size."""
    return GridWriter(black_network(spec.image_shape[2], spec.dtype), spec)


def black_network(channels: int, dtype: DTypeLike = np.uint8) -> IntegerNetwork:
    """The smallest network: its one code makes `BLACK_SIDE` by `BLACK_SIDE` black pixels."""
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
