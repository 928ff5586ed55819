"""The walk of `mixture_prior` as a kernel: the same symbols in the same order with the same units.

The network is that of `mixture_network_kernel`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import inlined_kernel, kernel
from smalti.decoders.pixels.mixture import (
    FULL,
    LARGEST_SYMBOL,
    LEAST_SHARE,
)
from smalti.decoders.pixels.mixture_network_kernel import (
    ROWS,
    KernelMixture,
    Piece,
    Room,
    look,
    look_at_missed,
    mix,
    note,
    sum_up,
)
from smalti.decoders.pixels.pixel_kernel import Front, front_of
from smalti.decoders.pixels.wavefront import PIECE_PIXELS
from smalti.entropy.priors import UNITS
from smalti.entropy.stack_kernel import Coder, decoding, encoding, ended, stack, step
from smalti.errors import DamagedArchiveError

__all__ = ["decode", "encode"]

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_ONE = np.uint64(1)
_PLACE = np.uint64(UNITS - 1)
_FULL_BITS = 38


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
    piece = Piece(
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
    room = Room(
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
    piece: Piece,
    room: Room,
    coder: Coder,
    own: NDArray[np.int32],
) -> int:
    """Decode the pixels `own`, channel after channel."""
    many = len(own)
    piece.shown[:] = True
    for start in range(0, many, ROWS):
        stop = min(start + ROWS, many)
        look(network, front, levels, piece, room, own, start, stop)
        look_at_missed(network, front, missed, room, own, start, stop)
        sum_up(network, front, foretelling, piece, room, own, start, stop)
    if coder.known:
        for at in range(many):
            for channel in range(levels.shape[1]):
                piece.levels[at, channel] = levels[own[at], channel]
    for number in range(levels.shape[1]):
        for start in range(0, many, ROWS):
            mix(network, piece, room, number, start, min(start + ROWS, many))
        wrong = _code(network, piece, coder, number, many)
        if wrong:
            return int(network.order[number])
        note(network, piece, missed, own, number, many)
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
def _code(network: KernelMixture, piece: Piece, coder: Coder, number: int, many: int) -> bool:
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
    network: KernelMixture, piece: Piece, coder: Coder, channel: int, count: int, symbols: int, size: int, many: int
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
def _code_rest(network: KernelMixture, piece: Piece, coder: Coder, channel: int, count: int, many: int) -> None:
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
