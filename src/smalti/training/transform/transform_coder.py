"""Encodes batches of images with a transform at a price, unit by unit, and decodes them as a reader does."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.transform.transform_model import TransformModel
from smalti.decoders.transform.transform_prior import TransformPrior, unsigned
from smalti.images.batch import Pixels
from smalti.training.cells.units import Unit, units_of, works_of
from smalti.training.transform.cell_encoder import CellEncoder
from smalti.training.transform.export import TableCounts
from smalti.training.transform.token_choice import choose_tokens

__all__ = ["TransformCoder"]


@dataclass(frozen=True, eq=False)
class TransformCoder:
    """A CellCoder of transforms.

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

        def work(units: list[Unit]) -> tuple[NDArray[np.int64], NDArray[np.int32], float, TableCounts]:
            cells = np.concatenate([unit.cells for unit in units])
            grids, counted = np.array([unit.grid for unit in units], np.int64), counts.empty()
            some = weights if weights.ndim == 1 else weights[cells]
            made = choose_tokens(self.prior, values[cells], grids, some, self.price, counted)
            return cells, made.coefficients, made.bits, counted

        works = works_of(units_of(len(pixels), self.encoder.grid(*pixels.shape[1:3]), self.model.cell), self.model.cell)
        tokens, bits = np.empty(values.shape, np.uint16), 0.0
        with ThreadPoolExecutor(self.threads) as pool:
            for cells, coefficients, own, counted in pool.map(work, works):
                tokens[cells] = unsigned(coefficients)
                bits += own
                counts.merge(counted)
        return tokens, bits

    def adapted(self, counts: TableCounts) -> TransformPrior:
        """The prior with tables for what was counted."""
        return TransformPrior(self.prior.network, counts.tables())

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of cells of an image."""
        return self.encoder.grid(height, width)

    def decoded(self, tokens: NDArray[np.uint16], shape: tuple[int, ...]) -> Pixels:
        """The images [n, H, W, C] of tokens, as a reader decodes them."""
        grids = np.array([self.encoder.grid(shape[1], shape[2])] * shape[0], np.int64)
        made = self.model.decode(tokens, grids, self.threads)
        return cast(Pixels, np.stack([image[: shape[1], : shape[2]] for image in made]))
