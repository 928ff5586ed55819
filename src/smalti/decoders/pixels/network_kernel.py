"""The network of a pixel prior as a kernel: the units of the levels of some hundred samples at once.

Numba calls SciPy's BLAS for products of matrices.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernel
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_network import (
    MOST_HIDDEN,
    OWN_FEATURES,
    REACH,
    SCORES_OF_CANDIDATE,
    PixelNetwork,
)
from smalti.entropy.priors import EXACT_EXP, FARTHEST, UNITS

__all__ = ["ROWS", "KernelNetwork", "Piece", "Room", "left_of", "level_at", "run", "run_last", "share"]

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

ROWS = 256
"""Samples for which the network runs at once: what they take stays in the caches."""

_ZERO = np.float32(0)
_MOST_HIDDEN = np.float32(MOST_HIDDEN)
_FARTHEST = np.float32(FARTHEST)


class KernelNetwork(NamedTuple):
    """A network and its levels, as a kernel takes them. O : outputs of the channel that has most; others are padded

    context : float32 [inputs, H]    own : [C, 4 * C, H]    middle : [C, D, H, H]    scores : [C, H, O]
    scales : [C, D + 2], 2**-shift    counts : K of each channel in coding order    order : of channels
    seen : [C, most K], what is seen of each level    shown : of each level of alpha, whether colours are coded
    hides : whether some are not    weights : of scores, by their distance to the best one
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
        outputs = max(len(own.scores_bias) for own in network.networks)
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
            _singles(network.context),
            _singles(network.tops),
            _singles(network.lefts),
            _singles(network.rights),
            own,
            _singles(np.stack([channel.bias for channel in network.networks])),
            _singles(np.stack([channel.middle for channel in network.networks])),
            _singles(np.stack([channel.middle_bias for channel in network.networks])),
            scores,
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


class Piece(NamedTuple):
    """Pixels that are decoded at once, and what is known of each. They lie far from each other in memory, so all that
    is needed of them is fetched once.

    rows, columns, widths : of the picture of each    near : levels to the left, above, and above to the left, [n, 3, C]
    levels, seen : of the pixels themselves, the latter in coding order, [n, C]
    sums : of contexts and edges, where `ready`    own : features of the channels so far
    carried : how far the channel before is from its guess    shown : whether there are more channels
    flat : the number of a memo, if all around is equal and all channels so far are as guessed
    """

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    widths: NDArray[np.int32]
    near: NDArray[np.uint16]
    levels: NDArray[np.uint16]
    seen: NDArray[np.uint8]
    sums: Singles
    ready: NDArray[np.bool_]
    own: Singles
    carried: NDArray[np.int32]
    shown: NDArray[np.bool_]
    flat: NDArray[np.int32]


class Room(NamedTuple):
    """Room for the samples for which the network runs at once, and one more.

    rows : their numbers in the piece    guesses, candidates : of all samples in question
    at : where the outputs of each of these are, or -1
    around, features, hidden, more, outputs : values of the network
    """

    rows: Ints
    guesses: Ints
    candidates: Ints
    at: Ints
    around: Singles
    features: Singles
    hidden: Singles
    more: Singles
    outputs: Singles
    shares: NDArray[np.float64]


@kernel
def run(
    network: KernelNetwork,
    canvas: NDArray[np.uint8],
    piece: Piece,
    room: Room,
    own: NDArray[np.int32],
    number: int,
    start: int,
    many: int,
) -> None:
    """Run the network for the listed samples."""
    rows, columns, widths, ready = piece.rows, piece.columns, piece.widths, piece.ready
    listed, around, waiting = room.rows, room.around, 0
    for row in range(many):
        at = listed[row]
        if not ready[at]:
            _look(canvas, network.radius, rows[at], columns[at], widths[at], own[at], around, waiting)
            waiting += 1
    if waiting:
        np.dot(around[:waiting], network.context, room.more[:waiting])
        _keep_sums(network, piece, room, many)
    _hidden(network, piece, room, number, many)
    _score(network, room, number, start, many)


@kernel
def run_last(
    network: KernelNetwork,
    canvas: NDArray[np.uint8],
    piece: Piece,
    room: Room,
    own: NDArray[np.int32],
    number: int,
    start: int,
    at: int,
) -> None:
    """Run the network for one sample more, beside the outputs of others."""
    kept = room.outputs[0].copy()
    place = room.rows[0]
    room.rows[0] = at
    run(network, canvas, piece, room, own, number, start, 1)
    room.at[at - start] = ROWS
    room.outputs[ROWS] = room.outputs[0]
    room.outputs[0], room.rows[0] = kept, place


