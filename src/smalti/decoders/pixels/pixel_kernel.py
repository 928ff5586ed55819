"""The walk of `pixel_prior` as a kernel: the same symbols in the same order with the same units.

The network runs for some hundred samples at once (`network_kernel`). Where all pixels that a pixel looks at are equal,
its guess has the units that it had the last time among such pixels: they are looked up in a memo. A sample that is not
its guess takes the network.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernel
from smalti.decoders.pixels.network_kernel import (
    ROWS,
    KernelNetwork,
    Piece,
    Room,
    left_of,
    level_at,
    run,
    run_last,
    share,
)
from smalti.decoders.pixels.pixel_network import OWN_FEATURES, UNLIKE
from smalti.decoders.pixels.wavefront import PIECE_PIXELS
from smalti.entropy.priors import UNITS
from smalti.entropy.stack_kernel import Coder, decoding, encoding, ended, stack, step

__all__ = ["Front", "decode", "encode", "front_of"]

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

_MEMOS = 1 << 12
_ZERO = np.float32(0)
_UNLIKE = np.float32(UNLIKE)
_NO_MEMO = _MEMOS
_ONE = np.uint64(1)
_PLACE = np.uint64(UNITS - 1)


def decode(network: KernelNetwork, data: bytes, grids: Ints) -> NDArray[np.uint16]:
    """`PixelPrior.decode`."""
    coder = decoding(data)
    levels = np.zeros((int(grids.prod(axis=1).sum()), len(network.counts)), np.uint16)
    _walk(network, front_of(grids, network.radius), levels, coder)
    ended(coder)
    return levels


def encode(network: KernelNetwork, levels: NDArray[np.uint16], grids: Ints) -> bytes:
    """`PixelPrior.encode`, of levels that can be coded."""
    coder = encoding(levels.size)
    _walk(network, front_of(grids, network.radius), np.ascontiguousarray(levels), coder)
    return stack(coder)


class Front(NamedTuple):
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


@kernel
def front_of(grids: Ints, radius: int) -> Front:
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
    return Front(rows, columns, widths, order, begins)


@kernel
def _walk(network: KernelNetwork, front: Front, levels: NDArray[np.uint16], coder: Coder) -> None:
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
    piece = Piece(
        np.empty(PIECE_PIXELS, np.int32),
        np.empty(PIECE_PIXELS, np.int32),
        np.empty(PIECE_PIXELS, np.int32),
        np.empty((PIECE_PIXELS, 3, channels), np.uint16),
        np.empty((PIECE_PIXELS, channels), np.uint16),
        np.empty((PIECE_PIXELS, channels), np.uint8),
        np.empty((PIECE_PIXELS, width), np.float32),
        np.empty(PIECE_PIXELS, np.bool_),
        np.zeros((PIECE_PIXELS, OWN_FEATURES * channels), np.float32),
        np.zeros(PIECE_PIXELS, np.int32),
        np.empty(PIECE_PIXELS, np.bool_),
        np.empty(PIECE_PIXELS, np.int32),
    )
    room = Room(
        np.empty(ROWS, np.int64),
        np.empty(ROWS, np.int64),
        np.zeros((ROWS, 4), np.int64),
        np.empty(ROWS, np.int64),
        np.empty((ROWS, len(network.context)), np.float32),
        np.empty((ROWS, OWN_FEATURES * channels), np.float32),
        np.empty((ROWS, width), np.float32),
        np.empty((ROWS, width), np.float32),
        np.empty((ROWS + 1, outputs), np.float32),
        np.empty(outputs, np.float64),
    )
    for wave in range(len(front.begins) - 1):
        for start in range(front.begins[wave], front.begins[wave + 1], PIECE_PIXELS):
            own = front.order[start : min(start + PIECE_PIXELS, front.begins[wave + 1])]
            _decode_piece(network, front, pixels, memos, piece, room, coder, own, start)


@kernel
def _decode_piece(
    network: KernelNetwork,
    front: Front,
    pixels: _Pixels,
    memos: _Memos,
    piece: Piece,
    room: Room,
    coder: Coder,
    own: NDArray[np.int32],
    turn: int,
) -> None:
    """Decode the pixels `own`, channel after channel. turn : a number of the piece"""
    _fetch(front, pixels, piece, own, coder.known)
    _find_memos(network, pixels, memos, piece, own, turn)
    for number in range(len(network.counts)):
        for start in range(0, len(own), ROWS):
            stop = min(start + ROWS, len(own))
            _decode_samples(network, pixels.canvas, memos, piece, room, coder, own, number, start, stop)
        _hide(network, piece, number, len(own))
    _put(pixels, piece, own)


@kernel
def _fetch(front: Front, pixels: _Pixels, piece: Piece, own: NDArray[np.int32], known: bool) -> None:
    """Begin with pixels of which nothing is known but what is around them, or their levels too."""
    rows, columns, widths, levels = front.rows, front.columns, front.widths, pixels.levels
    to_rows, to_columns, to_widths, near, found = piece.rows, piece.columns, piece.widths, piece.near, piece.levels
    piece.ready[:], piece.shown[:], piece.seen[:], near[:] = False, True, 0, 0
    for at, pixel in enumerate(own):
        row, column, width = rows[pixel], columns[pixel], widths[pixel]
        to_rows[at], to_columns[at], to_widths[at] = row, column, width
        for channel in range(levels.shape[1]):
            if column:
                near[at, 0, channel] = levels[pixel - 1, channel]
            if row:
                near[at, 1, channel] = levels[pixel - width, channel]
            if row and column:
                near[at, 2, channel] = levels[pixel - width - 1, channel]
            found[at, channel] = levels[pixel, channel] if known else 0


@kernel
def _put(pixels: _Pixels, piece: Piece, own: NDArray[np.int32]) -> None:
    """Put what is known of pixels where others find it."""
    levels, canvas, runs = pixels.levels, pixels.canvas, pixels.runs
    found, seen, near, columns = piece.levels, piece.seen, piece.near, piece.columns
    for at, pixel in enumerate(own):
        same = columns[at] > 0
        for channel in range(levels.shape[1]):
            levels[pixel, channel], canvas[pixel, channel] = found[at, channel], seen[at, channel]
            same = same and found[at, channel] == near[at, 0, channel]
        runs[pixel] = runs[pixel - 1] + 1 if same else 1


@kernel
def _decode_samples(
    network: KernelNetwork,
    canvas: NDArray[np.uint8],
    memos: _Memos,
    piece: Piece,
    room: Room,
    coder: Coder,
    own: NDArray[np.int32],
    number: int,
    start: int,
    stop: int,
) -> None:
    """Decode a channel of pixels `start` to `stop` - 1 of a piece. Arrays leave their tuples first: that takes time."""
    channel, count, seen = network.order[number], network.counts[number], network.seen
    levels, own_seen, features, carried = piece.levels, piece.seen, piece.own, piece.carried
    shown, flat, memo_lefts, memo_units = piece.shown, piece.flat, memos.lefts, memos.units
    guesses, places, outputs, shares, weights = room.guesses, room.at, room.outputs, room.shares, network.weights
    words, state, known_lefts, known_units, known = coder
    many = _guess(piece, memos, room, number, channel, count, start, stop)
    if many and count > 1:
        run(network, canvas, piece, room, own, number, start, many)
    for at in range(start, stop):
        if not shown[at]:
            continue
        guess, memo, level = guesses[at - start], flat[at], np.int64(levels[at, channel])
        if count > 1:
            place = np.int64(state[0] & _PLACE)
            left, units = np.int64(memo_lefts[memo, number]), np.int64(memo_units[memo, number])
            if units and (level == guess if known else left <= place < left + units):
                level = guess
            else:
                if places[at - start] < 0:  # the memo was not enough, and the outputs of others are still needed
                    run_last(network, canvas, piece, room, own, number, start, at)
                share(outputs, places[at - start], count, weights, shares)
                if memo != _NO_MEMO:
                    memo_lefts[memo, number] = left_of(shares, guess)
                    memo_units[memo, number] = shares[guess] + 1
                if not known:
                    level = level_at(shares, place)
                left, units = left_of(shares, level), np.int64(shares[level]) + 1
            if known:
                known_lefts[state[0]], known_units[state[0]] = left, units
                state[0] += _ONE
            else:
                step(words, state, left, units)
                levels[at, channel] = level
        _note(seen, own_seen, features, at, number, channel, level, guess)
        carried[at] = level - guess
        if level != guess:
            flat[at] = _NO_MEMO


@kernel
def _hide(network: KernelNetwork, piece: Piece, number: int, many: int) -> None:
    """After alpha, note of which pixels no colour is coded."""
    if network.hides and number == 0:
        for at in range(many):
            piece.shown[at] = network.shown[piece.levels[at, network.order[0]]]


@kernel
def _note(
    seen: Singles,
    own_seen: NDArray[np.uint8],
    features: Singles,
    at: int,
    number: int,
    channel: int,
    level: int,
    guess: int,
) -> None:
    """Note what is seen of a sample by those that are coded after it."""
    value = seen[channel, level]
    above = value - seen[channel, guess]
    own_seen[at, number] = np.uint8(value)
    first = OWN_FEATURES * number
    features[at, first], features[at, first + 1] = value, max(above, _ZERO)
    features[at, first + 2], features[at, first + 3] = max(-above, _ZERO), _ZERO if above == _ZERO else _UNLIKE


@kernel
def _find_memos(
    network: KernelNetwork, pixels: _Pixels, memos: _Memos, piece: Piece, own: NDArray[np.int32], turn: int
) -> None:
    """The memo of each pixel of a piece around which all is equal, else _NO_MEMO. turn : a number of the piece"""
    rows, columns, widths, near, flat = piece.rows, piece.columns, piece.widths, piece.near, piece.flat
    keys, wanted, turns, units, radius = memos.keys, memos.wanted, memos.turns, memos.units, network.radius
    tops, lefts, rights = len(network.tops) - 1, len(network.lefts) - 1, len(network.rights) - 1
    levels, runs = pixels.levels, pixels.runs
    for at, pixel in enumerate(own):
        row, column, width = rows[at], columns[at], widths[at]
        flat[at] = _NO_MEMO
        if _is_flat(levels, runs, near, at, wanted, radius, row, column, width, pixel):
            wanted[0], wanted[1], wanted[2] = min(row, tops), min(column, lefts), min(width - 1 - column, rights)
            flat[at] = _memo(keys, wanted, turns, units, turn)


@kernel
def _is_flat(
    levels: NDArray[np.uint16],
    runs: NDArray[np.int32],
    near: NDArray[np.uint16],
    at: int,
    wanted: Ints,
    radius: int,
    row: int,
    column: int,
    width: int,
    pixel: int,
) -> bool:
    """Whether all pixels that a pixel looks at are equal. What is outside is seen as level 0. Fills the wanted key."""
    before, right = min(radius, column), min(radius, width - 1 - column)
    inside = row >= radius and before == radius and right == radius
    for channel in range(levels.shape[1]):
        level = np.int64(near[at, 0, channel])
        if (row and np.int64(near[at, 1, channel]) != level) or (level and not inside):
            return False
        wanted[3 + channel] = level
    if column and runs[pixel - 1] < before:
        return False
    for up in range(1, min(radius, row) + 1):
        last = pixel - up * width + right
        if runs[last] < before + 1 + right:
            return False
        for channel in range(levels.shape[1]):
            if np.int64(levels[last, channel]) != wanted[3 + channel]:
                return False
    return True


@kernel
def _memo(keys: Ints, wanted: Ints, turns: Ints, units: NDArray[np.uint32], turn: int) -> int:
    """The number of the memo of a key, which is emptied if it was of another; _NO_MEMO if this piece needs that one."""
    memo = 0
    for number in wanted:
        memo = (memo * 31 + number) % _MEMOS
    for place in range(len(wanted)):
        if keys[memo, place] != wanted[place]:
            if turns[memo] == turn:
                return _NO_MEMO
            for other in range(len(wanted)):
                keys[memo, other] = wanted[other]
            units[memo] = 0
            break
    turns[memo] = turn
    return memo


@kernel
def _guess(
    piece: Piece, memos: _Memos, room: Room, number: int, channel: int, count: int, start: int, stop: int
) -> int:
    """The candidates of samples, and the list of those without a memo. Returns how many these are."""
    rows, guesses, candidates, places, many = room.rows, room.guesses, room.candidates, room.at, 0
    shown, flat, carried, near, units = piece.shown, piece.flat, piece.carried, piece.near, memos.units
    for at in range(start, stop):
        if not shown[at]:
            continue
        row = at - start
        left, above = np.int64(near[at, 0, channel]), np.int64(near[at, 1, channel])
        moved = left + above - np.int64(near[at, 2, channel])
        guess = min(max(moved, min(left, above)), max(left, above))
        guesses[row], candidates[row, 0], candidates[row, 1], candidates[row, 2] = guess, left, above, guess
        candidates[row, 3] = min(max(guess + carried[at], 0), count - 1)
        places[row] = -1
        if not units[flat[at], number]:
            places[row], rows[many] = many, at
            many += 1
    return many
