"""The walk of `mixture_prior` as a kernel: the same symbols in the same order with the same units.

Numba calls SciPy's BLAS for products of matrices, for some hundred samples at once.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import inlined_kernel, kernel
from smalti.decoders.pixels.mixture import (
    CDF,
    FARTHEST_SHIFT,
    FULL,
    INVERSES,
    LARGEST_SYMBOL,
    LEAST_SHARE,
    LOGISTIC,
    SHARES,
)
from smalti.decoders.pixels.mixture_network import SQUASHED, MixtureNetwork, missed_places
from smalti.decoders.pixels.pixel_kernel import Front, front_of
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_network import MOST_HIDDEN
from smalti.decoders.pixels.wavefront import PIECE_PIXELS
from smalti.entropy.priors import EXP, FARTHEST, UNITS
from smalti.entropy.stack_kernel import Coder, decoding, encoding, ended, stack, step
from smalti.errors import DamagedArchiveError

__all__ = ["KernelMixture", "decode", "encode"]

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

ROWS = 256
"""Pixels whose network runs at once: what they take stays in the caches."""

_ZERO = np.float32(0)
_MOST_HIDDEN = np.float32(MOST_HIDDEN)
_ONE = np.uint64(1)
_PLACE = np.uint64(UNITS - 1)
_FULL_BITS = 38
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


class _Piece(NamedTuple):
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


class _Room(NamedTuple):
    """Room for the pixels whose network runs at once."""

    seen: Singles
    differences: Doubles
    foretold: Doubles
    features: Singles
    hidden: Singles
    more: Singles
    outputs: Singles


def decode(network: KernelMixture, data: bytes, grids: Ints) -> NDArray[np.uint16]:
    """`MixturePrior.decode`."""
    coder = decoding(data)
    levels = np.zeros((int(grids.prod(axis=1).sum()), len(network.counts)), np.uint16)
    wrong = _walk(network, front_of(grids, network.radius), levels, coder)
    if wrong >= 0:
        raise DamagedArchiveError(f"entropy-coded data: a level of channel {wrong} is too large")
    ended(coder)
    return levels


def encode(network: KernelMixture, levels: NDArray[np.uint16], grids: Ints) -> bytes:
    """`MixturePrior.encode`, of levels that can be coded."""
    coder = encoding(2 * levels.size)
    _walk(network, front_of(grids, network.radius), np.ascontiguousarray(levels), coder)
    return stack(coder)


@kernel
def _walk(network: KernelMixture, front: Front, levels: NDArray[np.uint16], coder: Coder) -> int:
    """Decode all pixels, or list the units of known ones. Returns the channel of a level that is too large, or -1."""
    channels, width = levels.shape[1], network.bias.shape[1]
    components = network.outputs.shape[2] // 3
    around = 2 * network.radius * (network.radius + 1) * channels
    piece = _Piece(
        np.zeros((PIECE_PIXELS, channels), np.int64),
        np.zeros((PIECE_PIXELS, channels), np.int64),
        np.zeros((PIECE_PIXELS, channels), np.int64),
        np.zeros((PIECE_PIXELS, channels), np.int64),
        np.zeros((PIECE_PIXELS, width), np.float32),
        np.zeros((PIECE_PIXELS, channels), np.float64),
        np.zeros((PIECE_PIXELS, 3 * channels + 1), np.float32),
        np.zeros((PIECE_PIXELS, channels), np.float64),
        np.zeros((PIECE_PIXELS, components), np.int64),
        np.zeros((PIECE_PIXELS, components), np.int64),
        np.zeros((PIECE_PIXELS, components), np.int64),
        np.zeros(PIECE_PIXELS, np.int64),
        np.zeros(PIECE_PIXELS, np.int64),
        np.ones(PIECE_PIXELS, np.bool_),
    )
    room = _Room(
        np.zeros((ROWS, len(network.context)), np.float32),
        np.zeros((ROWS, around), np.float64),
        np.zeros((ROWS, channels), np.float64),
        np.zeros((ROWS, 3 * channels + 1), np.float32),
        np.zeros((ROWS, width), np.float32),
        np.zeros((ROWS, width), np.float32),
        np.zeros((ROWS, network.outputs.shape[2]), np.float32),
    )
    foretelling = np.ascontiguousarray(network.weights[:around])
    missed = np.zeros(levels.shape, np.int32)
    for wave in range(len(front.begins) - 1):
        for start in range(front.begins[wave], front.begins[wave + 1], PIECE_PIXELS):
            own = front.order[start : min(start + PIECE_PIXELS, front.begins[wave + 1])]
            wrong = _walk_piece(network, front, foretelling, levels, missed, piece, room, coder, own)
            if wrong >= 0:
                return wrong
    return -1


@kernel
def _walk_piece(
    network: KernelMixture,
    front: Front,
    foretelling: Doubles,
    levels: NDArray[np.uint16],
    missed: NDArray[np.int32],
    piece: _Piece,
    room: _Room,
    coder: Coder,
    own: NDArray[np.int32],
) -> int:
    """Decode the pixels `own`, channel after channel."""
    many = len(own)
    piece.shown[:] = True
    for start in range(0, many, ROWS):
        stop = min(start + ROWS, many)
        _look(network, front, levels, piece, room, own, start, stop)
        _look_at_missed(network, front, missed, room, own, start, stop)
        _sum(network, front, foretelling, piece, room, own, start, stop)
    if coder.known:
        for at in range(many):
            for channel in range(levels.shape[1]):
                piece.levels[at, channel] = levels[own[at], channel]
    for number in range(levels.shape[1]):
        for start in range(0, many, ROWS):
            _mix(network, piece, room, number, start, min(start + ROWS, many))
        wrong = _code(network, piece, coder, number, many)
        if wrong:
            return int(network.order[number])
        _note(network, piece, missed, own, number, many)
        if not coder.known:
            channel = network.order[number]
            for at in range(many):
                if piece.shown[at]:
                    levels[own[at], channel] = piece.levels[at, channel]
        if network.hides and number == 0:
            for at in range(many):
                piece.shown[at] = network.shown[piece.levels[at, network.order[0]]]
    return -1


@kernel
def _look(
    network: KernelMixture,
    front: Front,
    levels: NDArray[np.uint16],
    piece: _Piece,
    room: _Room,
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
def _look_at_missed(
    network: KernelMixture,
    front: Front,
    missed: NDArray[np.int32],
    room: _Room,
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
def _sum(
    network: KernelMixture,
    front: Front,
    foretelling: Doubles,
    piece: _Piece,
    room: _Room,
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
def _mix(network: KernelMixture, piece: _Piece, room: _Room, number: int, start: int, stop: int) -> None:
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
def _shape(network: KernelMixture, piece: _Piece, outputs: Singles, number: int, start: int, many: int) -> None:
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
def _code(network: KernelMixture, piece: _Piece, coder: Coder, number: int, many: int) -> bool:
    """Decode a channel of the pixels of a piece, or list its units. Returns whether a level is too large."""
    count, channel = network.counts[number], network.order[number]
    if count <= LARGEST_SYMBOL:
        if count > 1:
            _code_first(network, piece, coder, channel, count, count, 1, many)
        return False
    _code_first(network, piece, coder, channel, count, (count + LARGEST_SYMBOL - 1) // LARGEST_SYMBOL, 256, many)
    _code_rest(network, piece, coder, channel, count, many)
    wrong = False
    for row in range(many):
        wrong = wrong or (piece.shown[row] and piece.levels[row, channel] >= count)
    return wrong


@inlined_kernel
def _up_to(
    shares: Ints, offsets: Ints, inverses: Ints, alike: Ints, logistic: Ints, row: int, level: Any, count: int
) -> Any:
    """`Mixture.up_to` of one sample and level."""
    total = alike[row] * (level + 1)
    for component in range(shares.shape[1]):
        away = ((2 * level + 1) * inverses[row, component] - offsets[row, component]) >> 9
        away = min(max(away, -(1 << 20)), (1 << 20) - 1) + (1 << 20)
        below = logistic[away >> 12]
        total += shares[row, component] * (below + (((logistic[(away >> 12) + 1] - below) * (away & 4095)) >> 12))
    if level >= count - 1:
        total = np.int64(FULL)
    return total if level >= 0 else np.int64(0)


@inlined_kernel
def _next_middle(low: Any, high: Any, turned: int, leap: Any) -> Any:
    """Where to look next between two bounds: further away in leaps, until the search has turned; then in the middle."""
    middle = (low + high) >> 1
    if turned == 1:
        middle = max(low, high - leap)
    elif turned == 2:
        middle = min(high - 1, low + leap - 1)
    return middle


@kernel
def _code_first(
    network: KernelMixture, piece: _Piece, coder: Coder, channel: int, count: int, symbols: int, size: int, many: int
) -> None:
    """Code the first symbols of samples, each of `size` levels."""
    shares, offsets, inverses, guesses = piece.shares, piece.offsets, piece.inverses, piece.guesses
    alike, levels, shown, logistic = piece.alike, piece.levels, piece.shown, network.logistic
    words, state, lefts, units, known = coder
    room = UNITS - symbols
    for row in range(many):
        if not shown[row]:
            continue
        if known:
            symbol = levels[row, channel] // size
            total = _up_to(shares, offsets, inverses, alike, logistic, row, symbol * size - 1, count)
            left = ((total * room) >> _FULL_BITS) + symbol
            total = _up_to(shares, offsets, inverses, alike, logistic, row, symbol * size + size - 1, count)
            lefts[state[0]], units[state[0]] = left, ((total * room) >> _FULL_BITS) + symbol + 1 - left
            state[0] += _ONE
            continue
        place = np.int64(state[0] & _PLACE)
        low, high, left, right = np.int64(0), np.int64(symbols - 1), np.int64(0), np.int64(UNITS)
        middle, turned, leap = min(max(guesses[row] // size, 0), symbols - 2), 0, np.int64(1)
        while low < high:  # the first symbol whose units, with all below, are more than the place
            total = _up_to(shares, offsets, inverses, alike, logistic, row, middle * size + size - 1, count)
            used = ((total * room) >> _FULL_BITS) + middle + 1
            if used > place:
                high, right, turned = middle, used, turned | 1
            else:
                low, left, turned = middle + 1, used, turned | 2
            middle, leap = _next_middle(low, high, turned, leap), 2 * leap
        step(words, state, int(left), int(right - left))
        levels[row, channel] = low * size


@kernel
def _code_rest(network: KernelMixture, piece: _Piece, coder: Coder, channel: int, count: int, many: int) -> None:
    """Code the second symbols of samples, after the first ones."""
    shares, offsets, inverses, guesses = piece.shares, piece.offsets, piece.inverses, piece.guesses
    alike, levels, shown, logistic = piece.alike, piece.levels, piece.shown, network.logistic
    words, state, lefts, units, known = coder
    room, last = UNITS - LARGEST_SYMBOL, LARGEST_SYMBOL - 1
    for row in range(many):
        if not shown[row]:
            continue
        start = levels[row, channel] // LARGEST_SYMBOL * LARGEST_SYMBOL
        least = _up_to(shares, offsets, inverses, alike, logistic, row, start - 1, count)
        whole = _up_to(shares, offsets, inverses, alike, logistic, row, start + last, count) - least
        whole += LEAST_SHARE * LARGEST_SYMBOL
        if known:
            symbol = levels[row, channel] - start
            total = _up_to(shares, offsets, inverses, alike, logistic, row, start + symbol - 1, count) - least
            left = (total + LEAST_SHARE * symbol) * room // whole + symbol
            total = _up_to(shares, offsets, inverses, alike, logistic, row, start + symbol, count) - least
            right = (total + LEAST_SHARE * (symbol + 1)) * room // whole + symbol + 1
            lefts[state[0]], units[state[0]] = left, right - left
            state[0] += _ONE
            continue
        left, right = np.int64(0), np.int64(UNITS)
        place = np.int64(state[0] & _PLACE)
        low, high = np.int64(0), np.int64(last)
        middle, turned, leap = min(max(guesses[row] - start, 0), last - 1), 0, np.int64(1)
        while low < high:
            total = _up_to(shares, offsets, inverses, alike, logistic, row, start + middle, count) - least
            used = (total + LEAST_SHARE * (middle + 1)) * room // whole + middle + 1
            if used > place:
                high, right, turned = middle, used, turned | 1
            else:
                low, left, turned = middle + 1, used, turned | 2
            middle, leap = _next_middle(low, high, turned, leap), 2 * leap
        step(words, state, int(left), int(right - left))
        levels[row, channel] = start + low


@kernel
def _note(
    network: KernelMixture,
    piece: _Piece,
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
