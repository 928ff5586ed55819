"""Tokens to pixels in integers, for pictures of any size.

Every stage is whole numbers. Matrix products of the mixing network are in float32, those of the inverse transform in
float64; their sums stay in the range in which these are exact, so that the bits are the same everywhere
(docs/exactness.md).

The arithmetic needs NumPy alone, so that it can be checked on machines that have little else
(acceptance/check_cuda.py); what reads bytes is imported when it is needed.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernels_pay
from smalti.decoders.layers.integer_network import PixelType
from smalti.decoders.transform.cells import CellLists, same_grids
from smalti.decoders.transform.tokens import signed
from smalti.decoders.transform.transform_network import (
    LARGEST_TOKEN,
    LARGEST_VALUE,
    MATRIX_BITS,
    MIX_UNITS,
    Mixing,
    TransformNetwork,
)
from smalti.errors import DamagedArchiveError, ModelError
from smalti.images.batch import Pixels
from smalti.lazy import cached_property
from smalti.threads import for_each

if TYPE_CHECKING:
    from smalti.decoders.transform.transform_kernel import KernelTransform
    from smalti.decoders.transform.transform_prior import TransformPrior

__all__ = ["REACH", "TransformModel"]

REACH = 2
"""The filter looks at the cells around a cell, and the mixing network at the cells around those."""

Planes = NDArray[Any]
"""Whole numbers as floating-point numbers: float32 or float64."""

_EXACT_SINGLE = float(1 << 24)
_HEADROOM = 1.01

_PART_CELLS = 1 << 19  # values of cells that are decoded at once: they stay in the caches
_TILE_VALUES = 1 << 22  # values of the largest picture that is decoded as a whole


class TransformModel:
    """A CellModel: the decoder of a transform network. Immutable, and safe to use from several threads.

    limit_bytes : the most bytes that the unpacked numbers of a prior may take
    """

    kind = "transform"
    reach = REACH

    def __init__(self, network: TransformNetwork, limit_bytes: int = 1 << 28) -> None:
        self.network, self._limit_bytes = network, limit_bytes
        self.cell, self.tokens_per_cell = network.cell, network.components

    @property
    def channels(self) -> int:
        """C."""
        return self.network.channels

    @property
    def dtype(self) -> PixelType:
        """Of pixels."""
        return self.network.pixel_type

    def decode(self, tokens: NDArray[np.uint16], grids: NDArray[np.int64], threads: int) -> list[Pixels]:
        """The pixels [rows * b, columns * b, C] of each picture. tokens : uint16 [cells, M]"""
        if not len(grids):
            return []
        most = max(1, _TILE_VALUES // (self.cell**2 * self.channels))
        sizes = grids.prod(axis=1)
        if not (sizes > most).any():
            return self._whole(tokens, grids, threads)
        small = np.flatnonzero(sizes <= most)
        bounds = np.concatenate([[0], np.cumsum(sizes)])
        pictures: list[Pixels] = [np.empty(0, self.dtype)] * len(grids)
        own = [tokens[bounds[number] : bounds[number + 1]] for number in range(len(grids))]
        if len(small):
            joined = np.concatenate([own[number] for number in small])
            for number, pixels in zip(small, self._whole(joined, grids[small], threads), strict=True):
                pictures[number] = pixels
        for number in np.flatnonzero(sizes > most):
            rows, columns = grids[number].tolist()
            pictures[number] = self._tiled(own[number].reshape(rows, columns, -1), math.isqrt(most), threads)
        return pictures

    def _tiled(self, tokens: NDArray[np.uint16], side: int, threads: int) -> Pixels:
        """The pixels of a large picture, tokens [rows, columns, M], in squares of `side` cells: memory has a bound."""
        rows, columns = tokens.shape[:2]
        b = self.cell
        pixels: Pixels = np.empty((rows * b, columns * b, self.channels), self.dtype)

        def make(corner: tuple[int, int]) -> None:
            top, left = corner
            above, before = min(top, REACH), min(left, REACH)
            bottom, right = min(top + side, rows), min(left + side, columns)
            window = tokens[top - above : bottom + REACH, left - before : right + REACH]
            grid = np.array([window.shape[:2]], np.int64)
            made = self._whole(window.reshape(-1, tokens.shape[2]), grid, 1)[0]
            made = made[above * b : (above + bottom - top) * b, before * b : (before + right - left) * b]
            pixels[top * b : bottom * b, left * b : right * b] = made

        for_each(make, [(y, x) for y in range(0, rows, side) for x in range(0, columns, side)], threads)
        return pixels

    def _whole(self, tokens: NDArray[np.uint16], grids: NDArray[np.int64], threads: int) -> list[Pixels]:
        """The pixels of pictures that are decoded at once."""
        cells = CellLists(grids)
        coefficients = signed(tokens)
        values = self._values(coefficients, cells, threads)
        pictures: list[Pixels] = [np.empty(0, self.dtype)] * len(grids)
        works = []
        for grid, numbers in same_grids(cells.grids):
            size = max(1, _PART_CELLS // (grid[0] * grid[1] * self.cell**2 * self.channels))
            works += [(grid, numbers[start : start + size]) for start in range(0, len(numbers), size)]

        def make(work: tuple[tuple[int, int], NDArray[np.int64]]) -> None:
            grid, numbers = work
            rows = cells.of_pictures(numbers, grid).ravel()
            following = rows[-1] - rows[0] == len(rows) - 1  # as where all have one grid
            own = values[rows[0] : rows[-1] + 1] if following else values[rows]
            made = self._pixels(own, len(numbers), grid)
            for number, pixels in zip(numbers, made, strict=True):
                pictures[number] = pixels

        for_each(make, works, threads)
        return pictures

    def read_prior(self, data: bytes) -> "TransformPrior":
        """The prior of the tokens, from its payload; DamagedArchiveError, LimitExceededError."""
        from smalti.decoders.transform.prior_network import unpack_prior  # noqa: PLC0415
        from smalti.decoders.transform.transform_prior import TransformPrior  # noqa: PLC0415

        try:
            return TransformPrior(*unpack_prior(data, self.network.components, self._limit_bytes))
        except ModelError as error:
            raise DamagedArchiveError(f"prior: {error}") from error

    def to_bytes(self) -> bytes:
        """The packed network."""
        from smalti.decoders.transform.transform_packing import pack_transform  # noqa: PLC0415

        return pack_transform(self.network)

    def _values(self, coefficients: NDArray[np.int32], cells: CellLists, threads: int) -> NDArray[np.int64]:
        """The dequantised coefficients, int64 [cells, M]."""
        mixing = self.network.mixing
        if mixing is not None and kernels_pay(mixing.width * 9 * mixing.width * len(coefficients)):
            from smalti.decoders.transform.transform_kernel import dequantised  # noqa: PLC0415

            return dequantised(coefficients, cells.grids, mixing, self.network.steps)
        mixed = coefficients.astype(np.int64) * MIX_UNITS
        if mixing is not None:
            mixed += mix(mixing, coefficients, cells).astype(np.int64)
        values = (mixed * self.network.steps + MIX_UNITS // 2) // MIX_UNITS
        clipped: NDArray[np.int64] = np.clip(values, -LARGEST_VALUE, LARGEST_VALUE)
        return clipped

    def _pixels(self, values: NDArray[np.int64], pictures: int, grid: tuple[int, int]) -> Pixels:
        """Pixels [pictures, H, W, C] of dequantised coefficients [cells, M] of pictures of one grid."""
        if kernels_pay(self.network.operations * len(values)):
            found = self._kernel.pixels(values, pictures, grid)
            if found is not None:
                return found
        network, side, channels = self.network, self.cell, self.channels
        rows, columns = grid
        cells = {
            channel: _rounded(values[:, components].astype(np.float64) @ basis)
            for channel, (components, basis) in self._bases.items()
        }
        largest = max((float(max(made.max(), -made.min())) for made in cells.values()), default=0.0)
        # float32 is exact as long as no sum can leave its range, and takes half the memory
        dtype = np.float32 if largest * self._gain <= _EXACT_SINGLE else np.float64
        planes: Planes = np.zeros((channels, pictures, rows * side, columns * side), dtype)
        for channel, made in cells.items():
            shaped = made.reshape(pictures, rows, columns, side, side).transpose(0, 1, 3, 2, 4)
            planes[channel].reshape(pictures, rows, side, columns, side)[...] = shaped
        if channels > 1:
            planes = _rounded(self._colour.astype(dtype) @ planes.reshape(channels, -1)).reshape(planes.shape)
        self._lap(planes)
        unit = 2.0**-network.fraction
        planes *= dtype(unit)
        planes += ((network.mean + ((1 << network.fraction) >> 1)) * unit).reshape(-1, 1, 1, 1).astype(dtype)
        np.clip(planes, 0, np.iinfo(self.dtype).max, out=planes)
        whole = planes.astype(self.dtype)  # cuts the fraction off, which is the floor of what is not negative
        pixels: Pixels = np.ascontiguousarray(whole.transpose(1, 2, 3, 0))
        if channels in (2, 4):
            pixels[pixels[..., -1] == 0] = 0  # nothing is seen there
        return pixels

    def _lap(self, planes: Planes) -> None:
        """Filter across the borders of cells, in place: first the rows, then the columns of planes [C, n, H, W]."""
        channels, pictures, height, width = planes.shape
        side, half = self.cell, self.cell // 2
        lap = self._filter.astype(planes.dtype)
        if height > side:
            across = planes[:, :, half:-half].reshape(-1, side, width)  # a copy
            made = _rounded(lap @ across)
            planes[:, :, half:-half] = made.reshape(channels, pictures, height - side, width)
        if width > side:
            along = planes[..., half:-half].reshape(-1, side)
            made = _rounded(along @ lap.T)
            planes[..., half:-half] = made.reshape(channels, pictures, height, width - side)

    @cached_property
    def _kernel(self) -> "KernelTransform":
        from smalti.decoders.transform.transform_kernel import KernelTransform  # noqa: PLC0415

        return KernelTransform(self.network, self._bases, _EXACT_SINGLE / self._gain)

    @cached_property
    def _gain(self) -> float:
        """By how much the stages after the basis may enlarge a value, in units of the matrices, with room to round."""
        colour = float(np.abs(self.network.colour).sum(axis=0).max()) if self.channels > 1 else 2.0**MATRIX_BITS
        lap = max(float(np.abs(self.network.lap).sum(axis=1).max()) * 2.0**-MATRIX_BITS, 1.0)
        return max(colour, 2.0**MATRIX_BITS) * lap**2 * _HEADROOM

    @cached_property
    def _bases(self) -> dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """By rotated channel: its components, and their basis functions [components, b * b].

        This matrix and those below are scaled by powers of two, which is exact, so that their products are in the units
        of `rounded`.
        """
        network, side = self.network, self.cell
        channel, place = np.divmod(network.places, side * side)
        bases = {}
        for number in np.unique(channel):
            components = np.flatnonzero(channel == number)
            row, column = np.divmod(place[components], side)
            basis = network.rows[number][row][:, :, None] * network.columns[number][column][:, None, :]
            bases[int(number)] = components, basis.reshape(len(components), -1) * 2.0 ** (-2 * MATRIX_BITS)
        return bases

    @cached_property
    def _colour(self) -> NDArray[np.float64]:
        return np.asarray(self.network.colour.T * 2.0**-MATRIX_BITS, np.float64)

    @cached_property
    def _filter(self) -> NDArray[np.float64]:
        return np.asarray(self.network.lap * 2.0**-MATRIX_BITS, np.float64)


def mix(mixing: Mixing, coefficients: NDArray[np.int32], cells: CellLists) -> NDArray[np.float32]:
    """What the mixing network adds to coefficients [cells, M], in units of 1/16: whole numbers within int8."""
    inputs = np.clip(coefficients, -LARGEST_TOKEN, LARGEST_TOKEN).astype(np.float32)
    around = np.zeros((cells.cells + 1, mixing.width), np.float32)
    around[:-1] = activated(inputs, mixing.weight1, mixing.bias1, mixing.shifts[0])
    gathered = around[cells.neighbours(1)].reshape(cells.cells, -1)
    hidden = activated(gathered, mixing.weight2.reshape(-1, mixing.width), mixing.bias2, mixing.shifts[1])
    moved = scaled(hidden, mixing.weight3, mixing.bias3, mixing.shifts[2])
    return np.clip(moved, -LARGEST_TOKEN, LARGEST_TOKEN, out=moved)


def scaled(
    inputs: NDArray[np.float32], weight: NDArray[np.int64], bias: NDArray[np.int64], shift: int
) -> NDArray[np.float32]:
    """floor((bias + inputs @ weight) / 2**shift), exactly: float32 [n, outputs]."""
    sums = inputs @ weight.astype(np.float32)
    sums += bias.astype(np.float32)
    sums *= np.float32(2.0**-shift)
    return np.floor(sums, out=sums)


def activated(
    inputs: NDArray[np.float32], weight: NDArray[np.int64], bias: NDArray[np.int64], shift: int
) -> NDArray[np.float32]:
    """`scaled`, clipped to 0..255."""
    sums = scaled(inputs, weight, bias, shift)
    return np.clip(sums, 0, 255, out=sums)


def _rounded(values: Planes) -> Planes:
    """Round to the nearest whole numbers, halves up, in place; then clip to LARGEST_VALUE."""
    values += values.dtype.type(0.5)
    np.floor(values, out=values)
    if values.dtype == np.float64:  # float32 is for values that are far smaller
        np.clip(values, -LARGEST_VALUE, LARGEST_VALUE, out=values)
    return values
