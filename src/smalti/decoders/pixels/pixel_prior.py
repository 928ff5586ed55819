"""Codes the samples of pictures, wave after wave and channel after channel (docs/format.md, "The pixel prior").

A network sees the samples before each, and gives every level of it a score; the scores become exact shares of the
coder's units (`smalti.entropy.priors.share_units`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_network import MOST_HIDDEN, ChannelNetwork, PixelNetwork, knotted
from smalti.decoders.pixels.wavefront import Wavefront
from smalti.entropy.coder import StackEncoder, SymbolDecoder
from smalti.entropy.priors import FARTHEST, share_units
from smalti.errors import ModelError, UsageError
from smalti.lazy import cached_property

__all__ = ["PixelPrior", "Step", "Walk"]

_PIECE_PIXELS = 2048
"""Pixels whose distributions are computed at once, so that they stay in the caches."""

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """Samples that are coded at once: one channel of some pixels. number : of the channel in coding order"""

    pixels: Ints
    channel: int
    number: int


class Walk:
    """Goes through pictures in coding order. `scores` is for the samples of a step, then `set` tells their levels.

    levels : uint16 [pixels, C], of the samples so far
    """

    def __init__(self, prior: "PixelPrior", grids: Ints) -> None:
        self._prior, self._model = prior, prior.model
        self._front = Wavefront(grids, prior.network.radius)
        channels = prior.network.channels
        self._canvas = np.zeros((self._front.room, channels), np.float32)
        self.levels = np.zeros((len(self._front.places), channels), np.uint16)

    def steps(self) -> Iterator[Step]:
        """The steps in coding order."""
        order = self._model.order
        for wave in self._front.waves():
            for start in range(0, len(wave), _PIECE_PIXELS):
                pixels = wave[start : start + _PIECE_PIXELS]
                self._sums = self._contexts(pixels)
                yield Step(pixels, order[0], 0)
                for number, channel in enumerate(order[1:], 1):
                    if self._model.hides:
                        shown = self._shown(pixels)
                        if number == 1:
                            self._sums = self._sums[shown]
                        pixels = pixels[shown] if number == 1 else pixels
                    if len(pixels):
                        yield Step(pixels, channel, number)

    def scores(self, step: Step) -> Singles:
        """The scores of all levels of a step's samples, float32 [n, K]."""
        weights = self._prior.weights
        seen = self._canvas[self._front.places[step.pixels], : step.number]
        return weights.networks[step.number].scores_of(self._sums, knotted(seen))

    def set(self, step: Step, levels: NDArray[np.integer]) -> None:
        """Tell the levels of a step's samples."""
        self.levels[step.pixels, step.channel] = levels
        self._canvas[self._front.places[step.pixels], step.number] = self._model.seen[step.channel][levels]

    def _shown(self, pixels: Ints) -> NDArray[np.bool_]:
        """Whether the alpha of pixels is not 0."""
        shown: NDArray[np.bool_] = self._model.levels[-1][self.levels[pixels, -1]] > 0
        return shown

    def _contexts(self, pixels: Ints) -> Singles:
        """The sums of contexts and edges, before those of a channel: float32 [n, H]."""
        front, weights = self._front, self._prior.weights
        around = self._canvas.take(front.context(pixels), axis=0).reshape(len(pixels), -1)
        sums: Singles = around @ weights.context
        for table, distances in zip(weights.edges, (front.rows, front.columns, front.after), strict=True):
            sums += table[np.minimum(distances[pixels], len(table) - 1)]
        return sums


