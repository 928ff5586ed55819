"""Codes the samples of pictures, wave after wave and channel after channel (docs/format.md, "The pixel prior").

A network sees the samples before each, and gives every level of it a score; the scores become exact shares of the
coder's units (`smalti.entropy.priors.share_units`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernels_pay
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_network import (
    MOST_HIDDEN,
    REACH,
    SCORES_OF_CANDIDATE,
    UNLIKE,
    ChannelNetwork,
    PixelNetwork,
)
from smalti.decoders.pixels.wavefront import Wavefront
from smalti.entropy.coder import StackEncoder, SymbolDecoder
from smalti.entropy.priors import share_units
from smalti.errors import ModelError, UsageError
from smalti.lazy import cached_property

if TYPE_CHECKING:
    from smalti.decoders.pixels.network_kernel import KernelNetwork

__all__ = ["PixelPrior", "Step", "Walk", "check_tokens", "floored"]

_SAMPLE = 10_000
"""Products that NumPy could do in the time that it takes for what is not the network of a sample (measured)."""

_MOST_SCORES = 1 << 19
"""The most scores of a step: those of many levels would take much memory. No symbol moves by it."""

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Step:
    """Samples whose distributions are computed at once: one channel of some pixels.

    number : of the channel in coding order    sums : of contexts and edges, float32 [n, H]
    own : what is seen of the channels of these pixels that are known, float32 [n, 4 * number]
    candidates : for the levels, int64 [n] each
    """

    pixels: Ints
    channel: int
    number: int
    sums: Singles
    own: Singles
    candidates: tuple[Ints, ...]

    def part(self, part: slice) -> "Step":
        """Some of the samples."""
        candidates = tuple(own[part] for own in self.candidates)
        return Step(self.pixels[part], self.channel, self.number, self.sums[part], self.own[part], candidates)


class Walk:
    """Goes through pictures in coding order. `scores` is for the samples of a step, then `set` tells their levels.

    levels : uint16 [pixels, C], of the samples so far
    """

    def __init__(self, prior: "PixelPrior", grids: Ints) -> None:
        self._prior, self._model = prior, prior.model
        self._front = Wavefront(grids, prior.network.radius)
        channels = prior.network.channels
        self._canvas = np.zeros((self._front.room, channels), np.float32)
        self._levels = np.zeros((len(self._front.places) + 1, channels), np.uint16)  # the last one is outside pictures
        self.levels = self._levels[:-1]

    def steps(self) -> Iterator[Step]:
        """The steps in coding order."""
        order, bounds = self._front.pieces()
        for start, stop in pairwise(bounds):
            yield from self._steps_of(order[start:stop])

    def known_steps(self, levels: NDArray[np.uint16]) -> Iterator[Step]:
        """The steps in reverse order, if all levels are known: a stack takes them so, and none needs to be kept.

        A context sees no pixel that is coded later, so scores are those of a walk forwards.
        """
        self.levels[:] = levels
        for number, channel in enumerate(self._model.order):
            self._canvas[self._front.places, number] = self._model.seen[channel][levels[:, channel]]
        order, bounds = self._front.pieces()
        for stop, start in pairwise(bounds[::-1]):
            yield from reversed(list(self._steps_of(order[start:stop])))

    def _steps_of(self, pixels: Ints) -> Iterator[Step]:
        """The steps of pixels that are decoded at once. When it goes on, the levels of the steps before are known."""
        sums, own = self._contexts(pixels), np.zeros((len(pixels), 0), np.float32)
        carried: Ints | None = None
        for number, channel in enumerate(self._model.order):
            candidates = self._candidates(pixels, number, channel, carried)
            step = Step(pixels, channel, number, sums, own, candidates)
            size = max(1, _MOST_SCORES // self._prior.network.levels[number])
            yield from (step.part(slice(start, start + size)) for start in range(0, len(pixels), size))
            if number + 1 == self._prior.network.channels:
                return
            levels, guess, seen = self.levels[pixels, channel], candidates[2], self._model.seen[channel]
            own = np.concatenate([own, _own_features(seen[levels], seen[guess])], axis=1)
            carried = levels - guess
            if self._model.hides and number == 0:
                shown = self._model.levels[-1][levels] > 0
                pixels, sums, own, carried = pixels[shown], sums[shown], own[shown], carried[shown]

    def scores(self, step: Step) -> Singles:
        """The scores of all levels of a step's samples, float32 [n, K]."""
        return self._prior.weights.networks[step.number].scores_of(step.sums, step.own, step.candidates)

    def set(self, step: Step, levels: NDArray[np.integer]) -> None:
        """Tell the levels of a step's samples."""
        self.levels[step.pixels, step.channel] = levels
        self._canvas[self._front.places[step.pixels], step.number] = self._model.seen[step.channel][levels]

    def _candidates(self, pixels: Ints, number: int, channel: int, carried: Ints | None) -> tuple[Ints, ...]:
        """The candidates for the levels of a channel. carried : how far that of the channel before is from its guess"""
        left, above, corner = (self._levels[places, channel].astype(np.int64) for places in self._front.nearest(pixels))
        low, high = np.minimum(left, above), np.maximum(left, above)
        guess = np.clip(left + above - corner, low, high)  # the median edge detector of LOCO-I
        if carried is None:
            return left, above, guess
        return left, above, guess, np.clip(guess + carried, 0, self._prior.network.levels[number] - 1)

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
    def _effort(self) -> int:
        """What NumPy does for one pixel, as products that it could do in that time: a sample is many small calls."""
        return self.operations + _SAMPLE * self.model.channels

    @property
    def cell_bytes(self) -> int:
        """Bytes of memory that it takes for one pixel."""
        return self.network.cell_bytes

    def walk(self, grids: Ints) -> Walk:
        """Begin with the first wave of pictures."""
        return Walk(self, grids)

    def encode(self, tokens: NDArray[np.uint16], grids: Ints) -> bytes:
        """Code tokens, uint16 [pixels, C]. UsageError if one is no level, or a hidden one is not 0."""
        check_tokens(self.model, tokens)
        if kernels_pay(self._effort * len(tokens)):
            from smalti.decoders.pixels import pixel_kernel  # noqa: PLC0415

            return pixel_kernel.encode(self._kernel_network, tokens, grids)
        encoder, walk = StackEncoder(), self.walk(grids)
        for step in walk.known_steps(tokens):
            if self.network.levels[step.number] > 1:
                encoder.push_each(tokens[step.pixels, step.channel], share_units(walk.scores(step)))
        return encoder.finish()

    def decode(self, data: bytes, grids: Ints) -> NDArray[np.uint16]:
        """Read the tokens of pictures: uint16 [pixels, C]; DamagedArchiveError."""
        if kernels_pay(self._effort * int(grids.prod(axis=1).sum())):
            from smalti.decoders.pixels import pixel_kernel  # noqa: PLC0415

            return pixel_kernel.decode(self._kernel_network, data, grids)
        decoder, walk = SymbolDecoder(data), self.walk(grids)
        for step in walk.steps():
            if self.network.levels[step.number] > 1:
                walk.set(step, decoder.take_each(share_units(walk.scores(step))))
        decoder.finish()
        return walk.levels

    def to_bytes(self) -> bytes:
        """The payload of the prior section."""
        from smalti.decoders.pixels.pixel_packing import pack_prior  # noqa: PLC0415

        return pack_prior(self.network)

    @cached_property
    def _kernel_network(self) -> "KernelNetwork":
        from smalti.decoders.pixels.network_kernel import KernelNetwork  # noqa: PLC0415

        return KernelNetwork.of(self.network, self.model)

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

    def scores_of(self, sums: Singles, own: Singles, candidates: tuple[Ints, ...]) -> Singles:
        """Scores [n, K] from the sums of contexts [n, H], what is known of the pixel itself, and candidates [n]."""
        first = sums + self.bias
        if own.shape[1]:
            first += own @ self.own
        hidden = np.clip(floored(first, self.shifts[0]), 0, MOST_HIDDEN)
        for weight, bias, shift in zip(self.middle, self.middle_bias, self.shifts[1:-1], strict=True):
            hidden += np.maximum(floored(hidden @ weight + bias, shift), 0)
            np.minimum(hidden, MOST_HIDDEN, out=hidden)
        return _gathered(floored(hidden @ self.scores + self.scores_bias, self.shifts[-1]), candidates)


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


