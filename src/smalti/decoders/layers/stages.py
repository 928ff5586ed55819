"""Layers that are ready to run: integers as floating-point numbers, with exact sums.

A stage computes a part (`target`) of its output from the part (`source`) of its input that this depends on, by table
look-ups or one kind of matrix product, and additions. Every number is an integer within 2**24, so no operation rounds,
and the order of additions does not matter.

`Axis` says which positions of a layer's input contribute to which positions of its output, for whole grids and for
parts of them; it touches no values. Along each axis a kernel's tap k joins input i and output y by

    tokens, up:  y = i * stride - padding + k            conv:  i = y - padding + k
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.integer_network import Activation, Float, Layer, Values

__all__ = [
    "Axis",
    "ConvLayer",
    "Region",
    "Span",
    "Stage",
    "TokenLayer",
    "UpLayer",
    "area",
    "axes",
    "compile_layer",
    "extent",
]


Span = tuple[int, int]
"""Positions start..stop - 1 along one axis."""

Region = tuple[Span, Span]
"""Rows and columns of a part of a grid."""


@dataclass(frozen=True)
class Axis:
    """One axis of a layer's kernel."""

    kernel: int
    stride: int
    padding: int
    transposed: bool

    def output_size(self, size: int) -> int:
        """Outputs for `size` inputs."""
        if self.transposed:
            return (size - 1) * self.stride - 2 * self.padding + self.kernel
        return size + 2 * self.padding - self.kernel + 1

    def needed(self, target: Span, size: int) -> Span:
        """The inputs, out of `size`, that the outputs `target` depend on; an empty span if there are none."""
        if self.transposed:
            start = -(-(target[0] + self.padding - self.kernel + 1) // self.stride)
            stop = (target[1] - 1 + self.padding) // self.stride + 1
        else:
            start, stop = target[0] - self.padding, target[1] - self.padding + self.kernel - 1
        start = min(max(start, 0), size)
        return start, max(min(stop, size), start)

    def pairs(self, tap: int, source: Span, target: Span) -> tuple[slice, slice]:
        """For a transposed layer: the inputs that add to an output through `tap`, and these outputs.

        Both are slices into arrays that hold only `source` and `target`.
        """
        offset = tap - self.padding
        start = max(source[0], -(-(target[0] - offset) // self.stride))
        stop = max(min(source[1], (target[1] - 1 - offset) // self.stride + 1), start)
        first = start * self.stride + offset - target[0]
        past = first + (stop - start - 1) * self.stride + 1 if stop > start else first
        return slice(start - source[0], stop - source[0]), slice(first, past, self.stride)


def axes(layer: Layer) -> tuple[Axis, Axis]:
    """The axes y and x of a layer."""
    y, x = (
        Axis(kernel, stride, padding, layer.kind != "conv")
        for kernel, stride, padding in zip(layer.kernel, layer.stride, layer.padding, strict=True)
    )
    return y, x


def extent(region: Region) -> tuple[int, int]:
    """Rows and columns of a region."""
    return region[0][1] - region[0][0], region[1][1] - region[1][0]


def area(region: Region) -> int:
    """The number of positions of a region."""
    rows, columns = extent(region)
    return rows * columns


class Stage(Protocol):
    """One or more layers. In all methods `size` is the rows and columns of the whole input."""

    @property
    def outputs(self) -> int:
        """Channels out."""

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns out for rows and columns in."""

    def needed(self, target: Region, size: tuple[int, int]) -> Region:
        """The part of an input grid of `size` that the part `target` of the output depends on."""

    def scratch_bytes(self, target: Region, size: tuple[int, int]) -> int:
        """Bytes of memory that `run` needs for one image."""

    def run(self, values: Values, source: Region, target: Region, size: tuple[int, int]) -> Values:
        """Values [n, y, x, outputs] of `target` for inputs of `source`: values [n, y, x, inputs] or tokens [n, y, x].

        `target` is not empty; `source` may be.
        """


class _Layer:
    """The part that the kinds of layer share."""

    def __init__(self, layer: Layer, dtype: Float) -> None:
        self.weight: NDArray[Any] = layer.weight  # [inputs, ky, kx, outputs], whole numbers of any type
        self.bias = layer.bias.astype(dtype)
        self.axes = axes(layer)
        self.activation = Activation(layer, dtype)

    @property
    def outputs(self) -> int:
        """Channels out."""
        return int(self.weight.shape[3])

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns out for rows and columns in."""
        return self.axes[0].output_size(size[0]), self.axes[1].output_size(size[1])

    def needed(self, target: Region, size: tuple[int, int]) -> Region:
        """The part of an input grid of `size` that `target` depends on."""
        return self.axes[0].needed(target[0], size[0]), self.axes[1].needed(target[1], size[1])

    def scratch_bytes(self, target: Region, size: tuple[int, int]) -> int:
        """Bytes of memory that `run` needs for one image."""
        return self.bias.itemsize * self.scratch_values(self.needed(target, size), target)

    def run(self, values: Values, source: Region, target: Region, size: tuple[int, int]) -> Values:
        """Values of `target` for the values of `source`."""
        del size
        return self.activation.apply(self.sums(values, source, target))

    def scratch_values(self, source: Region, target: Region) -> int:
        """How many numbers `sums` holds at a time, per image."""
        raise NotImplementedError

    def sums(self, values: Values, source: Region, target: Region) -> Values:
        """Sums [n, y, x, outputs] of `target`."""
        raise NotImplementedError

    def _biased(self, count: int, target: Region) -> Values:
        sums = np.empty((count, *extent(target), self.outputs), self.bias.dtype)
        sums[...] = self.bias
        return sums


class TokenLayer(_Layer):
    """The first layer: each token adds its own patch of numbers."""

    @classmethod
    def folded(cls, lookup: Layer, following: Layer, dtype: Float) -> "TokenLayer":
        """One table of tokens for a layer of tokens that do not overlap and the transposed convolution after it."""
        values = Activation(lookup, dtype).apply((lookup.weight[:, 0, 0] + lookup.bias).astype(dtype))
        folded = cls(following, dtype)
        matrix = following.weight.reshape(following.inputs, -1).astype(dtype)
        folded.weight = (values @ matrix).reshape(lookup.inputs, *following.weight.shape[1:])
        return folded

    @staticmethod
    def folds(lookup: Layer, following: Layer) -> bool:
        """True if `folded` can serve these layers: each output of the first must depend on exactly one token."""
        return lookup.kernel == (1, 1) and lookup.stride == (1, 1) and following.kind == "up"

    def scratch_values(self, source: Region, target: Region) -> int:
        """How many numbers `sums` holds at a time, per image."""
        return 3 * self.outputs * area(target) + area(source)

    def sums(self, values: Values, source: Region, target: Region) -> Values:
        """Sums [n, y, x, outputs] of `target` for tokens [n, y, x] of `source`."""
        result = self._biased(len(values), target)
        down, across = self.axes
        for ky in range(down.kernel):
            from_y, to_y = down.pairs(ky, source[0], target[0])
            for kx in range(across.kernel):
                from_x, to_x = across.pairs(kx, source[1], target[1])
                result[:, to_y, to_x] += self.weight[:, ky, kx][values[:, from_y, from_x]]
        return result


class UpLayer(_Layer):
    """A transposed convolution: a matrix product, and its results added where they overlap."""

    def __init__(self, layer: Layer, dtype: Float) -> None:
        super().__init__(layer, dtype)
        inputs, rows, columns, outputs = layer.weight.shape
        by_row = layer.weight.transpose(1, 0, 2, 3).reshape(rows, inputs, columns * outputs)
        self._matrices = by_row.astype(dtype)

    def scratch_values(self, source: Region, target: Region) -> int:
        """How many numbers `sums` holds at a time, per image."""
        return self.outputs * area(target) + int(self._matrices.shape[2]) * area(source)

    def sums(self, values: Values, source: Region, target: Region) -> Values:
        """Sums [n, y, x, outputs] of `target` for values [n, y, x, inputs] of `source`."""
        result = self._biased(len(values), target)
        down, across = self.axes
        flat = values.reshape(-1, values.shape[3])
        for ky, matrix in enumerate(self._matrices):  # one row of the kernel at a time bounds the memory
            from_y, to_y = down.pairs(ky, source[0], target[0])
            products = (flat @ matrix).reshape(*values.shape[:3], across.kernel, self.outputs)
            for kx in range(across.kernel):
                from_x, to_x = across.pairs(kx, source[1], target[1])
                result[:, to_y, to_x] += products[:, from_y, from_x, kx]
        return result


class ConvLayer(_Layer):
    """A convolution of stride 1: patches times a matrix."""

    def __init__(self, layer: Layer, dtype: Float) -> None:
        super().__init__(layer, dtype)
        self._matrix = layer.weight.transpose(1, 2, 0, 3).reshape(-1, layer.outputs).astype(dtype)

    def scratch_values(self, source: Region, target: Region) -> int:
        """How many numbers `sums` holds at a time, per image."""
        del source
        (height, width), (patch, outputs) = extent(target), self._matrix.shape
        framed = (height + self.axes[0].kernel) * (width + self.axes[1].kernel) * len(self.weight)
        return int(patch + outputs) * height * width + framed

    def sums(self, values: Values, source: Region, target: Region) -> Values:
        """Sums [n, y, x, outputs] of `target` for values [n, y, x, inputs] of `source`."""
        down, across = self.axes
        height, width = extent(target)
        framed = np.zeros(
            (len(values), height + down.kernel - 1, width + across.kernel - 1, len(self.weight)), self.bias.dtype
        )
        framed[:, _framed(down, source[0], target[0]), _framed(across, source[1], target[1])] = values
        windows = np.lib.stride_tricks.sliding_window_view(framed, (down.kernel, across.kernel), axis=(1, 2))
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, len(self._matrix))
        result = patches @ self._matrix
        result += self.bias
        return result.reshape(len(values), height, width, self.outputs)


def compile_layer(layer: Layer, dtype: Float) -> TokenLayer | UpLayer | ConvLayer:
    """Make a layer ready to run in `dtype`."""
    if layer.kind == "tokens":
        return TokenLayer(layer, dtype)
    return UpLayer(layer, dtype) if layer.kind == "up" else ConvLayer(layer, dtype)


def _framed(axis: Axis, source: tuple[int, int], target: tuple[int, int]) -> slice:
    """The existing inputs (`source`) among all that a convolution's outputs `target` would need."""
    first = source[0] - (target[0] - axis.padding)
    return slice(first, first + source[1] - source[0])
