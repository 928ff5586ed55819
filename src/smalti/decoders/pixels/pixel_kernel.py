"""The walk of `pixel_prior` as a kernel: the same symbols in the same order with the same units, pixel after pixel.

Two things make it faster than NumPy besides compiling. Inputs that are 0 are left out of sums. And where all pixels
that a pixel looks at are equal, its guess has the units that it had the last time among such pixels: they are looked up
in a memo. A sample that is not its guess is coded without it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import inlined, kernel
from smalti.decoders.layers.sum_kernel import add, listed
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_network import (
    MOST_HIDDEN,
    OWN_FEATURES,
    REACH,
    SCORES_OF_CANDIDATE,
    UNLIKE,
    PixelNetwork,
)
from smalti.decoders.pixels.wavefront import PIECE_PIXELS
from smalti.entropy.priors import EXACT_EXP, FARTHEST, UNITS
from smalti.entropy.stack_kernel import Coder, decoding, encoding, ended, stack, step

__all__ = ["KernelNetwork", "decode", "encode"]

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

_MEMOS = 1 << 12
_LANES = 8  # rows of scores are padded to whole vectors
_ZERO = np.float32(0)
_MOST_HIDDEN = np.float32(MOST_HIDDEN)
_FARTHEST = np.float32(FARTHEST)
_UNLIKE = np.float32(UNLIKE)
_NO_MEMO = _MEMOS
_ONE = np.uint64(1)
_PLACE = np.uint64(UNITS - 1)


class KernelNetwork(NamedTuple):
    """A network and its levels, as a kernel takes them. Weights are flat, row after row.

    scales : float32 [C, D + 2], 2**-shift    counts : K of each channel in coding order    order : of channels
    seen : float32 [C, most K], what is seen of each level    shown : of each level of alpha, whether colours are coded
    hides : whether some are not
    """

    radius: int
    context: Singles
    tops: Singles
    lefts: Singles
    rights: Singles
    own: Singles
    bias: Singles
    middle: Singles
    middle_bias: Singles
    scores: Singles
    scores_bias: Singles
    scales: Singles
    counts: Ints
    order: Ints
    seen: Singles
    shown: NDArray[np.bool_]
    hides: bool
    weights: NDArray[np.float64]

    @staticmethod
    def of(network: PixelNetwork, model: PixelModel) -> "KernelNetwork":
        """The numbers of a network and a model."""
        channels, width = network.channels, network.width
        outputs = -(-max(len(own.scores_bias) for own in network.networks) // _LANES) * _LANES
        own = np.zeros((channels, OWN_FEATURES * channels, width), np.float32)
        scores, scores_bias = (np.zeros((channels, *shape, outputs), np.float32) for shape in ((width,), ()))
        seen = np.zeros((channels, max(map(len, model.levels))), np.float32)
        for number, channel in enumerate(network.networks):
            own[number, : len(channel.own)] = channel.own
            scores[number, :, : channel.scores.shape[1]] = channel.scores
            scores_bias[number, : len(channel.scores_bias)] = channel.scores_bias
        for number, values in enumerate(model.seen):
            seen[number, : len(values)] = values
        return KernelNetwork(
            network.radius,
            _singles(network.context).ravel(),
            _singles(network.tops),
            _singles(network.lefts),
            _singles(network.rights),
            own.ravel(),
            _singles(np.stack([channel.bias for channel in network.networks])),
            _singles(np.stack([channel.middle for channel in network.networks])).ravel(),
            _singles(np.stack([channel.middle_bias for channel in network.networks])),
            scores.ravel(),
            scores_bias,
            _singles(2.0 ** -np.array([channel.shifts for channel in network.networks])),
            np.array(network.levels, np.int64),
            np.array(model.order, np.int64),
            seen,
            np.asarray(model.levels[-1] > 0),
            model.hides,
            EXACT_EXP,
        )


def _singles(values: NDArray[np.floating] | Ints) -> Singles:
    return np.ascontiguousarray(values, np.float32)


def decode(network: KernelNetwork, data: bytes, grids: Ints) -> NDArray[np.uint16]:
    """`PixelPrior.decode`."""
    coder = decoding(data)
    levels = np.zeros((int(grids.prod(axis=1).sum()), len(network.counts)), np.uint16)
    _walk(network, _front(grids, network.radius), levels, coder)
    ended(coder)
    return levels


def encode(network: KernelNetwork, levels: NDArray[np.uint16], grids: Ints) -> bytes:
    """`PixelPrior.encode`, of levels that can be coded."""
    coder = encoding(levels.size)
    _walk(network, _front(grids, network.radius), np.ascontiguousarray(levels), coder)
    return stack(coder)


class _Front(NamedTuple):
    """Row, column and width of the picture of each pixel; the pixels in coding order, and where waves begin."""

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    widths: NDArray[np.int32]
    order: NDArray[np.int32]
    begins: Ints


class _Pixels(NamedTuple):
    """What is known of the pixels so far: levels, what is seen of them in coding order, and how many pixels to the left
    are equal to each, with itself."""

    levels: NDArray[np.uint16]
    canvas: NDArray[np.uint8]
    runs: NDArray[np.int32]


class _Memos(NamedTuple):
    """Where guesses lie in the units, by what is around; the last memo stays empty.

    keys : of each, distances from edges and the levels of all pixels around    wanted : a key that is looked for
    turns : in which piece each was used    lefts, units : of each channel; no units if they are not known
    """

    keys: Ints
    wanted: Ints
    turns: Ints
    lefts: NDArray[np.uint32]
    units: NDArray[np.uint32]


class _Piece(NamedTuple):
    """Pixels that are decoded at once, and what is known of each.

    sums : of contexts and edges, where `ready`    own : features of the channels so far
    carried : how far the channel before is from its guess    shown : whether there are more channels
    flat : the number of a memo, if all around is equal and all channels so far are as guessed, else _NO_MEMO
    """

    sums: Singles
    ready: NDArray[np.bool_]
    own: Singles
    carried: NDArray[np.int32]
    shown: NDArray[np.bool_]
    flat: NDArray[np.int32]


class _Room(NamedTuple):
    """Arrays that are used again for every sample."""

    indices: Ints
    values: Singles
    sums: Singles
    hidden: Singles
    outputs: Singles
    scores: Singles
    shares: NDArray[np.float64]
    candidates: Ints


@kernel
def _front(grids: Ints, radius: int) -> _Front:
    """Sort pixels by their waves."""
    total = waves = 0
    for height, width in grids:
        total += height * width
        if height * width:
            waves = max(waves, width + (radius + 1) * (height - 1))
    rows, columns, widths = np.empty(total, np.int32), np.empty(total, np.int32), np.empty(total, np.int32)
    begins = np.zeros(waves + 1, np.int64)
    pixel = 0
    for height, width in grids:
        for row in range(height):
            for column in range(width):
                rows[pixel], columns[pixel], widths[pixel] = row, column, width
                begins[column + (radius + 1) * row + 1] += 1
                pixel += 1
    for wave in range(waves):
        begins[wave + 1] += begins[wave]
    places, order = begins.copy(), np.empty(total, np.int32)
    for pixel in range(total):
        wave = columns[pixel] + (radius + 1) * rows[pixel]
        order[places[wave]] = pixel
        places[wave] += 1
    return _Front(rows, columns, widths, order, begins)


@kernel
def _walk(network: KernelNetwork, front: _Front, levels: NDArray[np.uint16], coder: Coder) -> None:
    """Decode all pixels, or list the units of known ones."""
    count, channels = levels.shape
    width, outputs = network.bias.shape[1], network.scores_bias.shape[1]
    pixels = _Pixels(levels, np.zeros((count, channels), np.uint8), np.zeros(count, np.int32))
    memos = _Memos(
        np.full((_MEMOS, 3 + channels), -1),
        np.empty(3 + channels, np.int64),
        np.full(_MEMOS, -1),
        np.zeros((_MEMOS + 1, channels), np.uint32),
        np.zeros((_MEMOS + 1, channels), np.uint32),
    )
    piece = _Piece(
        np.empty((PIECE_PIXELS, width), np.float32),
        np.empty(PIECE_PIXELS, np.bool_),
        np.zeros((PIECE_PIXELS, OWN_FEATURES * channels), np.float32),
        np.zeros(PIECE_PIXELS, np.int32),
        np.empty(PIECE_PIXELS, np.bool_),
        np.empty(PIECE_PIXELS, np.int32),
    )
    most = max(len(network.context) // width, width, OWN_FEATURES * channels)
    room = _Room(
        np.empty(most, np.int64),
        np.empty(most, np.float32),
        np.empty((1, width), np.float32),
        np.empty((1, width), np.float32),
        np.empty((1, outputs), np.float32),
        np.empty(outputs, np.float32),
        np.empty(outputs, np.float64),
        np.empty(4, np.int64),
    )
    for wave in range(len(front.begins) - 1):
        for start in range(front.begins[wave], front.begins[wave + 1], PIECE_PIXELS):
            own = front.order[start : min(start + PIECE_PIXELS, front.begins[wave + 1])]
            _decode_piece(network, front, pixels, memos, piece, room, coder, own, start)


@kernel
def _decode_piece(
    network: KernelNetwork,
    front: _Front,
    pixels: _Pixels,
    memos: _Memos,
    piece: _Piece,
    room: _Room,
    coder: Coder,
    own: NDArray[np.int32],
    turn: int,
) -> None:
    """Decode the pixels `own`, channel after channel. turn : a number of the piece"""
    for at, pixel in enumerate(own):
        piece.ready[at], piece.shown[at] = False, True
        piece.flat[at] = _memo_of(network, front, pixels, memos, pixel, turn)
    for number in range(len(network.counts)):
        _decode_channel(network, front, pixels, memos, piece, room, coder, own, number)
    for pixel in own:
        same = front.columns[pixel] > 0
        for channel in range(len(network.counts)):
            same = same and pixels.levels[pixel, channel] == pixels.levels[pixel - 1, channel]
        pixels.runs[pixel] = pixels.runs[pixel - 1] + 1 if same else 1


@kernel
def _decode_channel(
    network: KernelNetwork,
    front: _Front,
    pixels: _Pixels,
    memos: _Memos,
    piece: _Piece,
    room: _Room,
    coder: Coder,
    own: NDArray[np.int32],
    number: int,
) -> None:
    """Decode a channel of the pixels `own`. Arrays are taken out of tuples here, since that takes time."""
    channel, count, radius = network.order[number], network.counts[number], network.radius
    rows, columns, widths, levels, canvas = front.rows, front.columns, front.widths, pixels.levels, pixels.canvas
    sums, ready, features, carried, shown, flat = piece
    memo_lefts, memo_units = memos.lefts, memos.units
    indices, values, first_sums, hidden, outputs, scores, shares, candidates = room
    bias, own_weights, middle, middle_bias = network.bias, network.own, network.middle, network.middle_bias
    score_weights, scores_bias, scales, weights = network.scores, network.scores_bias, network.scales, network.weights
    context, tops, lefts, rights, seen = network.context, network.tops, network.lefts, network.rights, network.seen
    words, state, known_lefts, known_units, known = coder
    for at, pixel in enumerate(own):
        if not shown[at]:
            continue
        row, column, width, memo = rows[pixel], columns[pixel], widths[pixel], flat[at]
        guess = _guess(levels, row, column, width, pixel, channel, candidates)
        level = np.int64(levels[pixel, channel]) if known else 0
        if count > 1:
            place = np.int64(state[0] & _PLACE)
            left, units = np.int64(memo_lefts[memo, number]), np.int64(memo_units[memo, number])
            if units and (level == guess if known else left <= place < left + units):
                level = guess
            else:
                if not ready[at]:
                    _edges(tops, lefts, rights, row, column, width, sums, at)
                    around = _around(canvas, radius, row, column, width, pixel, sums.shape[1], indices, values)
                    add(sums, at, sums.shape[1], indices, values, around, context)
                    ready[at] = True
                candidates[3] = min(max(guess + carried[at], 0), count - 1)
                _hidden(
                    sums, at, features, number, bias, own_weights, middle, middle_bias, scales, first_sums, hidden,
                    indices, values,
                )  # fmt: skip
                _score(
                    hidden, number, count, score_weights, scores_bias, scales, outputs, candidates, scores, indices,
                    values,
                )  # fmt: skip
                _share(scores, count, weights, shares)
                if memo != _NO_MEMO:
                    memo_lefts[memo, number] = _left_of(shares, guess)
                    memo_units[memo, number] = shares[guess] + 1
                if not known:
                    level = _level_at(shares, place)
                left, units = _left_of(shares, level), np.int64(shares[level]) + 1
            if known:
                known_lefts[state[0]], known_units[state[0]] = left, units
                state[0] += _ONE
            else:
                step(words, state, left, units)
                levels[pixel, channel] = level
        _note(seen, canvas, features, pixel, at, number, channel, level, guess)
        carried[at] = level - guess
        if level != guess:
            flat[at] = _NO_MEMO
    _hide(network, levels, shown, own, number)


@kernel
def _hide(
    network: KernelNetwork, levels: NDArray[np.uint16], shown: NDArray[np.bool_], own: NDArray[np.int32], number: int
) -> None:
    """After alpha, note of which pixels no colour is coded."""
    if network.hides and number == 0:
        for at, pixel in enumerate(own):
            shown[at] = network.shown[levels[pixel, network.order[0]]]


@kernel
def _note(
    seen: Singles,
    canvas: NDArray[np.uint8],
    features: Singles,
    pixel: int,
    at: int,
    number: int,
    channel: int,
    level: int,
    guess: int,
) -> None:
    """Note what is seen of a sample by those that are coded after it."""
    value = seen[channel, level]
    above = value - seen[channel, guess]
    canvas[pixel, number] = np.uint8(value)
    first = OWN_FEATURES * number
    features[at, first], features[at, first + 1] = value, max(above, _ZERO)
    features[at, first + 2], features[at, first + 3] = max(-above, _ZERO), _ZERO if above == _ZERO else _UNLIKE


@kernel
def _memo_of(network: KernelNetwork, front: _Front, pixels: _Pixels, memos: _Memos, pixel: int, turn: int) -> int:
    """The number of a memo for a pixel around which all is equal, else _NO_MEMO. It is emptied if it is of others.

    turn : a number of the piece. A memo belongs to one kind of pixel within a piece.
    """
    radius, row, column, width = network.radius, front.rows[pixel], front.columns[pixel], front.widths[pixel]
    after, channels, key = width - 1 - column, len(network.counts), memos.wanted
    key[0], key[1] = min(row, len(network.tops) - 1), min(column, len(network.lefts) - 1)
    key[2] = min(after, len(network.rights) - 1)
    inside = row >= radius and column >= radius and after >= radius
    for channel in range(channels):
        level = np.int64(pixels.levels[pixel - 1, channel]) if column else 0
        if level and not inside:  # what is outside is seen as level 0
            return _NO_MEMO
        key[3 + channel] = level
    if column and pixels.runs[pixel - 1] < min(radius, column):
        return _NO_MEMO
    right = min(radius, after)
    for up in range(1, min(radius, row) + 1):
        last = pixel - up * width + right
        if pixels.runs[last] < min(radius, column) + 1 + right:
            return _NO_MEMO
        for channel in range(channels):
            if np.int64(pixels.levels[last, channel]) != key[3 + channel]:
                return _NO_MEMO
    memo = 0
    for number in key:
        memo = (memo * 31 + number) % _MEMOS
    for place, number in enumerate(key):
        if memos.keys[memo, place] != number:
            if memos.turns[memo] == turn:
                return _NO_MEMO
            memos.keys[memo] = key
            memos.units[memo] = 0
            break
    memos.turns[memo] = turn
    return memo


@kernel
def _guess(
    levels: NDArray[np.uint16], row: int, column: int, width: int, pixel: int, channel: int, candidates: Ints
) -> int:
    """The median edge detector's guess. candidates : the first three are filled"""
    left = above = corner = 0
    if column > 0:
        left = np.int64(levels[pixel - 1, channel])
    if row > 0:
        above = np.int64(levels[pixel - width, channel])
        if column > 0:
            corner = np.int64(levels[pixel - width - 1, channel])
    guess = min(max(left + above - corner, min(left, above)), max(left, above))
    candidates[0], candidates[1], candidates[2] = left, above, guess
    return guess


