"""`TransformModel`'s way from dequantised coefficients to pixels as a kernel, a row of cells after the other.

The rows that it works on stay in the caches. It is for sums that are exact in float32, as nearly all are; it says if
they are not, and NumPy does that picture.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernel
from smalti.decoders.transform.transform_network import LARGEST_VALUE, MATRIX_BITS, TransformNetwork
from smalti.images.batch import Pixels
from smalti.images.seen import ALPHA_CHANNELS

__all__ = ["KernelTransform"]

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_HALF = np.float32(0.5)
_ZERO = np.float32(0)
_LARGEST = float(LARGEST_VALUE)


class _Numbers(NamedTuple):
    """The numbers of a network as a kernel takes them. b : side of a cell

    channels, rows, columns : of each component, sorted by channels    row_basis, column_basis : float64 [C, b, b]
    colour : float32 [C, C], of each channel what the rotated ones add    lap : float32 [b, b]
    unit, offsets : what a sum is multiplied by at the end, and what is added then, [C]
    most : the largest sample    limit : for the values of cells, so that no sum after them leaves float32
    """

    channels: Ints
    rows: Ints
    columns: Ints
    row_basis: Doubles
    column_basis: Doubles
    colour: Singles
    lap: Singles
    lap_back: Singles
    unit: np.float32
    offsets: Singles
    most: np.float32
    limit: float
    hides: bool


class KernelTransform:
    """A transform network for the kernel. limit : for the values of cells, so that float32 is exact after them"""

    def __init__(self, network: TransformNetwork, limit: float) -> None:
        side = network.cell
        self._order = np.argsort(network.places // side**2, kind="stable")
        channels, places = np.divmod(network.places[self._order], side * side)
        rows, columns = np.divmod(places, side)
        self._sorted = bool((np.diff(self._order) == 1).all())
        self._dtype, self._side = network.pixel_type, side
        scale, unit = 2.0**-MATRIX_BITS, 2.0**-network.fraction
        self._numbers = _Numbers(
            channels,
            rows,
            columns,
            np.asarray(network.rows * scale, np.float64),
            np.asarray(network.columns * scale, np.float64),
            np.ascontiguousarray(network.colour.T * scale, np.float32),
            np.ascontiguousarray(network.lap * scale, np.float32),
            np.ascontiguousarray(network.lap.T * scale, np.float32),
            np.float32(unit),
            ((network.mean + ((1 << network.fraction) >> 1)) * unit).astype(np.float32),
            np.float32(np.iinfo(self._dtype).max),
            limit,
            network.channels in ALPHA_CHANNELS,
        )

    def pixels(self, values: Ints, pictures: int, grid: tuple[int, int]) -> Pixels | None:
        """Pixels [pictures, H, W, C] of values [cells, M] of pictures of one grid; None if float32 is not exact."""
        rows, columns = grid
        channels = len(self._numbers.offsets)
        values = np.ascontiguousarray(values if self._sorted else values[:, self._order])
        pixels: Pixels = np.empty((pictures, rows * self._side, columns * self._side, channels), self._dtype)
        planes = np.empty((channels, rows * self._side, columns * self._side), np.float32)
        for number, picture in enumerate(pixels):
            first = number * rows * columns
            if not _decode(self._numbers, values[first : first + rows * columns], rows, planes, picture):
                return None
        return pixels


@kernel
def _decode(numbers: _Numbers, values: Ints, rows: int, planes: Singles, pixels: Pixels) -> bool:
    """Fill the pixels [H, W, C] of a picture; whether all sums are exact. planes : float32 [C, H, W], room for it"""
    side, columns = len(numbers.lap), len(values) // rows
    half, channels, width = side // 2, len(planes), planes.shape[2]
    lines = np.empty((max(side, channels), width), np.float32)
    done = 0
    for row in range(rows):
        own = values[row * columns : (row + 1) * columns]
        if _cells(numbers, own, planes, row * side) > numbers.limit:
            return False
        if channels > 1:
            _rotate(numbers.colour, planes, row * side, side, lines)
        if row:
            _lap_down(numbers.lap, planes, row * side - half, lines)
        till = row * side + half if row + 1 < rows else rows * side
        _lap_along(numbers.lap_back, planes, done, till, columns)
        _finish(planes, done, till, numbers.unit, numbers.offsets, numbers.most, numbers.hides, pixels)
        done = till
    return True


@kernel
def _cells(numbers: _Numbers, values: Ints, planes: Singles, top: int) -> float:
    """The inverse transform of a row of cells, values [cells, M], to rows of planes. Returns the largest magnitude."""
    side, largest = len(numbers.lap), 0.0
    row_of, column_of, basis = numbers.rows, numbers.columns, numbers.column_basis
    lines, used, line = np.empty((side, side)), np.empty(side, np.bool_), np.empty(side)
    begins = np.searchsorted(numbers.channels, np.arange(len(planes) + 1))
    for cell in range(len(values)):
        for channel in range(len(planes)):
            used[:] = False
            for component in range(begins[channel], begins[channel + 1]):
                value = np.float64(values[cell, component])
                if value != 0:
                    _add_component(lines, used, value, row_of[component], basis, channel, column_of[component])
            magnitude = _block(lines, used, numbers.row_basis, channel, line, planes, top, cell * side)
            largest = max(largest, magnitude)
    return largest


@kernel
def _add_component(
    lines: Doubles, used: NDArray[np.bool_], value: float, row: int, basis: Doubles, channel: int, column: int
) -> None:
    """Add a coefficient's basis function along the columns to the line of its row."""
    if used[row]:
        for place in range(np.uint64(lines.shape[1])):
            lines[row, place] += value * basis[channel, column, place]
    else:
        used[row] = True
        for place in range(np.uint64(lines.shape[1])):
            lines[row, place] = value * basis[channel, column, place]


