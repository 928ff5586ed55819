"""The settings of a fit of a transform, its efforts, and the choice of the network's sizes for a collection."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.errors import ModelError, UsageError
from smalti.training.cells.sized_fits import DEFAULT_EFFORT, Effort
from smalti.training.common.goal import Goal
from smalti.training.transform.bases import Basis, waterfilling
from smalti.training.transform.learned_transform import TransformShape

__all__ = [
    "EFFORTS",
    "TransformSettings",
    "choose_cell",
    "choose_shape",
    "learned_basis_pays",
]

EFFORTS = (
    Effort(150, 0),
    Effort(500, 100),
    Effort(1_300, 250),
    Effort(3_000, 500),
    Effort(5_000, 800),
    Effort(7_000, 1_100),
    Effort(9_500, 1_500),
    Effort(13_000, 2_000),
    Effort(17_000, 2_500),
    Effort(22_000, 3_000),
)


@dataclass(frozen=True)
class TransformSettings:
    """A fit of the profile `photo`.

    goal : the quality or size of the collection    effort : 0 to 9

    The others switch one part, to measure its effect (`benchmarks/photo_ablation.py`):

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


LARGER_CELL_PAYS = 0.8
"""Larger cells are taken if the Gaussian bound falls below this share: contexts win back some of what small cells lose
(measured on two sets: 0.94 and 0.81 did not pay, 0.64 did)."""

CELLS_OF_SIDE = 4
"""Larger cells need images whose sides have so many of them: those at the edges are cut by the edge."""


def choose_cell(bounds: dict[int, float], side: int) -> int:
    """The side of cells. bounds : by side of a cell, the bits that its Gaussian bound takes for a pixel, ascending

    side : the usual smaller side of images
    """
    cells = sorted(bounds)
    chosen = cells[0]
    for cell in cells[1:]:
        if side >= CELLS_OF_SIDE * cell and bounds[cell] < LARGER_CELL_PAYS * bounds[chosen]:
            chosen = cell
    return chosen


GROUPS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 64, 64, 96, 96, 128, 128, 128)
"""Sizes of the groups of components; the last is repeated."""


@dataclass(frozen=True)
class _Size:
    """Sizes of a network, and when it is chosen.

    effort : the least one that takes it    share : the largest one of the tokens' bytes that its weights may take
    activities, signed, width, first : E, L, H, D of the prior    mixing : width of the mixing network
    scales, ratio : the number of scales of the tables, and the ratio of two    bits : of the largest weight
    """

    effort: int
    share: float
    activities: int
    signed: int
    width: int
    first: int
    mixing: int
    scales: int
    ratio: float
    bits: int


_SIZES = (
    _Size(0, 1.0, 2, 3, 4, 2, 0, 16, 1.55, 5),
    _Size(0, 0.12, 4, 4, 8, 4, 0, 16, 1.55, 5),
    _Size(0, 0.08, 6, 6, 12, 6, 0, 22, 1.35, 6),
    _Size(0, 0.05, 8, 8, 20, 8, 12, 22, 1.35, 6),
    _Size(2, 0.03, 12, 12, 32, 12, 24, 33, 1.2, 6),
    _Size(3, 0.02, 16, 16, 48, 16, 32, 33, 1.2, 7),
    _Size(3, 0.015, 24, 16, 64, 16, 48, 33, 1.2, 7),
)
"""Larger networks take fewer bits, if a fit is long enough for them, and more time to decode."""

_WEIGHT_BYTES = 0.6
"""About what a stored weight takes."""

_TOKEN_SHARE = 0.75
"""About the share of the Gaussian bound that tokens take."""

_BASIS_GAIN = 0.04
"""The share of the bytes that a learned basis saves against cosines."""

ANALYSIS_WIDTH = 24
SPARE_LEVEL = 0.4
"""Components whose variance is below this share of the water's level begin without a place."""

MOST_PLACED_CELLS = 64


def weight_bytes(shape: TransformShape) -> int:
    """About how many bytes the weights and tables of a network take."""
    size = _Size(
        0, 1.0, shape.activities, shape.signed, shape.width, shape.first, shape.mixing, shape.scales, shape.ratio,
        shape.bits,
    )  # fmt: skip
    basis = 0 if shape.fixed else 1.2 * (2 * shape.channels + 1) * shape.cell**2
    return round(_WEIGHT_BYTES * _weights(size, shape.components, len(shape.groups)) + basis)


def choose_shape(
    basis: Basis,
    mse: float,
    dtype: str,
    cells: int,
    grid: tuple[int, int] | None,
    settings: TransformSettings,
    fixed: bool = False,
) -> tuple[TransformShape, float]:
    """The sizes of the network for a collection, and the level of the water.

    mse : the goal, of pixels in [0, 1]    cells : of the whole collection
    grid : rows and columns of cells if all images have the same; else None
    fixed : whether rows and columns of the basis stay cosines
    """
    level, bits = waterfilling(basis.variances, mse)
    order = np.argsort(-basis.variances, kind="stable")
    components = int(np.count_nonzero(basis.variances > SPARE_LEVEL * level)) + 4
    components = min(len(order), max(8, -(-components // 4) * 4))
    places = order[:components]
    groups = _groups(components)
    placed = grid is not None and grid[0] * grid[1] <= MOST_PLACED_CELLS
    tokens_bytes = _TOKEN_SHARE * bits * cells / 8
    size = _SIZES[0]
    for candidate in _SIZES:
        pays = _WEIGHT_BYTES * _weights(candidate, components, len(groups)) < candidate.share * tokens_bytes
        if pays and candidate.effort <= settings.effort:
            size = candidate
    signed = min(size.signed, components)
    deviations = np.sqrt(basis.variances[places[:signed]] / (9.6 * level))
    shape = TransformShape(
        channels=len(basis.mean),
        cell=basis.cell,
        dtype=dtype,
        places=tuple(places.tolist()),
        groups=groups,
        limits=_limits(deviations),
        activities=size.activities,
        width=size.width,
        first=size.first,
        mixing=size.mixing if settings.mixing else 0,
        analysis=ANALYSIS_WIDTH if settings.analysis else 0,
        grid=grid if placed and grid is not None and size.width > 8 else (0, 0),
        scales=size.scales,
        ratio=size.ratio,
        bits=size.bits,
        fixed=fixed,
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


def learned_basis_pays(basis: Basis, mse: float, cells: int) -> bool:
    """Whether a basis of their own saves the cells of a collection more bytes than it takes."""
    side, channels = basis.cell, len(basis.mean)
    tokens_bytes = _TOKEN_SHARE * waterfilling(basis.variances, mse)[1] * cells / 8
    return _BASIS_GAIN * tokens_bytes > 1.2 * (2 * channels + 1) * side * side


def _weights(size: _Size, components: int, groups: int) -> int:
    """The number of stored weights, with those of tables."""
    context = 2 * 9 * (size.activities + size.signed) * size.width + 2 * groups * size.width + size.width**2
    of_components = components * (size.activities + size.width + 2 * size.mixing)
    return context + of_components + 18 * size.signed**2 + 9 * size.mixing**2 + 100 * size.scales
