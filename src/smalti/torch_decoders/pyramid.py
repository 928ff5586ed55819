"""The decoder of hierarchical tokens in PyTorch: the same bits as `PyramidDecoder`, on any device.

Codes add up to latents, stems bring these to the canvas, and layers turn it into pixels (`pyramid_network`). `layers`
explains why the bits are the same.
"""

from math import prod

import numpy as np
import torch
from torch import Tensor

from smalti.decoders.pyramid.pyramid_network import ABSENT, PyramidNetwork, TokenLayout
from smalti.errors import UsageError
from smalti.torch_decoders.layers import BATCH_NUMBERS, ExactLayer, exact_products, numbers_per_image, pixel_dtype

__all__ = ["TorchPyramidDecoder"]


class TorchPyramidDecoder:
    """The decoder of `network` for a canvas `grid` (h, w), ready to run on one device.

    dtype : torch.float32 or torch.float64, the type that holds the integers; it does not change the pixels

    >>> TorchPyramidDecoder(network, grid, "cuda").decode(tokens)   # the same pixels as PyramidDecoder

    Raises ModelError if the network does not fit the grid.
    """

    def __init__(
        self,
        network: PyramidNetwork,
        grid: tuple[int, int],
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.network, self.grid = network, grid
        self.layout = TokenLayout(network, grid)
        self._size = network.output_size(grid)
        self._device, self._dtype = torch.device(device), dtype
        layers = [network.canvas_layer(), *network.layers]
        self._canvas, *self._layers = [ExactLayer(layer, self._device, dtype) for layer in layers]
        none = np.zeros_like(network.bias)  # the canvas adds the bias
        self._stems = [ExactLayer(scale.layer(none), self._device, dtype) for scale in network.scales]
        tables = [np.pad(level.codes, ((0, 1), (0, 0))) for level in network.levels]  # the last row: absent
        self._tables = [torch.from_numpy(table).to(self._device, dtype) for table in tables]

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Pixels of `tokens` (integers [n, T]: numbers of codes of all levels, or ABSENT): [n, H, W, C].

        While it runs, the whole process computes float32 matrix products in full precision. Raises UsageError for
        impossible tokens.
        """
        if tokens.ndim != 2 or tokens.is_floating_point() or tokens.shape[1] != self.layout.tokens:
            raise UsageError(f"tokens are {tokens.dtype} {list(tokens.shape)}, not [images, {self.layout.tokens}]")
        tokens = tokens.to(self._device, torch.int64)
        indices = [self._code_indices(tokens, level) for level in range(self.layout.levels)]
        shape = (len(tokens), *self._size, self.network.channels)
        pixels = torch.empty(shape, dtype=pixel_dtype(self.network.dtype), device=self._device)
        step = max(1, BATCH_NUMBERS // self._numbers_per_image())
        with exact_products(self._device):
            for start in range(0, len(tokens), step):
                part = slice(start, start + step)
                values = self._values([level[part] for level in indices])
                for layer in self._layers:
                    values = layer(values)
                pixels[part] = values
        return pixels

    def _code_indices(self, tokens: Tensor, level: int) -> Tensor:
        """Tokens of a level as indices into its own codes, int64 [n, rows, columns]; the number of these if absent."""
        first, past = self.layout.numbers[level], self.layout.numbers[level + 1]
        found = tokens[:, self.layout.part(level)]
        absent = found == ABSENT
        if not bool((absent | ((found >= first) & (found < past))).all()):
            raise UsageError(f"tokens of level {level} are not codes of it")
        return torch.where(absent, past - first, found - first).reshape(-1, *self.layout.grids[level])

    def _values(self, indices: list[Tensor]) -> Tensor:
        """Values of the canvas, [n, h, w, C]."""
        sums: Tensor | None = None
        for scale, (stem, grid) in enumerate(zip(self._stems, self.layout.scale_grids, strict=True)):
            latents = torch.zeros((len(indices[0]), *grid, stem.layer.inputs), dtype=self._dtype, device=self._device)
            for level, table, chosen in zip(self.network.levels, self._tables, indices, strict=True):
                if level.scale == scale:
                    latents[..., level.channels] += table[chosen]
            added = stem.sums(latents)
            sums = added if sums is None else sums + added
        assert sums is not None  # there is a scale
        return self._canvas.activated(sums)

    def _numbers_per_image(self) -> int:
        scales = list(zip(self._stems, self.layout.scale_grids, strict=True))
        stems = [numbers_per_image((stem.layer,), grid) for stem, grid in scales]
        latents = [prod(grid) * stem.layer.inputs for stem, grid in scales]
        return max(numbers_per_image(self.network.layers, self.grid), *stems, *latents)
