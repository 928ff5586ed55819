"""The network of a mixture prior as a kernel: the mixtures of some hundred samples at once."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import inlined_kernel, kernel
from smalti.decoders.pixels.mixture import (
    CDF,
    FARTHEST_SHIFT,
    INVERSES,
    LOGISTIC,
    SHARES,
)
from smalti.decoders.pixels.mixture_network import SQUASHED, MixtureNetwork, missed_places
from smalti.decoders.pixels.pixel_kernel import Front
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_network import MOST_HIDDEN
from smalti.decoders.pixels.wavefront import PIECE_PIXELS
from smalti.entropy.priors import EXP, FARTHEST, UNITS

__all__ = [
    "QUANTILE_BITS",
    "ROWS",
    "KernelMixture",
    "Piece",
    "Room",
    "keep",
    "lines_of",
    "look",
    "mix",
    "note",
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

_NOTHING = np.uint64(0)
_LOW = np.uint64(0xFFFF)
_SIGN = 0x8000
_ZERO = np.float32(0)
_ONE = np.float32(1)
_SIXTEENTH = np.float32(1 / 16)
_MOST_HIDDEN = np.float32(MOST_HIDDEN)
_MOST_WIDTH = np.float32(len(INVERSES) - 1)
_FARTHEST_SHIFT = np.float32(FARTHEST_SHIFT)
_FARTHEST = np.float32(FARTHEST)
_SHARES = np.float64(SHARES)
_VARIANCE = 3 * (np.log(2) / np.pi) ** 2
"""One over the variance of a curve of width 1."""


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


@kernel
def look(
    network: KernelMixture, front: Front, canvas: Words, missed: Words, piece: Piece, room: Room, own: Whole, chunk: int
) -> None:
    """What the pixels `own` of a chunk see, and the sums of it.

    canvas, missed : of each pixel, levels and what is seen of what the forecast missed, 16 bits for each channel in
        coding order
    """
    channels, many, inputs = len(network.counts), len(own), len(network.context)
    words, others, away, sizes, bits = room.words, room.others, room.away, room.sizes, room.bits
    bases = lines_of(piece.base, chunk, channels, many)
    foretold = lines_of(piece.foretold, chunk, channels, many)
    seen = room.seen[: inputs * many].reshape(inputs, many)
    _place(front, room, own)
    _look_beside(canvas, piece, room, chunk, channels, many)
    foretold[:] = 0.0
    for place in range(len(network.spots)):
        up, right, near = network.spots[place]
        _find(room.pixels, room.rows, room.columns, room.widths, others, up, right, many)
        _fetch(canvas, others, words, many)
        for number in range(channels):
            line = place * channels + number
            _see(words, others, number, bases[number], away, sizes, bits, seen[line])
            for other in range(channels):
                weight = network.foretelling[other, line]
                for at in range(many):
                    foretold[other, at] += away[at] * weight
        if near >= 0:
            line = inputs + (near - network.near) * channels
            _fetch(missed, others, words, many)
            for number in range(channels):
                _see_missed(words, number, seen[line + number])
    first = inputs - (network.near + 1) * channels
    for number in range(channels):
        for at in range(many):
            seen[first + number, at] = network.shades[number, bases[number, at]]
    sums = lines_of(piece.sums, chunk, network.bias.shape[1], many)
    _begin_with_edges(network, room, sums)
    _add_products(network.context, seen, sums)


@kernel
def _place(front: Front, room: Room, own: Whole) -> None:
    """Where the pixels of a chunk are in their pictures."""
    for at in range(len(own)):
        pixel = own[at]
        room.pixels[at], room.rows[at] = pixel, front.rows[pixel]
        room.columns[at], room.widths[at] = front.columns[pixel], front.widths[pixel]


@kernel
def _look_beside(canvas: Words, piece: Piece, room: Room, chunk: int, channels: int, many: int) -> None:
    """The levels next to pixels, and their bases."""
    pixels, rows, columns, widths = room.pixels, room.rows, room.columns, room.widths
    words, others = room.words, room.others
    lefts = lines_of(piece.left, chunk, channels, many)
    aboves = lines_of(piece.above, chunk, channels, many)
    bases = lines_of(piece.base, chunk, channels, many)
    for lines, up, right in ((lefts, 0, -1), (aboves, 1, 0)):
        _find(pixels, rows, columns, widths, others, up, right, many)
        _fetch(canvas, others, words, many)
        for number in range(channels):
            _unpack(words, number, lines[number])
    for number in range(channels):
        for at in range(many):
            left, above = lefts[number, at], aboves[number, at]
            lefts[number, at] = left if columns[at] > 0 else above
            aboves[number, at] = above if rows[at] > 0 else left
        for at in range(many):
            bases[number, at] = (lefts[number, at] + aboves[number, at]) >> 1


@kernel
def _find(
    pixels: Whole, rows: Whole, columns: Whole, widths: Whole, others: Whole, up: int, right: int, many: int
) -> None:
    """The pixel at a place from each, or -1 outside."""
    for at in range(many):
        column, width = np.int32(columns[at] + right), widths[at]
        inside = (up <= rows[at]) & (column >= 0) & (column < width)
        others[at] = np.int32(pixels[at] - up * width + right) if inside else np.int32(-1)


@kernel
def _fetch(canvas: Words, others: Whole, words: Words, many: int) -> None:
    """What the canvas has of pixels; 0 outside."""
    for at in range(many):
        word = canvas[max(others[at], 0)]
        words[at] = word if others[at] >= 0 else _NOTHING


@kernel
def _unpack(words: Words, number: int, out: Whole) -> None:
    """A channel of words."""
    shift = np.uint64(16 * number)
    for at in range(len(out)):
        out[at] = np.int32((words[at] >> shift) & _LOW)


@kernel
def _see(
    words: Words, others: Whole, number: int, bases: Whole, away: Whole, sizes: Singles, bits: Whole, seen: Singles
) -> None:
    """How far levels at a place are from bases, 0 outside; and what is seen of it (`squash`)."""
    shift = np.uint64(16 * number)
    for at in range(len(seen)):
        level = np.int32((words[at] >> shift) & _LOW)
        away[at] = np.int32(level - bases[at]) if others[at] >= 0 else np.int32(0)
    for at in range(len(seen)):
        sizes[at] = np.float32(np.int32(abs(away[at]) + 1))
    for at in range(len(seen)):  # the top bits of a float tell octave and sixteenths
        size = np.float32(np.int32(min((bits[at] >> 19) - (127 << 4), 255)))
        seen[at] = size if away[at] >= 0 else -size


@kernel
def _see_missed(words: Words, number: int, seen: Singles) -> None:
    """What is seen of what the forecast missed at a place."""
    shift = np.uint64(16 * number)
    for at in range(len(seen)):
        seen[at] = np.float32(np.int32((np.int32((words[at] >> shift) & _LOW) ^ _SIGN) - _SIGN))


@kernel
def _begin_with_edges(network: KernelMixture, room: Room, sums: Singles) -> None:
    """The sums of what each pixel's distances from edges have."""
    tops, lefts, rights = network.tops, network.lefts, network.rights
    rows, columns, widths = room.rows, room.columns, room.widths
    for at in range(sums.shape[1]):
        top, left = min(rows[at], len(tops) - 1), min(columns[at], len(lefts) - 1)
        right = min(widths[at] - 1 - columns[at], len(rights) - 1)
        for unit in range(len(sums)):
            sums[unit, at] = tops[top, unit] + lefts[left, unit] + rights[right, unit]