class PixelPrior:
    """A CellPrior whose cells are pixels. The levels of its network are those of `model`."""

    def __init__(self, network: PixelNetwork, model: PixelModel) -> None:
        counts = [len(model.levels[channel]) for channel in model.order]
        if network.levels != counts:
            raise ModelError(f"a pixel prior of {network.levels} levels for a model of {counts}")
        self.network, self.model = network, model

    @property
    def operations(self) -> int:
        """Products, sums and look-ups that it takes for one pixel."""
        return self.network.operations

    @property
    def cell_bytes(self) -> int:
        """Bytes of memory that it takes for one pixel."""
        return self.network.cell_bytes

    def walk(self, grids: Ints) -> Walk:
        """Begin with the first wave of pictures."""
        return Walk(self, grids)

    def encode(self, tokens: NDArray[np.uint16], grids: Ints) -> bytes:
        """Code tokens, uint16 [pixels, C]. UsageError if one is no level, or a hidden one is not 0."""
        for channel, values in enumerate(self.model.levels):
            if tokens.size and int(tokens[:, channel].max()) >= len(values):
                raise UsageError(f"a token is no level of channel {channel}")
        groups = []
        walk = self.walk(grids)
        for step in walk.steps():
            levels = tokens[step.pixels, step.channel]
            if self.network.levels[step.number] > 1:
                scores = walk.scores(step)
                distances = np.minimum(scores.max(axis=1, keepdims=True) - scores, FARTHEST)
                groups.append((levels, distances.astype(np.uint8)))
            walk.set(step, levels)
        if (walk.levels != tokens).any():
            raise UsageError("a token of a colour that alpha hides is not 0")
        encoder = StackEncoder()
        for levels, distances in reversed(groups):
            encoder.push_each(levels, share_units(-distances.astype(np.float32)))
        return encoder.finish()

    def decode(self, data: bytes, grids: Ints) -> NDArray[np.uint16]:
        """Read the tokens of pictures: uint16 [pixels, C]; DamagedArchiveError."""
        decoder = SymbolDecoder(data)
        walk = self.walk(grids)
        for step in walk.steps():
            if self.network.levels[step.number] > 1:
                walk.set(step, decoder.take_each(share_units(walk.scores(step))))
            else:
                walk.set(step, np.zeros(len(step.pixels), np.int32))
        decoder.finish()
        return walk.levels

    def to_bytes(self) -> bytes:
        """The payload of the prior section."""
        from smalti.decoders.pixels.pixel_packing import pack_prior  # noqa: PLC0415

        return pack_prior(self.network)

    @cached_property
    def weights(self) -> "_Weights":
        """The matrices of the network as float32."""
        return _Weights.of(self.network)


@dataclass(frozen=True, eq=False)
class _ChannelWeights:
    own: Singles
    bias: Singles
    middle: Singles
    middle_bias: Singles
    scores: Singles
    scores_bias: Singles
    shifts: tuple[int, ...]

    @staticmethod
    def of(network: ChannelNetwork) -> "_ChannelWeights":
        names = ("own", "bias", "middle", "middle_bias", "scores", "scores_bias")
        singles = {name: getattr(network, name).astype(np.float32) for name in names}
        return _ChannelWeights(**singles, shifts=network.shifts)

    def scores_of(self, sums: Singles, own: Singles) -> Singles:
        """Scores [n, K] from the sums of contexts [n, H] and what is known of the pixel itself."""
        first = sums + self.bias
        if own.shape[1]:
            first += own @ self.own
        hidden = np.clip(_floored(first, self.shifts[0]), 0, MOST_HIDDEN)
        for weight, bias, shift in zip(self.middle, self.middle_bias, self.shifts[1:-1], strict=True):
            hidden += np.maximum(_floored(hidden @ weight + bias, shift), 0)
            np.minimum(hidden, MOST_HIDDEN, out=hidden)
        return _floored(hidden @ self.scores + self.scores_bias, self.shifts[-1])


@dataclass(frozen=True, eq=False)
class _Weights:
    context: Singles
    edges: tuple[Singles, Singles, Singles]
    networks: tuple[_ChannelWeights, ...]

    @staticmethod
    def of(network: PixelNetwork) -> "_Weights":
        edges = (network.tops, network.lefts, network.rights)
        tops, lefts, rights = (table.astype(np.float32) for table in edges)
        return _Weights(
            network.context.astype(np.float32),
            (tops, lefts, rights),
            tuple(_ChannelWeights.of(own) for own in network.networks),
        )


def _floored(sums: Singles, shift: int) -> Singles:
    """floor(sums / 2**shift), exactly, in place."""
    if shift:
        sums *= np.float32(2.0**-shift)
        np.floor(sums, out=sums)
    return sums
