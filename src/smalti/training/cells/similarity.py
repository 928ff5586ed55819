"""A similarity (SSIM) as a mean squared error, found by a trial: how much white noise leaves about that similarity."""

from typing import cast

import numpy as np

from smalti.images.batch import Pixels
from smalti.images.quality import SSIM_WINDOW, ssim
from smalti.training.cells.samples import Samples

__all__ = ["mse_of_ssim"]

_LEAST_MSE = 1e-7


def mse_of_ssim(wanted: float, samples: Samples) -> float:
    """Return the mean squared error of white noise that leaves this similarity."""
    pictures = [picture.pixels for picture in samples.pictures[:64] if min(picture.pixels.shape[:2]) >= SSIM_WINDOW]
    if not pictures:
        return 10**-3.6
    generator = np.random.default_rng(0)
    low, high = _LEAST_MSE, 0.1
    for _ in range(12):
        middle = (low * high) ** 0.5
        found = [float(ssim(p[None], _noisy(p, middle, generator)[None])[0]) for p in pictures]
        low, high = (middle, high) if float(np.mean(found)) > wanted else (low, middle)
    return low


def _noisy(pixels: Pixels, mse: float, generator: np.random.Generator) -> Pixels:
    """A picture with white noise of a mean squared error."""
    largest = np.iinfo(pixels.dtype).max
    noise = generator.normal(0, mse**0.5 * largest, pixels.shape)
    return cast(Pixels, np.clip(np.rint(pixels + noise), 0, largest).astype(pixels.dtype))
