"""Layers of integer networks in PyTorch: exact on any device, whatever precision the process has chosen.

They use embeddings, matrix products of patches, and additions; never a framework's convolution, which may use a fast
algorithm with fractions. All sums are integers within 2**24, so float32 is exact as long as products are computed in
float32: `exact_products` turns reduced precision (TF32, bfloat16) and autocast off.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smalti.decoders.layers.integer_network import Clip, Layer, PixelTable, PixelType

__all__ = ["BATCH_NUMBERS", "ExactLayer", "exact_products", "numbers_per_image", "pixel_dtype"]

BATCH_NUMBERS = 1 << 24
"""Numbers of a layer in memory at a time, for a batch of images; a single image may have more."""


class ExactLayer:
    """One layer: values [n, y, x, inputs], or tokens [n, y, x], to values [n, y, x, outputs].

    dtype : torch.float32 or torch.float64, the type that holds the integers
    """

    def __init__(self, layer: Layer, device: torch.device, dtype: torch.dtype) -> None:
        self.layer = layer
        weight = torch.from_numpy(layer.weight).to(device, dtype)  # [inputs, ky, kx, outputs]
        in_order = weight.permute(1, 2, 0, 3) if layer.kind == "conv" else weight
        self._matrix = in_order.reshape(-1 if layer.kind == "conv" else layer.inputs, *_columns(layer))
        self._bias = torch.from_numpy(layer.bias).to(device, dtype)
        scale = np.ldexp(1.0, -layer.shift.astype(np.int32))  # powers of two: products are exact
        self._scale = torch.from_numpy(scale).to(device, dtype)
        self._pixels = None if isinstance(layer.activation, Clip) else _table(layer.activation).to(device)

    def __call__(self, values: Tensor) -> Tensor:
        """Values of the layer for its inputs."""
        return self.activated(self.sums(values))

    def sums(self, values: Tensor) -> Tensor:
        """Sums of products [n, y, x, outputs], without the bias."""
        return self._convolved(values) if self.layer.kind == "conv" else self._transposed(values)

    def activated(self, sums: Tensor) -> Tensor:
        """Values of sums: add the bias, shift, and clip or look up pixels."""
        shifted = torch.floor((sums + self._bias) * self._scale)
        activation = self.layer.activation
        if isinstance(activation, Clip):
            return shifted.clamp(activation.low, activation.high)
        assert self._pixels is not None  # every other activation is a table
        positions = (shifted.to(torch.int64) - activation.low).clamp(0, len(self._pixels) - 1)
        return self._pixels[positions]

    def _convolved(self, values: Tensor) -> Tensor:
        (height, width), (down, across) = self.layer.kernel, self.layer.padding
        framed = torch.nn.functional.pad(values, (0, 0, across, across, down, down))
        patches = framed.unfold(1, height, 1).unfold(2, width, 1)  # [n, y, x, inputs, ky, kx]
        flat = patches.permute(0, 1, 2, 4, 5, 3).reshape(-1, len(self._matrix))
        return (flat @ self._matrix).reshape(*patches.shape[:3], self.layer.outputs)

    def _transposed(self, values: Tensor) -> Tensor:
        """Add up the contributions of every input around its position, and crop by the padding."""
        layer = self.layer
        added = self._matrix[values] if layer.kind == "tokens" else values.reshape(-1, layer.inputs) @ self._matrix
        count, rows, columns = values.shape[:3]
        added = added.reshape(count, rows, columns, *layer.kernel, layer.outputs)
        (height, width), (step_y, step_x), (down, across) = layer.kernel, layer.stride, layer.padding
        whole = ((rows - 1) * step_y + height, (columns - 1) * step_x + width)
        sums = added.new_zeros((count, *whole, layer.outputs))
        for y in range(height):
            for x in range(width):
                to_y, to_x = (
                    slice(y, y + (rows - 1) * step_y + 1, step_y),
                    slice(x, x + (columns - 1) * step_x + 1, step_x),
                )
                sums[:, to_y, to_x] += added[:, :, :, y, x]
        return sums[:, down : whole[0] - down, across : whole[1] - across]


def numbers_per_image(layers: tuple[Layer, ...], size: tuple[int, int]) -> int:
    """The size of the largest array for one image in a chain of layers. size : rows and columns of the input"""
    largest = 1
    for layer in layers:
        taps = layer.kernel[0] * layer.kernel[1]
        rows, columns = layer.output_size(size)
        if layer.kind == "conv":
            largest = max(largest, rows * columns * taps * layer.inputs)
        else:
            largest = max(largest, rows * columns * layer.outputs, size[0] * size[1] * taps * layer.outputs)
        size = rows, columns
    return largest


def pixel_dtype(dtype: PixelType) -> torch.dtype:
    """PyTorch's type for pixels."""
    return torch.uint8 if dtype == np.uint8 else torch.uint16


def _table(table: PixelTable) -> Tensor:
    """The values of a table. PyTorch (2.13) cannot look up uint16, so 16-bit values become int32."""
    values = table.values
    return torch.from_numpy(values if values.dtype == np.uint8 else values.astype(np.int32))


def _columns(layer: Layer) -> tuple[int]:
    """Columns of a layer's matrix, as a shape."""
    return (layer.outputs if layer.kind == "conv" else layer.kernel[0] * layer.kernel[1] * layer.outputs,)


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Compute float32 matrix products in full precision, and restore the choice of the process afterwards."""
    chosen = _product_precision()
    try:
        _set_product_precision(("ieee", "ieee") if isinstance(chosen, tuple) else "highest")
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        _set_product_precision(chosen)


_onednn: Any = torch.backends.mkldnn  # its stubs lag behind it

_Precision = str | tuple[str, str]
"""A pair in torch 2.9 and later: for products on GPUs and by oneDNN. The older common switch cannot report both."""


def _product_precision() -> _Precision:
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        return torch.backends.cuda.matmul.fp32_precision, _onednn.matmul.fp32_precision
    return torch.get_float32_matmul_precision()


def _set_product_precision(precision: _Precision) -> None:
    if isinstance(precision, tuple):
        torch.backends.cuda.matmul.fp32_precision = precision[0]
        _onednn.matmul.fp32_precision = precision[1]
    else:
        torch.set_float32_matmul_precision(precision)
