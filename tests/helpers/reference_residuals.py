"""Residuals read as docs/format.md says, one value at a time: slow, and without code of smalti.residual."""

import struct
import zlib

import numpy as np

from smalti.entropy.coder import SymbolDecoder, unpack_tables
from smalti.entropy.frequency import FrequencyTable

STEPS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 255)
VALUES = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 160, 192, 224, 240, 250)
ACTIVITIES = (2, 6, 16, 40, 90, 150, 210)


def context_of(base, row, column, channel):
    around = base[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2, channel]
    value, activity = int(base[row, column, channel]), int(around.max()) - int(around.min())
    return 8 * sum(bound <= value for bound in VALUES) + sum(bound <= activity for bound in ACTIVITIES)


def pixels_of(mode, symbols, base):
    pixels = np.zeros(symbols.shape, np.uint8)

    def at(row, column, channel):
        return int(pixels[row, column, channel]) if row >= 0 and column >= 0 else 0

    for row, column, channel in np.ndindex(symbols.shape):
        symbol = int(symbols[row, column, channel])
        left, up = at(row, column - 1, channel), at(row - 1, column, channel)
        if mode > 5:
            level = (symbol + 1) // 2 if symbol % 2 else -(symbol // 2)
            value = min(max(int(base[row, column, channel]) + STEPS[mode - 6] * level, 0), 255)
        else:
            prediction = {2: left, 3: up, 4: left + up - at(row - 1, column - 1, channel)}.get(mode, 0)
            value = (symbol + prediction) % 256
        pixels[row, column, channel] = value
    return pixels


def read_section(data):
    kind, precision, group, symbols, modes, tables, map_bytes = struct.unpack_from("<BBHHBBH", data)
    assert kind == 1
    frequencies = np.zeros(22, np.uint32)
    for place in range(modes):
        mode, less_one = struct.unpack_from("<BH", data, 10 + 3 * place)
        frequencies[mode] = less_one + 1
    start = 10 + 3 * modes
    numbers = zlib.decompress(data[start : start + map_bytes]) if tables > 1 else bytes(128 * modes)
    table_of, place = {}, 0
    for mode in np.flatnonzero(frequencies):
        for context in range(0 if mode == 0 else 1 if mode < 5 else 128):
            table_of[mode, context] = numbers[place]
            place += 1
    rows = unpack_tables(data[start + map_bytes :], tables, symbols, precision)
    return group, FrequencyTable(frequencies, 12), table_of, [FrequencyTable(row, precision) for row in rows]


def read_block(section, stream, base):
    """The pixels of a block whose bases are known, uint8 [n, H, W, C]."""
    group, mode_table, table_of, tables = read_section(section)
    pixels, width = base.copy(), stream[0]
    groups = -(-len(base) // group)
    start = 1 + width * groups
    for number in range(groups):
        length = int.from_bytes(stream[1 + width * number : 1 + width * (number + 1)], "little")
        words = stream[start : start + length]
        start += length
        decoder = SymbolDecoder(words + bytes(-len(words) % 4))
        images = range(number * group, min((number + 1) * group, len(base)))
        modes = dict(zip(images, decoder.take(len(images), mode_table).tolist(), strict=True))
        places = {table: [] for table in range(len(tables))}
        for image in images:
            for row, column, channel in np.ndindex(base.shape[1:]) if modes[image] else ():
                context = 0 if modes[image] < 5 else context_of(base[image], row, column, channel)
                places[table_of[modes[image], context]].append((image, row, column, channel))
        symbols = np.zeros(base.shape, np.uint8)
        for table, own in places.items():
            for place, symbol in zip(own, decoder.take(len(own), tables[table]).tolist(), strict=True):
                symbols[place] = symbol
        decoder.finish()
        for image in images:
            if modes[image]:
                pixels[image] = pixels_of(modes[image], symbols[image], base[image])
    assert start == len(stream)
    return pixels