@kernel
def _left_of(shares: NDArray[np.float64], level: int) -> int:
    """The units of all levels below."""
    left = 0.0
    for below in range(level):
        left += shares[below] + 1.0
    return np.int64(left)


@kernel
def _level_at(shares: NDArray[np.float64], place: int) -> int:
    """The level that has this unit."""
    wanted, level = np.float64(place), 0
    above = shares[0] + 1.0
    while above <= wanted:
        level += 1
        above += shares[level] + 1.0
    return level


@kernel
def _edges(
    tops: Singles, lefts: Singles, rights: Singles, row: int, column: int, width: int, sums: Singles, at: int
) -> None:
    """Begin sums with the numbers for edges."""
    top, left = min(row, len(tops) - 1), min(column, len(lefts) - 1)
    right = min(width - 1 - column, len(rights) - 1)
    for unit in range(sums.shape[1]):
        sums[at, unit] = tops[top, unit] + lefts[left, unit] + rights[right, unit]


@kernel
def _around(
    canvas: NDArray[np.uint8],
    radius: int,
    row: int,
    column: int,
    width: int,
    pixel: int,
    hidden: int,
    indices: Ints,
    values: Singles,
) -> int:
    """List what is seen of the pixels that a pixel looks at for `add`, without what is 0."""
    channels, count = canvas.shape[1], 0
    for up in range(min(radius, row), -1, -1):
        first, last = max(-radius, -column), min(radius, width - 1 - column) if up else -1
        weight = ((radius - up) * (2 * radius + 1) + radius + first) * channels * hidden
        for beside in range(first, last + 1):
            for channel in range(channels):
                value = canvas[pixel - up * width + beside, channel]
                if value:
                    indices[count], values[count] = weight, value
                    count += 1
                weight += hidden
    return count


