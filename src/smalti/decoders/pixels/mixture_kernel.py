"""The walk of `mixture_prior` as a kernel: the same symbols in the same order with the same units.

What pixels see is found in `mixture_seen_kernel`, and their mixtures in `mixture_network_kernel`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import inlined_kernel, kernel
from smalti.decoders.pixels.mixture import FULL, LARGEST_SYMBOL, LEAST_SHARE
from smalti.decoders.pixels.mixture_lines import (
    QUANTILE_BITS,
    ROWS,
    Ints,
    KernelMixture,
    Piece,
    Room,
    Whole,
    Words,
    lines_of,
    piece_of,
    room_of,
)
from smalti.decoders.pixels.mixture_network_kernel import mix, sum_up
from smalti.decoders.pixels.mixture_seen_kernel import keep, look, note
from smalti.decoders.pixels.pixel_kernel import Front, front_of
from smalti.decoders.pixels.wavefront import PIECE_PIXELS
from smalti.entropy.priors import UNITS
from smalti.entropy.stack_kernel import Coder, decoding, encoding, ended, stack, step
from smalti.errors import DamagedArchiveError

__all__ = ["decode", "encode"]

_ONE = np.uint64(1)
_PLACE = np.uint64(UNITS - 1)
_LOW = np.uint64(0xFFFF)
_FULL_BITS = 38
_UNITS_BITS = 24
_HALF = np.float32(0.5)


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
    count, channels = levels.shape
    canvas, missed = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
    if coder.known:
        for pixel in range(count):
            for number in range(channels):
                canvas[pixel] |= np.uint64(levels[pixel, network.order[number]]) << np.uint64(16 * number)
    piece, room = piece_of(network), room_of(network)
    for wave in range(len(front.begins) - 1):
        for start in range(front.begins[wave], front.begins[wave + 1], PIECE_PIXELS):
            own = front.order[start : min(start + PIECE_PIXELS, front.begins[wave + 1])]
            wrong = _walk_piece(network, front, canvas, missed, piece, room, coder, own)
            if wrong >= 0:
                return wrong
    for pixel in range(count):
        for number in range(channels):
            levels[pixel, network.order[number]] = (canvas[pixel] >> np.uint64(16 * number)) & _LOW
    return -1


@kernel
def _walk_piece(
    network: KernelMixture,
    front: Front,
    canvas: Words,
    missed: Words,
    piece: Piece,
    room: Room,
    coder: Coder,
    own: Whole,
) -> int:
    """Decode the pixels `own`, channel after channel."""
    chunks = (len(own) + ROWS - 1) // ROWS
    piece.shown[:] = True
    for chunk in range(chunks):
        part = own[chunk * ROWS : chunk * ROWS + ROWS]
        look(network, front, canvas, missed, piece, room, part, chunk)
        sum_up(network, piece, room, chunk, len(part))
        if coder.known:
            _know(canvas, piece, part, chunk, len(network.counts))
    for number in range(len(network.counts)):
        for chunk in range(chunks):
            mix(network, piece, room, number, chunk, min(ROWS, len(own) - chunk * ROWS))
        if _code(network, piece, coder, number, len(own)):
            return int(network.order[number])
        if number < len(network.counts) - 1:
            for chunk in range(chunks):
                note(network, piece, number, chunk, min(ROWS, len(own) - chunk * ROWS))
        if network.hides and number == 0:
            _hide(network, piece, len(own))
    for chunk in range(chunks):
        keep(canvas, missed, network, piece, own[chunk * ROWS : chunk * ROWS + ROWS], chunk)
    return -1


@kernel
def _know(canvas: Words, piece: Piece, own: Whole, chunk: int, channels: int) -> None:
    """Take known levels of a chunk."""
    levels = lines_of(piece.levels, chunk, channels, len(own))
    for at in range(len(own)):
        word = canvas[own[at]]
        for number in range(channels):
            levels[number, at] = np.int32((word >> np.uint64(16 * number)) & _LOW)


@kernel
def _hide(network: KernelMixture, piece: Piece, count: int) -> None:
    """Leave out the colours of pixels whose alpha hides them."""
    for chunk in range((count + ROWS - 1) // ROWS):
        many = min(ROWS, count - chunk * ROWS)
        levels = lines_of(piece.levels, chunk, len(network.counts), many)[0]
        for at in range(many):
            piece.shown[chunk, at] = network.shown[levels[at]]


@kernel
def _code(network: KernelMixture, piece: Piece, coder: Coder, number: int, total: int) -> bool:
    """Decode a channel of the pixels of a piece, or list its units. Returns whether a level is too large."""
    count, wrong = network.counts[number], False
    chunks, parts = (total + ROWS - 1) // ROWS, (count + LARGEST_SYMBOL - 1) // LARGEST_SYMBOL
    for chunk in range(chunks):
        many = min(ROWS, total - chunk * ROWS)
        if parts > 1:
            _code_first(network, piece, coder, number, chunk, many, parts, LARGEST_SYMBOL)
        elif count > 1:
            _code_first(network, piece, coder, number, chunk, many, count, 1)
        elif not coder.known:
            lines_of(piece.levels, chunk, len(network.counts), many)[number] = 0
    if parts > 1:
        for chunk in range(chunks):
            wrong |= _code_rest(network, piece, coder, number, chunk, min(ROWS, total - chunk * ROWS))
    return wrong


@inlined_kernel
def _up_to(
    shares: Whole, inverses: Whole, offsets: Ints, alike: Ints, logistic: Ints, row: int, level: Any, count: int
) -> Any:
    """`Mixture.up_to` of one sample and level."""
    total = alike[row] * (level + 1)
    for component in range(len(shares)):
        away = ((2 * level + 1) * inverses[component, row] - offsets[component, row]) >> 9
        away = min(max(away, -(1 << 20)), (1 << 20) - 1) + (1 << 20)
        below = logistic[away >> 12]
        total += shares[component, row] * (below + (((logistic[(away >> 12) + 1] - below) * (away & 4095)) >> 12))
    if level >= count - 1:
        total = np.int64(FULL)
    return total if level >= 0 else np.int64(0)


@inlined_kernel
def _guess(piece: Piece, chunk: int, row: int, quantile: Any) -> Any:
    """The level that is about at a quantile of a mixture. A decoder looks there first, and finds the same elsewhere."""
    return np.int64(piece.middles[chunk, row] + piece.spreads[chunk, row] * quantile + _HALF)


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
    network: KernelMixture, piece: Piece, coder: Coder, number: int, chunk: int, many: int, symbols: int, size: int
) -> None:
    """Code the first symbols of samples of a chunk, each of `size` levels."""
    shares, inverses, offsets, alike, levels = _of_chunk(network, piece, number, chunk, many)
    shown, quantiles, logistic, count = piece.shown[chunk], network.quantiles, network.logistic, network.counts[number]
    words, state, lefts, units, known = coder
    room = UNITS - symbols
    for row in range(many):
        if not shown[row]:
            continue
        symbol, place = np.int64(levels[row]) // size, np.int64(state[0] & _PLACE)
        if not known:
            guess = _guess(piece, chunk, row, quantiles[place >> QUANTILE_BITS]) // size
            symbol = min(max(guess, np.int64(0)), np.int64(symbols - 1))
        total = _up_to(shares, inverses, offsets, alike, logistic, row, symbol * size - 1, count)
        left = ((total * room) >> _FULL_BITS) + symbol
        total = _up_to(shares, inverses, offsets, alike, logistic, row, symbol * size + size - 1, count)
        right = ((total * room) >> _FULL_BITS) + symbol + 1
        if known:
            lefts[state[0]], units[state[0]] = left, right - left
            state[0] += _ONE
            continue
        if place < left or place >= right:
            low, high, turned, leap = np.int64(0), symbol - 1, 1, np.int64(1)
            if place < left:
                left, right = np.int64(0), left
            else:
                low, high, turned = symbol + 1, np.int64(symbols - 1), 2
                left, right = right, np.int64(UNITS)
            while low < high:  # the first symbol whose units, with all below, are more than the place
                middle, leap = _next_middle(low, high, turned, leap), 2 * leap
                total = _up_to(shares, inverses, offsets, alike, logistic, row, middle * size + size - 1, count)
                used = ((total * room) >> _FULL_BITS) + middle + 1
                if used > place:
                    high, right, turned = middle, used, turned | 1
                else:
                    low, left, turned = middle + 1, used, turned | 2
            symbol = low
        step(words, state, int(left), int(right - left))
        levels[row] = symbol * size


@kernel
def _code_rest(network: KernelMixture, piece: Piece, coder: Coder, number: int, chunk: int, many: int) -> bool:
    """Code the second symbols of samples of a chunk, after the first ones. Returns whether a level is too large."""
    shares, inverses, offsets, alike, levels = _of_chunk(network, piece, number, chunk, many)
    shown, quantiles, logistic, count = piece.shown[chunk], network.quantiles, network.logistic, network.counts[number]
    words, state, lefts, units, known = coder
    room, last, wrong = UNITS - LARGEST_SYMBOL, LARGEST_SYMBOL - 1, False
    for row in range(many):
        if not shown[row]:
            continue
        start = np.int64(levels[row]) // LARGEST_SYMBOL * LARGEST_SYMBOL
        least = _up_to(shares, inverses, offsets, alike, logistic, row, start - 1, count)
        whole = _up_to(shares, inverses, offsets, alike, logistic, row, start + last, count) - least
        part = whole
        whole += LEAST_SHARE * LARGEST_SYMBOL
        if known:
            symbol = levels[row] - start
            total = _up_to(shares, inverses, offsets, alike, logistic, row, start + symbol - 1, count) - least
            left = (total + LEAST_SHARE * symbol) * room // whole + symbol
            total = _up_to(shares, inverses, offsets, alike, logistic, row, start + symbol, count) - least
            right = (total + LEAST_SHARE * (symbol + 1)) * room // whole + symbol + 1
            lefts[state[0]], units[state[0]] = left, right - left
            state[0] += _ONE
            continue
        place = np.int64(state[0] & _PLACE)
        quantile = quantiles[(least + (part >> _UNITS_BITS) * place) >> (_FULL_BITS - _UNITS_BITS + QUANTILE_BITS)]
        low, high, left, right = np.int64(0), np.int64(last), np.int64(0), np.int64(UNITS)
        middle, turned, leap = _guess(piece, chunk, row, quantile) - start, 0, np.int64(1)
        middle = min(max(middle, 0), last - 1)
        while low < high:
            total = _up_to(shares, inverses, offsets, alike, logistic, row, start + middle, count) - least
            used = (total + LEAST_SHARE * (middle + 1)) * room // whole + middle + 1
            if used > place:
                high, right, turned = middle, used, turned | 1
            else:
                low, left, turned = middle + 1, used, turned | 2
            middle, leap = _next_middle(low, high, turned, leap), 2 * leap
        step(words, state, int(left), int(right - left))
        levels[row] = start + low
        wrong |= levels[row] >= count
    return wrong


@inlined_kernel
def _of_chunk(network: KernelMixture, piece: Piece, number: int, chunk: int, many: int) -> Any:
    """Shares, inverses, offsets, what all levels have, and levels of a chunk."""
    components = network.outputs.shape[2] // 3
    return (
        lines_of(piece.shares, chunk, components, many),
        lines_of(piece.inverses, chunk, components, many),
        lines_of(piece.offsets, chunk, components, many),
        piece.alike[chunk],
        lines_of(piece.levels, chunk, len(network.counts), many)[number],
    )
