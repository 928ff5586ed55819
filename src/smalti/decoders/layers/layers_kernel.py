"""A chain of layers as a kernel: the same pixels as `stages`, for some images at once.

The values of a cell lie in lines: one for each channel, over all images. So a layer is sums of small products for each
of its cells (`add_products`), which stay in the caches, and nothing is copied into patches or added in a second pass.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernel
from smalti.decoders.layers.integer_network import EXACT, Clip, Layer, PixelTable, Values
from smalti.decoders.layers.products_kernel import add_products, begin_with
from smalti.images.batch import Pixels

__all__ = ["IMAGES", "KernelLayer", "run_layers"]

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


def run_layers(layers: list[KernelLayer], table: PixelTable, values: Values, pixels: Pixels) -> None:
    """Set pixels [n, H, W, C] to what the layers make of values [n, y, x, inputs]; n is at most IMAGES."""
    lines = np.ascontiguousarray(values.reshape(len(values), -1, values.shape[3]).transpose(1, 2, 0), np.float32)
    for layer in layers:
        lines = _run(layer, lines)
    _look_up(lines, table.values, table.low, pixels)


@kernel
def _run(layer: KernelLayer, values: Singles) -> Singles:
    """Values [cells out, outputs, n] of a layer for values [cells in, inputs, n]."""
    (rows, columns), many = layer.output, values.shape[2]
    kernel_rows, kernel_columns, _, outputs = layer.weight.shape
    made = np.empty((rows * columns, outputs, many), np.float32)
    low, high = np.float32(layer.low), np.float32(layer.high)
    for row in range(rows):
        for column in range(columns):
            sums = made[row * columns + column]
            begin_with(sums, layer.bias)
            for down in range(kernel_rows):
                y = _input(row, down, layer.padding[0], layer.stride[0], layer.size[0], layer.transposed)
                for across in range(kernel_columns):
                    x = _input(column, across, layer.padding[1], layer.stride[1], layer.size[1], layer.transposed)
                    if y >= 0 and x >= 0:
                        add_products(layer.weight[down, across], values[y * layer.size[1] + x], sums)
            for output in range(outputs):
                scale = layer.scale[output]
                for at in range(many):
                    sums[output, at] = min(max(np.floor(sums[output, at] * scale), low), high)
    return made


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
