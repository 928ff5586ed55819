"""Points of rate and distortion, and what a codec costs at a given quality."""

import math
from dataclasses import dataclass

__all__ = ["Matched", "RatePoint", "at_matched"]

SMALLEST_MSE = 1e-12
"""Stands for zero where a logarithm is taken."""


@dataclass(frozen=True)
class RatePoint:
    """What a codec costs and gives at one setting.

    setting : the codec's own quality setting
    bytes_per_image : mean over the images
    mse, ssim : means over the images, in units of [0, 1] after rounding to uint8
    """

    setting: float
    bytes_per_image: float
    mse: float
    ssim: float


@dataclass(frozen=True)
class Matched:
    """What a codec must spend to be at least as good as asked.

    coarsest : True if its coarsest setting measured is better than asked already, so that it cannot be cheaper
    """

    bytes_per_image: float
    coarsest: bool


def at_matched(points: tuple[RatePoint, ...], *, mse: float | None = None, ssim: float | None = None) -> Matched | None:
    """Return the bytes per image at which a codec reaches `mse`, or `ssim`, or both; None if it never does.

    Between the points that are worth having (no other is as cheap and better) the logarithm of the bytes is
    interpolated linearly, against log MSE or against SSIM; nothing is extrapolated.
    """
    if mse is None and ssim is None:
        raise ValueError("give an MSE, an SSIM, or both")
    needed = []
    if mse is not None:
        needed.append(_reach([(point.bytes_per_image, -_log(point.mse)) for point in points], -_log(mse)))
    if ssim is not None:
        needed.append(_reach([(point.bytes_per_image, point.ssim) for point in points], ssim))
    reached = [each for each in needed if each is not None]
    if len(reached) < len(needed):
        return None
    return max(reached, key=lambda each: (each.bytes_per_image, each.coarsest))


def _log(mse: float) -> float:
    return math.log(max(mse, SMALLEST_MSE))


def _reach(points: list[tuple[float, float]], wanted: float) -> Matched | None:
    """Return the bytes at which quality, the second of each pair, reaches `wanted`."""
    frontier: list[tuple[float, float]] = []
    for cost, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not frontier or quality > frontier[-1][1]:
            frontier.append((cost, quality))
    for index, (cost, quality) in enumerate(frontier):
        if quality < wanted:
            continue
        if index == 0:
            return Matched(cost, coarsest=quality > wanted)
        cheaper_cost, worse = frontier[index - 1]
        share = (wanted - worse) / (quality - worse)
        return Matched(cheaper_cost * (cost / cheaper_cost) ** share, coarsest=False)
    return None
