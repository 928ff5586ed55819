"""A chain of layers as a kernel: the same pixels as `stages`, for some images at once.

The values of a cell lie in lines: one for each channel, over all images. So a layer is sums of small products for each
of its cells (`add_products`), which stay in the caches, and nothing is copied into patches or added in a second pass.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernel
from smalti.decoders.layers.integer_network import EXACT, Clip, Layer, PixelTable
from smalti.decoders.layers.products_kernel import add_products, begin_with
from smalti.images.batch import Pixels

__all__ = ["IMAGES", "KernelLayer", "add_codes", "run_layers"]

Singles = NDArray[np.float32]
Pair = tuple[int, int]

IMAGES = 128
"""Images at once: enough for long loops, and few enough for the values of a layer to stay near."""


class KernelLayer(NamedTuple):
    """A layer, as a kernel takes it.

    weight : float32 [ky, kx, inputs, outputs]    scale : 2**-shift of each output    low, high : of its values
    transposed : whether it is of kind "up"    size, output : rows and columns in and out
    """

    weight: Singles
    bias: Singles
    scale: Singles
    low: float
    high: float
    transposed: bool
    stride: Pair
    padding: Pair
    size: Pair
    output: Pair

    @staticmethod
    def of(layer: Layer, size: Pair) -> "KernelLayer":
        """A layer of kind "up" or "conv" for a whole grid."""
        own = layer.activation
        high = own.high if isinstance(own, Clip) else own.low + len(own.values) - 1
        return KernelLayer(
            np.ascontiguousarray(layer.weight.transpose(1, 2, 0, 3), np.float32),
            layer.bias.astype(np.float32),
            np.ldexp(np.float32(1), -layer.shift.astype(np.int32)),
            float(own.low),
            float(min(high, EXACT)),
            layer.kind == "up",
            layer.stride,
            layer.padding,
            size,
            layer.output_size(size),
        )


def run_layers(
    first: tuple[KernelLayer, ...],
    layers: list[KernelLayer],
    table: PixelTable,
    inputs: tuple[Singles, ...],
    pixels: Pixels,
) -> None:
    """Set pixels [n, H, W, C] to what the layers make of lines; n is at most IMAGES.

    first : layers whose sums are added; the activation, and all of the bias, is that of the first of them
    inputs : of each of these, lines float32 [cells in, inputs, n]
    """
    lines = _run(first, inputs)
    for layer in layers:
        lines = _run((layer,), (lines,))
    _look_up(lines, table.values, table.low, pixels)


@kernel
def add_codes(tokens: NDArray[np.uint16], first: int, codes: Singles, lines: Singles) -> None:
    """Add the codes of tokens to lines.

    tokens : of a level, [n, cells]; the number of code k is first + k, and other numbers add nothing
    codes : float32 [K, d]    lines : float32 [cells, d, n]
    """
    for cell in range(tokens.shape[1]):
        for image in range(len(tokens)):
            code = np.int64(tokens[image, cell]) - first
            if 0 <= code < len(codes):
                for channel in range(codes.shape[1]):
                    lines[cell, channel, image] += codes[code, channel]


@kernel
def _run(layers: tuple[KernelLayer, ...], inputs: tuple[Singles, ...]) -> Singles:
    """Values [cells out, outputs, n] of layers whose sums are added, for the values [cells in, inputs, n] of each."""
    last = layers[0]
    (rows, columns), many, outputs = last.output, inputs[0].shape[2], len(last.bias)
    made = np.empty((rows * columns, outputs, many), np.float32)
    low, high = np.float32(last.low), np.float32(last.high)
    for row in range(rows):
        for column in range(columns):
            sums = made[row * columns + column]
            begin_with(sums, last.bias)
            for number in range(len(layers)):
                _add(layers[number], inputs[number], row, column, sums)
            for output in range(outputs):
                scale = last.scale[output]
                for at in range(many):
                    sums[output, at] = min(max(np.floor(sums[output, at] * scale), low), high)
    return made


@kernel
def _add(layer: KernelLayer, values: Singles, row: int, column: int, sums: Singles) -> None:
    """Add to the sums [outputs, n] of a cell what a layer makes of its values."""
    kernel_rows, kernel_columns, _, _ = layer.weight.shape
    for down in range(kernel_rows):
        y = _input(row, down, layer.padding[0], layer.stride[0], layer.size[0], layer.transposed)
        for across in range(kernel_columns):
            x = _input(column, across, layer.padding[1], layer.stride[1], layer.size[1], layer.transposed)
            if y >= 0 and x >= 0:
                add_products(layer.weight[down, across], values[y * layer.size[1] + x], sums)


@kernel
def _input(place: int, tap: int, padding: int, stride: int, size: int, transposed: bool) -> int:
    """The input, of `size`, that a tap of the kernel joins to an output along an axis, or -1."""
    if not transposed:
        found = place - padding + tap
        return found if 0 <= found < size else -1
    ahead = place + padding - tap
    return ahead // stride if ahead >= 0 and ahead % stride == 0 and ahead // stride < size else -1


@kernel
def _look_up(values: Singles, table: Pixels, low: int, pixels: Pixels) -> None:
    """Pixels [n, H, W, C] of clipped values [H * W, C, n]."""
    images, rows, columns, channels = pixels.shape
    for image in range(images):
        for row in range(rows):
            for column in range(columns):
                for channel in range(channels):
                    value = np.int64(values[row * columns + column, channel, image])
                    pixels[image, row, column, channel] = table[value - low]
