"""A decoder network in integers: its numbers, their meaning, and the bounds that make it exact.

A network is a chain of layers from tokens to pixels. Every layer adds integers up and ends in an activation:

    acc   = bias[c] + sum of products of integers       every partial sum lies within -2**24 .. 2**24
    value = activation of acc >> shift[c]               >> is floor division by a power of two

Because of this bound, a float32 matrix product gives the same bits in any order, on any machine: float32 represents
every integer that occurs (docs/format.md, "The decoder network"). `Activation` evaluates activations by exact
operations on whole numbers in floating point. This module has no other evaluation; `stages` runs the layers.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from smalti.errors import ModelError
from smalti.lazy import cached_property

__all__ = [
    "EXACT",
    "Activation",
    "Clip",
    "Float",
    "IntegerNetwork",
    "Layer",
    "Pair",
    "PixelTable",
    "PixelType",
    "Values",
    "check_chain",
    "check_outputs",
    "pixel_type",
]


EXACT = 1 << 24
"""float32 represents every integer up to this magnitude; sums of such integers are exact while they stay within it."""

PixelType = np.dtype[np.uint8] | np.dtype[np.uint16]
"""The type of pixels: 8 or 16 bits."""

Pair = tuple[int, int]
"""Rows and columns, or numbers along them: (y, x)."""

MAX_SHIFT = 24
MAX_TABLE = 1 << 16
MAX_CHANNELS = 1 << 16
MAX_KERNEL = 16
MAX_LAYERS = 64

Kind = Literal["tokens", "up", "conv"]


@dataclass(frozen=True)
class Clip:
    """The activation of a hidden layer: v = min(max(v, low), high), within int8 or uint8."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if not (self.low <= self.high and (0 <= self.low <= self.high <= 255 or -128 <= self.low <= self.high <= 127)):
            raise ModelError(f"a layer that clips to {self.low}..{self.high} gives neither int8 nor uint8")


