"""A reader of the decoder network, written from docs/format.md: its bytes, its ranges, its output for tokens."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.readers.basics import Bytes, Coder, canonical_json, demand, read_tables

LAYER_KEYS = ["activation", "inputs", "kernel", "kind", "outputs", "padding", "stride"]


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
        """Check the ranges, and the bound below which sums are exact."""
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
    """Reads the arrays of a network from its words."""

    def __init__(self, coder: Coder, tables: list[list[int]], precision: int) -> None:
        self.wide = False  # whether pixels have 16 bits
        self.coder = coder
        self.tables = tables
        self.precision = precision
        self.used = 0

    def array(self, groups: np.ndarray, signed: bool = False) -> np.ndarray:
        """Read an array. groups : the group of each element"""
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
        """Read levels of rows, levels of columns, and the numbers that these group."""
        rows, columns = (self.array(np.zeros(size, int)) for size in (shape[0], shape[-1]))
        demand(rows.max() <= 15 and columns.max() <= 15, "levels")
        groups = rows.reshape(-1, *[1] * (len(shape) - 1)) + columns
        return self.array(np.broadcast_to(groups, shape), signed=True)

    def _bits(self, count: int) -> list[int]:
        return self.coder.group([1, 1], 1, count)


def check_description(layer: dict[str, Any], first: bool, last: bool) -> None:
    """Check the ranges of a layer's description."""
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
    """Read the numbers of the layer that `fields` describe."""
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
    """Read the decoder network from its bytes. wide : whether its pixels have 16 bits"""
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
