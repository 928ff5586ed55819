"""The contract between packing (`encoding`, `price_search`) and the kinds of model whose images have any size."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.contract import CellModel, CellPrior
from smalti.images.batch import Pixels
from smalti.training.common.goal import Goal
from smalti.training.common.scaling import PixelScale

__all__ = ["CellCoder", "PricedModel", "PricedSettings"]


class CellCoder(Protocol):
    """Encodes batches of images at a price, and decodes them as a reader does."""

    @property
    def model(self) -> CellModel:
        """The decoder."""

    @property
    def prior(self) -> CellPrior:
        """The prior that the choice of tokens goes by."""

    @property
    def price(self) -> float:
        """The squared error, of pixels in [0, 1], that a bit is worth."""

    @property
    def gain(self) -> float:
        """The steps of the quantiser are those of the fit times this."""

    def counts(self) -> Any:
        """Counts of nothing: what `chosen` adds to, and `adapted` takes."""

    def chosen(self, pixels: Pixels, counts: Any) -> tuple[NDArray[np.uint16], float]:
        """Tokens [cells, M] of images [n, H, W, C], and about how many bits they take. Their codes are counted."""

    def adapted(self, counts: Any) -> CellPrior:
        """The prior for what was counted; the same one if it does not adapt."""

    def decoded(self, tokens: NDArray[np.uint16], shape: tuple[int, ...]) -> Pixels:
        """The images [n, H, W, C] of tokens, as a reader decodes them."""

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of cells of an image."""


class PricedSettings(Protocol):
    """Of the settings of a fit, what packing asks for."""

    @property
    def goal(self) -> Goal:
        """The goal of the fit."""

    @property
    def optimised(self) -> bool:
        """Whether tokens are chosen by their bits, too."""


class PricedModel(Protocol):
    """Of a fitted model, what packing asks for."""

    @property
    def settings(self) -> PricedSettings:
        """The settings of the fit."""

    @property
    def scale(self) -> PixelScale:
        """The scale of the pixels."""

    @property
    def price(self) -> float:
        """The price of a bit that suits the fit."""

    @property
    def mse(self) -> float:
        """The mean squared error at this price, of pixels in [0, 1]."""

    @property
    def prior(self) -> CellPrior:
        """The prior of the fit."""

    @property
    def fixed_steps(self) -> bool:
        """Whether the steps of its quantiser cannot change, so that the price alone meets a goal."""

    def coder(self, prior: CellPrior, gain: float, price: float) -> CellCoder:
        """A coder whose steps are those of the fit times `gain`."""
