"""The numbers of a mixture prior as its kernels take them, and the room that they work in."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import inlined_kernel, kernel
from smalti.decoders.pixels.mixture import CDF, INVERSES
from smalti.decoders.pixels.mixture_network import SQUASHED, MixtureNetwork, missed_places
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.wavefront import PIECE_PIXELS
from smalti.entropy.priors import EXP, UNITS

__all__ = [
    "QUANTILE_BITS",
    "ROWS",
    "Doubles",
    "Ints",
    "KernelMixture",
    "Piece",
    "Room",
    "Singles",
    "Whole",
    "Words",
    "lines_of",
    "piece_of",
    "room_of",
]

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Whole = NDArray[np.int32]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]

ROWS = 256
"""Pixels whose network runs at once: what they take stays in the caches."""

QUANTILE_BITS = 14
"""A place among the units, less its last bits, is a number in the table of quantiles."""

CHUNKS = PIECE_PIXELS // ROWS


class KernelMixture(NamedTuple):
    """A network and its levels, as a kernel takes them.

    context : float32 [inputs, H]    weights : float64 [P * C + C, C], of each channel; others are 0
    foretelling : [C, P * C], the weights of the pixels around
    own : [C, 3 * C + 1, H]    middle : [C, D, H, H]    outputs : [C, H, 3 * M + 1]
    scales : [C, D + 2], 2**-shift    counts : K of each channel in coding order    order : of channels
    spots : [places, 3] of the pixels around: rows up, columns to the right, and the number in `missed_places`, or -1
    near : the number of missed places
    shown : of each level of alpha, whether colours are coded    hides : whether some are not
    shades : of each base, what is seen of it    exponentials : of distances of scores
    inverses, spreads : of each width; a spread is in levels    quantiles : of a curve, in widths
    """

    radius: int
    context: Singles
    tops: Singles
    lefts: Singles
    rights: Singles
    weights: Doubles
    foretelling: Doubles
    places: int
    own: Singles
    bias: Singles
    middle: Singles
    middle_bias: Singles
    outputs: Singles
    outputs_bias: Singles
    scales: Singles
    counts: Ints
    order: Ints
    spots: Whole
    near: int
    shown: NDArray[np.bool_]
    hides: bool
    shades: Singles
    squashed: Singles
    logistic: Ints
    inverses: Whole
    spreads: Singles
    quantiles: Singles
    exponentials: Singles

    @staticmethod
    def of(network: MixtureNetwork, model: PixelModel) -> "KernelMixture":
        """The numbers of a network and a model."""
        channels, networks = network.channels, network.networks
        own = np.zeros((channels, 3 * channels + 1, network.width), np.float32)
        weights = np.zeros((len(networks[-1].weights) + 1, channels))
        for number, channel in enumerate(networks):
            own[number, : len(channel.own)] = channel.own
            weights[: len(channel.weights), number] = channel.weights
        return KernelMixture(
            network.radius,
            _singles(network.context),
            _singles(network.tops),
            _singles(network.lefts),
            _singles(network.rights),
            weights,
            np.ascontiguousarray(weights[:-channels].T),
            networks[0].places,
            own,
            _singles(np.stack([each.bias for each in networks])),
            _singles(np.stack([each.middle for each in networks])),
            _singles(np.stack([each.middle_bias for each in networks])),
            _singles(np.stack([each.outputs for each in networks])),
            _singles(np.stack([each.outputs_bias for each in networks])),
            _singles(2.0 ** -np.array([each.shifts for each in networks])),
            np.array(network.levels, np.int64),
            np.array(model.order, np.int64),
            _spots(network.radius),
            len(missed_places(network.radius)),
            np.asarray(model.levels[-1] > 0),
            model.hides,
            _shades(network.levels),
            SQUASHED,
            CDF,
            INVERSES.astype(np.int32),
            _singles(2.0**24 / INVERSES),
            _quantiles(),
            _singles(EXP),
        )


def _spots(radius: int) -> Whole:
    """The pixels around, in order."""
    missed = missed_places(radius)
    spots = [(up, right) for up in range(radius, -1, -1) for right in range(-radius, radius + 1 if up else 0)]
    return np.array([(*spot, missed.index(spot) if spot in missed else -1) for spot in spots], np.int32)


def _quantiles() -> Singles:
    """Where a curve of middle 0 and width 1 reaches each part of the units."""
    reached = (np.arange(UNITS >> QUANTILE_BITS) + 0.5) / (UNITS >> QUANTILE_BITS)
    return _singles(np.log2(reached / (1 - reached)))


def _shades(counts: list[int]) -> Singles:
    """What is seen of each base, [C, most K]."""
    bases = np.arange(max(counts))
    return _singles(np.stack([255 * bases // max(count - 1, 1) for count in counts]))


def _singles(values: NDArray[np.floating] | Ints) -> Singles:
    return np.ascontiguousarray(values, np.float32)


class Piece(NamedTuple):
    """Pixels that are decoded at once, in chunks of at most ROWS, and what is known of each.

    An array has a line for each quantity of a chunk, one after the other: `lines_of`. So loops go over pixels.

    left, above, base : levels next to them, int32, C lines    levels : of the pixels themselves
    sums : of contexts and edges, H lines
    foretold : float64, C lines: sums of weighted differences, and then levels
    apart : float64, C lines: levels less bases of the channels so far
    own : 3 * C + 1 lines, what is seen of the channels so far; the first is of the channel itself
    shares, inverses, offsets : of mixtures, M lines    alike : what each level has in any case, one line
    middles, spreads : of a curve that is about the mixture, in levels, one line each
    shown : whether there are more channels, [chunks, ROWS]
    """

    left: Whole
    above: Whole
    base: Whole
    levels: Whole
    sums: Singles
    foretold: Doubles
    apart: Doubles
    own: Singles
    shares: Whole
    inverses: Whole
    offsets: Ints
    alike: Ints
    middles: Singles
    spreads: Singles
    shown: NDArray[np.bool_]


class Room(NamedTuple):
    """Room for a chunk.

    pixels, rows, columns, widths : of the pixels, a line each
    seen : what pixels see, a line for each input    others : pixels around, or -1    words : what they have
    away : differences from one place    sizes, bits : the same memory as floats and as whole numbers
    best, first : scores, and whose they are    total, used : of weights and shares
    """

    pixels: Whole
    rows: Whole
    columns: Whole
    widths: Whole
    seen: Singles
    others: Whole
    words: Words
    away: Whole
    sizes: Singles
    bits: Whole
    best: Singles
    first: Whole
    total: Doubles
    used: Whole
    hidden: Singles
    more: Singles
    outputs: Singles


@kernel
def piece_of(network: KernelMixture) -> Piece:
    """Room for the pixels of a piece."""
    channels, width, components = len(network.counts), network.bias.shape[1], network.outputs.shape[2] // 3
    return Piece(
        np.zeros((CHUNKS, channels * ROWS), np.int32),
        np.zeros((CHUNKS, channels * ROWS), np.int32),
        np.zeros((CHUNKS, channels * ROWS), np.int32),
        np.zeros((CHUNKS, channels * ROWS), np.int32),
        np.zeros((CHUNKS, width * ROWS), np.float32),
        np.zeros((CHUNKS, channels * ROWS), np.float64),
        np.zeros((CHUNKS, channels * ROWS), np.float64),
        np.zeros((CHUNKS, (3 * channels + 1) * ROWS), np.float32),
        np.zeros((CHUNKS, components * ROWS), np.int32),
        np.zeros((CHUNKS, components * ROWS), np.int32),
        np.zeros((CHUNKS, components * ROWS), np.int64),
        np.zeros((CHUNKS, ROWS), np.int64),
        np.zeros((CHUNKS, ROWS), np.float32),
        np.zeros((CHUNKS, ROWS), np.float32),
        np.ones((CHUNKS, ROWS), np.bool_),
    )


@kernel
def room_of(network: KernelMixture) -> Room:
    """Room for a chunk."""
    inputs, width = len(network.context), network.bias.shape[1]
    sizes = np.zeros(ROWS, np.float32)
    return Room(
        np.zeros(ROWS, np.int32),
        np.zeros(ROWS, np.int32),
        np.zeros(ROWS, np.int32),
        np.zeros(ROWS, np.int32),
        np.zeros(inputs * ROWS, np.float32),
        np.zeros(ROWS, np.int32),
        np.zeros(ROWS, np.uint64),
        np.zeros(ROWS, np.int32),
        sizes,
        sizes.view(np.int32),
        np.zeros(ROWS, np.float32),
        np.zeros(ROWS, np.int32),
        np.zeros(ROWS, np.float64),
        np.zeros(ROWS, np.int32),
        np.zeros(width * ROWS, np.float32),
        np.zeros(width * ROWS, np.float32),
        np.zeros(network.outputs.shape[2] * ROWS, np.float32),
    )


@inlined_kernel
def lines_of(array: Any, chunk: int, lines: int, many: int) -> Any:
    """The first lines of a chunk of so many pixels: [lines, many]."""
    return array[chunk][: lines * many].reshape(lines, many)
