"""What is found out about a collection before a fit: cells, basis, sizes of the network, and the goal of the steps."""

from dataclasses import dataclass

import numpy as np

from smalti.images.source import SizedSource
from smalti.training.cells.samples import Samples, load_images, load_samples
from smalti.training.transform.bases import Basis, find_basis, waterfilling
from smalti.training.transform.fit_transform import FittingGoal
from smalti.training.transform.goals import fitting_goal
from smalti.training.transform.learned_transform import TransformShape
from smalti.training.transform.transform_settings import (
    CELLS_OF_SIDE,
    TransformSettings,
    choose_cell,
    choose_shape,
    learned_basis_pays,
)

__all__ = ["CROP_SIDES", "Start", "survey"]

CROP_SIDES = {8: 128, 16: 192, 32: 256}
"""Side of the largest crop, in pixels, by the side of a cell."""

_SURVEY_BYTES = 24 << 20
_BRIEF_BYTES = 8 << 20


@dataclass(frozen=True)
class Start:
    """What a fit begins with. level : of the water at the mean squared error `mse`, of pixels in [0, 1], of the goal

    pixels : of the whole collection
    """

    samples: Samples
    basis: Basis
    shape: TransformShape
    level: float
    goal: FittingGoal
    mse: float
    pixels: float


def survey(source: SizedSource, settings: TransformSettings, brief: bool = False) -> Start:
    """Read a source, and choose cells, basis and sizes for it. SourceError if no image can be read.

    brief : look at fewer images, and return these as the samples: for a forecast, not for a fit
    """
    sizes = source.sizes
    side = int(np.median(sizes.min(axis=1)))
    loaded = load_images(source, _BRIEF_BYTES if brief else _SURVEY_BYTES)
    bases: dict[int, Basis] = {}
    surveyed = {}
    for cell in (8, 16, 32):
        if cell == 8 or side >= CELLS_OF_SIDE * cell:
            surveyed[cell] = loaded.samples(cell, CROP_SIDES[cell])
            bases[cell] = find_basis(surveyed[cell].stacks(), cell, settings.lapped)
    pixels = float(sizes.prod(axis=1).sum())
    goal, mse = fitting_goal(settings.goal, loaded.scale, bases[8], surveyed[8], pixels)
    bounds = {cell: waterfilling(basis.variances, mse)[1] / cell**2 for cell, basis in bases.items()}
    cell = choose_cell(bounds, side)
    samples = surveyed[cell] if brief else load_samples(source, cell, CROP_SIDES[cell])
    grids = -(-sizes // cell)
    same = bool((grids == grids[0]).all())
    grid = (int(grids[0, 0]), int(grids[0, 1])) if same else None
    basis, cells = bases[cell], int(grids.prod(axis=1).sum())
    fixed = not learned_basis_pays(basis, mse, cells)
    if not settings.learned_start:
        basis = find_basis(surveyed[cell].stacks(), cell, settings.lapped, drawn=True)
    elif fixed:
        basis = find_basis(surveyed[cell].stacks(), cell, settings.lapped, fixed=True)
    shape, level = choose_shape(basis, mse, source.dtype.name, cells, grid, settings, fixed)
    return Start(samples, basis, shape, level, goal, mse, pixels)
