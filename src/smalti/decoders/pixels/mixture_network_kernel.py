"""The network of a mixture prior as a kernel: the mixtures of a chunk of pixels at once."""

from typing import Any

import numpy as np

from smalti.compiled import kernel
from smalti.decoders.layers.products_kernel import add_products, begin_with
from smalti.decoders.pixels.mixture import FARTHEST_SHIFT, INVERSES, LOGISTIC, SHARES
from smalti.decoders.pixels.mixture_lines import Ints, KernelMixture, Piece, Room, Singles, Whole, lines_of
from smalti.decoders.pixels.pixel_network import MOST_HIDDEN
from smalti.entropy.priors import FARTHEST

__all__ = ["mix", "sum_up"]

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


@kernel
def sum_up(network: KernelMixture, piece: Piece, room: Room, chunk: int, many: int) -> None:
    """The sums of all that the pixels of a chunk see."""
    inputs = len(network.context)
    sums = lines_of(piece.sums, chunk, network.bias.shape[1], many)
    _begin_with_edges(network, room, sums)
    add_products(network.context, room.seen[: inputs * many].reshape(inputs, many), sums)


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
    add_products(network.own[number, :inputs], lines_of(piece.own, chunk, inputs, many), more)
    _clip_down(more.ravel(), network.scales[number, 0], hidden.ravel())
    for layer in range(depth):
        begin_with(more, network.middle_bias[number, layer])
        add_products(network.middle[number, layer], hidden, more)
        _raise(more.ravel(), network.scales[number, layer + 1], hidden.ravel())
    begin_with(outputs, network.outputs_bias[number])
    add_products(network.outputs[number], hidden, outputs)
    _shape(network, piece, room, outputs, number, chunk, many)


@kernel
def _clip_down(sums: Singles, scale: Any, hidden: Singles) -> None:
    """Hidden values of sums. One long loop: to begin a loop takes as long as some steps of it."""
    for at in range(len(sums)):
        hidden[at] = min(max(np.floor(sums[at] * scale), _ZERO), _MOST_HIDDEN)


@kernel
def _raise(sums: Singles, scale: Any, hidden: Singles) -> None:
    """Raise hidden values by what a layer says, up to the largest one."""
    for at in range(len(sums)):
        hidden[at] = min(hidden[at] + max(np.floor(sums[at] * scale), _ZERO), _MOST_HIDDEN)


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
    flat = outputs.ravel()
    for at in range(len(flat)):
        flat[at] = np.floor(flat[at] * scale)
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
