"""The numbers of a transform decoder, with every check (docs/format.md, "The transform network").

A token is a coefficient in units of a step. A small network mixes the coefficients of neighbouring cells. Then follow
an inverse separable transform of each cell, a rotation of the channels, and a filter across the borders of cells, which
makes the transform a lapped one (Malvar 1992; Tran, Liang & Tu 2003). All numbers are integers. `transform_packing` has
their bytes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.exact_sums import check_sums
from smalti.decoders.layers.integer_network import PixelType
from smalti.errors import ModelError

__all__ = [
    "CELLS",
    "LARGEST_VALUE",
    "MATRIX_BITS",
    "MIX_UNITS",
    "MOST_COMPONENTS",
    "Mixing",
    "TransformNetwork",
]

CELLS = (8, 16, 32)
"""The sides of cells that there are."""

MATRIX_BITS = 10
"""Matrices are in units of 2**-10."""

MIX_UNITS = 16
"""Units of a step in which the mixing network moves a coefficient."""

LARGEST_VALUE = 1 << 26
"""Values between the stages are clipped to this magnitude, so that their sums are exact in binary64."""

MOST_COMPONENTS = 4096
MAX_SHIFT = 24
MAX_WIDTH = 256
MAX_FRACTION = 8
LARGEST_STEP = (1 << 24) - 1
LARGEST_MATRIX = (1 << 13) - 1
LARGEST_TOKEN = 127
"""Coefficients are clipped to this magnitude where the mixing network sees them."""

_EXACT_DOUBLE = 1 << 53

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Mixing:
    """The mixing network: three layers on the grid of cells, the middle one over 3 x 3 cells. Width A.

    weight1 : [M, A]    bias1 : [A]    weight2 : [9, A, A], row by row of the 3 x 3 cells    bias2 : [A]
    weight3 : [A, M]    bias3 : [M]    shifts : of the three layers

    Raises ModelError if a sum could leave the range in which float32 is exact.
    """

    weight1: Ints
    bias1: Ints
    weight2: Ints
    bias2: Ints
    weight3: Ints
    bias3: Ints
    shifts: tuple[int, int, int]

    def __post_init__(self) -> None:
        layers = (
            (self.weight1, self.bias1, LARGEST_TOKEN),
            (self.weight2.reshape(-1, self.width), self.bias2, 255),
            (self.weight3, self.bias3, 255),
        )
        for weight, bias, largest in layers:
            check_sums(weight, bias, largest, "the mixing network")

    @property
    def width(self) -> int:
        """A."""
        return len(self.bias1)


@dataclass(frozen=True, eq=False)
class TransformNetwork:
    """The numbers that turn the tokens of cells into pixels. M components, C channels, cells of b x b pixels.

    dtype : of pixels, "uint8" or "uint16"
    fraction : F; pixel values between the stages are in units of 2**-F
    mean : [C], added to all pixels
    colour : [C, C]; row k is what value k of the rotated channels adds to each channel
    rows, columns : [C, b, b]; row u is the basis function u along the rows (columns) of a cell
    lap : [b, b]; the filter of the b pixels across a border of two cells: out = lap @ in
    places : [M], distinct; component k is (places[k] div b**2) of the channels, row (places[k] div b) mod b and
        column places[k] mod b of the basis functions
    steps : [M], the values of a coefficient of 1
    mixing : None if there is none

    Raises ModelError if the numbers do not fit each other, or if a sum would not be exact.
    """

    dtype: str
    fraction: int
    mean: Ints
    colour: Ints
    rows: Ints
    columns: Ints
    lap: Ints
    places: Ints
    steps: Ints
    mixing: Mixing | None

    def __post_init__(self) -> None:
        if len(np.unique(self.places)) != len(self.places):
            raise ModelError("two components have the same place")
        gains = [int(np.abs(matrix).sum(axis=1).max()) for matrix in (self.rows, self.columns)]
        if gains[0] * gains[1] * LARGEST_VALUE > _EXACT_DOUBLE:
            raise ModelError("sums of the inverse transform may exceed 2**53 and would not be exact")

    @property
    def channels(self) -> int:
        """C."""
        return len(self.mean)

    @property
    def cell(self) -> int:
        """b."""
        return len(self.lap)

    @property
    def components(self) -> int:
        """M."""
        return len(self.places)

    @property
    def pixel_type(self) -> PixelType:
        """`dtype` as a NumPy dtype."""
        return np.dtype(np.uint8) if self.dtype == "uint8" else np.dtype(np.uint16)

    @property
    def operations(self) -> int:
        """Products and sums that it takes for one cell."""
        mixing = 0 if self.mixing is None else self.mixing.width * (2 * self.components + 9 * self.mixing.width)
        per_value = self.channels + 2 * self.cell
        return mixing + self.cell**2 * (self.components + self.channels * per_value)
