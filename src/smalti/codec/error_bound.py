"""The residuals that bring every image within an error bound, measured on what a reader will decode."""

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.images.batch import Pixels
from smalti.residual.choice import CorrectionEstimator, choose_corrections
from smalti.residual.residuals import Corrections, max_squared_error

__all__ = ["ErrorBound"]


class ErrorBound:
    """An error bound for images [n, H, W, C] of one shape and dtype.

    max_mse : mean squared error that each may have, of pixels scaled to 0..1
    decode : pixels of tokens by the exact decoder, with so many threads; their sides may be padded
    """

    def __init__(
        self,
        max_mse: float,
        image_shape: tuple[int, int, int],
        dtype: DTypeLike,
        decode: Callable[[NDArray[np.integer], int], Pixels],
        threads: int,
    ) -> None:
        kind = np.dtype(dtype)
        self._height, self._width, _ = image_shape
        self._max_sse = max_squared_error(max_mse, image_shape, kind)
        self._estimator = CorrectionEstimator(kind)
        self._decode, self._threads = decode, threads

    def residuals(self, pixels: Pixels, tokens: NDArray[np.integer]) -> Corrections:
        """Return the residuals of images with tokens [n, h, w]."""
        base = self._decode(tokens, self._threads)[:, : self._height, : self._width]
        return choose_corrections(pixels, base, self._max_sse, self._estimator)
