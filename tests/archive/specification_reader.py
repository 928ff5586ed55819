"""The archive format as docs/format.md states it, read with nothing of smalti: slow, and plainly what the page says."""

import hashlib
import json
import struct
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

HEADER, MODEL, PRIOR, TOKENS, COLUMN, INDEX, CORRECTIONS, DIGEST, RECOVERY = range(1, 10)
HEADER_KEYS = [
    "block_images",
    "codebook_size",
    "codes_used",
    "columns",
    "decoder",
    "dtype",
    "format_version",
    "image_shape",
    "images",
    "padded_shape",
    "perplexity",
    "profile",
    "promise",
    "provenance",
    "required_features",
    "token_grid",
]
LAYER_KEYS = ["activation", "inputs", "kernel", "kind", "outputs", "padding", "stride"]
STEPS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 255)
VALUE_BOUNDS = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 160, 192, 224, 240, 250)
ACTIVITY_BOUNDS = (2, 6, 16, 40, 90, 150, 210)
ABSENT = 65535
B = (65536, 62757, 60097, 57549, 55109, 52773, 50535, 48393,
     46341, 44376, 42495, 40693, 38968, 37316, 35734, 34219)  # fmt: skip


class BadArchiveError(Exception):
    """The file is not what the page says."""


def demand(holds: object, what: str) -> None:
    """Refuse the file unless this holds."""
    if not holds:
        raise BadArchiveError(what)


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """The Castagnoli CRC."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def canonical_json(data: bytes) -> dict[str, Any]:
    """An object in canonical JSON."""
    text = data.decode("utf-8")
    value = json.loads(text)
    written = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    demand(isinstance(value, dict) and written == text, "not canonical JSON")
    return value


class Bytes:
    """Bytes read from front to back."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def take(self, length: int) -> bytes:
        """So many bytes."""
        demand(self.place + length <= len(self.data), "too short")
        self.place += length
        return self.data[self.place - length : self.place]

    def fields(self, layout: str) -> tuple[int, ...]:
        """Little-endian fields."""
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self.data) - self.place)


class Coder:
    """The decoder of entropy-coded groups, in plain integers."""

    def __init__(self, data: bytes) -> None:
        demand(len(data) % 4 == 0, "words cut")
        self.words = list(struct.unpack(f"<{len(data) // 4}I", data))
        demand(not self.words or self.words[-1], "the last word is zero")
        self.state = 0
        self._refill()
        self._refill()

    def _refill(self) -> None:
        if self.state < 1 << 32 and self.words:
            self.state = self.state << 32 | self.words.pop()

    def group(self, frequencies: Sequence[int], precision: int, count: int) -> list[int]:
        """A group of symbols of one table."""
        possible = [symbol for symbol, frequency in enumerate(frequencies) if frequency]
        if len(possible) == 1:
            return possible * count
        units = [int(frequencies[symbol]) << 24 - precision for symbol in possible]
        lefts = [0, *accumulate(units)]
        return [possible[self._next(units, lefts)] for _ in range(count)]

    def each(self, units: Sequence[int]) -> int:
        """A symbol with units of its own."""
        return self._next(units, [0, *accumulate(units)])

    def _next(self, units: Sequence[int], lefts: Sequence[int]) -> int:
        demand(lefts[-1] == 1 << 24, "frequencies")
        place = self.state % (1 << 24)
        at = bisect_right(lefts, place) - 1
        self.state = (self.state >> 24) * units[at] + place - lefts[at]
        self._refill()
        return at

    def end(self) -> None:
        """Nothing may be left."""
        demand(self.state == 0 and not self.words, "the coder does not end")


