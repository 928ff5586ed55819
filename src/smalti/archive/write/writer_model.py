"""What a writer stores images with: a decoder that is given, and a prior that is given or fitted to all tokens."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.archive.read.image_model import ImageModel, Prior, PyramidModel, TokenModel
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.token_spool import Tokens
from smalti.decoders.layers.integer_network import IntegerNetwork
from smalti.decoders.pyramid.context import latent_numbers
from smalti.decoders.pyramid.pyramid_network import PyramidNetwork
from smalti.decoders.pyramid.pyramid_prior import PyramidPrior
from smalti.entropy.priors import MAX_POSITION_CELLS, TokenPrior
from smalti.errors import ModelError, UsageError

__all__ = ["PyramidWriting", "TokenWriting", "WriterModel", "writer_model"]

_BLOCK_IMAGES = 4096
_LATENT_BYTES = 64 << 20  # of a block, which a reader holds

Pair = tuple[int, int]


class WriterModel(Protocol):
    """A decoder for the tokens that a writer is given."""

    def fitted_spec(self, spec: ArchiveSpec) -> ArchiveSpec:
        """The same spec with what it leaves to the decoder; UsageError if the decoder does not fit it."""

    def check(self, tokens: NDArray[np.integer]) -> None:
        """UsageError if these are not tokens [n, T] of the decoder."""

    def stored(self, tokens: Tokens) -> tuple[ImageModel, Prior]:
        """What the file will hold, once all tokens are known."""


class TokenWriting:
    """A decoder of a token grid, with all K codes; codes that no token uses are not stored."""

    def __init__(self, network: IntegerNetwork, spec: ArchiveSpec) -> None:
        self._network, self._grid, self._codebook_size = network, spec.token_grid, spec.codebook_size

    def fitted_spec(self, spec: ArchiveSpec) -> ArchiveSpec:
        """See WriterModel."""
        _check_fit(spec, self._network, self._network.codes, spec.token_grid)
        return spec

    def check(self, tokens: NDArray[np.integer]) -> None:
        """See WriterModel."""
        if tokens.size and not (int(tokens.min()) >= 0 and int(tokens.max()) < self._codebook_size):
            raise UsageError(f"tokens outside the codebook of {self._codebook_size}")

    def stored(self, tokens: Tokens) -> tuple[TokenModel, TokenPrior]:
        """See WriterModel; the prior is fitted."""
        code_ids = np.flatnonzero(tokens.counts).astype(np.uint16)
        one_code = self._network.codes == 1  # a network that needs no token
        network = self._network if one_code else self._network.with_codes(code_ids)
        model = TokenModel(network, code_ids, self._codebook_size, self._grid)
        return model, _fit_prior(tokens, code_ids)


class PyramidWriting:
    """A decoder of levels of tokens, with its prior; all codes are stored."""

    def __init__(self, prior: PyramidPrior) -> None:
        self._prior = prior

    def fitted_spec(self, spec: ArchiveSpec) -> ArchiveSpec:
        """See WriterModel; blocks have 4,096 images, or as many as bound the memory of a reader."""
        network, layout = self._prior.network, self._prior.layout
        if spec.token_grid != (1, layout.tokens):
            raise UsageError(
                f"a token grid of {list(spec.token_grid)} for a pyramid of {layout.tokens} tokens an image"
            )
        _check_fit(spec, network, network.codes, self._prior.grid)
        return spec.with_blocks(min(_BLOCK_IMAGES, _LATENT_BYTES // (4 * latent_numbers(network, layout))))

    def check(self, tokens: NDArray[np.integer]) -> None:
        """See WriterModel."""
        self._prior.layout.check(tokens)

    def stored(self, tokens: Tokens) -> tuple[PyramidModel, PyramidPrior]:
        """See WriterModel."""
        del tokens
        return PyramidModel(self._prior.network, self._prior.grid), self._prior


def writer_model(
    spec: ArchiveSpec, network: IntegerNetwork | PyramidNetwork, prior: PyramidPrior | None
) -> WriterModel:
    """The way in which a network is written; UsageError for a pyramid without its prior, or another one with one."""
    if isinstance(network, IntegerNetwork):
        if prior is not None:
            raise UsageError("a prior is fitted to the tokens of an integer network, and is not to be given")
        return TokenWriting(network, spec)
    if prior is None or prior.network is not network:
        raise UsageError("a pyramid network needs a prior that was made for it")
    return PyramidWriting(prior)


def _check_fit(spec: ArchiveSpec, network: IntegerNetwork | PyramidNetwork, codes: int, grid: Pair) -> None:
    if codes != spec.codebook_size or network.channels != spec.image_shape[2]:
        raise UsageError(
            f"a decoder of {codes} codes and {network.channels} channels, the archive is to have "
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


def _fit_prior(tokens: Tokens, code_ids: NDArray[np.uint16]) -> TokenPrior:
    """The prior that codes all tokens in the fewest bytes."""
    if tokens.tokens_per_image * len(code_ids) > MAX_POSITION_CELLS:
        return TokenPrior.fit_shared(tokens.counts[code_ids], tokens.tokens_per_image)
    ranks = np.zeros(len(tokens.counts), np.uint16)
    ranks[code_ids] = np.arange(len(code_ids))
    return TokenPrior.fit(tokens.position_counts(ranks, len(code_ids)))
