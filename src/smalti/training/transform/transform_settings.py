"""The settings of a fit of a transform, its efforts, and the choice of the network's sizes for a collection."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.errors import ModelError, UsageError
from smalti.training.common.goal import Goal
from smalti.training.transform.bases import Basis, waterfilling
from smalti.training.transform.learned_transform import TransformShape

__all__ = ["DEFAULT_EFFORT", "EFFORTS", "Effort", "TransformSettings", "choose_cell", "choose_shape"]

DEFAULT_EFFORT = 3
DEFAULT_PSNR = 36.0


@dataclass(frozen=True)
class Effort:
    """The work of a fit.

    steps : steps on crops of `pixels` pixels together
    tuning : steps of the prior alone, on the tokens that packing chooses
    """

    steps: int
    tuning: int
    pixels: int = 1 << 16


EFFORTS = (
    Effort(100, 0),
    Effort(250, 100),
    Effort(600, 200),
    Effort(1_300, 400),
    Effort(2_000, 600),
    Effort(3_000, 800),
    Effort(4_500, 1_000),
    Effort(6_500, 1_500),
    Effort(9_000, 2_000),
    Effort(12_000, 2_500),
)


@dataclass(frozen=True)
class TransformSettings:
    """A fit of the profile `photo`.

    goal : the quality or size of the collection    effort : 0 to 9

    The others switch one part, to measure its effect (`benchmarks/transform_ablation.py`):

    lapped : whether the transform begins as a lapped one    learned_start : whether it begins as the KLT, or at random
    mixing : whether there is a mixing network    analysis : whether a network corrects the analysis
    optimised : whether packing weighs bits against distortion    conditional : whether the prior sees other cells
    """

    profile: str
    goal: Goal
    effort: int = DEFAULT_EFFORT
    seed: int = 0
    lapped: bool = True
    learned_start: bool = True
    mixing: bool = True
    analysis: bool = True
    optimised: bool = True
    conditional: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.effort < len(EFFORTS):
            raise UsageError(f"an effort of {self.effort} is outside 0..{len(EFFORTS) - 1}")
        if self.seed < 0:
            raise UsageError(f"seed must not be negative, not {self.seed}")

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary, from which `from_json` makes equal settings."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "TransformSettings":
        """Return the settings in a dictionary of `to_json`; ModelError for anything else."""
        try:
            return cls(**{**stored, "goal": Goal(**stored["goal"])})
        except (TypeError, KeyError, UsageError) as error:
            raise ModelError(f"the stored settings are not of this release: {error}; fit the model anew") from error


LARGER_CELL_PAYS = 0.84
"""Larger cells are taken if the Gaussian bound falls below this share: contexts win back some of what small cells lose
(measured on two sets: 0.94 and 0.81 did not pay, 0.64 did)."""

SMALLEST_FOR_LARGER = 48
"""Images whose sides are below this keep cells of 8 pixels."""


def choose_cell(bounds: dict[int, float], side: int) -> int:
    """The side of cells. bounds : by side of a cell, the bits that its Gaussian bound takes for a pixel, ascending

    side : the usual smaller side of images
    """
    cells = sorted(bounds)
    chosen = cells[0]
    for cell in cells[1:]:
        if side >= SMALLEST_FOR_LARGER * cell / 16 and bounds[cell] < LARGER_CELL_PAYS * bounds[chosen]:
            chosen = cell
    return chosen


GROUPS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 64, 64, 96, 96, 128, 128, 128)
"""Sizes of the groups of components; the last is repeated."""

# activities, signed components, width, width of the first network, mixing network
_SIZES = (
    (4, 4, 8, 4, 0),
    (8, 8, 16, 8, 8),
    (8, 8, 24, 8, 16),
    (12, 12, 32, 16, 24),
    (16, 16, 48, 16, 32),
    (24, 16, 64, 16, 48),
)
_WEIGHT_BYTES = 0.6
"""About what a stored weight takes."""

MODEL_SHARE = 0.03
"""The largest share of an archive that the choice of sizes spends on weights."""

ANALYSIS_WIDTH = 24
SPARE_LEVEL = 0.4
"""Components whose variance is below this share of the water's level begin without a place."""

MOST_PLACED_CELLS = 64


def choose_shape(
    basis: Basis, mse: float, dtype: str, cells: int, grid: tuple[int, int] | None, settings: TransformSettings
) -> tuple[TransformShape, float]:
    """The sizes of the network for a collection, and the level of the water.

    mse : the goal, of pixels in [0, 1]    cells : of the whole collection
    grid : rows and columns of cells if all images have the same; else None
    """
    level, bits = waterfilling(basis.variances, mse)
    order = np.argsort(-basis.variances, kind="stable")
    components = int(np.count_nonzero(basis.variances > SPARE_LEVEL * level)) + 4
    components = min(len(order), max(8, -(-components // 4) * 4))
    places = order[:components]
    groups = _groups(components)
    placed = grid is not None and grid[0] * grid[1] <= MOST_PLACED_CELLS
    budget = MODEL_SHARE * max(bits, 1.0) * cells / 8
    sizes = _SIZES[0]
    for candidate in _SIZES:
        if _WEIGHT_BYTES * _weights(candidate, components, len(groups)) < budget:
            sizes = candidate
    activities, signed, width, first, mixing = sizes
    signed = min(signed, components)
    deviations = np.sqrt(basis.variances[places[:signed]] / (9.6 * level))
    shape = TransformShape(
        channels=len(basis.mean),
        cell=basis.cell,
        dtype=dtype,
        places=tuple(places.tolist()),
        groups=groups,
        limits=_limits(deviations),
        activities=activities,
        width=width,
        first=first,
        mixing=mixing if settings.mixing else 0,
        analysis=ANALYSIS_WIDTH if settings.analysis else 0,
        grid=grid if placed and grid is not None and settings.conditional else (0, 0),
    )
    return shape, level


def _groups(components: int) -> tuple[int, ...]:
    """Sizes of groups that sum to the number of components."""
    groups: list[int] = []
    while sum(groups) < components:
        groups.append(min(GROUPS[min(len(groups), len(GROUPS) - 1)], components - sum(groups)))
    return tuple(groups)


def _limits(deviations: NDArray[np.float64]) -> tuple[int, ...]:
    """Magnitudes 2**n - 1 of about six deviations, from 7 to 2,047."""
    digits = np.clip(np.ceil(np.log2(np.maximum(6 * deviations, 1))), 3, 11).astype(int)
    return tuple((2**digits - 1).tolist())


def _weights(sizes: tuple[int, int, int, int, int], components: int, groups: int) -> int:
    """The number of stored weights."""
    activities, signed, width, _, mixing = sizes
    context = 2 * 9 * (activities + signed) * width + 2 * groups * width + width**2
    return context + components * (activities + width) + 18 * signed**2 + mixing * (2 * components + 9 * mixing)