@dataclass(frozen=True, eq=False)
class PixelTable:
    """The activation of the last layer: pixel = values[min(max(v - low, 0), len(values) - 1)].

    values : uint8 or uint16 [S], S from 1 to 65,536: the result of sigmoid, scaling and rounding
    """

    low: int
    values: NDArray[np.uint8] | NDArray[np.uint16]

    def __post_init__(self) -> None:
        found, shape = self.values.dtype, list(self.values.shape)
        if self.values.ndim != 1 or found not in (np.uint8, np.uint16) or not 1 <= len(self.values) <= MAX_TABLE:
            raise ModelError(f"a pixel table is {found} {shape}, not uint8 or uint16 [1..65536]")
        if abs(self.low) > EXACT:
            raise ModelError(f"a pixel table begins at {self.low}, which no sum reaches")


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer.

    kind : "tokens", the first layer: a transposed convolution over one-hot tokens, so that token t adds `weight[t]` to
        the outputs around its position. "up": a transposed convolution. "conv": a convolution of stride 1.
    weight : int16 [inputs, ky, kx, outputs]; within int8 unless the kind is "tokens", where inputs are codes
    bias : int32 [outputs]; it includes half of 2**shift where the shift is to round and not to truncate
    shift : uint8 [outputs], each 0 to 24
    stride, padding : (y, x); strides and sides of kernels are 1 to 16, a padding is below the kernel's size

    Raises ModelError if the numbers do not fit each other.
    """

    kind: Kind
    weight: NDArray[np.int16]
    bias: NDArray[np.int32]
    shift: NDArray[np.uint8]
    stride: Pair
    padding: Pair
    activation: Clip | PixelTable

    def __post_init__(self) -> None:
        if self.weight.ndim != 4 or self.weight.dtype != np.int16 or not self.weight.size:
            raise ModelError(f"weights are {self.weight.dtype} {list(self.weight.shape)}, not int16 with 4 dimensions")
        outputs = self.weight.shape[3]
        if max(self.inputs, outputs) > MAX_CHANNELS:
            raise ModelError(f"a layer from {self.inputs} to {outputs} channels; {MAX_CHANNELS} are the most")
        check_outputs(self.bias, self.shift, outputs)
        if self.kind not in ("tokens", "up", "conv"):
            raise ModelError(f"unknown kind of layer {self.kind!r}")
        if self.kind != "tokens" and not -128 <= int(self.weight.min()) <= int(self.weight.max()) <= 127:
            raise ModelError("weights are outside int8")
        if self.kind == "conv" and self.stride != (1, 1):
            raise ModelError(f"a convolution of stride {list(self.stride)}; only 1 is known")
        for stride, padding, kernel in zip(self.stride, self.padding, self.kernel, strict=True):
            if not (1 <= stride <= MAX_KERNEL and 0 <= padding < kernel <= MAX_KERNEL):
                raise ModelError(f"stride {stride} and padding {padding} do not fit a kernel of {kernel}")

    @property
    def inputs(self) -> int:
        """Channels in; the number of codes, for the first layer."""
        return int(self.weight.shape[0])

    @property
    def outputs(self) -> int:
        """Channels out."""
        return int(self.weight.shape[3])

    @property
    def kernel(self) -> Pair:
        """(y, x)."""
        return self.weight.shape[1], self.weight.shape[2]

    def output_size(self, size: Pair) -> Pair:
        """Rows and columns out for rows and columns in; ModelError if nothing would remain."""
        sides = zip(size, self.kernel, self.stride, self.padding, strict=True)
        if self.kind == "conv":
            result = tuple(side + 2 * padding - kernel + 1 for side, kernel, _, padding in sides)
        else:
            result = tuple((side - 1) * stride - 2 * padding + kernel for side, kernel, stride, padding in sides)
        if min(result) < 1:
            raise ModelError(f"a layer makes {list(result)} of {list(size)}")
        return result[0], result[1]

    def largest_sum(self, low: int, high: int) -> int:
        """The largest magnitude that a partial sum of this layer can reach, for inputs within low..high.

        In a transposed convolution an output depends only on the taps of one residue class of the stride.
        """
        taps: NDArray[np.int64]
        if self.kind == "tokens":
            taps = np.maximum(self.weight.max(axis=0).astype(np.int64), -self.weight.min(axis=0).astype(np.int64))
        else:  # int8 weights: their magnitudes are int16
            taps = np.abs(self.weight).sum(axis=0, dtype=np.int64) * max(abs(low), abs(high))
        step_y, step_x = self.stride if self.kind != "conv" else (1, 1)
        totals = [
            taps[y::step_y, x::step_x].sum(axis=(0, 1)) + np.abs(self.bias.astype(np.int64))
            for y in range(step_y)
            for x in range(step_x)
        ]
        return int(np.max(totals))


def check_outputs(bias: NDArray[np.int32], shift: NDArray[np.uint8], outputs: int) -> None:
    """Raise ModelError unless biases are int32 [outputs], and shifts uint8 [outputs], each 0 to 24."""
    for name, array, dtype in (("bias", bias, np.int32), ("shift", shift, np.uint8)):
        if array.dtype != dtype or array.shape != (outputs,):
            raise ModelError(f"{name} is {array.dtype} {list(array.shape)}, not {np.dtype(dtype)} [{outputs}]")
    if int(shift.max()) > MAX_SHIFT:
        raise ModelError(f"a shift of {shift.max()} is above {MAX_SHIFT}")


def check_chain(layers: tuple[Layer, ...], low: int, high: int) -> None:
    """Raise ModelError unless layers fit each other, end in pixels, and are exact for inputs within low..high."""
    if not 1 <= len(layers) <= MAX_LAYERS:
        raise ModelError(f"a network of {len(layers)} layers, not 1..{MAX_LAYERS}")
    for number, layer in enumerate(layers):
        if isinstance(layer.activation, PixelTable) != (number == len(layers) - 1):
            raise ModelError(f"layer {number}: the last layer, and no other, gives pixels by a table")
        if number and layer.inputs != layers[number - 1].outputs:
            raise ModelError(f"layer {number} takes {layer.inputs} channels, not {layers[number - 1].outputs}")
        if layer.largest_sum(low, high) > EXACT:
            raise ModelError(f"layer {number}: its sums may exceed 2**24 and would not be exact")
        if isinstance(layer.activation, Clip):
            low, high = layer.activation.low, layer.activation.high
    if not 1 <= layers[-1].outputs <= 4:
        raise ModelError(f"a network that makes {layers[-1].outputs} channels")


def pixel_type(layers: tuple[Layer, ...]) -> PixelType:
    """The type of the values of the table that ends a chain of layers."""
    last = layers[-1].activation
    assert isinstance(last, PixelTable)  # `check_chain` ensures it
    return last.values.dtype


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Layers from tokens to pixels. Only the first is of kind "tokens", and only the last has a PixelTable.

    Raises ModelError if the layers do not fit each other, or if a sum could leave the range in which it is exact.
    """

    kind: ClassVar[str] = "integer"
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        for number, layer in enumerate(self.layers):
            if (layer.kind == "tokens") != (number == 0):
                raise ModelError(f"layer {number} is of kind {layer.kind!r}: the first one, and no other, takes tokens")
        check_chain(self.layers, 0, 0)

    @property
    def codes(self) -> int:
        """U, the number of codes: tokens are 0 to U - 1."""
        return self.layers[0].inputs

    @property
    def channels(self) -> int:
        """C, channels of an image."""
        return self.layers[-1].outputs

    @property
    def dtype(self) -> PixelType:
        """Of the pixels: uint8 or uint16."""
        return pixel_type(self.layers)

    def output_size(self, grid: Pair) -> Pair:
        """Rows and columns of an image for a token grid (h, w); ModelError if nothing would remain."""
        for layer in self.layers:
            grid = layer.output_size(grid)
        return grid

    def with_codes(self, code_ids: NDArray[np.integer]) -> "IntegerNetwork":
        """The same network with only these codes, in this order."""
        return self.with_weight(np.ascontiguousarray(self.layers[0].weight[code_ids]))

    def with_weight(self, weight: NDArray[np.int16]) -> "IntegerNetwork":
        """The same network with other weights of its codes: int16 [codes, ky, kx, outputs]."""
        return IntegerNetwork((replace(self.layers[0], weight=weight), *self.layers[1:]))


