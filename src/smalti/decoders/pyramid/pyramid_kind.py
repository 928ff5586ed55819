"""The kind of a pyramid: how its model is read, written and shared."""

import math

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.contract import (
    DecoderFacts,
    DecoderLimits,
    ImageModel,
    LevelInfo,
    Network,
    Pair,
    Prior,
    Tokens,
    TokenSpec,
    check_codes,
    check_fit,
    check_pixels,
    operations,
)
from smalti.decoders.pyramid.context import latent_numbers
from smalti.decoders.pyramid.pyramid_decoder import PyramidDecoder
from smalti.decoders.pyramid.pyramid_network import PyramidNetwork, TokenLayout
from smalti.decoders.pyramid.pyramid_packing import pack_pyramid, unpack_pyramid
from smalti.decoders.pyramid.pyramid_prior import PyramidPrior
from smalti.errors import DamagedArchiveError, UsageError
from smalti.images.batch import Pixels

__all__ = ["PYRAMID", "PyramidImageModel", "PyramidKind", "PyramidWriter", "pyramid_operations"]

_NUMBERS = 1 << 16
_BLOCK_IMAGES = 4096
_LATENT_BYTES = 64 << 20  # of one block, in the memory of a reader


class PyramidKind:
    """The kind of a pyramid. Images may have no tokens. The prior is as large as the model, so a file has one copy."""

    name = PyramidNetwork.kind
    fewest_codes = 0
    prior_copies = 1
    fits_prior = False
    has_levels = True

    def unpack(self, data: bytes, facts: DecoderFacts, limits: DecoderLimits) -> "PyramidImageModel":
        """Read the network and the grid of its canvas."""
        network, grid = unpack_pyramid(data, limits.model_bytes, facts.dtype)
        check_codes(network.codes, facts.codebook_size)
        layout = TokenLayout(network, grid)
        if facts.token_grid != (1, layout.tokens):
            raise DamagedArchiveError(f"it takes {layout.tokens} tokens an image, not {list(facts.token_grid)}")
        limits.check("network_operations", pyramid_operations(network, grid), "an image")
        latents_bytes = 4 * latent_numbers(network, layout) * facts.block_images
        limits.check("block_bytes", latents_bytes, "the latents of a token block")
        check_pixels(network, grid, facts)
        return PyramidImageModel(network, grid)

    def unpack_shared(
        self, data: bytes, codes: int, reference: bytes, facts: DecoderFacts, limits: DecoderLimits
    ) -> "PyramidImageModel":
        """Read a shared network: all of it is shared, and the reference is empty."""
        del codes
        if reference:
            raise DamagedArchiveError("bytes follow the name of a shared model")
        return self.unpack(data, facts, limits)

    def writing(self, spec: TokenSpec, network: Network, prior: Prior | None) -> "PyramidWriter":
        """A writer of pyramids of tokens; the prior must be made for the network."""
        if not isinstance(prior, PyramidPrior) or prior.network is not network:
            raise UsageError("a pyramid network needs a prior that was made for it")
        tokens = prior.layout.tokens
        if spec.token_grid != (1, tokens):
            raise UsageError(f"a token grid of {list(spec.token_grid)} for a pyramid of {tokens} tokens an image")
        check_fit(spec, network, prior.grid)
        return PyramidWriter(prior)


PYRAMID = PyramidKind()


def pyramid_operations(network: PyramidNetwork, grid: Pair) -> int:
    """Products and sums to make the pixels of one image."""
    total = operations(network.layers, grid)
    for scale in network.scales:
        total += math.prod(scale.grid(grid)) * scale.stem.size + math.prod(grid) * len(network.bias)
    return total


class PyramidImageModel:
    """The decoder of levels of tokens, whose scales divide a canvas `grid`."""

    kind = PYRAMID.name
    code_ids = np.arange(_NUMBERS, dtype=np.uint16)  # stored indices are the numbers of codes, or ABSENT

    def __init__(self, network: PyramidNetwork, grid: Pair) -> None:
        self._decoder = PyramidDecoder(network, grid)

    @property
    def network(self) -> PyramidNetwork:
        """The network, with all codes."""
        return self._decoder.network

    @property
    def levels(self) -> tuple[LevelInfo, ...]:
        """The levels of its tokens."""
        layout = self._decoder.layout
        return tuple(
            LevelInfo(level.scale, grid, grid[0] * grid[1], level.size)
            for level, grid in zip(self.network.levels, layout.grids, strict=True)
        )

    @property
    def grid(self) -> Pair:
        """Rows and columns of the canvas."""
        return self._decoder.grid

    @property
    def padded_shape(self) -> Pair:
        """Rows and columns of its output."""
        return self.network.output_size(self._decoder.grid)

    def decode(self, indices: NDArray[np.uint16], threads: int, levels: int | None) -> Pixels:
        """Pixels of indices [n, T], of the first `levels` levels alone unless that is None."""
        if levels is None:
            return self._decoder.decode(indices, threads)
        return self._decoder.preview(indices, levels, threads)

    def read_prior(self, data: bytes) -> PyramidPrior:
        """The prior of this network, from its payload."""
        return PyramidPrior.from_bytes(data, self.network, self._decoder.grid)

    def to_bytes(self) -> bytes:
        """The packed network."""
        return pack_pyramid(self.network, self._decoder.grid)

    def whole_network(self) -> PyramidNetwork:
        """The network as it is: archives store all codes."""
        return self.network

    def share_key(self) -> bytes:
        """The packed network: only equal models are shared."""
        return self.to_bytes()

    def sharing(self) -> "_SharedPyramid":
        """This model, for several archives."""
        return _SharedPyramid(self)


class _SharedPyramid:
    """A model that is the same in several archives."""

    def __init__(self, model: PyramidImageModel) -> None:
        self._network, self._grid = model.network, model.grid

    def add(self, model: ImageModel) -> bool:
        """Accept a model: those with the same share key are equal."""
        del model
        return True

    @property
    def model(self) -> PyramidImageModel:
        """The model."""
        return PyramidImageModel(self._network, self._grid)

    def reference(self, code_ids: NDArray[np.uint16]) -> bytes:
        """No bytes: the shared model is all of it."""
        del code_ids
        return b""


class PyramidWriter:
    """A writer for a network and its prior; archives store all codes."""

    def __init__(self, prior: PyramidPrior) -> None:
        self._prior = prior

    @property
    def block_images(self) -> int:
        """4,096 images in a token block, or fewer to bound the memory of a reader."""
        return min(_BLOCK_IMAGES, _LATENT_BYTES // (4 * latent_numbers(self._prior.network, self._prior.layout)))

    def check(self, tokens: NDArray[np.integer]) -> None:
        """Raise UsageError unless these are tokens of the pyramid."""
        self._prior.layout.check(tokens)

    def stored(self, tokens: Tokens) -> tuple[PyramidImageModel, PyramidPrior]:
        """The model and its prior, which do not depend on the tokens."""
        del tokens
        return PyramidImageModel(self._prior.network, self._prior.grid), self._prior