@kernel
def _look(
    canvas: NDArray[np.uint8],
    radius: int,
    row: int,
    column: int,
    width: int,
    pixel: int,
    around: Singles,
    at: int,
) -> None:
    """What is seen of the pixels that a pixel looks at, and 0 for what is outside."""
    channels, place = canvas.shape[1], 0
    for up in range(radius, -1, -1):
        for beside in range(-radius, radius + 1 if up else 0):
            inside = up <= row and column + beside >= 0 and column + beside < width
            other = pixel - up * width + beside
            for channel in range(channels):
                around[at, place] = canvas[other, channel] if inside else _ZERO
                place += 1


@kernel
def _keep_sums(network: KernelNetwork, piece: Piece, room: Room, many: int) -> None:
    """The sums of contexts and edges of the listed samples whose pixels had none."""
    tops, lefts, rights, sums, ready = network.tops, network.lefts, network.rights, piece.sums, piece.ready
    rows, columns, widths, listed, found = piece.rows, piece.columns, piece.widths, room.rows, room.more
    waiting = 0
    for number in range(many):
        at = listed[number]
        if ready[at]:
            continue
        top, left = min(rows[at], len(tops) - 1), min(columns[at], len(lefts) - 1)
        right = min(widths[at] - 1 - columns[at], len(rights) - 1)
        for unit in range(sums.shape[1]):
            sums[at, unit] = found[waiting, unit] + tops[top, unit] + lefts[left, unit] + rights[right, unit]
        ready[at] = True
        waiting += 1


@kernel
def _hidden(network: KernelNetwork, piece: Piece, room: Room, number: int, many: int) -> None:
    """The hidden values of the listed samples."""
    rows, hidden, more, scales, sums = room.rows, room.hidden, room.more, network.scales, piece.sums
    bias, features, own = network.bias, OWN_FEATURES * number, piece.own
    width, depth = bias.shape[1], network.middle_bias.shape[1]
    if features:
        known = room.features.ravel()[: many * features].reshape(many, features)
        for row in range(many):
            for feature in range(features):
                known[row, feature] = own[rows[row], feature]
        np.dot(known, network.own[number, :features], more[:many])
    else:
        more[:many] = _ZERO
    for row in range(many):
        at = rows[row]
        for unit in range(width):
            value = np.floor((sums[at, unit] + bias[number, unit] + more[row, unit]) * scales[number, 0])
            hidden[row, unit] = min(max(value, _ZERO), _MOST_HIDDEN)
    for layer in range(depth):
        np.dot(hidden[:many], network.middle[number, layer], more[:many])
        middle_bias, scale = network.middle_bias, scales[number, layer + 1]
        for row in range(many):
            for unit in range(width):
                value = max(np.floor((more[row, unit] + middle_bias[number, layer, unit]) * scale), _ZERO)
                hidden[row, unit] = min(hidden[row, unit] + value, _MOST_HIDDEN)


@kernel
def _score(network: KernelNetwork, room: Room, number: int, start: int, many: int) -> None:
    """The scores of all levels of the listed samples: the first outputs of each."""
    outputs, bias, candidates, rows = room.outputs, network.scores_bias, room.candidates, room.rows
    count, scale = network.counts[number], network.scales[number, network.scales.shape[1] - 1]
    np.dot(room.hidden[:many], network.scores[number], outputs[:many])
    for row in range(many):
        for output in range(outputs.shape[1]):
            outputs[row, output] = np.floor((outputs[row, output] + bias[number, output]) * scale)
        for candidate in range(3 if number == 0 else 4):
            first = candidates[rows[row] - start, candidate] - REACH
            more = count + candidate * SCORES_OF_CANDIDATE
            for away in range(max(0, -first), min(SCORES_OF_CANDIDATE, count - first)):
                outputs[row, first + away] += outputs[row, more + away]


@kernel
def share(outputs: Singles, at: int, count: int, weights: NDArray[np.float64], shares: NDArray[np.float64]) -> None:
    """`share_units` of one row: units less one of each level."""
    best = outputs[at, 0]
    for level in range(1, count):
        best = max(best, outputs[at, level])
    total = 0.0
    for level in range(count):
        weight = weights[np.uint64(min(best - outputs[at, level], _FARTHEST))]
        shares[level] = weight
        total += weight
    rest = np.float64(UNITS - count)
    used = 0.0
    for level in range(count):
        shares[level] = np.floor(shares[level] * rest / total)
        used += shares[level]
    level = 0
    while outputs[at, level] != best:
        level += 1
    shares[level] += rest - used


@kernel
def left_of(shares: NDArray[np.float64], level: int) -> int:
    """The units of all levels below."""
    left = 0.0
    for below in range(level):
        left += shares[below] + 1.0
    return np.int64(left)


@kernel
def level_at(shares: NDArray[np.float64], place: int) -> int:
    """The level that has this unit."""
    wanted, level = np.float64(place), 0
    above = shares[0] + 1.0
    while above <= wanted:
        level += 1
        above += shares[level] + 1.0
    return level