@inlined
def _hidden(
    context: Singles,
    at: int,
    features: Singles,
    number: int,
    bias: Singles,
    own: Singles,
    middle: Singles,
    middle_bias: Singles,
    scales: Singles,
    sums: Singles,
    hidden: Singles,
    indices: Ints,
    values: Singles,
) -> None:
    """The hidden values of a sample."""
    width, depth = context.shape[1], middle_bias.shape[1]
    for unit in range(width):
        sums[0, unit] = context[at, unit] + bias[number, unit]
    count = listed(features, at, OWN_FEATURES * number, number * features.shape[1] * width, width, indices, values)
    add(sums, 0, width, indices, values, count, own)
    scale = scales[number, 0]
    for unit in range(width):
        hidden[0, unit] = min(max(np.floor(sums[0, unit] * scale), _ZERO), _MOST_HIDDEN)
    for layer in range(depth):
        for unit in range(width):
            sums[0, unit] = middle_bias[number, layer, unit]
        count = listed(hidden, 0, width, (number * depth + layer) * width * width, width, indices, values)
        add(sums, 0, width, indices, values, count, middle)
        scale = scales[number, layer + 1]
        for unit in range(width):
            more = max(np.floor(sums[0, unit] * scale), _ZERO)
            hidden[0, unit] = min(hidden[0, unit] + more, _MOST_HIDDEN)


