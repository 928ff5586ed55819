"""The map between pixels and the values in [0, 1] that networks learn from."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from smalti.errors import ModelError
from smalti.images.batch import Pixels, UnsignedPixels

__all__ = ["EIGHT_BITS", "PixelScale"]

MOST_LEVELS = 4_095
"""Steps of a decoder's output on its way to 16 bits: their rounding is an error of 5e-9 of the range."""

LARGEST = {"uint8": 255, "uint16": 65_535}


@dataclass(frozen=True)
class PixelScale:
    """The pixel range that a network sees as [0, 1]: all of 8 bits; of 16 bits, the collection's own range.

    dtype : "uint8" or "uint16"
    low, high : the pixels that become 0 and 1. `high` may exceed all pixels a little, so that `step` divides the range

    Raises ValueError for impossible values.
    """

    dtype: str = "uint8"
    low: int = 0
    high: int = 255

    def __post_init__(self) -> None:
        whole = (self.dtype, self.low, self.high) == ("uint8", 0, 255)
        wide = self.dtype == "uint16" and 0 <= self.low < self.high and self.low < self.largest
        if not whole and not (wide and (self.high - self.low) % self.step == 0):
            raise ValueError(f"pixels of {self.dtype} from {self.low} to {self.high}")

    @classmethod
    def of(cls, pixels: Pixels) -> "PixelScale":
        """Return the scale of a collection [N, H, W, C] from its smallest and largest pixel."""
        largest = int(np.iinfo(pixels.dtype).max)
        return cls.of_range(pixels.dtype, int(pixels.min(initial=largest)), int(pixels.max(initial=0)))

    @classmethod
    def of_range(cls, dtype: DTypeLike, low: int, high: int) -> "PixelScale":
        """Return the scale of a collection whose pixels are in [low, high]."""
        if np.dtype(dtype) == np.uint8:
            return EIGHT_BITS
        low = min(low, LARGEST["uint16"] - 1)
        width = max(1, high - low)
        step = -(-width // MOST_LEVELS)
        return cls("uint16", low, low + step * -(-width // step))

    @property
    def largest(self) -> int:
        """The largest pixel of the dtype. Mean squared errors are of pixels divided by it."""
        return LARGEST[self.dtype]

    @property
    def step(self) -> int:
        """The difference, in pixel values, between adjacent levels of a decoder's output."""
        return -(-(self.high - self.low) // MOST_LEVELS)

    @property
    def levels(self) -> int:
        """The number of levels of a decoder's output above 0, at most 4,095."""
        return (self.high - self.low) // self.step

    @property
    def _error_share(self) -> float:
        return ((self.high - self.low) / self.largest) ** 2

    def true_mse(self, mse: float) -> float:
        """Convert a mean squared error of values in [0, 1] to that of pixels divided by `largest`."""
        return mse * self._error_share

    def unit_mse(self, mse: float) -> float:
        """Invert `true_mse`."""
        return mse / self._error_share

    def to_unit(self, pixels: Pixels) -> NDArray[np.float32]:
        """Return pixels as float32 of the same shape. Pixels of another collection may fall outside [0, 1]."""
        above = np.subtract(pixels, self.low, dtype=np.float32) if self.low else pixels
        return np.divide(above, self.high - self.low, dtype=np.float32)  # a copy: sources may hand out read-only views

    def to_pixels(self, images: Tensor) -> Pixels:
        """Return images float [n, C, H, W] as pixels [n, H, W, C]."""
        values = torch.round((self.high - self.low) * images).cpu() + self.low
        pixels: Pixels = values.clamp(0, self.largest).permute(0, 2, 3, 1).numpy().astype(self.dtype)
        return pixels

    def table(self, above: NDArray[np.number[Any]]) -> UnsignedPixels:
        """Return the pixels of a decoder's table: `low` plus each value of `above` [S], rounded."""
        pixels: UnsignedPixels = np.minimum(np.floor(above + 0.5) + self.low, self.largest).astype(self.dtype)
        return pixels

    def check(self, dtype: DTypeLike, of: str) -> None:
        """Raise ModelError unless the dtype is this scale's; `of` names the source of the pixels."""
        if np.dtype(dtype) != self.dtype:
            raise ModelError(
                f"the model takes images of {self.dtype}, but {of} has {np.dtype(dtype)}; fit a model on such images"
            )

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any] | None) -> "PixelScale":
        """Return a stored scale. None stands for 8 bits: models from before 16 bits store no scale.

        Raises TypeError or ValueError if `stored` is no scale.
        """
        if stored is None:
            return EIGHT_BITS
        scale = cls(**stored)
        if type(scale.low) is not int or type(scale.high) is not int:
            raise ValueError(f"pixels from {scale.low} to {scale.high}")
        return scale


EIGHT_BITS = PixelScale()
