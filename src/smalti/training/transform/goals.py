"""What a goal of the user means for a fit: a mean squared error, or bits for a pixel.

A similarity (SSIM) becomes a mean squared error by a trial: how much white noise leaves about that similarity.
"""

from typing import cast

import numpy as np

from smalti.images.batch import Pixels
from smalti.images.quality import SSIM_WINDOW, ssim
from smalti.training.cells.samples import Samples
from smalti.training.common.goal import Goal
from smalti.training.common.scaling import PixelScale
from smalti.training.transform.bases import Basis, waterfilling
from smalti.training.transform.fit_transform import FittingGoal

__all__ = ["fitting_goal"]

_CHOSEN_PAYS = 0.88
"""Choosing tokens by their bits adds this much to the error of plain rounding: a fit aims at less."""

_BOUND_SHARE = 0.8
"""Contexts take about so much of the Gaussian bound."""

_LEAST_MSE = 1e-7


def fitting_goal(
    goal: Goal, scale: PixelScale, basis: Basis, samples: Samples, pixels: float
) -> tuple[FittingGoal, float]:
    """The goal of the steps of a fit, and about which mean squared error, of pixels in [0, 1], it comes to.

    basis : of the samples    pixels : of the whole collection
    """
    mse = goal.unit_mse(scale)
    if mse is None and goal.ssim is not None:
        mse = _mse_of_ssim(goal.ssim, samples)
    if mse is not None:
        return FittingGoal(mse * _CHOSEN_PAYS), mse
    assert goal.archive_bytes is not None
    bits = 8 * goal.archive_bytes / pixels
    return FittingGoal(None, bits), _mse_of_bits(bits / _BOUND_SHARE, basis)


def _mse_of_bits(bits: float, basis: Basis) -> float:
    """The mean squared error at which the Gaussian bound takes so many bits for a pixel."""
    low, high = _LEAST_MSE, 0.1
    for _ in range(40):
        middle = (low * high) ** 0.5
        too_many = waterfilling(basis.variances, middle)[1] / basis.cell**2 > bits
        low, high = (middle, high) if too_many else (low, middle)
    return high


def _mse_of_ssim(wanted: float, samples: Samples) -> float:
    """The mean squared error of white noise that leaves this similarity."""
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
