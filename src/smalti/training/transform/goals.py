"""What a goal of the user means for a fit of a transform: a mean squared error, or bits for a pixel."""

from smalti.training.cells.samples import Samples
from smalti.training.cells.similarity import mse_of_ssim
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
        mse = mse_of_ssim(goal.ssim, samples)
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
