"""The integer decoder in PyTorch: the same bits as `IntegerDecoder`, on any device.

`layers` explains why they are the same. `pyramid` has the decoder of hierarchical tokens.
"""

import torch
from torch import Tensor

from smalti.decoders.layers.integer_network import IntegerNetwork
from smalti.errors import UsageError
from smalti.torch_decoders.layers import BATCH_NUMBERS, ExactLayer, exact_products, numbers_per_image, pixel_dtype

__all__ = ["TorchIntegerDecoder"]


class TorchIntegerDecoder:
    """The decoder of `network`, ready to run on one device.

    dtype : torch.float32 or torch.float64, the type that holds the integers; it does not change the pixels

    >>> TorchIntegerDecoder(network, "cuda").decode(tokens)   # the same pixels as IntegerDecoder
    """

    def __init__(
        self, network: IntegerNetwork, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self.network = network
        self._device = torch.device(device)
        self._layers = [ExactLayer(layer, self._device, dtype) for layer in network.layers]

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Pixels of `tokens` (integers [n, h, w], each in [0, U)): [n, H, W, C] on the decoder's device.

        While it runs, the whole process computes float32 matrix products in full precision. Raises UsageError if a
        token is outside the network.
        """
        if tokens.ndim != 3 or tokens.is_floating_point() or not min(tokens.shape[1:]):
            raise UsageError(f"tokens are {tokens.dtype} {list(tokens.shape)}, not integers [images, rows, columns]")
        tokens = tokens.to(self._device, torch.int64)
        if len(tokens) and not (int(tokens.min()) >= 0 and int(tokens.max()) < self.network.codes):
            raise UsageError(f"tokens outside the {self.network.codes} codes of the network")
        grid = tokens.shape[1], tokens.shape[2]
        height, width = self.network.output_size(grid)
        shape = (len(tokens), height, width, self.network.channels)
        pixels = torch.empty(shape, dtype=pixel_dtype(self.network.dtype), device=self._device)
        step = max(1, BATCH_NUMBERS // numbers_per_image(self.network.layers, grid))
        with exact_products(self._device):
            for start in range(0, len(tokens), step):
                values = tokens[start : start + step]
                for layer in self._layers:
                    values = layer(values)
                pixels[start : start + step] = values
        return pixels
