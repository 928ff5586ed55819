"""Points of rate and distortion, and the bytes that a codec needs for a given quality."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.quality import QualityMeter

__all__ = ["Matched", "RatePoint", "at_matched", "at_rate", "frontier", "metered_point", "rate_point"]

SMALLEST_MSE = 1e-12
"""Replaces zero before a logarithm."""


@dataclass(frozen=True)
class RatePoint:
    """Rate and distortion of a codec at one setting.

    setting : the codec's own quality setting
    bytes_per_image : mean over the images
    mse, ssim : means over the images, in units of [0, 1] after rounding to uint8
    """

    setting: float
    bytes_per_image: float
    mse: float
    ssim: float


def rate_point(setting: float, total_bytes: int, images: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> RatePoint:
    """Return the point of a codec that spends `total_bytes` on uint8 images [N, H, W] and decodes them to `decoded`."""
    meter = QualityMeter()
    meter.add(images[..., None], decoded[..., None])
    return metered_point(setting, total_bytes, len(images), meter)


def metered_point(setting: float, total_bytes: int, images: int, meter: QualityMeter) -> RatePoint:
    """Return the point of a codec that spends `total_bytes` on `images` images, whose quality `meter` has measured."""
    quality = meter.result()
    if quality.ssim_mean is None:
        raise SourceError(f"SSIM cannot be measured: {quality.ssim_absent}")
    return RatePoint(setting, total_bytes / images, quality.mse_mean, quality.ssim_mean)


@dataclass(frozen=True)
class Matched:
    """The bytes at which a codec reaches a target quality.

    coarsest : True if its coarsest setting is better than the target, so that it cannot be cheaper
    """

    bytes_per_image: float
    coarsest: bool


def at_matched(points: tuple[RatePoint, ...], *, mse: float | None = None, ssim: float | None = None) -> Matched | None:
    """Return the bytes per image at which a codec reaches `mse`, or `ssim`, or both; None if it never does.

    The logarithm of the bytes is interpolated linearly against log MSE or against SSIM, between the points of the
    frontier (no other point is as cheap and better). Nothing is extrapolated.
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


def at_rate(points: tuple[RatePoint, ...], bytes_per_image: float) -> tuple[float, float] | None:
    """Return MSE and SSIM of a codec at `bytes_per_image`; None outside the rates that were measured.

    Log MSE and SSIM are interpolated linearly against the logarithm of the bytes.
    """
    by_rate = sorted(points, key=lambda point: point.bytes_per_image)
    for fewer, more in itertools.pairwise(by_rate):
        if fewer.bytes_per_image <= bytes_per_image <= more.bytes_per_image:
            span = math.log(more.bytes_per_image / fewer.bytes_per_image)
            share = math.log(bytes_per_image / fewer.bytes_per_image) / span if span else 0.0
            log_mse = _log(fewer.mse) * (1 - share) + _log(more.mse) * share
            return math.exp(log_mse), fewer.ssim * (1 - share) + more.ssim * share
    return None


def _log(mse: float) -> float:
    return math.log(max(mse, SMALLEST_MSE))


def frontier(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the frontier of pairs of cost and quality, cheapest first: more cost only for more quality."""
    best: list[tuple[float, float]] = []
    for cost, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or quality > best[-1][1]:
            best.append((cost, quality))
    return best


def _reach(points: list[tuple[float, float]], target: float) -> Matched | None:
    """Return the bytes at which quality, the second of each pair, reaches `target`."""
    best = frontier(points)
    for index, (cost, quality) in enumerate(best):
        if quality < target:
            continue
        if index == 0:
            return Matched(cost, coarsest=quality > target)
        cheaper_cost, worse = best[index - 1]
        share = (target - worse) / (quality - worse)
        return Matched(cheaper_cost * (cost / cheaper_cost) ** share, coarsest=False)
    return None
