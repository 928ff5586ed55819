"""What the codecs need where an archive is, or where JPEG XL is at its reference distance.

Bytes are interpolated in logarithms between the two measured points on either side (`study.baselines.matching`);
nothing is extrapolated.
"""

from dataclasses import dataclass

from smalti.bench.peers import REFERENCE_DISTANCE
from smalti.bench.results import BenchResult
from smalti.study.baselines.matching import RatePoint, at_matched

__all__ = ["JPEG_XL", "Need", "Reference", "best_need", "needs", "reference"]

JPEG_XL = "JPEG XL"


@dataclass(frozen=True)
class Need:
    """What a codec needs to be at least as good as asked.

    coarsest : True if its coarsest setting is better already, so that it cannot be had with fewer bytes
    """

    name: str
    bytes_per_image: float
    coarsest: bool


@dataclass(frozen=True)
class Reference:
    """JPEG XL at its reference distance, and what the other codecs need for its MSE, fewest bytes first."""

    distance: float
    mse: float
    bytes_per_image: float
    needs: tuple[Need, ...]


def needs(result: BenchResult, mse: float) -> tuple[Need, ...]:
    """Return what each codec needs at an MSE, fewest bytes first; those that never reach it are left out."""
    found = []
    for curve in result.curves:
        matched = at_matched(curve.points, mse=mse)
        if matched is not None:
            found.append(Need(curve.name, matched.bytes_per_image, matched.coarsest))
    return tuple(sorted(found, key=lambda need: need.bytes_per_image))


def best_need(result: BenchResult, mse: float) -> Need | None:
    """Return what the best codec needs at an MSE; None if none reaches it."""
    return next(iter(needs(result, mse)), None)


def reference(result: BenchResult) -> Reference | None:
    """Return JPEG XL at its reference distance, None if it was not measured."""
    curve = result.curve(JPEG_XL)
    point = None if curve is None else _at(curve.points, REFERENCE_DISTANCE)
    if point is None:
        return None
    others = tuple(need for need in needs(result, point.mse) if need.name != JPEG_XL)
    return Reference(point.setting, point.mse, point.bytes_per_image, others)


def _at(points: tuple[RatePoint, ...], setting: float) -> RatePoint | None:
    return next((point for point in points if point.setting == setting), None)