@kernel
def _add_products(weights: Singles, inputs: Singles, sums: Singles) -> None:
    """Add products of weights [n, m] and inputs [n, pixels] to sums [m, pixels].

    Four inputs at once: a chunk is too small for a BLAS, and stays in the caches. All sums are exact, in any order.
    """
    fours, twos = len(weights) & ~3, len(sums) & ~1
    for start in range(0, fours, 4):
        for unit in range(0, twos, 2):
            first, second, third, fourth = (
                weights[start, unit],
                weights[start + 1, unit],
                weights[start + 2, unit],
                weights[start + 3, unit],
            )
            fifth, sixth, seventh, eighth = (
                weights[start, unit + 1],
                weights[start + 1, unit + 1],
                weights[start + 2, unit + 1],
                weights[start + 3, unit + 1],
            )
            for at in range(sums.shape[1]):
                one, two = inputs[start, at], inputs[start + 1, at]
                three, four = inputs[start + 2, at], inputs[start + 3, at]
                sums[unit, at] += first * one + second * two + third * three + fourth * four
                sums[unit + 1, at] += fifth * one + sixth * two + seventh * three + eighth * four
        if twos < len(sums):
            first, second, third, fourth = (
                weights[start, twos],
                weights[start + 1, twos],
                weights[start + 2, twos],
                weights[start + 3, twos],
            )
            for at in range(sums.shape[1]):
                one, two = inputs[start, at], inputs[start + 1, at]
                three, four = inputs[start + 2, at], inputs[start + 3, at]
                sums[twos, at] += first * one + second * two + third * three + fourth * four
    for start in range(fours, len(weights)):
        for unit in range(len(sums)):
            weight = weights[start, unit]
            for at in range(sums.shape[1]):
                sums[unit, at] += weight * inputs[start, at]


