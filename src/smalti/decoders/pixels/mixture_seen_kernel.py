"""What the pixels of a mixture prior see of those before them, as a kernel: a chunk of pixels at once."""

import numpy as np

from smalti.compiled import kernel
from smalti.decoders.pixels.mixture_lines import KernelMixture, Piece, Room, Singles, Whole, Words, lines_of
from smalti.decoders.pixels.pixel_kernel import Front

__all__ = ["keep", "look", "note"]

_NOTHING = np.uint64(0)
_LOW = np.uint64(0xFFFF)
_SIGN = 0x8000


@kernel
def look(
    network: KernelMixture, front: Front, canvas: Words, missed: Words, piece: Piece, room: Room, own: Whole, chunk: int
) -> None:
    """What the pixels `own` of a chunk see, and the sums that foretell their levels.

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
