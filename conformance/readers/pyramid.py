"""A reader of the pyramid network and its prior, written from docs/format.md without smalti."""

from math import prod
from typing import Any

import numpy as np

from conformance.readers.basics import Bytes, Coder, demand, read_tables
from conformance.readers.network import Arrays, Layer, check_description, read_layer, run_network
from conformance.readers.sections import MODEL, PRIOR

ABSENT = 65535
B = (65536, 62757, 60097, 57549, 55109, 52773, 50535, 48393,
     46341, 44376, 42495, 40693, 38968, 37316, 35734, 34219)  # fmt: skip


def open_arrays(source: Bytes, tables: int, symbols: int, precision: int, size: int, most: int) -> Arrays:
    """The arrays that follow the fields, to the end."""
    demand(1 <= tables <= most and 1 <= symbols <= 96 and 1 <= precision <= 16, "tables")
    table_source = Bytes(source.take(size))
    rows = read_tables(table_source, tables, symbols, precision)
    demand(not table_source.rest(), "bytes after the tables")
    return Arrays(Coder(source.rest()), rows, precision)


def close_arrays(arrays: Arrays) -> None:
    """Check that nothing is left."""
    arrays.coder.end()
    demand(arrays.used == len(arrays.tables), "tables left over")


class Scale:
    """A scale."""

    def __init__(self, fields: tuple[int, ...], canvas: tuple[int, ...]) -> None:
        self.stride, self.kernel, self.latents = fields[:2], fields[2:4], fields[4]
        for side, stride, kernel in zip(canvas, self.stride, self.kernel, strict=True):
            demand(1 <= stride <= kernel <= 16 and (kernel - stride) % 2 == 0 and side % stride == 0, "scale")
        demand(self.latents >= 1, "latents")
        self.padding = [(kernel - stride) // 2 for kernel, stride in zip(self.kernel, self.stride, strict=True)]
        self.grid = tuple(side // stride for side, stride in zip(canvas, self.stride, strict=True))
        self.stem = np.zeros(0)
        self.largest = np.zeros(0)

    def sums(self, z: np.ndarray) -> np.ndarray:
        """The stem's output for latents [rows, columns, D]: [h, w, C]."""
        (ky, kx), (sy, sx), (py, px), (rows, columns) = self.kernel, self.stride, self.padding, self.grid
        full = np.zeros(((rows - 1) * sy + ky, (columns - 1) * sx + kx, self.stem.shape[3]), np.int64)
        for y in range(ky):
            for x in range(kx):
                full[y : y + (rows - 1) * sy + 1 : sy, x : x + (columns - 1) * sx + 1 : sx] += z @ self.stem[:, y, x]
        return full[py : full.shape[0] - py, px : full.shape[1] - px]

    def bound(self) -> np.ndarray:
        """M_s of each channel."""
        taps = np.einsum("j,jyxc->yxc", self.largest, np.abs(self.stem))
        (sy, sx) = self.stride
        return np.max([taps[y::sy, x::sx].sum(axis=(0, 1)) for y in range(sy) for x in range(sx)], axis=0)


class Level:
    """A level."""

    def __init__(self, fields: tuple[int, ...]) -> None:
        self.scale, self.first, self.width, self.size = fields
        demand(self.width >= 1 and self.size >= 1, "level")
        self.codes = np.zeros(0)

    @property
    def channels(self) -> slice:
        """The latents that its codes are added to."""
        return slice(self.first, self.first + self.width)


class Network:
    """Read the pyramid network from its bytes. wide : whether its pixels have 16 bits"""

    def __init__(self, data: bytes, wide: bool) -> None:
        source = Bytes(data)
        kind, scales, levels, layers, rows, columns, channels, low, high = source.fields("BBBBHHHhh")
        demand(kind == 1 and 1 <= scales <= 16 and levels >= 1 and 1 <= layers <= 64, "head of a pyramid")
        demand(rows >= 1 and columns >= 1 and channels >= 1, "canvas")
        demand(0 <= low <= high <= 255 or -128 <= low <= high <= 127, "clip of the canvas")
        coding = source.fields("HBBI")
        self.scales = [Scale(source.fields("BBBBH"), (rows, columns)) for _ in range(scales)]
        self.levels = [Level(source.fields("BHHH")) for _ in range(levels)]
        order = [level.scale for level in self.levels]
        demand(order == sorted(order) and set(order) == set(range(scales)), "levels")
        demand(all(of.channels.stop <= self.scales[of.scale].latents for of in self.levels), "channels of a level")
        self.first = np.cumsum([0] + [level.size for level in self.levels]).tolist()
        demand(self.first[-1] <= 65535, "codes")
        self.clip = {"low": low, "high": high}
        described, inputs = [], channels
        for number in range(layers):
            described.append(describe_layer(source, inputs, number == layers - 1))
            inputs = described[-1]["outputs"]
        arrays = open_arrays(source, *coding, 40 * (scales + levels + layers + 1))
        arrays.wide = wide
        self.read_numbers(arrays, described, channels)
        close_arrays(arrays)
        self.check()

    def read_numbers(self, arrays: Arrays, described: list[dict[str, Any]], channels: int) -> None:
        """Read all arrays."""
        for scale in self.scales:
            scale.stem = arrays.weights((scale.latents, *scale.kernel, channels))
        self.bias = arrays.array(np.zeros(channels, int), signed=True)
        self.shift = arrays.array(np.zeros(channels, int))
        for level in self.levels:
            level.codes = arrays.weights((level.size, level.width))
        self.layers: list[Layer] = [read_layer(arrays, fields) for fields in described]

    def check(self) -> None:
        """Check ranges, and the bounds below which sums are exact."""
        demand(self.shift.max() <= 24 and np.abs(self.bias).max() < 1 << 31, "bias, shift")
        demand(all(np.abs(level.codes).max() <= 2048 for level in self.levels), "codes")
        sums = np.abs(self.bias)
        for number, scale in enumerate(self.scales):
            demand(scale.stem.min() >= -128 and scale.stem.max() <= 127, "stem")
            above, below = (np.zeros(scale.latents, np.int64) for _ in range(2))
            for level in self.levels:
                if level.scale == number:
                    above[level.channels] += np.maximum(0, level.codes.max(axis=0))
                    below[level.channels] += np.maximum(0, -level.codes.min(axis=0))
            scale.largest = np.maximum(above, below)
            sums = sums + scale.bound()
        demand((sums <= 1 << 24).all(), "sums of the canvas are not exact")
        before = self.clip
        for layer in self.layers:
            layer.check(before)
            before = layer.activation

    def zeros(self) -> list[np.ndarray]:
        """Latents of an image without tokens."""
        return [np.zeros((*scale.grid, scale.latents), np.int64) for scale in self.scales]

    def pixels(self, latents: list[np.ndarray]) -> np.ndarray:
        """The pixels [H', W', C] of an image's latents."""
        acc = self.bias + sum(scale.sums(z) for scale, z in zip(self.scales, latents, strict=True))
        return run_network(self.layers, np.clip(acc >> self.shift, self.clip["low"], self.clip["high"]))


def describe_layer(source: Bytes, inputs: int, last: bool) -> dict[str, Any]:
    """Read a layer's description, as in the decoder network."""
    kind, ky, kx, sy, sx, py, px, outputs = source.fields("BBBBBBBH")
    demand(kind in (2, 3), "kind of layer")
    if last:
        low, entries = source.fields("iI")
        activation = {"kind": "pixels", "low": low, "entries": entries}
    else:
        low, high = source.fields("hh")
        activation = {"kind": "clip", "low": low, "high": high}
    layer = {
        "kind": {2: "up", 3: "conv"}[kind],
        "inputs": inputs,
        "outputs": outputs,
        "kernel": [ky, kx],
        "stride": [sy, sx],
        "padding": [py, px],
        "activation": activation,
    }
    check_description(layer, False, last)
    return layer


class LevelPrior:
    """The prior that a level's tokens are coded with."""

    def __init__(self, fields: tuple[int, ...], network: Network, number: int) -> None:
        self.kind, own, self.one, self.two, self.hidden = fields
        self.network, self.level = network, network.levels[number]
        self.scale = network.scales[self.level.scale]
        self.rows = prod(self.scale.grid) if own else 1
        demand(self.kind in (1, 2) and own <= 1 and self.one <= 24 and self.two <= 24, "level of a prior")
        demand((self.hidden >= 1) if self.kind == 2 else (self.hidden == self.two == 0), "level of a prior")

    @property
    def reach(self) -> int:
        """r."""
        if prod(self.scale.grid) == 1:
            return 0
        return 3 if 49 * self.scale.latents <= 300 else 2 if 25 * self.scale.latents <= 300 else 1

    def read_numbers(self, arrays: Arrays) -> None:
        """Read the level's arrays."""
        codes = self.level.size
        if self.kind == 1:
            self.tables = arrays.array(np.zeros((self.rows, codes), int))
            demand((self.tables.sum(axis=1) == 1 << self.one).all(), "tables of a level")
            return
        coarser = self.network.scales[: self.level.scale]
        largest = np.concatenate(
            [np.tile(self.scale.largest, (2 * self.reach + 1) ** 2)] + [of.largest for of in coarser]
        )
        self.weight1 = arrays.weights((len(largest), self.hidden))
        self.bias1 = arrays.array(np.zeros((self.rows, self.hidden), int), signed=True)
        self.weight2 = arrays.weights((self.hidden, codes))
        self.bias2 = arrays.array(np.zeros(codes, int), signed=True)
        demand(all(of.min() >= -128 and of.max() <= 127 for of in (self.weight1, self.weight2)), "weights of a prior")
        demand((np.abs(self.bias1) + largest @ np.abs(self.weight1) <= 1 << 24).all(), "hidden sums")
        demand((np.abs(self.bias2) + 255 * np.abs(self.weight2).sum(axis=0) <= 1 << 24).all(), "scores")

    def features(self, latents: list[np.ndarray], y: int, x: int) -> np.ndarray:
        """The features of a position."""
        r, here = self.reach, self.level.scale
        framed = np.pad(latents[here], ((r, r), (r, r), (0, 0)))
        found = [framed[y : y + 2 * r + 1, x : x + 2 * r + 1].ravel()]
        for scale, z in zip(self.network.scales[:here], latents, strict=False):
            found.append(z[y * self.scale.stride[0] // scale.stride[0], x * self.scale.stride[1] // scale.stride[1]])
        return np.concatenate(found)

    def units(self, latents: list[np.ndarray], y: int, x: int) -> list[int]:
        """The units of each code at a position."""
        place = y * self.scale.grid[1] + x if self.rows > 1 else 0
        hidden = np.clip(self.bias1[place] + self.features(latents, y, x) @ self.weight1 >> self.one, 0, 255)
        scores = (self.bias2 + hidden @ self.weight2 >> self.two).tolist()
        e = [min(max(scores) - score, 255) for score in scores]
        w = [B[distance % 16] >> distance // 16 for distance in e]
        units = [1 + weight * (2**24 - len(w)) // sum(w) for weight in w]
        units[scores.index(max(scores))] += 2**24 - sum(units)
        return units

    def read(self, coder: Coder, images: list[list[np.ndarray]], y: int, x: int) -> list[int]:
        """Decode the codes of some images at a position, given their latents."""
        if not images:
            return []
        if self.kind == 1:
            place = y * self.scale.grid[1] + x if self.rows > 1 else 0
            return coder.group(self.tables[place].tolist(), self.one, len(images))
        return [coder.each(self.units(latents, y, x)) if self.level.size > 1 else 0 for latents in images]


class PyramidTokens:
    """Tokens and pixels of the decoder "pyramid"."""

    def __init__(self, sections: dict[int, list[bytes]], header: dict[str, Any]) -> None:
        self.network = Network(sections[MODEL][0], header["dtype"] != "uint8")
        scales, levels = self.network.scales, self.network.levels
        self.places = [
            (number, y, x)
            for number, level in enumerate(levels)
            for y in range(scales[level.scale].grid[0])
            for x in range(scales[level.scale].grid[1])
        ]
        demand(header["token_grid"] == [1, len(self.places)], "T")
        demand(header["codebook_size"] == self.network.first[-1], "codes of all levels")
        source = Bytes(sections[PRIOR][0])
        kind, self.precision, count = source.fields("BBH")
        demand(kind == 3 and self.precision <= 24 and count == len(levels), "prior of a pyramid")
        coding = source.fields("HBBI")
        self.priors = [LevelPrior(source.fields("BBBBH"), self.network, number) for number in range(count)]
        arrays = open_arrays(source, *coding, 40 * (2 * count + 1))
        self.depths = arrays.array(np.zeros(count + 1, int)).tolist()
        demand(sum(self.depths) == 1 << self.precision, "depths")
        for prior in self.priors:
            prior.read_numbers(arrays)
        close_arrays(arrays)

    def read(self, coder: Coder, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The codes [n, T] of the tokens of a block, and the network's output for them."""
        depths = coder.group(self.depths, self.precision, count)
        tokens = np.full((count, len(self.places)), ABSENT)
        latents = [self.network.zeros() for _ in range(count)]
        for at, (number, y, x) in enumerate(self.places):
            level = self.network.levels[number]
            members = [image for image, depth in enumerate(depths) if depth > number]
            codes = self.priors[number].read(coder, [latents[image] for image in members], y, x)
            for image, code in zip(members, codes, strict=True):
                tokens[image, at] = self.network.first[number] + code
                latents[image][level.scale][y, x, level.channels] += level.codes[code]
        return tokens, np.array([self.network.pixels(of) for of in latents])
