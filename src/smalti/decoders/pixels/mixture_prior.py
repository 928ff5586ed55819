"""Codes the samples of pictures by mixtures of bell curves, wave after wave (docs/format.md, "The mixture prior").

For many levels: where `pixel_prior` has a score for each level, this one has a few curves around what is foretold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernels_pay
from smalti.decoders.pixels.mixture import LARGEST_SYMBOL, Mixture, parts_of
from smalti.decoders.pixels.mixture_network import MixtureChannel, MixtureNetwork, missed_places, squash
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_network import MOST_HIDDEN
from smalti.decoders.pixels.pixel_prior import check_tokens, floored
from smalti.decoders.pixels.wavefront import Wavefront, place_of
from smalti.entropy.coder import StackEncoder, SymbolDecoder
from smalti.errors import DamagedArchiveError, ModelError
from smalti.lazy import cached_property

if TYPE_CHECKING:
    from smalti.decoders.pixels.mixture_lines import KernelMixture

__all__ = ["MixturePrior", "MixtureWalk", "Sampled"]

_MOST_UNITS = 1 << 16
"""The most levels of all samples whose units are computed at once: they stay in the caches. No symbol moves by it."""

_SAMPLE = 20_000
"""Products that NumPy could do in the time that it takes to halve the levels of a sample (measured)."""

_OUTSIDE = -1

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sampled:
    """Samples whose mixtures are computed at once: one channel of the pixels of a piece.

    number : of the channel in coding order    foretold : levels, int64 [n]
    """

    pixels: Ints
    channel: int
    number: int
    foretold: Ints
    mixture: Mixture

    def parts(self, symbols: int) -> list[slice]:
        """The samples in parts, for which so many symbols are not too many."""
        size = max(1, _MOST_UNITS // symbols)
        return [slice(start, start + size) for start in range(0, len(self.pixels), size)]


class MixtureWalk:
    """Goes through pictures in coding order. `set` tells the levels of samples before the walk goes on.

    levels : uint16 [pixels, C], of the samples so far
    """

    def __init__(self, prior: "MixturePrior", grids: Ints) -> None:
        self._prior, self._model = prior, prior.model
        channels, radius = prior.network.channels, prior.network.radius
        self._front = Wavefront(grids, radius)
        self._near = [place_of(radius, *place) for place in missed_places(radius)]
        self._canvas = np.full((self._front.room, channels), _OUTSIDE, np.int32)
        self._canvas[self._front.places] = 0
        self._missed = np.zeros((self._front.room, channels), np.int32)
        self.levels = np.zeros((len(self._front.places), channels), np.uint16)

    def samples(self) -> Iterator[Sampled]:
        """All samples in coding order."""
        order, bounds = self._front.pieces()
        for start, stop in pairwise(bounds):
            yield from self._samples_of(order[start:stop])

    def known_samples(self, levels: NDArray[np.uint16]) -> Iterator[Sampled]:
        """All samples in reverse order, if all levels are known: a stack takes them so."""
        self.levels[:] = levels
        self._canvas[self._front.places] = levels[:, self._model.order]
        order, bounds = self._front.pieces()
        for start, stop in pairwise(bounds):
            self._miss(order[start:stop])
        for stop, start in pairwise(bounds[::-1]):
            yield from reversed(list(self._samples_of(order[start:stop])))

    def set(self, samples: Sampled, levels: NDArray[np.integer]) -> None:
        """Tell the levels of samples."""
        self.levels[samples.pixels, samples.channel] = levels
        places = self._front.places[samples.pixels]
        self._canvas[places, samples.number] = levels
        self._missed[places, samples.number] = levels - samples.foretold

    def _miss(self, pixels: Ints) -> None:
        """Note what the forecast misses of pixels whose levels are known."""
        *_, differences, base = self._around(pixels)
        own = self.levels[pixels][:, self._model.order].astype(np.int64)
        shown = np.ones(len(pixels), np.bool_)
        if self._model.hides:
            shown = self._model.levels[-1][own[:, 0]] > 0
        for number, count in enumerate(self._prior.network.levels):
            foretold = self._prior.weights.networks[number].foretold(differences, base[:, number], count)
            missed = own[:, number] - foretold
            self._missed[self._front.places[pixels], number] = missed if number == 0 else np.where(shown, missed, 0)
            differences = np.concatenate([differences, (own - base)[:, number : number + 1]], 1)

    def _around(self, pixels: Ints) -> tuple[Ints, Ints, Ints, Ints, Ints]:
        """Places around pixels [n, P], levels to the left and above [n, C], differences [n, P * C], bases [n, C]."""
        places = self._front.context(pixels)
        around = self._canvas.take(places, axis=0).astype(np.int64)
        left, above, base = _nearest(around, self._prior.network.radius)
        differences = np.where(around == _OUTSIDE, 0, around - base[:, None]).reshape(len(pixels), -1)
        return places, left, above, differences, base

    def _samples_of(self, pixels: Ints) -> Iterator[Sampled]:
        """The samples of a piece. When it goes on, the levels of the channel before are known."""
        front, weights, network = self._front, self._prior.weights, self._prior.network
        places, left, above, differences, base = self._around(pixels)
        tops = np.maximum(np.array(network.levels) - 1, 1)
        missed = self._missed.take(places[:, self._near], axis=0).reshape(len(pixels), -1)
        known = [squash(differences), (255 * base // tops).astype(np.float32), squash(missed.astype(np.int64))]
        sums = np.concatenate(known, 1) @ weights.context
        for table, distances in zip(weights.edges, (front.rows, front.columns, front.after), strict=True):
            sums += table[np.minimum(distances[pixels], len(table) - 1)]
        own: list[Singles] = []
        for number, channel in enumerate(self._model.order):
            count = network.levels[number]
            foretold = weights.networks[number].foretold(differences, base[:, number], count)
            seen = np.stack([squash(foretold - base[:, number]), *own], 1)
            anchors = np.stack([foretold, foretold, left[:, number], above[:, number]], 1)[:, : network.components]
            outputs = weights.networks[number].outputs_of(sums, seen)
            yield Sampled(pixels, channel, number, foretold, Mixture.of(outputs, anchors, count))
            levels = self.levels[pixels, channel].astype(np.int64)
            if self._model.hides and number == 0:
                shown = self._model.levels[-1][levels] > 0
                pixels, levels, foretold = pixels[shown], levels[shown], foretold[shown]
                left, above, base, differences, sums = (each[shown] for each in (left, above, base, differences, sums))
            own += _own(levels, base[:, number], foretold)
            differences = np.concatenate([differences, (levels - base[:, number])[:, None]], 1)


class MixturePrior:
    """A CellPrior whose cells are pixels. The levels of its network are those of `model`."""

    def __init__(self, network: MixtureNetwork, model: PixelModel) -> None:
        counts = [len(model.levels[channel]) for channel in model.order]
        if network.levels != counts:
            raise ModelError(f"a mixture prior of {network.levels} levels for a model of {counts}")
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

    def walk(self, grids: Ints) -> MixtureWalk:
        """Begin with the first wave of pictures."""
        return MixtureWalk(self, grids)

    def encode(self, tokens: NDArray[np.uint16], grids: Ints) -> bytes:
        """Code tokens, uint16 [pixels, C]. UsageError if one is no level, or a hidden one is not 0."""
        check_tokens(self.model, tokens)
        if kernels_pay(self._effort * len(tokens)):
            from smalti.decoders.pixels import mixture_kernel  # noqa: PLC0415

            return mixture_kernel.encode(self._kernel_network, tokens, grids)
        encoder, walk = StackEncoder(), self.walk(grids)
        for samples in walk.known_samples(tokens):
            levels = tokens[samples.pixels, samples.channel]
            sizes = parts_of(samples.mixture.count)
            if len(sizes) > 1:
                for part in samples.parts(sizes[1])[::-1]:
                    first, rest = np.divmod(levels[part], LARGEST_SYMBOL)
                    encoder.push_each(rest, samples.mixture.part(part).rest_units(first))
            if sizes[0] > 1:
                symbols = levels // LARGEST_SYMBOL if len(sizes) > 1 else levels
                for part in samples.parts(sizes[0])[::-1]:
                    encoder.push_each(symbols[part], samples.mixture.part(part).first_units())
        return encoder.finish()

    def decode(self, data: bytes, grids: Ints) -> NDArray[np.uint16]:
        """Read the tokens of pictures: uint16 [pixels, C]; DamagedArchiveError."""
        if kernels_pay(self._effort * int(grids.prod(axis=1).sum())):
            from smalti.decoders.pixels import mixture_kernel  # noqa: PLC0415

            return mixture_kernel.decode(self._kernel_network, data, grids)
        decoder, walk = SymbolDecoder(data), self.walk(grids)
        for samples in walk.samples():
            sizes = parts_of(samples.mixture.count)
            levels = np.zeros(len(samples.pixels), np.int64)
            if sizes[0] > 1:
                for part in samples.parts(sizes[0]):
                    levels[part] = decoder.take_each(samples.mixture.part(part).first_units())
            if len(sizes) > 1:
                for part in samples.parts(sizes[1]):
                    rest = decoder.take_each(samples.mixture.part(part).rest_units(levels[part]))
                    levels[part] = levels[part] * LARGEST_SYMBOL + rest
                if len(levels) and int(levels.max()) >= samples.mixture.count:
                    raise DamagedArchiveError(f"entropy-coded data: a level of channel {samples.channel} is too large")
            walk.set(samples, levels)
        decoder.finish()
        return walk.levels

    def to_bytes(self) -> bytes:
        """The payload of the prior section."""
        from smalti.decoders.pixels.mixture_packing import pack_mixture_prior  # noqa: PLC0415

        return pack_mixture_prior(self.network)

    @cached_property
    def _kernel_network(self) -> "KernelMixture":
        from smalti.decoders.pixels.mixture_lines import KernelMixture  # noqa: PLC0415

        return KernelMixture.of(self.network, self.model)

    @cached_property
    def weights(self) -> "_Weights":
        """The matrices of the network as floats."""
        return _Weights.of(self.network)


@dataclass(frozen=True, eq=False)
class _ChannelWeights:
    weights: NDArray[np.float64]
    places: int
    own: Singles
    bias: Singles
    middle: Singles
    middle_bias: Singles
    outputs: Singles
    outputs_bias: Singles
    shifts: tuple[int, ...]

    @staticmethod
    def of(network: MixtureChannel) -> "_ChannelWeights":
        names = ("own", "bias", "middle", "middle_bias", "outputs", "outputs_bias")
        singles = {name: getattr(network, name).astype(np.float32) for name in names}
        return _ChannelWeights(network.weights.astype(np.float64), network.places, **singles, shifts=network.shifts)

    def foretold(self, differences: Ints, base: Ints, count: int) -> Ints:
        """The levels that differences [n, P * C + c] foretell, int64 [n]. Sums below 2**53 are exact in float64."""
        sums = (differences.astype(np.float64) @ self.weights).astype(np.int64)
        return np.clip(base + (sums + (1 << self.places >> 1) >> self.places), 0, count - 1)

    def outputs_of(self, sums: Singles, own: Singles) -> Singles:
        """Outputs [n, 3 * M + 1] from the sums of contexts [n, H] and what is known of the pixel itself."""
        hidden = np.clip(floored(sums + self.bias + own @ self.own, self.shifts[0]), 0, MOST_HIDDEN)
        for weight, bias, shift in zip(self.middle, self.middle_bias, self.shifts[1:-1], strict=True):
            hidden += np.maximum(floored(hidden @ weight + bias, shift), 0)
            np.minimum(hidden, MOST_HIDDEN, out=hidden)
        return floored(hidden @ self.outputs + self.outputs_bias, self.shifts[-1])


@dataclass(frozen=True, eq=False)
class _Weights:
    context: Singles
    edges: tuple[Singles, Singles, Singles]
    networks: tuple[_ChannelWeights, ...]

    @staticmethod
    def of(network: MixtureNetwork) -> "_Weights":
        tops, lefts, rights = (table.astype(np.float32) for table in (network.tops, network.lefts, network.rights))
        return _Weights(
            network.context.astype(np.float32),
            (tops, lefts, rights),
            tuple(_ChannelWeights.of(own) for own in network.networks),
        )


def _nearest(around: Ints, radius: int) -> tuple[Ints, Ints, Ints]:
    """The levels to the left and above, and their mean, [n, C]. One that is outside is as the other one, or 0."""
    left, above = around[:, place_of(radius, 0, -1)], around[:, place_of(radius, 1, 0)]
    left, above = (
        np.where(one == _OUTSIDE, np.maximum(other, 0), one) for one, other in ((left, above), (above, left))
    )
    return left, above, left + above >> 1


def _own(levels: Ints, base: Ints, foretold: Ints) -> list[Singles]:
    """What later channels see of a sample [n]: how far it is from its base and from what was foretold."""
    missed = squash(levels - foretold)
    return [squash(levels - base), missed, np.abs(missed)]
