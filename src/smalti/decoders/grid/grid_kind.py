"""The kind of a token grid: its model as it is read, written and shared."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.contract import (
    DecoderFacts,
    DecoderLimits,
    ImageModel,
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
from smalti.decoders.grid.grid_prior import TokenPrior
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.decoders.layers.integer_network import IntegerNetwork
from smalti.decoders.layers.network_packing import pack_network, unpack_network
from smalti.entropy.priors import MAX_POSITION_CELLS
from smalti.errors import DamagedArchiveError, UsageError
from smalti.images.batch import Pixels

__all__ = ["GRID", "GridImageModel", "GridKind", "GridWriter"]

_BLOCK_IMAGES = 1024

CodeIds = NDArray[np.uint16]
"""Numbers of the codes in use, ascending: [U]."""


class GridKind:
    """See DecoderKind."""

    name = IntegerNetwork.kind
    fewest_codes = 1
    prior_copies = 2
    fits_prior = True
    has_levels = False

    def unpack(self, data: bytes, facts: DecoderFacts, limits: DecoderLimits) -> "GridImageModel":
        """See DecoderKind."""
        code_ids, packed = _split(data, facts.codes_used, facts.codebook_size)
        _check_ids(code_ids, facts.codebook_size)
        network = unpack_network(packed, limits.model_bytes, facts.dtype)
        check_codes(network.codes, facts.codes_used)
        return _made(network, code_ids, facts, limits)

    def unpack_shared(
        self, data: bytes, codes: int, reference: bytes, facts: DecoderFacts, limits: DecoderLimits
    ) -> "GridImageModel":
        """See DecoderKind; a reference is the places of the codes in use among those of the shared model."""
        places = np.frombuffer(reference, "<u2") if len(reference) % 2 == 0 else np.empty(0, "<u2")
        every, packed = _split(data, codes, facts.codebook_size)
        network = unpack_network(packed, limits.model_bytes, facts.dtype)
        if network.codes != codes:
            raise DamagedArchiveError(f"a shared model of {network.codes} codes, not the {codes} that it states")
        ascending = len(places) == facts.codes_used and (np.diff(places.astype(np.int64)) > 0).all()
        if not ascending or int(places[-1]) >= codes:
            raise DamagedArchiveError("the codes that it takes of a shared model are not ascending within it")
        _check_ids(every[places], facts.codebook_size)
        return _made(network.with_codes(places), every[places], facts, limits)

    def writing(self, spec: TokenSpec, network: Network, prior: Prior | None) -> "GridWriter":
        """See DecoderKind."""
        assert isinstance(network, IntegerNetwork)
        if prior is not None:
            raise UsageError("a prior is fitted to the tokens of an integer network, and is not to be given")
        check_fit(spec, network, spec.token_grid)
        return GridWriter(network, spec)


GRID = GridKind()


def _split(data: bytes, codes: int, codebook_size: int) -> tuple[CodeIds, bytes]:
    """The numbers of the codes, which are stored unless all codes are in use, and the packed network."""
    ids_bytes = 0 if codes == codebook_size else 2 * codes
    if len(data) < ids_bytes:
        raise DamagedArchiveError("too short for the numbers of its codes")
    if not ids_bytes:
        return np.arange(codes, dtype=np.uint16), data
    return np.frombuffer(data, "<u2", codes).astype(np.uint16), data[ids_bytes:]


def _check_ids(code_ids: CodeIds, codebook_size: int) -> None:
    if (np.diff(code_ids.astype(np.int64)) <= 0).any() or int(code_ids[-1]) >= codebook_size:
        raise DamagedArchiveError("the numbers of its codes are not ascending within the codebook")


def _made(network: IntegerNetwork, code_ids: CodeIds, facts: DecoderFacts, limits: DecoderLimits) -> "GridImageModel":
    limits.check("network_operations", operations(network.layers, facts.token_grid), "an image")
    check_pixels(network, facts.token_grid, facts)
    return GridImageModel(network, code_ids, facts.codebook_size, facts.token_grid)


class GridImageModel:
    """A grid of tokens from one codebook. codebook_size : K; `code_ids` are the codes in use, ascending [U]"""

    kind = GRID.name
    levels = None

    def __init__(self, network: IntegerNetwork, code_ids: CodeIds, codebook_size: int, grid: Pair) -> None:
        self.code_ids = code_ids
        self.codebook_size, self._grid = codebook_size, grid
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
        ids = b"" if len(self.code_ids) == self.codebook_size else self.code_ids.astype("<u2").tobytes()
        return ids + pack_network(self.network)

    def whole_network(self) -> IntegerNetwork:
        """See ImageModel."""
        codes = self.network.layers[0].weight
        weight = np.zeros((self.codebook_size, *codes.shape[1:]), codes.dtype)
        weight[self.code_ids] = codes
        return _with_weight(self.network, weight)

    def share_key(self) -> bytes:
        """See ImageModel; the network with a code of zeros in place of its codes."""
        return pack_network(_with_weight(self.network, np.zeros_like(self.network.layers[0].weight[:1])))

    def sharing(self) -> "_SharedGrid":
        """See ImageModel."""
        return _SharedGrid(self)


def _with_weight(network: IntegerNetwork, weight: NDArray[np.int16]) -> IntegerNetwork:
    """The same network with other codes."""
    first, *others = network.layers
    return IntegerNetwork((replace(first, weight=weight), *others))


class _SharedGrid:
    """The codes that several archives use of one network: a union that grows, as long as they agree."""

    def __init__(self, model: GridImageModel) -> None:
        self._network, self._grid, self._codebook_size = model.network, model.grid, model.codebook_size
        self._rows: dict[int, NDArray[np.int16]] = {}
        self.add(model)

    def add(self, model: ImageModel) -> bool:
        """See SharedModel."""
        assert isinstance(model, GridImageModel)
        rows = dict(zip(model.code_ids.tolist(), model.network.layers[0].weight, strict=True))
        if any(number in self._rows and not np.array_equal(self._rows[number], row) for number, row in rows.items()):
            return False
        self._rows |= rows
        return True

    @property
    def model(self) -> GridImageModel:
        """See SharedModel."""
        weight = np.stack([self._rows[number] for number in sorted(self._rows)])
        network = _with_weight(self._network, weight)
        return GridImageModel(network, self._code_ids, self._codebook_size, self._grid)

    def reference(self, code_ids: CodeIds) -> bytes:
        """See SharedModel."""
        return np.searchsorted(self._code_ids, code_ids).astype("<u2").tobytes()

    @property
    def _code_ids(self) -> CodeIds:
        return np.array(sorted(self._rows), np.uint16)


class GridWriter:
    """A decoder of a token grid, with all K codes; codes that no token uses are not stored."""

    block_images = _BLOCK_IMAGES

    def __init__(self, network: IntegerNetwork, spec: TokenSpec) -> None:
        self._network, self._grid, self._codebook_size = network, spec.token_grid, spec.codebook_size

    def check(self, tokens: NDArray[np.integer]) -> None:
        """See WriterModel."""
        if tokens.size and not (int(tokens.min()) >= 0 and int(tokens.max()) < self._codebook_size):
            raise UsageError(f"tokens outside the codebook of {self._codebook_size}")

    def stored(self, tokens: Tokens) -> tuple[GridImageModel, TokenPrior]:
        """See WriterModel; the prior is fitted."""
        code_ids = np.flatnonzero(tokens.counts).astype(np.uint16)
        one_code = self._network.codes == 1  # a network that needs no token
        network = self._network if one_code else self._network.with_codes(code_ids)
        model = GridImageModel(network, code_ids, self._codebook_size, self._grid)
        return model, _fit_prior(tokens, code_ids)


def _fit_prior(tokens: Tokens, code_ids: CodeIds) -> TokenPrior:
    """The prior that codes all tokens in the fewest bytes."""
    if tokens.tokens_per_image * len(code_ids) > MAX_POSITION_CELLS:
        return TokenPrior.fit_shared(tokens.counts[code_ids], tokens.tokens_per_image)
    ranks = np.zeros(len(tokens.counts), np.uint16)
    ranks[code_ids] = np.arange(len(code_ids))
    return TokenPrior.fit(tokens.position_counts(ranks, len(code_ids)))
