"""The network of a mixture prior as a kernel: the mixtures of some hundred samples at once.

Numba calls SciPy's BLAS for products of matrices.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernel
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
from smalti.entropy.priors import EXP, FARTHEST

__all__ = ["ROWS", "KernelMixture", "Piece", "Room", "look", "look_at_missed", "mix", "note", "sum_up"]

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

ROWS = 256
"""Pixels whose network runs at once: what they take stays in the caches."""

_ZERO = np.float32(0)
_MOST_HIDDEN = np.float32(MOST_HIDDEN)
_MOST_WIDTH = np.float32(len(INVERSES) - 1)
_FARTHEST_SHIFT = np.float32(FARTHEST_SHIFT)


class KernelMixture(NamedTuple):
    """A network and its levels, as a kernel takes them.

    context : float32 [inputs, H]    weights : float64 [P * C + C, C], of each channel; others are 0
    own : [C, 3 * C + 1, H]    middle : [C, D, H, H]    outputs : [C, H, 3 * M + 1]
    scales : [C, D + 2], 2**-shift    counts : K of each channel in coding order    order : of channels
    near : places where it sees what was missed, rows up and columns to the right, [places, 2]
    shown : of each level of alpha, whether colours are coded    hides : whether some are not
    """

    radius: int
    context: Singles
    tops: Singles
    lefts: Singles
    rights: Singles
    weights: Doubles
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
    near: Ints
    shown: NDArray[np.bool_]
    hides: bool
    squashed: Singles
    logistic: Ints
    inverses: Ints
    exponentials: Ints

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
            np.array(missed_places(network.radius), np.int64),
            np.asarray(model.levels[-1] > 0),
            model.hides,
            SQUASHED,
            CDF,
            INVERSES,
            EXP,
        )


def _singles(values: NDArray[np.floating] | Ints) -> Singles:
    return np.ascontiguousarray(values, np.float32)


class Piece(NamedTuple):
    """Pixels that are decoded at once, and what is known of each.

    left, above, base : levels next to them, int64 [n, C]    levels : of the pixels themselves
    sums : of contexts and edges, [n, H]    foretold : sums of weighted differences, [n, C]
    own : what is seen of the channels so far, [n, 3 * C + 1]; the first is of the channel itself
    apart : levels less bases of the channels so far, [n, C]
    shares, offsets, inverses : of mixtures, [n, M]    alike : what each level has in any case, [n]
    guesses : levels at which to look first, [n]
    shown : whether there are more channels
    """

    left: Ints
    above: Ints
    base: Ints
    levels: Ints
    sums: Singles
    foretold: Doubles
    own: Singles
    apart: Doubles
    shares: Ints
    offsets: Ints
    inverses: Ints
    alike: Ints
    guesses: Ints
    shown: NDArray[np.bool_]


class Room(NamedTuple):
    """Room for the pixels whose network runs at once."""

    seen: Singles
    differences: Doubles
    foretold: Doubles
    features: Singles
    hidden: Singles
    more: Singles
    outputs: Singles


@kernel
def look(
    network: KernelMixture,
    front: Front,
    levels: NDArray[np.uint16],
    piece: Piece,
    room: Room,
    own: NDArray[np.int32],
    start: int,
    stop: int,
) -> None:
    """The bases of pixels, and how far all that they look at is from them."""
    radius, order, squashed, counts = network.radius, network.order, network.squashed, network.counts
    lefts, aboves, bases, seen, differences = piece.left, piece.above, piece.base, room.seen, room.differences
    rows, columns, widths = front.rows, front.columns, front.widths
    channels = levels.shape[1]
    for at in range(start, stop):
        pixel, row, column, width = own[at], rows[own[at]], columns[own[at]], widths[own[at]]
        for number in range(channels):
            channel = order[number]
            left = np.int64(levels[pixel - 1, channel]) if column else np.int64(0)
            above = np.int64(levels[pixel - width, channel]) if row else left
            if not column:
                left = above
            lefts[at, number], aboves[at, number], bases[at, number] = left, above, (left + above) >> 1
        place = 0
        for up in range(radius, -1, -1):
            for beside in range(-radius, radius + 1 if up else 0):
                inside = up <= row and column + beside >= 0 and column + beside < width
                other = pixel - up * width + beside
                for number in range(channels):
                    if inside:
                        apart = np.int64(levels[other, order[number]]) - bases[at, number]
                        differences[at - start, place] = apart
                        seen[at - start, place] = squashed[apart] if apart >= 0 else -squashed[-apart]
                    else:
                        differences[at - start, place] = 0.0
                        seen[at - start, place] = _ZERO
                    place += 1
        for number in range(channels):
            seen[at - start, place + number] = np.float32(255 * bases[at, number] // max(counts[number] - 1, 1))


@kernel
def look_at_missed(
    network: KernelMixture,
    front: Front,
    missed: NDArray[np.int32],
    room: Room,
    own: NDArray[np.int32],
    start: int,
    stop: int,
) -> None:
    """What the forecast missed near pixels; 0 outside."""
    squashed, seen, near, channels = network.squashed, room.seen, network.near, missed.shape[1]
    rows, columns, widths = front.rows, front.columns, front.widths
    first = seen.shape[1] - len(near) * channels
    for at in range(start, stop):
        pixel, row, column, width = own[at], rows[own[at]], columns[own[at]], widths[own[at]]
        for place in range(len(near)):
            up, right = near[place, 0], near[place, 1]
            inside = up <= row and column + right >= 0 and column + right < width
            other = pixel - up * width + right
            for number in range(channels):
                away = np.int64(missed[other, number]) if inside else np.int64(0)
                shown = squashed[away] if away >= 0 else -squashed[-away]
                seen[at - start, first + place * channels + number] = shown


@kernel
def sum_up(
    network: KernelMixture,
    front: Front,
    foretelling: Doubles,
    piece: Piece,
    room: Room,
    own: NDArray[np.int32],
    start: int,
    stop: int,
) -> None:
    """The sums of contexts and edges, and those of weighted differences."""
    tops, lefts, rights, sums, more = network.tops, network.lefts, network.rights, piece.sums, room.more
    rows, columns, widths, foretold, made = front.rows, front.columns, front.widths, piece.foretold, room.foretold
    many = stop - start
    np.dot(room.seen[:many], network.context, more[:many])
    np.dot(room.differences[:many], foretelling, made[:many])
    for at in range(many):
        pixel = own[start + at]
        top, left = min(rows[pixel], len(tops) - 1), min(columns[pixel], len(lefts) - 1)
        right = min(widths[pixel] - 1 - columns[pixel], len(rights) - 1)
        for unit in range(sums.shape[1]):
            sums[start + at, unit] = more[at, unit] + tops[top, unit] + lefts[left, unit] + rights[right, unit]
        for number in range(made.shape[1]):
            foretold[start + at, number] = made[at, number]


@kernel
def mix(network: KernelMixture, piece: Piece, room: Room, number: int, start: int, stop: int) -> None:
    """The mixtures of one channel of pixels."""
    count, places, squashed, weights = network.counts[number], network.places, network.squashed, network.weights
    base, apart, foretold, own, sums = piece.base, piece.apart, piece.foretold, piece.own, piece.sums
    features, hidden, more, outputs = room.features, room.hidden, room.more, room.outputs
    scales, bias, middle_bias, outputs_bias = network.scales, network.bias, network.middle_bias, network.outputs_bias
    many, inputs, width = stop - start, 3 * number + 1, bias.shape[1]
    around, depth = len(weights) - base.shape[1], middle_bias.shape[1]
    known = features.ravel()[: many * inputs].reshape(many, inputs)
    for at in range(many):
        row = start + at
        total = foretold[row, number]
        for before in range(number):
            total += apart[row, before] * weights[around + before, number]
        moved = (np.int64(total) + ((1 << places) >> 1)) >> places
        level = min(max(base[row, number] + moved, 0), count - 1)
        foretold[row, number] = level
        away = level - base[row, number]
        own[row, 0] = squashed[away] if away >= 0 else -squashed[-away]
        for feature in range(inputs):
            known[at, feature] = own[row, feature]
    np.dot(known, network.own[number, :inputs], more[:many])
    for at in range(many):
        for unit in range(width):
            value = np.floor((sums[start + at, unit] + bias[number, unit] + more[at, unit]) * scales[number, 0])
            hidden[at, unit] = min(max(value, _ZERO), _MOST_HIDDEN)
    for layer in range(depth):
        np.dot(hidden[:many], network.middle[number, layer], more[:many])
        scale = scales[number, layer + 1]
        for at in range(many):
            for unit in range(width):
                value = max(np.floor((more[at, unit] + middle_bias[number, layer, unit]) * scale), _ZERO)
                hidden[at, unit] = min(hidden[at, unit] + value, _MOST_HIDDEN)
    np.dot(hidden[:many], network.outputs[number], outputs[:many])
    scale = scales[number, depth + 1]
    for at in range(many):
        for output in range(outputs.shape[1]):
            outputs[at, output] = np.floor((outputs[at, output] + outputs_bias[number, output]) * scale)
    _shape(network, piece, outputs, number, start, many)


@kernel
def _shape(network: KernelMixture, piece: Piece, outputs: Singles, number: int, start: int, many: int) -> None:
    """The shares, offsets and widths of the mixtures of samples."""
    components, exponentials, widths = piece.shares.shape[1], network.exponentials, network.inverses
    shares, offsets, inverses, guesses = piece.shares, piece.offsets, piece.inverses, piece.guesses
    alike, each = piece.alike, LOGISTIC // network.counts[number]
    foretold, left, above = piece.foretold, piece.left, piece.above
    for at in range(many):
        row = start + at
        best, first = np.int64(outputs[at, 0]), 0
        for component in range(1, components + 1):
            score = np.int64(outputs[at, component])
            if score > best:
                best, first = score, component
        total = exponentials[np.int64(min(best - np.int64(outputs[at, components]), np.int64(FARTHEST)))]
        weight = total
        for component in range(components):
            shares[row, component] = exponentials[
                np.int64(min(best - np.int64(outputs[at, component]), np.int64(FARTHEST)))
            ]
            total += shares[row, component]
        # a quotient is below 2**14 and its divisor below 2**19: no rounding reaches the next whole number
        alike[row] = np.int64(np.float64(weight * SHARES) / np.float64(total))
        used = alike[row]
        for component in range(components):
            share = np.int64(np.float64(shares[row, component] * SHARES) / np.float64(total))
            shares[row, component] = share
            used += share
            anchor = np.int64(foretold[row, number])
            if component == 2:
                anchor = left[row, number]
            elif component == 3:
                anchor = above[row, number]
            shift = np.int64(min(max(outputs[at, components + 1 + component], -_FARTHEST_SHIFT), _FARTHEST_SHIFT))
            width = np.int64(min(max(outputs[at, 2 * components + 1 + component], _ZERO), _MOST_WIDTH))
            inverses[row, component] = widths[width]
            offsets[row, component] = 2 * anchor * widths[width] + (shift << 21)
        if first == components:
            alike[row] += SHARES - used
            first = 0
        else:
            shares[row, first] += SHARES - used
        alike[row] *= each
        guesses[row] = np.int64(offsets[row, first] * 0.5 / inverses[row, first])


@kernel
def note(
    network: KernelMixture,
    piece: Piece,
    missed: NDArray[np.int32],
    own_pixels: NDArray[np.int32],
    number: int,
    many: int,
) -> None:
    """Note what is seen of a channel by those that are coded after it."""
    channel, squashed, first = network.order[number], network.squashed, 3 * number + 1
    levels, base, foretold, own, apart = piece.levels, piece.base, piece.foretold, piece.own, piece.apart
    for row in range(many):
        if not piece.shown[row]:
            continue
        away = levels[row, channel] - base[row, number]
        beside = levels[row, channel] - np.int64(foretold[row, number])
        missed[own_pixels[row], number] = beside
        apart[row, number] = away
        own[row, first] = squashed[away] if away >= 0 else -squashed[-away]
        own[row, first + 2] = squashed[abs(beside)]
        own[row, first + 1] = own[row, first + 2] if beside >= 0 else -own[row, first + 2]
