"""The kinds of decoder that an archive can have: what its model section means, and the prior that goes with it.

    "integer"   a grid of tokens from one codebook, of which only the codes in use are stored
    "pyramid"   levels of tokens, of which the last ones may be absent; all codes are stored

What is read and what is written of either is the same class; whatever differs between them is here.
"""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.archive.report import LevelInfo
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.decoders.layers.integer_network import IntegerNetwork
from smalti.decoders.layers.network_packing import pack_network
from smalti.decoders.pyramid.pyramid_decoder import PyramidDecoder
from smalti.decoders.pyramid.pyramid_network import PyramidNetwork
from smalti.decoders.pyramid.pyramid_packing import pack_pyramid
from smalti.decoders.pyramid.pyramid_prior import PyramidPrior
from smalti.entropy.priors import TokenPrior
from smalti.images.batch import Pixels

__all__ = ["ImageModel", "Prior", "PyramidModel", "TokenModel"]

_NUMBERS = 1 << 16

Pair = tuple[int, int]


class Prior(Protocol):
    """What the tokens of a block were coded with, for indices uint16 [n, T]."""

    def encode(self, tokens: NDArray[np.integer]) -> bytes:
        """Code tokens."""

    def decode(self, data: bytes, images: int) -> NDArray[np.uint16]:
        """Read them back; DamagedArchiveError."""

    def to_bytes(self) -> bytes:
        """The payload of the prior section."""


class ImageModel(Protocol):
    """A decoder, ready to run, and the meaning of indices as they are stored; safe to use from several threads.

    code_ids : uint16, the number in [0, K) of each index; an absent token stays what it is
    """

    code_ids: NDArray[np.uint16]

    @property
    def network(self) -> IntegerNetwork | PyramidNetwork:
        """Its numbers."""

    @property
    def kind(self) -> Literal["integer", "pyramid"]:
        """What the header calls it."""

    @property
    def levels(self) -> tuple[LevelInfo, ...] | None:
        """Its levels of tokens, None if it knows no levels."""

    @property
    def grid(self) -> Pair:
        """Rows and columns that the network begins with: of the tokens, or of a pyramid's canvas."""

    @property
    def padded_shape(self) -> Pair:
        """Rows and columns that it makes."""

    def decode(self, indices: NDArray[np.uint16], threads: int, levels: int | None) -> Pixels:
        """Pixels [n, H', W', C] of indices [n, T], of the first `levels` levels alone unless that is None."""

    def read_prior(self, data: bytes) -> Prior:
        """The prior from its payload; DamagedArchiveError, UnsupportedArchiveError."""

    def to_bytes(self) -> bytes:
        """The payload of the model section."""


class TokenModel:
    """A grid of tokens from one codebook. codebook_size : K; `code_ids` are the codes in use, ascending [U]"""

    kind: Literal["integer"] = "integer"
    levels = None

    def __init__(self, network: IntegerNetwork, code_ids: NDArray[np.uint16], codebook_size: int, grid: Pair) -> None:
        self.code_ids = code_ids
        self._codebook_size, self._grid = codebook_size, grid
        self._decoder = IntegerDecoder(network)

    @property
    def network(self) -> IntegerNetwork:
        """For the codes in use."""
        return self._decoder.network

    @property
    def grid(self) -> Pair:
        """See ImageModel."""
        return self._grid

    @property
    def padded_shape(self) -> Pair:
        """See ImageModel."""
        return self.network.output_size(self._grid)

    def decode(self, indices: NDArray[np.uint16], threads: int, levels: int | None) -> Pixels:
        """See ImageModel; there is one level."""
        assert levels in (None, 1)
        return self._decoder.decode(indices.reshape(-1, *self._grid), threads)

    def read_prior(self, data: bytes) -> TokenPrior:
        """See ImageModel."""
        return TokenPrior.from_bytes(data, len(self.code_ids), self._grid[0] * self._grid[1])

    def to_bytes(self) -> bytes:
        """See ImageModel."""
        ids = b"" if len(self.code_ids) == self._codebook_size else self.code_ids.astype("<u2").tobytes()
        return ids + pack_network(self.network)


class PyramidModel:
    """Levels of tokens on the scales of a canvas `grid`."""

    kind: Literal["pyramid"] = "pyramid"
    code_ids = np.arange(_NUMBERS, dtype=np.uint16)  # indices are numbers, and absent is absent

    def __init__(self, network: PyramidNetwork, grid: Pair) -> None:
        self._decoder = PyramidDecoder(network, grid)

    @property
    def network(self) -> PyramidNetwork:
        """With all codes."""
        return self._decoder.network

    @property
    def levels(self) -> tuple[LevelInfo, ...]:
        """See ImageModel."""
        layout = self._decoder.layout
        return tuple(
            LevelInfo(level.scale, grid, grid[0] * grid[1], level.size)
            for level, grid in zip(self.network.levels, layout.grids, strict=True)
        )

    @property
    def grid(self) -> Pair:
        """See ImageModel."""
        return self._decoder.grid

    @property
    def padded_shape(self) -> Pair:
        """See ImageModel."""
        return self.network.output_size(self._decoder.grid)

    def decode(self, indices: NDArray[np.uint16], threads: int, levels: int | None) -> Pixels:
        """See ImageModel."""
        if levels is None:
            return self._decoder.decode(indices, threads)
        return self._decoder.preview(indices, levels, threads)

    def read_prior(self, data: bytes) -> PyramidPrior:
        """See ImageModel."""
        return PyramidPrior.from_bytes(data, self.network, self._decoder.grid)

    def to_bytes(self) -> bytes:
        """See ImageModel."""
        return pack_pyramid(self.network, self._decoder.grid)