Float = type[np.floating[Any]]
"""np.float32 or np.float64, the type that holds integers."""

Values = NDArray[Any]
"""Whole numbers as floating-point numbers; uint8 or uint16 after a pixel table."""


class Activation:
    """The activation of a layer, ready to run: sums to values. dtype : of the values"""

    def __init__(self, layer: Layer, dtype: Float) -> None:
        activation, shift = layer.activation, layer.shift
        self.dtype = np.dtype(dtype) if isinstance(activation, Clip) else activation.values.dtype
        self._activation = activation
        self._shifts = bool(shift.any())
        scale = np.ldexp(1.0, -shift.astype(np.int32)).astype(dtype)  # powers of two: products are exact
        self._scale = scale[:1] if (shift == shift[0]).all() else scale  # a single number is faster
        high = activation.high if isinstance(activation, Clip) else activation.low + len(activation.values) - 1
        # sums lie within +-2**24, where float32 represents every integer: so must the range that clips them
        self._range = dtype(activation.low), dtype(min(high, EXACT))

    @property
    def scale(self) -> Values:
        """2**-shift, of one channel if it is the same for all."""
        return self._scale

    @property
    def low(self) -> int:
        """The lowest value that sums are clipped to."""
        return self._activation.low

    @cached_property
    def table(self) -> Values | None:
        """The value of each clipped sum from `low` on; None if it would be large."""
        own = self._activation
        if isinstance(own, PixelTable):
            return own.values
        return np.arange(own.low, own.high + 1, dtype=self.dtype) if own.high - own.low < MAX_TABLE else None

    def apply(self, sums: Values) -> Values:
        """Values [..., channels] of sums [..., channels]. The sums are overwritten."""
        if self._shifts:
            np.multiply(sums, self._scale, out=sums)
            np.floor(sums, out=sums)
        np.clip(sums, *self._range, out=sums)
        if isinstance(self._activation, Clip):
            return sums
        positions = sums.astype(np.intp)
        positions -= self._activation.low
        return self._activation.values.take(positions)
