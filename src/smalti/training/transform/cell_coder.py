"""Encodes batches of images at a price, as an archive cuts them into units, and decodes them as a reader does."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.transform.transform_model import TransformModel
from smalti.decoders.transform.transform_prior import TransformPrior, unsigned
from smalti.images.batch import Pixels
from smalti.training.training_kind import BLOCK_PIXELS, REGION_PIXELS
from smalti.training.transform.cell_encoder import CellEncoder
from smalti.training.transform.export import TableCounts
from smalti.training.transform.token_choice import choose_tokens

__all__ = ["CellCoder"]

_UNIT_PIXELS = 1 << 18
"""Pixels of images that are coded at once."""


@dataclass(frozen=True, eq=False)
class CellCoder:
    """Encodes batches of images.

    price : of a bit    gain : the steps are those of the fit times this
    """

    encoder: CellEncoder
    model: TransformModel
    prior: TransformPrior
    price: float
    gain: float
    threads: int
    ratio: float

    def counts(self) -> TableCounts:
        """Counts of nothing for the tables of the prior."""
        return TableCounts(self.prior.scales, self.ratio)

    def chosen(self, pixels: Pixels, counts: TableCounts) -> tuple[NDArray[np.uint16], float]:
        """Tokens [cells, M] of images [n, H, W, C], and about how many bits they take. Their codes are counted."""
        values, weights = self.encoder.values(pixels), self.encoder.weights(pixels)

        def work(units: list[_Unit]) -> tuple[NDArray[np.int64], NDArray[np.int32], float, TableCounts]:
            cells = np.concatenate([unit.cells for unit in units])
            grids, counted = np.array([unit.grid for unit in units], np.int64), counts.empty()
            some = weights if weights.ndim == 1 else weights[cells]
            made = choose_tokens(self.prior, values[cells], grids, some, self.price, counted)
            return cells, made.coefficients, made.bits, counted

        works = _works(_units(len(pixels), self.encoder.grid(*pixels.shape[1:3]), self.model.cell), self.model.cell)
        tokens, bits = np.empty(values.shape, np.uint16), 0.0
        with ThreadPoolExecutor(self.threads) as pool:
            for cells, coefficients, own, counted in pool.map(work, works):
                tokens[cells] = unsigned(coefficients)
                bits += own
                counts.merge(counted)
        return tokens, bits

    def decoded(self, tokens: NDArray[np.uint16], shape: tuple[int, ...]) -> Pixels:
        """The images [n, H, W, C] of tokens, as a reader decodes them."""
        grids = np.array([self.encoder.grid(shape[1], shape[2])] * shape[0], np.int64)
        made = self.model.decode(tokens, grids, self.threads)
        return cast(Pixels, np.stack([image[: shape[1], : shape[2]] for image in made]))


@dataclass(frozen=True, eq=False)
class _Unit:
    """An image, or a region of a large one: it is coded alone. cells : its cells among those of a batch"""

    cells: NDArray[np.int64]
    grid: tuple[int, int]


def _units(images: int, grid: tuple[int, int], cell: int) -> list[_Unit]:
    """The units of images of one grid of cells, in the order and of the sizes that an archive has."""
    rows, columns = grid
    numbers = np.arange(images * rows * columns).reshape(images, rows, columns)
    if rows * columns <= BLOCK_PIXELS // cell**2:
        return [_Unit(image.ravel(), grid) for image in numbers]
    side = math.isqrt(REGION_PIXELS // cell**2)
    parts = [
        image[top : top + side, left : left + side]
        for image in numbers
        for top in range(0, rows, side)
        for left in range(0, columns, side)
    ]
    return [_Unit(part.ravel(), (part.shape[0], part.shape[1])) for part in parts]


def _works(units: list[_Unit], cell: int) -> list[list[_Unit]]:
    """Units in a row that are coded at once."""
    works: list[list[_Unit]] = []
    left = 0
    for unit in units:
        if left < len(unit.cells):
            works.append([])
            left = max(_UNIT_PIXELS // cell**2, len(unit.cells))
        works[-1].append(unit)
        left -= len(unit.cells)
    return works