@kernel
def _block(
    lines: Doubles,
    used: NDArray[np.bool_],
    basis: Doubles,
    channel: int,
    line: Doubles,
    planes: Singles,
    top: int,
    left: int,
) -> float:
    """The inverse transform along the rows, rounded: a cell of a plane. Returns the largest magnitude."""
    side, largest = len(line), 0.0
    for y in range(side):
        line[:] = 0.5
        for row in range(side):
            if used[row]:
                weight = basis[channel, row, y]
                for place in range(np.uint64(side)):
                    line[place] += weight * lines[row, place]
        for place in range(side):
            value = min(max(np.floor(line[place]), -_LARGEST), _LARGEST)
            largest = max(largest, abs(value))
            planes[channel, top + y, left + place] = value
    return largest


@kernel
def _rotate(colour: Singles, planes: Singles, top: int, rows: int, lines: Singles) -> None:
    """Turn rotated channels into those of pixels, rounded, in place."""
    channels, width = len(planes), np.uint64(planes.shape[2])
    for y in range(top, top + rows):
        for channel in range(channels):
            lines[channel] = _HALF
            for other in range(channels):
                weight = colour[channel, other]
                for x in range(width):
                    lines[channel, x] += weight * planes[other, y, x]
        for channel in range(channels):
            for x in range(width):
                planes[channel, y, x] = np.floor(lines[channel, x])


@kernel
def _lap_down(lap: Singles, planes: Singles, top: int, lines: Singles) -> None:
    """Filter the rows across a border of cells, from row `top` on, in place."""
    side, width = len(lap), np.uint64(planes.shape[2])
    for channel in range(len(planes)):
        for out in range(side):
            lines[out] = _HALF
            for row in range(0, side, 4):
                y, a, b, c, d = top + row, lap[out, row], lap[out, row + 1], lap[out, row + 2], lap[out, row + 3]
                for x in range(width):
                    lines[out, x] += (
                        a * planes[channel, y, x]
                        + b * planes[channel, y + 1, x]
                        + c * planes[channel, y + 2, x]
                        + d * planes[channel, y + 3, x]
                    )
        for out in range(side):
            for x in range(width):
                planes[channel, top + out, x] = np.floor(lines[out, x])


@kernel
def _lap_along(lap_back: Singles, planes: Singles, top: int, bottom: int, columns: int) -> None:
    """Filter rows of pixels across all borders of cells, in place. lap_back : the filter's matrix, transposed"""
    side = len(lap_back)
    line = np.empty(side, np.float32)
    for channel in range(len(planes)):
        for y in range(top, bottom):
            for left in range(side - side // 2, (columns - 1) * side, side):
                line[:] = _HALF
                for place in range(0, side, 4):
                    a, b = planes[channel, y, left + place], planes[channel, y, left + place + 1]
                    c, d = planes[channel, y, left + place + 2], planes[channel, y, left + place + 3]
                    for out in range(np.uint64(side)):
                        line[out] += (
                            a * lap_back[place, out]
                            + b * lap_back[place + 1, out]
                            + c * lap_back[place + 2, out]
                            + d * lap_back[place + 3, out]
                        )
                for out in range(side):
                    planes[channel, y, left + out] = np.floor(line[out])


@kernel
def _finish(
    planes: Singles,
    top: int,
    bottom: int,
    unit: np.float32,
    offsets: Singles,
    most: np.float32,
    hides: bool,
    pixels: Pixels,
) -> None:
    """Rows of samples from planes: rounded, clipped, and 0 where alpha is 0."""
    channels, width = len(planes), np.uint64(planes.shape[2])
    for y in range(top, bottom):
        for channel in range(channels):
            offset = offsets[channel]
            for x in range(width):
                pixels[y, x, channel] = min(max(planes[channel, y, x] * unit + offset, _ZERO), most)
        if hides:
            for x in range(width):
                if pixels[y, x, channels - 1] == 0:
                    for channel in range(channels - 1):
                        pixels[y, x, channel] = 0
