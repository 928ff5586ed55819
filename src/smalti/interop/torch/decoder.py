"""Tokens to images on a device, after collation: fewer bytes travel to it, and the pixels are the same bit for bit."""

import numpy as np
import torch
from torch import Tensor

from smalti.archive import Archive
from smalti.errors import UsageError
from smalti.integer import IntegerNetwork
from smalti.interop.torch.pixels import as_images, check_dtype
from smalti.training.integer_decoder import TorchIntegerDecoder
from smalti.training.pyramid_decoder import TorchPyramidDecoder

__all__ = ["TokenDecoder"]


class TokenDecoder:
    """Makes images of the tokens of an archive; it holds what it needs of the archive, which may be closed.

    device : where images are made
    dtype : None for integers as stored, or a floating-point type to scale them to [0, 1]

    It is no torch module on purpose: nothing in it is to be learned, saved or cast, and `half()` would change pixels.

    >>> decoder = dataset.decoder("cuda")
    >>> for tokens, labels in loader:
    ...     images = decoder(tokens)              # [n, C, H, W] on the device, equal to dataset's without tokens=True

    Raises UsageError if images of the archive are more than their tokens; what opening its model raises.
    """

    def __init__(self, archive: Archive, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> None:
        check_dtype(dtype)
        promise = archive.info().promise
        if promise is not None and promise.corrected + promise.stored > 0:
            raise UsageError(
                f"{archive.path}: corrections keep its promise for {promise.corrected + promise.stored} images, and "
                "tokens alone do not hold them: read images, with tokens=False"
            )
        model = archive.model
        self.device, self.dtype = torch.device(device), dtype
        self._size = archive.image_shape[:2]
        self._places = torch.from_numpy(_places(model.code_ids)).to(self.device)
        network = model.network
        self._decoder = (
            TorchIntegerDecoder(network, self.device)
            if isinstance(network, IntegerNetwork)
            else TorchPyramidDecoder(network, model.grid, self.device)
        )

    def __call__(self, tokens: Tensor) -> Tensor:
        """Images [n, C, H, W] on the device for tokens (integers [n, h, w]); UsageError for tokens that cannot be."""
        if tokens.ndim != 3 or tokens.is_floating_point() or tokens.is_complex():
            raise UsageError(f"tokens are {tokens.dtype} {list(tokens.shape)}, not integers [images, rows, columns]")
        found = tokens.to(self.device, torch.int64)
        places = self._places[found.clamp(0, len(self._places) - 1)]
        if not bool((found.eq(found.clamp(0, len(self._places) - 1)) & (places >= 0)).all()):
            raise UsageError("tokens that are not codes in use of this archive")
        decoded = self._decoder.decode(places if isinstance(self._decoder, TorchIntegerDecoder) else places.flatten(1))
        height, width = self._size
        return as_images(decoded[:, :height, :width], self.dtype)


def _places(code_ids: np.ndarray) -> np.ndarray:
    """The index that the decoder knows each token by, int64 [largest token + 1]; -1 if it knows none."""
    places = np.full(int(code_ids.max()) + 1, -1, np.int64)
    places[code_ids] = np.arange(len(code_ids))
    return places
