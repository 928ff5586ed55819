"""The prior of hierarchical tokens: which groups of symbols a block's tokens are coded in, and in which order.

    the depths of all images                                            one group, one table
    for each level, for each position of its grid, row after row:       a group of the images that have the level
        their tokens, each with what the level's prior expects of it

Decoding adds codes to the latents as it goes; encoding goes the other way, from all latents back, since a stack coder
wants the last group first. So nothing but the latents is held, whatever the number of codes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.pyramid.context import Latents, LevelLatents, feature_magnitudes
from smalti.decoders.pyramid.prior_packing import pack_prior, unpack_prior
from smalti.decoders.pyramid.pyramid_network import ABSENT, PyramidNetwork
from smalti.decoders.pyramid.token_layout import TokenLayout
from smalti.entropy.coder import StackEncoder, SymbolDecoder
from smalti.entropy.frequency import FrequencyTable
from smalti.entropy.priors import NetworkPrior, PositionPrior, TablePrior
from smalti.errors import DamagedArchiveError, ModelError
from smalti.lazy import cached_property

__all__ = ["PyramidPrior"]

_PIECE_IMAGES = 4096  # costed at a time, which bounds the latents held


@dataclass(frozen=True, eq=False)
class PyramidPrior:
    """What is expected of the tokens of an image, for the levels and codes of `network` on a canvas `grid` (h, w).

    depths : frequencies of the depths 0 to L
    levels : a TablePrior or NetworkPrior for each level

    >>> prior.decode(prior.encode(tokens), len(tokens))   # equals tokens, uint16 [n, T]

    Raises ModelError if they do not fit each other, or if a sum could leave the range in which it is exact.
    """

    network: PyramidNetwork
    grid: tuple[int, int]
    depths: FrequencyTable
    levels: tuple[TablePrior | NetworkPrior, ...]

    def __post_init__(self) -> None:
        count = len(self.network.levels)
        if len(self.levels) != count or len(self.depths.frequencies) != count + 1:
            raise ModelError(
                f"priors of {len(self.levels)} levels and {len(self.depths.frequencies)} depths for {count} levels"
            )
        for number, (level, prior) in enumerate(zip(self.network.levels, self.levels, strict=True)):
            rows, columns = self.layout.grids[number]
            if prior.codes != level.size or prior.rows not in (1, rows * columns):
                raise ModelError(f"the prior of level {number} is of {prior.rows} positions and {prior.codes} codes")
            if isinstance(prior, NetworkPrior):
                prior.check(feature_magnitudes(self.network, self.layout, number))

    @cached_property
    def layout(self) -> TokenLayout:
        """Where tokens stand."""
        return TokenLayout(self.network, self.grid)

    def encode(self, tokens: NDArray[np.integer]) -> bytes:
        """Code tokens (integers [n, T], numbers of codes of all levels or ABSENT), else raise UsageError."""
        depths, encoder = self.layout.check(tokens), StackEncoder()
        latents = self._latents(len(tokens))
        latents.add_all(tokens)
        for prior, group in self._groups(latents, depths, backwards=True):
            symbols = group.symbols(tokens)
            group.latents.remove(group.position, symbols)
            prior.push(encoder, group.position, symbols, group.features)
        encoder.push(depths, self.depths)
        return encoder.finish()

    def decode(self, data: bytes, images: int) -> NDArray[np.uint16]:
        """Read back the tokens of `images` images: uint16 [images, T]; DamagedArchiveError if `data` do not fit."""
        decoder = SymbolDecoder(data)
        tokens = np.full((images, self.layout.tokens), ABSENT, np.uint16)
        depths = decoder.take(images, self.depths).astype(np.intp)
        for prior, group in self._groups(self._latents(images), depths):
            symbols = prior.take(decoder, group.position, len(group.members), group.features)
            tokens[group.members, group.column] = symbols + group.first
            group.latents.add(group.position, symbols)
        decoder.finish()
        return tokens

    def cost_bits(self, tokens: NDArray[np.integer]) -> NDArray[np.float64]:
        """Bits that each image's tokens [n, T] cost, depth included: float64 [n]; infinite if they cannot be coded."""
        depths = self.layout.check(tokens)
        with np.errstate(divide="ignore"):
            of_depth = self.depths.precision - np.log2(self.depths.frequencies.astype(np.float64))
        bits: NDArray[np.float64] = of_depth[depths]
        for start in range(0, len(tokens), _PIECE_IMAGES):
            piece = slice(start, start + _PIECE_IMAGES)
            part, shallow = tokens[piece], bits[piece]
            for prior, group in self._groups(self._latents(len(part)), depths[piece]):
                symbols = group.symbols(part)
                shallow[group.members] += prior.cost_bits(group.position, symbols, group.features)
                group.latents.add(group.position, symbols)
        return bits

    def to_bytes(self) -> bytes:
        """Serialise; `from_bytes` is the inverse. The same prior gives the same bytes."""
        return pack_prior(self.depths, self.levels)

    @classmethod
    def from_bytes(cls, data: bytes, network: PyramidNetwork, grid: tuple[int, int]) -> "PyramidPrior":
        """Read a prior for a network and its canvas, which the file states elsewhere.

        Raises DamagedArchiveError if the bytes are not such a prior, UnsupportedArchiveError for an unknown kind.
        """
        depths, levels = unpack_prior(data, network, TokenLayout(network, grid))
        try:
            return cls(network, grid, depths, levels)
        except ModelError as error:
            raise DamagedArchiveError(f"prior: {error}") from error

    @property
    def operations(self) -> int:
        """Products and sums that coding one image takes."""
        return sum(
            prod(grid) * (level.hidden * (level.features + level.codes) if isinstance(level, NetworkPrior) else 1)
            for grid, level in zip(self.layout.grids, self.levels, strict=True)
        )

    def _latents(self, images: int) -> Latents:
        return Latents(self.network, self.layout, images)

    def _groups(
        self, latents: Latents, depths: NDArray[np.intp], backwards: bool = False
    ) -> Iterator[tuple[PositionPrior, "_Group"]]:
        """All groups in the order of coding, or the other way round; none for levels that no image has."""
        for level in _order(range(self.layout.levels), backwards):
            members = np.flatnonzero(depths > level)
            if not len(members):
                continue
            part = latents.of_level(level, members)
            start, stop = self.layout.part(level).start, self.layout.part(level).stop
            for column in _order(range(start, stop), backwards):
                group = _Group(members, part, column, column - start, self.layout.numbers[level])
                yield self.levels[level], group
            part.close()


@dataclass(frozen=True, eq=False)
class _Group:
    """Tokens of one position. members : which images    first : the number of the level's first code"""

    members: NDArray[np.intp]
    latents: LevelLatents
    column: int
    position: int
    first: int

    def symbols(self, tokens: NDArray[np.integer]) -> NDArray[np.intp]:
        """The tokens as indices of the level's codes, intp [members]."""
        ranks: NDArray[np.intp] = tokens[self.members, self.column].astype(np.intp) - self.first
        return ranks

    def features(self, piece: slice) -> NDArray[np.float32]:
        """Features of a piece of the members."""
        return self.latents.features(self.position, piece)


def _order(numbers: range, backwards: bool) -> range:
    return numbers[::-1] if backwards else numbers
