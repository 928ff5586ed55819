"""The decoder of pixels in PyTorch: the same bits as `PixelModel`, on any device. It looks levels up, and no more."""

import numpy as np
import torch
from torch import Tensor

from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.errors import UsageError
from smalti.torch_decoders.layers import pixel_dtype

__all__ = ["TorchPixelDecoder"]


class TorchPixelDecoder:
    """The decoder of `model`, ready to run on one device.

    >>> TorchPixelDecoder(model, "cuda").decode(tokens)   # the same pixels as PixelModel
    """

    def __init__(self, model: PixelModel, device: str | torch.device = "cpu") -> None:
        self.model, self._device = model, torch.device(device)
        self._levels = [torch.from_numpy(values.astype(np.int32)).to(self._device) for values in model.levels]

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Pixels of `tokens` (integers [n, rows, columns, C]): [n, rows, columns, C].

        Raises UsageError for impossible tokens.
        """
        channels = self.model.channels
        if tokens.ndim != 4 or tokens.is_floating_point() or tokens.is_complex() or tokens.shape[3] != channels:
            raise UsageError(
                f"tokens are {tokens.dtype} {list(tokens.shape)}, not integers [images, rows, columns, {channels}]"
            )
        tokens = tokens.to(self._device, torch.int64)
        pixels = torch.empty(tokens.shape, dtype=torch.int32, device=self._device)
        for channel, values in enumerate(self._levels):
            own = tokens[..., channel]
            if own.numel() and not (int(own.min()) >= 0 and int(own.max()) < len(values)):
                raise UsageError(f"tokens of channel {channel} are outside its {len(values)} levels")
            pixels[..., channel] = values[own]
        if self.model.hides:
            pixels *= pixels[..., -1:] != 0  # nothing is seen there
        return pixels.to(pixel_dtype(self.model.dtype))
