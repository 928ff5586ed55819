"""A reader of corrections of 8 and 16 bits, written from docs/format.md."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conformance.readers.basics import Bytes, Coder, demand, read_tables, unpack

STEPS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 255)
VALUE_BOUNDS = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 160, 192, 224, 240, 250)
ACTIVITY_BOUNDS = (2, 6, 16, 40, 90, 150, 210)


@dataclass
class Corrections:
    """The corrections section. wide : whether pixels have 16 bits"""

    wide: bool
    precision: int
    group_images: int
    modes: list[int]
    mode_frequencies: list[int]
    table_numbers: dict[int, np.ndarray]
    tables: list[list[int]]


def read_corrections(payload: bytes, shape: Sequence[int], wide: bool) -> Corrections:
    """Read the corrections section from its payload."""
    last_mode, most_symbols = (20, 60) if wide else (21, 256)
    source = Bytes(payload)
    kind, precision, group_images, symbols, mode_count, table_count, map_bytes = source.fields("BBHHBBH")
    demand(
        kind == (2 if wide else 1) and precision <= 24 and 1 <= symbols <= most_symbols and table_count >= 1,
        "corrections",
    )
    demand(group_images == 1 or (group_images > 1 and group_images * np.prod(shape) <= 1 << 20), "images per group")
    occurring = [source.fields("BH") for _ in range(mode_count)]
    modes, frequencies = [mode for mode, _ in occurring], [less_one + 1 for _, less_one in occurring]
    demand(modes == sorted(set(modes)) and any(modes) and max(modes) <= last_mode and sum(frequencies) == 4096, "modes")
    packed = source.take(map_bytes)
    lengths = {mode: 1 if mode <= 4 else 128 for mode in modes if mode}
    numbers = Bytes(unpack(packed, sum(lengths.values())) if table_count > 1 else bytes(sum(lengths.values())))
    demand(table_count > 1 or not packed, "map")
    table_numbers = {mode: np.frombuffer(numbers.take(length), np.uint8) for mode, length in lengths.items()}
    demand(not numbers.rest() and all(of.max() < table_count for of in table_numbers.values()), "map")
    tables = read_tables(source, table_count, symbols, precision)
    demand(not source.rest(), "bytes after the corrections")
    return Corrections(wide, precision, group_images, modes, frequencies, table_numbers, tables)


def contexts(base: np.ndarray, wide: bool) -> np.ndarray:
    """The context of each value of an image, which depends on its base [H, W, C] alone."""
    found = np.zeros(base.shape, np.int64)
    height, width, channels = base.shape
    for r in range(height):
        for c in range(width):
            near = base[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2]
            for channel in range(channels):
                spread = int(near[..., channel].max()) - int(near[..., channel].min())
                value = int(base[r, c, channel])
                if wide:
                    v, a = min(7, value.bit_length() // 2), min(15, spread.bit_length())
                    found[r, c, channel] = 16 * v + a
                else:
                    v = bisect_right(VALUE_BOUNDS, value)
                    found[r, c, channel] = 8 * v + bisect_right(ACTIVITY_BOUNDS, spread)
    return found


def apply_mode(mode: int, base: np.ndarray, symbols: np.ndarray, wide: bool) -> np.ndarray:
    """An image's pixels, given its base and its symbols."""
    if mode == 0:
        return base
    if mode == 1:
        return symbols
    level = np.where(symbols % 2 == 1, (symbols + 1) // 2, -(symbols // 2))
    if mode == 5:
        return (base + level) % 65536 if wide else symbols
    if mode >= 6 and wide:
        return np.clip(base + 2 ** (mode - 5) * level, 0, 65535)
    if mode >= 6:
        demand(symbols.max() < 255, "symbol 255")
        return np.clip(base + STEPS[mode - 6] * level, 0, 255)
    added = level if wide else symbols
    height, width, channels = symbols.shape
    x = np.zeros((height + 1, width + 1, channels), np.int64)
    for r in range(height):
        for c in range(width):
            left, above, corner = x[r + 1, c], x[r, c + 1], x[r, c]
            guess = {2: left, 3: above, 4: left + above - corner}[mode]
            x[r + 1, c + 1] = (added[r, c] + guess) % (65536 if wide else 256)
    return x[1:, 1:]


def correct(corrections: Corrections, stream: bytes, bases: np.ndarray) -> np.ndarray:
    """The pixels of a block, given its corrections stream and the bases of its images."""
    source = Bytes(stream)
    (width,) = source.fields("B")
    demand(1 <= width <= 4, "width of the lengths")
    starts = range(0, len(bases), corrections.group_images)
    lengths = [int.from_bytes(source.take(width), "little") for _ in starts]
    pixels = []
    for start, length in zip(starts, lengths, strict=True):
        data = source.take(length)
        demand(not data.endswith(b"\0"), "a zero byte ends a group")
        group = bases[start : start + corrections.group_images]
        pixels += correct_group(corrections, Coder(data + bytes(-length % 4)), group)
    demand(not source.rest(), "bytes after the corrections stream")
    return np.array(pixels)


def correct_group(corrections: Corrections, coder: Coder, bases: np.ndarray) -> list[np.ndarray]:
    """The pixels of the images of a group."""
    modes = [corrections.modes[at] for at in coder.group(corrections.mode_frequencies, 12, len(bases))]
    table_of = np.full(bases.shape, -1)
    for image, mode in enumerate(modes):
        if mode:
            numbers = corrections.table_numbers[mode]
            table_of[image] = numbers[0] if mode <= 4 else numbers[contexts(bases[image], corrections.wide)]
    symbols = np.zeros(bases.shape, np.int64)
    for number, table in enumerate(corrections.tables):
        places = table_of == number
        symbols[places] = coder.group(table, corrections.precision, int(places.sum()))
    if corrections.wide:
        owners = np.array([mode > 0 for mode in modes])
        symbols[owners] = read_further(coder, symbols[owners])
    coder.end()
    return [apply_mode(*image, corrections.wide) for image in zip(modes, bases, symbols, strict=True)]


def read_further(coder: Coder, classes: np.ndarray) -> np.ndarray:
    """Symbols of 16 bits from their classes and the further bits."""
    flat = classes.ravel()
    further = np.where(flat < 8, 0, flat // 4 - 1)
    numbers = np.where(flat < 8, flat, 4 + flat % 4 << further)
    for plane in range(int(further.max(initial=0))):
        (places,) = np.nonzero(further > plane)
        numbers[places] |= np.array(coder.group([1, 1], 1, places.size), np.int64) << plane
    return numbers.reshape(classes.shape)
