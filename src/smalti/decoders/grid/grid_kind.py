"""The kind of a token grid: how its model is read, written and shared."""

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
    """The kind of a token grid. The prior is fitted to the tokens of each archive; a file holds two copies of it."""

    name = IntegerNetwork.kind
    fewest_codes = 1
    prior_copies = 2
    fits_prior = True
    has_levels = False

    def unpack(self, data: bytes, facts: DecoderFacts, limits: DecoderLimits) -> "GridImageModel":
        """Read the numbers of the codes in use and the network."""
        code_ids, packed = _split(data, facts.codes_used, facts.codebook_size)
        _check_ids(code_ids, facts.codebook_size)
        network = unpack_network(packed, limits.model_bytes, facts.dtype)
        check_codes(network.codes, facts.codes_used)
        return _checked_model(network, code_ids, facts, limits)

    def unpack_shared(
        self, data: bytes, codes: int, reference: bytes, facts: DecoderFacts, limits: DecoderLimits
    ) -> "GridImageModel":
        """Read a shared network. The reference holds the positions of the codes in use among its codes, as uint16."""
        positions = np.frombuffer(reference, "<u2") if len(reference) % 2 == 0 else np.empty(0, "<u2")
        every, packed = _split(data, codes, facts.codebook_size)
        network = unpack_network(packed, limits.model_bytes, facts.dtype)
        if network.codes != codes:
            raise DamagedArchiveError(f"a shared model of {network.codes} codes, not the {codes} that it states")
        ascending = len(positions) == facts.codes_used and (np.diff(positions.astype(np.int64)) > 0).all()
        if not ascending or int(positions[-1]) >= codes:
            raise DamagedArchiveError("the codes that it takes of a shared model are not ascending within it")
        _check_ids(every[positions], facts.codebook_size)
        return _checked_model(network.with_codes(positions), every[positions], facts, limits)

    def writing(self, spec: TokenSpec, network: Network, prior: Prior | None) -> "GridWriter":
        """A writer of token grids; there must be no prior."""
        assert isinstance(network, IntegerNetwork)
        if prior is not None:
            raise UsageError("a prior is fitted to the tokens of an integer network, and is not to be given")
        check_fit(spec, network, spec.token_grid)
        return GridWriter(network, spec)


GRID = GridKind()


def _split(data: bytes, codes: int, codebook_size: int) -> tuple[CodeIds, bytes]:
    """The numbers of the codes, and the packed network. The numbers are stored unless all codes are in use."""
    ids_bytes = 0 if codes == codebook_size else 2 * codes
    if len(data) < ids_bytes:
        raise DamagedArchiveError("too short for the numbers of its codes")
    if not ids_bytes:
        return np.arange(codes, dtype=np.uint16), data
    return np.frombuffer(data, "<u2", codes).astype(np.uint16), data[ids_bytes:]


def _check_ids(code_ids: CodeIds, codebook_size: int) -> None:
    if (np.diff(code_ids.astype(np.int64)) <= 0).any() or int(code_ids[-1]) >= codebook_size:
        raise DamagedArchiveError("the numbers of its codes are not ascending within the codebook")


def _checked_model(
    network: IntegerNetwork, code_ids: CodeIds, facts: DecoderFacts, limits: DecoderLimits
) -> "GridImageModel":
    limits.check("network_operations", operations(network.layers, facts.token_grid), "an image")
    check_pixels(network, facts.token_grid, facts)
    return GridImageModel(network, code_ids, facts.codebook_size, facts.token_grid)