def check_tokens(model: PixelModel, tokens: NDArray[np.uint16]) -> None:
    """Raise UsageError if one of tokens [pixels, C] is no level, or if a hidden one is not 0."""
    for channel, values in enumerate(model.levels):
        if tokens.size and int(tokens[:, channel].max()) >= len(values):
            raise UsageError(f"a token is no level of channel {channel}")
    if model.hides and tokens[model.levels[-1][tokens[:, -1]] == 0, :-1].any():
        raise UsageError("a token of a colour that alpha hides is not 0")


def _own_features(seen: Singles, guess: Singles) -> Singles:
    """What later channels see of a sample [n]: float32 [n, 4]."""
    above = seen - guess
    return np.stack([seen, np.maximum(above, 0), np.maximum(-above, 0), np.where(above == 0, 0, UNLIKE)], axis=1)


def _gathered(outputs: Singles, candidates: tuple[Ints, ...]) -> Singles:
    """Add the scores of candidates to those of the levels around them: float32 [n, K]."""
    count = outputs.shape[1] - SCORES_OF_CANDIDATE * len(candidates)
    wide = np.zeros((len(outputs), count + 2 * REACH), np.float32)
    wide[:, REACH:-REACH] = outputs[:, :count]
    flat = wide.reshape(-1)
    rows = np.arange(len(outputs)) * wide.shape[1]
    for number, candidate in enumerate(candidates):
        first = count + number * SCORES_OF_CANDIDATE
        for away in range(SCORES_OF_CANDIDATE):
            flat[rows + candidate + away] += outputs[:, first + away]
    return wide[:, REACH:-REACH]


def floored(sums: Singles, shift: int) -> Singles:
    """floor(sums / 2**shift), exactly, in place."""
    if shift:
        sums *= np.float32(2.0**-shift)
        np.floor(sums, out=sums)
    return sums
