"""Encodes batches of images with a pixel prior at a price, unit by unit, and decodes them as a reader does."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_prior import PixelPrior
from smalti.images.batch import Pixels
from smalti.training.cells.samples import seen_weights
from smalti.training.cells.units import Unit, units_of, works_of
from smalti.training.pixels.level_choice import choose_levels

__all__ = ["PixelCoder"]


@dataclass(frozen=True, eq=False)
class PixelCoder:
    """A CellCoder of pixels.

    price : of a bit, for samples in [0, 1]    width : samples this far apart are 1 apart
    """

    model: PixelModel
    prior: PixelPrior
    price: float
    width: int
    threads: int
    gain: float = 1.0

    def counts(self) -> None:
        """Nothing is counted: the prior of pixels does not adapt."""
        return

    def chosen(self, pixels: Pixels, counts: None) -> tuple[NDArray[np.uint16], float]:
        """Tokens [pixels, C] of images [n, H, W, C], and about how many bits they take."""
        counted = seen_weights(pixels)
        samples = pixels.reshape(-1, self.model.channels)
        weights = None if counted is None else counted.reshape(samples.shape)

        def work(units: list[Unit]) -> tuple[NDArray[np.int64], NDArray[np.uint16], float]:
            cells = np.concatenate([unit.cells for unit in units])
            grids = np.array([unit.grid for unit in units], np.int64)
            some = None if weights is None else weights[cells]
            return cells, *choose_levels(self.prior, samples[cells], some, grids, self.price * self.width**2)

        works = works_of(units_of(len(pixels), self.grid(*pixels.shape[1:3]), 1), 1)
        tokens, bits = np.empty(samples.shape, np.uint16), 0.0
        with ThreadPoolExecutor(self.threads) as pool:
            for cells, levels, own in pool.map(work, works):
                tokens[cells] = levels
                bits += own
        return tokens, bits

    def adapted(self, counts: None) -> PixelPrior:
        """The same prior."""
        return self.prior

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of pixels of an image."""
        return height, width

    def decoded(self, tokens: NDArray[np.uint16], shape: tuple[int, ...]) -> Pixels:
        """The images [n, H, W, C] of tokens, as a reader decodes them."""
        grids = np.array([shape[1:3]] * shape[0], np.int64)
        return cast(Pixels, np.stack(self.model.decode(tokens, grids, self.threads)))