def read_tables(source: Bytes, rows: int, symbols: int, precision: int) -> list[list[int]]:
    """Tables of frequencies, as in a prior."""
    class_frequencies = source.fields(f"{precision + 2}H")
    demand(sum(class_frequencies) == 4096, "class frequencies")
    (words,) = source.fields("I")
    coder = Coder(source.take(4 * words))
    classes = coder.group(class_frequencies, 12, rows * symbols)
    coder.end()
    values = [1 << width - 1 if width else 0 for width in classes]
    members = [(at, plane) for plane in range(precision) for at, width in enumerate(classes) if width > plane + 1]
    packed = np.unpackbits(np.frombuffer(source.take(-(-len(members) // 8)), np.uint8))
    demand(not packed[len(members) :].any(), "filling bits")
    for (at, plane), bit in zip(members, packed.tolist(), strict=False):
        values[at] |= bit << plane
    tables = [values[row * symbols : (row + 1) * symbols] for row in range(rows)]
    demand(all(sum(table) == 1 << precision for table in tables), "frequencies do not sum to 2^P")
    return tables


@dataclass
class Layer:
    """One layer of the decoder network."""

    kind: str
    inputs: int
    outputs: int
    kernel: list[int]
    stride: list[int]
    padding: list[int]
    activation: dict[str, Any]
    weight: np.ndarray
    bias: np.ndarray
    shift: np.ndarray
    values: np.ndarray | None

    def run(self, given: np.ndarray) -> np.ndarray:
        """The outputs for the layer's input [rows, columns, channels], or [rows, columns] of tokens."""
        (ky, kx), (sy, sx), (py, px) = self.kernel, self.stride, self.padding
        rows, columns = given.shape[:2]
        taps = [(y, x) for y in range(ky) for x in range(kx)]
        if self.kind == "conv":
            given = np.pad(given, ((py, py), (px, px), (0, 0)))
            rows, columns = rows + 2 * py - ky + 1, columns + 2 * px - kx + 1
            acc = sum(given[y : y + rows, x : x + columns] @ self.weight[:, y, x] for y, x in taps)
        else:
            full = np.zeros(((rows - 1) * sy + ky, (columns - 1) * sx + kx, self.outputs), np.int64)
            for y, x in taps:
                weight = self.weight[:, y, x]
                added = weight[given] if self.kind == "tokens" else given @ weight
                full[y : y + (rows - 1) * sy + 1 : sy, x : x + (columns - 1) * sx + 1 : sx] += added
            acc = full[py : full.shape[0] - py, px : full.shape[1] - px]
        demand(acc.size, "a layer without outputs")
        v = acc + self.bias >> self.shift
        if self.values is None:
            return np.clip(v, self.activation["low"], self.activation["high"])
        return self.values[np.clip(v - self.activation["low"], 0, len(self.values) - 1)]

    def check(self, before: dict[str, Any] | None) -> None:
        """The ranges, and the bound below which sums are exact."""
        limit = 1 << 15 if self.kind == "tokens" else 1 << 7
        demand(self.weight.min() >= -limit and self.weight.max() < limit, "weights")
        demand(self.bias.min() >= -(1 << 31) and self.bias.max() < 1 << 31 and self.shift.max() <= 24, "bias, shift")
        if before is None:
            tap = np.maximum(0, np.maximum(self.weight.max(axis=0), -self.weight.min(axis=0)))
        else:
            largest = max(abs(before["low"]), abs(before["high"]))
            tap = np.abs(self.weight).sum(axis=0) * largest
        for ay in range(self.stride[0]):
            for ax in range(self.stride[1]):
                sums = tap[ay :: self.stride[0], ax :: self.stride[1]].sum(axis=(0, 1))
                demand((sums + np.abs(self.bias) <= 1 << 24).all(), "sums are not exact")


class Arrays:
    """The arrays of a network, from its words."""

    def __init__(self, coder: Coder, tables: list[list[int]], precision: int) -> None:
        self.wide = False  # whether pixels have 16 bits
        self.coder = coder
        self.tables = tables
        self.precision = precision
        self.used = 0

    def array(self, groups: np.ndarray, signed: bool = False) -> np.ndarray:
        """An array whose elements are of these groups."""
        flat = groups.ravel()
        symbols = np.zeros(flat.size, np.int64)
        for group in np.unique(flat):
            demand(self.used < len(self.tables), "too few tables")
            (places,) = np.nonzero(flat == group)
            symbols[places] = self.coder.group(self.tables[self.used], self.precision, places.size)
            self.used += 1
        further = np.where(symbols < 8, 0, symbols // 4 - 1)
        numbers = np.where(symbols < 8, symbols, 4 + symbols % 4 << further)
        for plane in range(int(further.max(initial=0))):
            (places,) = np.nonzero(further > plane)
            numbers[places] |= np.array(self._bits(places.size), np.int64) << plane
        if signed:
            (places,) = np.nonzero(numbers)
            numbers[places] *= 1 - 2 * np.array(self._bits(places.size), np.int64)
        return numbers.reshape(groups.shape)

    def weights(self, shape: tuple[int, ...]) -> np.ndarray:
        """Levels of rows, levels of columns, and the numbers that these group."""
        rows, columns = (self.array(np.zeros(size, int)) for size in (shape[0], shape[-1]))
        demand(rows.max() <= 15 and columns.max() <= 15, "levels")
        groups = rows.reshape(-1, *[1] * (len(shape) - 1)) + columns
        return self.array(np.broadcast_to(groups, shape), signed=True)

    def _bits(self, count: int) -> list[int]:
        return self.coder.group([1, 1], 1, count)


def check_description(layer: dict[str, Any], first: bool, last: bool) -> None:
    """The ranges of a layer's description."""
    demand(sorted(layer) == LAYER_KEYS and layer["kind"] in ("tokens", "up", "conv"), "layer")
    demand((layer["kind"] == "tokens") == first, "tokens are the first layer, and no other")
    demand(1 <= layer["inputs"] <= 65536 and 1 <= layer["outputs"] <= 65536, "channels")
    for kernel, stride, padding in zip(layer["kernel"], layer["stride"], layer["padding"], strict=True):
        demand(1 <= kernel <= 16 and 1 <= stride <= 16 and 0 <= padding < kernel, "kernel, stride, padding")
        demand(layer["kind"] != "conv" or stride == 1, "stride of conv")
    activation = layer["activation"]
    demand((activation["kind"] == "pixels") == last, "pixels are of the last layer, and no other")
    low = activation["low"]
    if last:
        demand(sorted(activation) == ["entries", "kind", "low"], "activation")
        demand(1 <= activation["entries"] <= 65536 and abs(low) <= 1 << 24, "pixels")
    else:
        demand(sorted(activation) == ["high", "kind", "low"] and activation["kind"] == "clip", "activation")
        high = activation["high"]
        demand(0 <= low <= high <= 255 or -128 <= low <= high <= 127, "clip")


def read_layer(arrays: Arrays, fields: dict[str, Any]) -> Layer:
    """The numbers of a layer that is described by `fields`."""
    inputs, outputs = fields["inputs"], fields["outputs"]
    weight = arrays.weights((inputs, *fields["kernel"], outputs))
    bias = arrays.array(np.zeros(outputs, int), signed=True)
    shift = arrays.array(np.zeros(outputs, int))
    values = None
    if fields["activation"]["kind"] == "pixels":
        values = read_values(arrays, np.zeros(fields["activation"]["entries"], int))
    return Layer(**fields, weight=weight, bias=bias, shift=shift, values=values)


def read_values(arrays: Arrays, one_group: np.ndarray) -> np.ndarray:
    """The values of the pixels of the last layer, from steps or bends."""
    if not arrays.wide:
        steps = arrays.array(one_group)
        demand(steps.max() < 256, "steps")
        return np.cumsum(steps) % 256
    bends = arrays.array(one_group, signed=True)
    demand(np.abs(bends).max() <= 131070, "bends")
    values = np.cumsum(np.cumsum(bends))
    demand(values.min() >= 0 and values.max() <= 65535, "values of bends")
    return values


def read_network(data: bytes, wide: bool) -> list[Layer]:
    """The decoder network from its bytes. wide : whether its pixels have 16 bits"""
    source = Bytes(data)
    text = source.take(source.fields("I")[0])
    description = canonical_json(text)
    demand(len(text) <= 65536 and sorted(description) == ["layers", "precision", "symbols", "tables"], "description")
    precision, symbols, count = description["precision"], description["symbols"], description["tables"]
    demand(1 <= precision <= 16 and 1 <= symbols <= 96 and 1 <= count <= 2560, "description")
    table_source = Bytes(source.take(source.fields("I")[0]))
    tables = read_tables(table_source, count, symbols, precision)
    demand(not table_source.rest(), "bytes after the tables")
    coder = Coder(source.rest())
    arrays = Arrays(coder, tables, precision)
    arrays.wide = wide
    layers: list[Layer] = []
    described = description["layers"]
    demand(1 <= len(described) <= 64, "number of layers")
    for number, fields in enumerate(described):
        check_description(fields, number == 0, number == len(described) - 1)
        demand(not layers or layers[-1].outputs == fields["inputs"], "channels of the layer before")
        layer = read_layer(arrays, fields)
        layer.check(layers[-1].activation if layers else None)
        layers.append(layer)
    coder.end()
    demand(arrays.used == count, "tables left over")
    return layers


def run_network(layers: list[Layer], tokens: np.ndarray) -> np.ndarray:
    """The pixels [H', W', C] for a grid of tokens."""
    values = tokens
    for layer in layers:
        values = layer.run(values)
    return values


def read_sections(data: bytes, features: int = 0) -> dict[int, list[bytes]]:
    """The payloads of each type in the order of their ordinals, every checksum verified; of an archive."""
    sections = read_frames(data, features, RECOVERY)
    counts = {kind: len(sections.get(kind, [])) for kind in (HEADER, MODEL, PRIOR, DIGEST)}
    demand(counts[PRIOR] in (1, 2) and counts == {HEADER: 2, MODEL: 1, PRIOR: counts[PRIOR], DIGEST: 1}, "sections")
    demand(all(len(set(sections[kind])) == 1 for kind in (HEADER, PRIOR)), "copies differ")
    return sections


def read_frames(data: bytes, features: int, last: int) -> dict[int, list[bytes]]:
    """The payloads of each type up to `last`, of a file with these required features."""
    prelude = Bytes(data[:24])
    demand(prelude.take(8) == b"\x89SML\r\n\x1a\n", "magic")
    version, reserved, required, _, crc = prelude.fields("HHIII")
    demand(crc == crc32c(data[:20]) and (version, reserved, required) == (1, 0, features), "prelude")
    trailer = Bytes(data[-28:])
    index_at, size, crc = trailer.fields("QQI")
    demand(trailer.rest() == b"\x89SMZ\r\n\x1a\n" and crc == crc32c(data[-28:-12]) and size == len(data), "trailer")
    index_head, index_payload = read_frame(data, index_at)
    demand(index_head[:2] == (INDEX, 0) and index_at + 28 + len(index_payload) == size - 28, "index")
    index = Bytes(index_payload)
    sections: dict[int, list[bytes]] = {}
    at = 24
    for _ in range(index.fields("I")[0]):
        kind, reserved_bytes, ordinal, offset, length, crc = index.fields("B3sIQQI")
        demand(offset == at and reserved_bytes == bytes(3), "index entry")
        head, payload = read_frame(data, offset)
        demand(head == (kind, ordinal, length, crc), "a frame is not as in the index")
        demand((HEADER <= kind <= last and kind != INDEX) or kind >= 128, "type of section")
        of_kind = sections.setdefault(kind, [])
        demand(ordinal == len(of_kind), "ordinals")
        of_kind.append(payload)
        at = offset + 28 + length
    demand(at == index_at and not index.rest(), "frames do not tile the file")
    return sections


def read_frame(data: bytes, offset: int) -> tuple[tuple[int, int, int, int], bytes]:
    """A frame's type, ordinal, length and checksum, and its payload."""
    source = Bytes(data)
    source.place = offset
    marker, kind, reserved, ordinal, length, crc, head_crc = source.fields("4sB3sIQII")
    demand(marker == b"\xf5SEC" and reserved == bytes(3), "frame")
    demand(head_crc == crc32c(data[offset : offset + 24]), "checksum of a frame head")
    payload = source.take(length)
    demand(crc == crc32c(payload), "checksum of a payload")
    return (kind, ordinal, length, crc), payload


def read_header(sections: dict[int, list[bytes]], features: int = 0) -> dict[str, Any]:
    """The header, compared with what sections there are."""
    header = canonical_json(sections[HEADER][0])
    demand(sorted(header) == HEADER_KEYS, "keys of the header")
    demand((header["format_version"], header["required_features"]) == (1, features), "version in the header")
    demand(header["dtype"] in ("uint8", "uint16") and header["decoder"] in ("integer", "pyramid"), "dtype, decoder")
    pyramid = header["decoder"] == "pyramid"
    demand(not pyramid or header["token_grid"][0] == 1, "the token grid of a pyramid")
    demand(1 <= header["images"] < 1 << 48 and 1 <= header["block_images"] <= 65536, "images")
    demand(1 <= header["image_shape"][2] <= 4, "channels")
    demand(
        all(whole >= cut for whole, cut in zip(header["padded_shape"], header["image_shape"], strict=False)), "shape"
    )
    demand(all(1 <= side <= 65535 for side in header["token_grid"]), "token grid")
    demand(2 <= header["codebook_size"] <= 65536, "codebook size")
    demand((0 if pyramid else 1) <= header["codes_used"] <= header["codebook_size"], "codes used")
    demand(len(sections.get(TOKENS, [])) == -(-header["images"] // header["block_images"]), "token blocks")
    demand(len(sections.get(COLUMN, [])) == len(header["columns"]) == len(set(header["columns"])), "columns")
    promise = header["promise"]
    corrected = promise is not None and promise["corrected"] + promise["stored"] > 0
    demand(len(sections.get(CORRECTIONS, [])) == corrected, "corrections section")
    return header


def read_model(payload: bytes, header: dict[str, Any]) -> tuple[np.ndarray, list[Layer]]:
    """The numbers of the codes in use, and the decoder network."""
    source = Bytes(payload)
    used, size = header["codes_used"], header["codebook_size"]
    numbers = np.array(source.fields(f"{used}H") if used < size else range(size), np.int64)
    demand((np.diff(numbers) > 0).all() and numbers[-1] < size, "numbers of codes")
    layers = read_network(source.rest(), header["dtype"] == "uint16")
    demand((layers[0].inputs, layers[-1].outputs) == (used, header["image_shape"][2]), "codes, channels")
    return numbers, layers


def read_prior(payload: bytes, header: dict[str, Any]) -> tuple[list[list[int]], int]:
    """The tables of the prior, and their precision."""
    source = Bytes(payload)
    kind, precision, reserved, used, places = source.fields("BBHII")
    height, width = header["token_grid"]
    demand(kind in (1, 2) and precision <= 24 and reserved == 0, "prior")
    demand((used, places) == (header["codes_used"], height * width), "U and T of the prior")
    demand(kind == 1 or places * used <= 1 << 22, "size of the prior")
    tables = read_tables(source, 1 if kind == 1 else places, used, precision)
    demand(not source.rest(), "bytes after the prior")
    return tables, precision


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
    """The corrections section from its payload."""
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
    numbers = Bytes(unpack(packed) if table_count > 1 else bytes(sum(lengths.values())))
    demand(table_count > 1 or not packed, "map")
    table_numbers = {mode: np.frombuffer(numbers.take(length), np.uint8) for mode, length in lengths.items()}
    demand(not numbers.rest() and all(of.max() < table_count for of in table_numbers.values()), "map")
    tables = read_tables(source, table_count, symbols, precision)
    demand(not source.rest(), "bytes after the corrections")
    return Corrections(wide, precision, group_images, modes, frequencies, table_numbers, tables)


def unpack(packed: bytes) -> bytes:
    """A zlib stream, and nothing after it."""
    stream = zlib.decompressobj()
    unpacked = stream.decompress(packed)
    demand(stream.eof and not stream.unused_data, "zlib stream")
    return unpacked


def contexts(base: np.ndarray, wide: bool) -> np.ndarray:
    """The context of each value of an image, of its base [H, W, C] alone."""
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


class GridTokens:
    """Tokens and pixels of the decoder "integer"."""

    def __init__(
        self, sections: dict[int, list[bytes]], header: dict[str, Any], model: tuple[np.ndarray, list[Layer]]
    ) -> None:
        self.numbers, self.layers = model
        self.tables, self.precision = read_prior(sections[PRIOR][0], header)
        self.grid = header["token_grid"]

    def read(self, coder: Coder, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the tokens [n, T] of a block, and what the network makes of them."""
        tables = self.tables if len(self.tables) > 1 else self.tables * prod(self.grid)
        tokens = np.array([coder.group(table, self.precision, count) for table in tables], np.int64).T
        padded = [run_network(self.layers, image.reshape(self.grid)) for image in tokens]
        return self.numbers[tokens], np.array(padded)


def read_pixels(data: bytes) -> np.ndarray:
    """All images, uint8 or little-endian uint16 [N, H, W, C]."""
    sections = read_sections(data)
    return decode_pixels(sections, read_header(sections))


def decode_pixels(
    sections: dict[int, list[bytes]], header: dict[str, Any], model: tuple[np.ndarray, list[Layer]] | None = None
) -> np.ndarray:
    """The same from sections; `model` is that of the decoder "integer", if it is not in them."""
    demand(len(sections[PRIOR]) == (1 if header["decoder"] == "pyramid" else 2), "number of priors")
    height, width, _ = shape = header["image_shape"]
    from archive.specification_pyramid import PyramidTokens  # noqa: PLC0415 (which needs what is above)

    if header["decoder"] == "pyramid":
        reader: Any = PyramidTokens(sections, header)
    else:
        reader = GridTokens(sections, header, model or read_model(sections[MODEL][0], header))
    wide = header["dtype"] == "uint16"
    corrections = [read_corrections(payload, shape, wide) for payload in sections.get(CORRECTIONS, [])]
    blocks = []
    for block, payload in enumerate(sections[TOKENS]):
        source = Bytes(payload)
        first, count, tokens_crc, pixels_crc = source.fields("QIII")
        demand(first == block * header["block_images"], "first image of a block")
        demand(count == min(header["block_images"], header["images"] - first), "images of a block")
        (length,) = source.fields("I")
        coder = Coder(source.take(length))
        tokens, padded = reader.read(coder, count)
        coder.end()
        demand(tokens_crc == crc32c(tokens.astype("<u2").tobytes()), "checksum of tokens")
        demand(padded.shape == (count, *header["padded_shape"], shape[2]), "padded shape")
        pixels = padded[:, :height, :width]
        stream = source.rest()
        demand(bool(stream) == bool(corrections), "corrections stream")
        if corrections:
            pixels = correct(corrections[0], stream, pixels)
        pixels = pixels.astype("<u2" if wide else np.uint8)
        demand(pixels_crc == crc32c(pixels.tobytes()), "checksum of pixels")
        blocks.append(pixels)
    images = np.concatenate(blocks)
    demand(hashlib.sha256(images.tobytes()).digest() == sections[DIGEST][0], "digest")
    return images


def read_column(data: bytes, name: str, kind: str) -> tuple[dict[str, Any], bytes] | None:
    """The head and the data of a column, or None if the header does not list it."""
    sections = read_sections(data)
    header = read_header(sections)
    if name not in header["columns"]:
        return None
    source = Bytes(sections[COLUMN][header["columns"].index(name)])
    head = canonical_json(source.take(source.fields("I")[0]))
    demand((head["name"], head["kind"], head["rows"]) == (name, kind, header["images"]), "head of a column")
    return head, source.rest()


def read_labels(data: bytes) -> np.ndarray | None:
    """The label of each image, int64 [N]."""
    column = read_column(data, "labels", "int")
    if column is None:
        return None
    head, packed = column
    demand(sorted(head) == ["bits", "kind", "minimum", "name", "rows"] and 0 <= head["bits"] <= 64, "labels")
    bits, rows = head["bits"], head["rows"]
    demand(len(packed) == -(-bits * rows // 8), "length of the labels")
    filling = -bits * rows % 8
    whole = int.from_bytes(packed, "big")
    demand(whole % (1 << filling) == 0, "filling bits")
    values = [(whole >> filling + bits * (rows - 1 - row)) % (1 << bits) + head["minimum"] for row in range(rows)]
    return np.array(values, np.int64)


def read_names(data: bytes) -> list[str] | None:
    """The name of each image."""
    column = read_column(data, "names", "text")
    if column is None:
        return None
    head, packed = column
    demand(sorted(head) == ["kind", "name", "raw_bytes", "rows"], "names")
    source = Bytes(unpack(packed))
    demand(len(source.data) == head["raw_bytes"], "length of the names")
    names = [source.take(length).decode("utf-8") for length in source.fields(f"{head['rows']}I")]
    demand(not source.rest(), "bytes after the names")
    return names