@kernel
def mix(network: KernelMixture, piece: Piece, room: Room, number: int, chunk: int, many: int) -> None:
    """The mixtures of one channel of a chunk."""
    inputs, width, depth = 3 * number + 1, network.bias.shape[1], network.middle_bias.shape[1]
    _foretell(network, piece, number, chunk, many)
    sums = lines_of(piece.sums, chunk, width, many)
    hidden = room.hidden[: width * many].reshape(width, many)
    more = room.more[: width * many].reshape(width, many)
    outputs = room.outputs[: network.outputs.shape[2] * many].reshape(network.outputs.shape[2], many)
    for unit in range(width):
        start = network.bias[number, unit]
        for at in range(many):
            more[unit, at] = sums[unit, at] + start
    _add_products(network.own[number, :inputs], lines_of(piece.own, chunk, inputs, many), more)
    hidden[:] = _ZERO
    _raise_hidden(hidden, more, network.scales[number, 0])
    for layer in range(depth):
        _begin_with(more, network.middle_bias[number, layer])
        _add_products(network.middle[number, layer], hidden, more)
        _raise_hidden(hidden, more, network.scales[number, layer + 1])
    _begin_with(outputs, network.outputs_bias[number])
    _add_products(network.outputs[number], hidden, outputs)
    _shape(network, piece, room, outputs, number, chunk, many)


@kernel
def _begin_with(sums: Singles, bias: Singles) -> None:
    """Begin sums [m, pixels] with a bias [m]."""
    for unit in range(len(sums)):
        start = bias[unit]
        for at in range(sums.shape[1]):
            sums[unit, at] = start


@kernel
def _raise_hidden(hidden: Singles, sums: Singles, scale: Any) -> None:
    """Raise hidden values by what a layer says, up to the largest one."""
    for unit in range(len(sums)):
        for at in range(sums.shape[1]):
            value = max(np.floor(sums[unit, at] * scale), _ZERO)
            hidden[unit, at] = min(hidden[unit, at] + value, _MOST_HIDDEN)


@kernel
def _foretell(network: KernelMixture, piece: Piece, number: int, chunk: int, many: int) -> None:
    """The levels that differences foretell, from their sums; and what is seen of them."""
    channels, squashed, weights = len(network.counts), network.squashed, network.weights
    around, places, most = len(weights) - channels, network.places, np.float64(network.counts[number] - 1)
    foretold = lines_of(piece.foretold, chunk, channels, many)
    apart = lines_of(piece.apart, chunk, channels, many)
    base = lines_of(piece.base, chunk, channels, many)
    own = lines_of(piece.own, chunk, 3 * channels + 1, many)
    for before in range(number):
        weight = weights[around + before, number]
        for at in range(many):
            foretold[number, at] += apart[before, at] * weight
    half, scale = np.float64((1 << places) >> 1), 2.0**-places
    for at in range(many):
        moved = np.floor((foretold[number, at] + half) * scale)
        foretold[number, at] = min(max(base[number, at] + moved, 0.0), most)
    for at in range(many):
        away = np.int32(foretold[number, at]) - base[number, at]
        size = squashed[abs(away)]
        own[0, at] = size if away >= 0 else -size