class GridImageModel:
    """The decoder of a token grid. codebook_size : K    code_ids : the codes in use, ascending [U]"""

    kind = GRID.name
    levels = None

    def __init__(self, network: IntegerNetwork, code_ids: CodeIds, codebook_size: int, grid: Pair) -> None:
        self.code_ids = code_ids
        self.codebook_size, self._grid = codebook_size, grid
        self._decoder = IntegerDecoder(network)

    @property
    def network(self) -> IntegerNetwork:
        """The network for the codes in use."""
        return self._decoder.network

    @property
    def grid(self) -> Pair:
        """Rows and columns of the tokens."""
        return self._grid

    @property
    def padded_shape(self) -> Pair:
        """Rows and columns of its output."""
        return self.network.output_size(self._grid)

    def decode(self, indices: NDArray[np.uint16], threads: int, levels: int | None) -> Pixels:
        """Pixels of indices [n, T]; there is one level."""
        assert levels in (None, 1)
        return self._decoder.decode(indices.reshape(-1, *self._grid), threads)

    def read_prior(self, data: bytes) -> TokenPrior:
        """The prior of the codes in use, from its payload."""
        return TokenPrior.from_bytes(data, len(self.code_ids), self._grid[0] * self._grid[1])

    def to_bytes(self) -> bytes:
        """The numbers of the codes, unless all are in use, and the packed network."""
        ids = b"" if len(self.code_ids) == self.codebook_size else self.code_ids.astype("<u2").tobytes()
        return ids + pack_network(self.network)

    def whole_network(self) -> IntegerNetwork:
        """The network for all K codes; those not in use are zeros."""
        codes = self.network.layers[0].weight
        weight = np.zeros((self.codebook_size, *codes.shape[1:]), codes.dtype)
        weight[self.code_ids] = codes
        return self.network.with_weight(weight)

    def share_key(self) -> bytes:
        """The packed network, with one code of zeros in place of its codes."""
        return pack_network(self.network.with_weight(np.zeros_like(self.network.layers[0].weight[:1])))

    def sharing(self) -> "_SharedGrid":
        """A union of codes that begins with those of this model."""
        return _SharedGrid(self)


class _SharedGrid:
    """The union of the codes that several archives use of one network. It grows as long as they agree."""

    def __init__(self, model: GridImageModel) -> None:
        self._network, self._grid, self._codebook_size = model.network, model.grid, model.codebook_size
        self._rows: dict[int, NDArray[np.int16]] = {}
        self.add(model)

    def add(self, model: ImageModel) -> bool:
        """Add the codes of a model; False if one differs from the code of the same number."""
        assert isinstance(model, GridImageModel)
        rows = dict(zip(model.code_ids.tolist(), model.network.layers[0].weight, strict=True))
        if any(number in self._rows and not np.array_equal(self._rows[number], row) for number, row in rows.items()):
            return False
        self._rows |= rows
        return True

    @property
    def model(self) -> GridImageModel:
        """The model with the union of the codes."""
        weight = np.stack([self._rows[number] for number in sorted(self._rows)])
        return GridImageModel(self._network.with_weight(weight), self._code_ids, self._codebook_size, self._grid)

    def reference(self, code_ids: CodeIds) -> bytes:
        """The positions of codes in the union, as uint16."""
        return np.searchsorted(self._code_ids, code_ids).astype("<u2").tobytes()

    @property
    def _code_ids(self) -> CodeIds:
        return np.array(sorted(self._rows), np.uint16)


class GridWriter:
    """A writer for a decoder with all K codes. Codes that no token uses are not stored."""

    block_images = _BLOCK_IMAGES

    def __init__(self, network: IntegerNetwork, spec: TokenSpec) -> None:
        self._network, self._grid, self._codebook_size = network, spec.token_grid, spec.codebook_size

    def check(self, tokens: NDArray[np.integer]) -> None:
        """Raise UsageError unless all tokens are in the codebook."""
        if tokens.size and not (int(tokens.min()) >= 0 and int(tokens.max()) < self._codebook_size):
            raise UsageError(f"tokens outside the codebook of {self._codebook_size}")

    def stored(self, tokens: Tokens) -> tuple[GridImageModel, TokenPrior]:
        """The network with the codes in use, and a prior fitted to the tokens."""
        code_ids = np.flatnonzero(tokens.counts).astype(np.uint16)
        one_code = self._network.codes == 1  # a network that needs no token
        network = self._network if one_code else self._network.with_codes(code_ids)
        model = GridImageModel(network, code_ids, self._codebook_size, self._grid)
        return model, _fit_prior(tokens, code_ids)


def _fit_prior(tokens: Tokens, code_ids: CodeIds) -> TokenPrior:
    """The prior that codes all tokens in the fewest bytes."""
    if tokens.tokens_per_image * len(code_ids) > MAX_POSITION_CELLS:
        return TokenPrior.fit_shared(tokens.counts[code_ids], tokens.tokens_per_image)
    code_index = np.zeros(len(tokens.counts), np.uint16)
    code_index[code_ids] = np.arange(len(code_ids))
    return TokenPrior.fit(tokens.position_counts(code_index, len(code_ids)))
