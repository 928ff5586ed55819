"""The decoder of transforms in PyTorch: the same bits as `TransformModel`, on any device.

The mixing network is in float32, with reduced precision off (`layers`); the other matrix products are in float64. All
sums stay in the ranges in which these are exact (docs/exactness.md).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smalti.decoders.transform.transform_network import (
    LARGEST_TOKEN,
    LARGEST_VALUE,
    MATRIX_BITS,
    MIX_UNITS,
    Mixing,
    TransformNetwork,
)
from smalti.errors import UsageError
from smalti.torch_decoders.layers import BATCH_NUMBERS, exact_products, pixel_dtype

__all__ = ["TorchTransformDecoder"]


class TorchTransformDecoder:
    """The decoder of `network`, ready to run on one device.

    >>> TorchTransformDecoder(network, "cuda").decode(tokens)   # the same pixels as TransformModel
    """

    def __init__(self, network: TransformNetwork, device: str | torch.device = "cpu") -> None:
        self.network, self._device = network, torch.device(device)
        self._steps = self._whole(network.steps)
        self._mixing = None if network.mixing is None else _Mixing(network.mixing, self._device)
        self._bases = self._separate_bases()
        self._colour = self._matrix(network.colour.T * 2.0**-MATRIX_BITS)
        self._lap = self._matrix(network.lap * 2.0**-MATRIX_BITS)
        half = 1 << network.fraction >> 1
        self._mean = self._matrix((network.mean + half).reshape(-1, 1, 1, 1))

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Pixels of `tokens` (integers [n, rows, columns, M], each in [0, 65,535]): [n, rows * b, columns * b, C].

        While it runs, the whole process computes float32 matrix products in full precision. Raises UsageError for
        impossible tokens.
        """
        network, side = self.network, self.network.cell
        if tokens.ndim != 4 or tokens.is_floating_point() or tokens.shape[3] != network.components:
            raise UsageError(
                f"tokens are {tokens.dtype} {list(tokens.shape)}, not integers [images, rows, columns, "
                f"{network.components}]"
            )
        tokens = tokens.to(self._device, torch.int64)
        if tokens.numel() and not (int(tokens.min()) >= 0 and int(tokens.max()) < 1 << 16):
            raise UsageError("tokens are outside 0..65,535")
        count, rows, columns = tokens.shape[:3]
        shape = (count, rows * side, columns * side, network.channels)
        pixels = torch.empty(shape, dtype=pixel_dtype(network.pixel_type), device=self._device)
        if not pixels.numel():
            return pixels
        width = 0 if network.mixing is None else 9 * network.mixing.width
        step = max(1, BATCH_NUMBERS // (rows * columns * max(width, side**2 * network.channels)))
        with exact_products(self._device):
            for start in range(0, count, step):
                pixels[start : start + step] = self._pixels(tokens[start : start + step])
        return pixels

    def _pixels(self, tokens: Tensor) -> Tensor:
        """Whole numbers, float64 [n, H, W, C]."""
        network, side, channels = self.network, self.network.cell, self.network.channels
        coefficients = (tokens >> 1) ^ -(tokens & 1)
        mixed = coefficients * MIX_UNITS
        if self._mixing is not None:
            mixed += self._mixing(coefficients)
        # a shift to the right rounds down, as a division of negative numbers need not
        values = ((mixed * self._steps + MIX_UNITS // 2) >> 4).clamp(-LARGEST_VALUE, LARGEST_VALUE).to(torch.float64)
        count, rows, columns = tokens.shape[:3]
        planes = values.new_zeros((channels, count, rows * side, columns * side))
        for channel, components, basis in self._bases:
            cells = _rounded(values[..., components].reshape(-1, len(components)) @ basis)
            cells = cells.reshape(count, rows, columns, side, side).transpose(2, 3)
            planes[channel] = cells.reshape(count, rows * side, columns * side)
        if channels > 1:
            planes = _rounded(self._colour @ planes.reshape(channels, -1)).reshape(planes.shape)
        self._filter(planes)
        pixels = torch.floor((planes + self._mean) * 2.0**-network.fraction)
        pixels = pixels.clamp(0, np.iinfo(network.pixel_type).max)
        if channels in (2, 4):
            pixels[:-1] *= pixels[-1:] != 0  # nothing is seen there
        return pixels.permute(1, 2, 3, 0).to(torch.int32)

    def _filter(self, planes: Tensor) -> None:
        """Filter across the borders of cells, in place: first the rows, then the columns of planes [C, n, H, W]."""
        (channels, count, height, width), side = planes.shape, self.network.cell
        half = side // 2
        if height > side:
            across = planes[:, :, half:-half].reshape(-1, side, width)
            planes[:, :, half:-half] = _rounded(self._lap @ across).reshape(channels, count, height - side, width)
        if width > side:
            along = planes[..., half:-half].reshape(-1, side)
            planes[..., half:-half] = _rounded(along @ self._lap.T).reshape(channels, count, height, width - side)

    def _separate_bases(self) -> list[tuple[int, Tensor, Tensor]]:
        """By rotated channel: its components, and their basis functions [components, b * b], scaled to units of 1."""
        network, side = self.network, self.network.cell
        channel, place = np.divmod(network.places, side * side)
        bases = []
        for number in np.unique(channel).tolist():
            components = np.flatnonzero(channel == number)
            row, column = np.divmod(place[components], side)
            basis = network.rows[number][row][:, :, None] * network.columns[number][column][:, None, :]
            matrix = self._matrix(basis.reshape(len(components), -1) * 2.0 ** (-2 * MATRIX_BITS))
            bases.append((number, self._whole(components), matrix))
        return bases

    def _whole(self, numbers: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(numbers.astype(np.int64)).to(self._device)

    def _matrix(self, numbers: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(numbers.astype(np.float64)).to(self._device)


class _Mixing:
    """What the mixing network adds to coefficients, in units of 1/16."""

    def __init__(self, mixing: Mixing, device: torch.device) -> None:
        def single(numbers: NDArray[np.int64]) -> Tensor:
            return torch.from_numpy(numbers.astype(np.float32)).to(device)

        self._weights = [single(w) for w in (mixing.weight1, mixing.weight2.reshape(-1, mixing.width), mixing.weight3)]
        self._biases = [single(bias) for bias in (mixing.bias1, mixing.bias2, mixing.bias3)]
        self._scales = [2.0**-shift for shift in mixing.shifts]

    def __call__(self, coefficients: Tensor) -> Tensor:
        """int64 [n, rows, columns, M] to the same."""
        rows, columns = coefficients.shape[1:3]
        inputs = coefficients.clamp(-LARGEST_TOKEN, LARGEST_TOKEN).to(torch.float32)
        hidden = torch.nn.functional.pad(self._layer(0, inputs).clamp(0, 255), (0, 0, 1, 1, 1, 1))
        around = [hidden[:, y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
        hidden = self._layer(1, torch.cat(around, dim=3)).clamp(0, 255)
        return self._layer(2, hidden).clamp(-LARGEST_TOKEN, LARGEST_TOKEN).to(torch.int64)

    def _layer(self, number: int, inputs: Tensor) -> Tensor:
        weight = self._weights[number]
        sums = inputs.reshape(-1, len(weight)) @ weight + self._biases[number]
        return torch.floor(sums * self._scales[number]).reshape(*inputs.shape[:3], -1)


def _rounded(values: Tensor) -> Tensor:
    """Round to the nearest whole numbers, halves up; then clip."""
    return torch.floor(values + 0.5).clamp_(-LARGEST_VALUE, LARGEST_VALUE)