@kernel
def _shape(
    network: KernelMixture, piece: Piece, room: Room, outputs: Singles, number: int, chunk: int, many: int
) -> None:
    """The shares, offsets and widths of the mixtures of a chunk."""
    components, channels, scale = network.outputs.shape[2] // 3, len(network.counts), network.scales[number, -1]
    for output in range(len(outputs)):
        for at in range(many):
            outputs[output, at] = np.floor(outputs[output, at] * scale)
    shares = lines_of(piece.shares, chunk, components, many)
    _share(network, room, outputs, shares, piece.alike[chunk], LOGISTIC // network.counts[number])
    inverses = lines_of(piece.inverses, chunk, components, many)
    offsets = lines_of(piece.offsets, chunk, components, many)
    foretold = lines_of(piece.foretold, chunk, channels, many)[number]
    for component in range(components):
        beside = lines_of(piece.left if component == 2 else piece.above, chunk, channels, many)[number]
        for at in range(many):
            shift = min(max(outputs[components + 1 + component, at], -_FARTHEST_SHIFT), _FARTHEST_SHIFT)
            width = np.int32(min(max(outputs[2 * components + 1 + component, at], _ZERO), _MOST_WIDTH))
            anchor = np.int32(foretold[at]) if component < 2 else beside[at]
            inverses[component, at] = network.inverses[width]
            offsets[component, at] = 2 * np.int64(anchor) * network.inverses[width] + (np.int64(shift) << 21)
            outputs[components + 1 + component, at] = np.float32(anchor) + shift * _SIXTEENTH * network.spreads[width]
            outputs[2 * components + 1 + component, at] = network.spreads[width]
    _gather(room, outputs, shares, piece.middles[chunk], piece.spreads[chunk])


@kernel
def _share(network: KernelMixture, room: Room, outputs: Singles, shares: Whole, alike: Ints, each: int) -> None:
    """Shares of SHARES from scores; and what each level has in any case."""
    components, many, exponentials = len(shares), shares.shape[1], network.exponentials
    best, first, total, used = room.best, room.first, room.total, room.used
    for at in range(many):
        best[at], first[at] = outputs[0, at], 0
    for component in range(1, components + 1):
        for at in range(many):
            first[at] = component if outputs[component, at] > best[at] else first[at]
            best[at] = max(best[at], outputs[component, at])
    for at in range(many):
        total[at] = 0.0
    for component in range(components + 1):
        for at in range(many):
            weight = exponentials[np.int32(min(best[at] - outputs[component, at], _FARTHEST))]
            outputs[component, at] = weight
            total[at] += weight
    for at in range(many):
        used[at] = np.int32(outputs[components, at] * _SHARES / total[at])
        alike[at] = used[at] + (SHARES if first[at] == components else 0)
    # a quotient is below 2**14 and its divisor below 2**19: no rounding reaches the next whole number
    for component in range(components):
        for at in range(many):
            shares[component, at] = np.int32(outputs[component, at] * _SHARES / total[at])
            used[at] += shares[component, at]
    for component in range(components):
        for at in range(many):
            shares[component, at] += np.int32(SHARES - used[at]) if first[at] == component else np.int32(0)
    for at in range(many):
        alike[at] = (alike[at] - (used[at] if first[at] == components else 0)) * each


@kernel
def _gather(room: Room, outputs: Singles, shares: Whole, middles: Singles, spreads: Singles) -> None:
    """The middle and the spread of one curve that is about a mixture: it has the same mean and variance."""
    components, many, total, variance = len(shares), shares.shape[1], room.best, np.float32(_VARIANCE)
    for at in range(many):
        total[at], middles[at], spreads[at] = _ONE, _ZERO, _ZERO
    for component in range(components):
        for at in range(many):
            share = np.float32(shares[component, at])
            total[at] += share
            middles[at] += share * outputs[components + 1 + component, at]
    for at in range(many):
        total[at] = _ONE / total[at]
        middles[at] *= total[at]
    for component in range(components):
        for at in range(many):
            away, own = (
                outputs[components + 1 + component, at] - middles[at],
                outputs[2 * components + 1 + component, at],
            )
            spreads[at] += np.float32(shares[component, at]) * (away * away * variance + own * own)
    for at in range(many):
        spreads[at] = np.sqrt(spreads[at] * total[at])


@kernel
def note(network: KernelMixture, piece: Piece, number: int, chunk: int, many: int) -> None:
    """Note what the later channels of a chunk see of this one."""
    channels, squashed, first = len(network.counts), network.squashed, 3 * number + 1
    levels = lines_of(piece.levels, chunk, channels, many)[number]
    base = lines_of(piece.base, chunk, channels, many)[number]
    foretold = lines_of(piece.foretold, chunk, channels, many)[number]
    apart = lines_of(piece.apart, chunk, channels, many)[number]
    own = lines_of(piece.own, chunk, 3 * channels + 1, many)
    for at in range(many):
        away, beside = levels[at] - base[at], levels[at] - np.int32(foretold[at])
        size, missing = squashed[abs(away)], squashed[abs(beside)]
        apart[at] = away
        own[first, at] = size if away >= 0 else -size
        own[first + 1, at] = missing if beside >= 0 else -missing
        own[first + 2, at] = missing


@kernel
def keep(canvas: Words, missed: Words, network: KernelMixture, piece: Piece, own_pixels: Whole, chunk: int) -> None:
    """Put levels of a chunk on the canvas, and what the forecast missed of them. What is hidden stays 0."""
    many, channels, shown, squashed = len(own_pixels), len(network.counts), piece.shown[chunk], network.squashed
    levels = lines_of(piece.levels, chunk, channels, many)
    foretold = lines_of(piece.foretold, chunk, channels, many)
    for at in range(many):
        word = beside = _NOTHING
        for number in range(channels if shown[at] else 1):
            away, shift = levels[number, at] - np.int32(foretold[number, at]), np.uint64(16 * number)
            size = np.int32(squashed[abs(away)])
            word |= np.uint64(levels[number, at]) << shift
            beside |= (np.uint64(size if away >= 0 else -size) & _LOW) << shift
        canvas[own_pixels[at]], missed[own_pixels[at]] = word, beside