@inlined
def _score(
    hidden: Singles,
    number: int,
    count: int,
    weights: Singles,
    bias: Singles,
    scales: Singles,
    outputs: Singles,
    candidates: Ints,
    scores: Singles,
    indices: Ints,
    values: Singles,
) -> None:
    """The scores of all levels, from REACH on in `scores`."""
    width, many = hidden.shape[1], outputs.shape[1]
    for output in range(many):
        outputs[0, output] = bias[number, output]
    add(
        outputs,
        0,
        many,
        indices,
        values,
        listed(hidden, 0, width, number * width * many, many, indices, values),
        weights,
    )
    scale = scales[number, scales.shape[1] - 1]
    for output in range(many):
        outputs[0, output] = np.floor(outputs[0, output] * scale)
    for level in range(count):
        scores[REACH + level] = outputs[0, level]
    for candidate in range(3 if number == 0 else 4):
        first = count + candidate * SCORES_OF_CANDIDATE
        for away in range(SCORES_OF_CANDIDATE):
            scores[candidates[candidate] + away] += outputs[0, first + away]


@kernel
def _share(scores: Singles, count: int, weights: NDArray[np.float64], shares: NDArray[np.float64]) -> None:
    """`share_units` of one row: units less one of each level."""
    best = scores[REACH]
    for level in range(1, count):
        best = max(best, scores[REACH + level])
    total = 0.0
    for level in range(count):
        weight = weights[np.uint64(min(best - scores[REACH + level], _FARTHEST))]
        shares[level] = weight
        total += weight
    rest = np.float64(UNITS - count)
    used = 0.0
    for level in range(count):
        shares[level] = np.floor(shares[level] * rest / total)
        used += shares[level]
    level = 0
    while scores[REACH + level] != best:
        level += 1
    shares[level] += rest - used
