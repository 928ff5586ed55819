"""`TransformModel`'s way from dequantised coefficients to pixels as a kernel, some rows of cells after the others.

What it works on stays in the caches. Numba calls SciPy's BLAS for products of matrices. It is for sums that are exact
in float32, as nearly all are; it says if they are not, and NumPy does that picture.
"""

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernel
from smalti.decoders.transform.transform_network import (
    LARGEST_TOKEN,
    LARGEST_VALUE,
    MATRIX_BITS,
    MIX_UNITS,
    Mixing,
    TransformNetwork,
)
from smalti.images.batch import Pixels
from smalti.images.seen import ALPHA_CHANNELS

__all__ = ["KernelTransform", "dequantised"]

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_HALF = np.float32(0.5)
_ZERO = np.float32(0)
_LARGEST = float(LARGEST_VALUE)
_MOST_HIDDEN = np.float32(255)
_MIXED = 256  # cells that are mixed at once
_CELLS = 64  # about so many are transformed at once
_NONE: Ints = np.zeros(0, np.int64)
_rooms = threading.local()


class _Numbers(NamedTuple):
    """The numbers of a network as a kernel takes them. b : side of a cell

    order : int64 [M], the components, sorted by channels    begins : int64 [C + 1], where those of each channel begin
    bases : float64 [M, b * b], basis functions    colour : float32 [C, C], of each channel what the rotated ones add
    lap : float32 [b, b]    lap_back : the same, transposed
    unit, offsets : what a sum is multiplied by at the end, and what is added then, [C]
    most : the largest sample    limit : for the values of cells, so that no sum after them leaves float32
    """

    order: Ints
    begins: Ints
    bases: Doubles
    colour: Singles
    lap: Singles
    lap_back: Singles
    unit: np.float32
    offsets: Singles
    most: np.float32
    limit: float
    hides: bool


class KernelTransform:
    """A transform network for the kernel.

    bases : by rotated channel, its components and their basis functions, float64 [components, b * b]
    limit : for the values of cells, so that float32 is exact after them
    """

    def __init__(self, network: TransformNetwork, bases: dict[int, tuple[Ints, Doubles]], limit: float) -> None:
        self._dtype, self._side = network.pixel_type, network.cell
        found = [bases.get(channel, (_NONE, np.zeros((0, network.cell**2)))) for channel in range(network.channels)]
        scale, unit = 2.0**-MATRIX_BITS, 2.0**-network.fraction
        self._numbers = _Numbers(
            np.concatenate([components for components, _ in found]),
            np.cumsum([0, *(len(components) for components, _ in found)]),
            np.concatenate([basis for _, basis in found]),
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
        pixels: Pixels = np.empty((pictures, rows * self._side, columns * self._side, channels), self._dtype)
        planes = _planes((channels, rows * self._side, columns * self._side))
        return pixels if _decode(self._numbers, values, rows, planes, pixels) else None


def _planes(shape: tuple[int, int, int]) -> Singles:
    """Room for the planes of a picture. Each thread keeps it: the system takes long to give so much anew."""
    size = int(np.prod(shape))
    kept: Singles | None = getattr(_rooms, "planes", None)
    if kept is None or kept.size < size:
        kept = _rooms.planes = np.empty(size, np.float32)
    return kept[:size].reshape(shape)


def dequantised(coefficients: NDArray[np.int32], grids: Ints, mixing: Mixing, steps: Ints) -> Ints:
    """The values of the coefficients of pictures that the mixing network has moved: int64 [cells, M]."""
    names = ("weight1", "bias1", "weight2", "bias2", "weight3", "bias3")
    one, bias1, two, bias2, three, bias3 = (getattr(mixing, name).astype(np.float32) for name in names)
    scales = 2.0 ** -np.array(mixing.shifts, np.float32)
    return _mixed(coefficients, grids, one, bias1, two.reshape(-1, mixing.width), bias2, three, bias3, scales, steps)


@kernel
def _mixed(
    coefficients: NDArray[np.int32],
    grids: Ints,
    weight1: Singles,
    bias1: Singles,
    weight2: Singles,
    bias2: Singles,
    weight3: Singles,
    bias3: Singles,
    scales: Singles,
    steps: Ints,
) -> Ints:
    cells, components = coefficients.shape
    width, start = len(bias1), 0
    seen, inputs = np.empty((_MIXED, components), np.float32), np.empty((_MIXED, 9 * width), np.float32)
    first, hidden = np.empty((cells, width), np.float32), np.empty((_MIXED, width), np.float32)
    moved, values = np.empty((_MIXED, components), np.float32), np.empty(coefficients.shape, np.int64)
    for begin in range(0, cells, _MIXED):
        many = min(_MIXED, cells - begin)
        for row in range(many):
            for component in range(components):
                seen[row, component] = min(max(coefficients[begin + row, component], -LARGEST_TOKEN), LARGEST_TOKEN)
        np.dot(seen[:many], weight1, first[begin : begin + many])
        _activate(first[begin : begin + many], bias1, scales[0])
    for rows, columns in grids:
        for begin in range(0, rows * columns, _MIXED):
            many = min(_MIXED, rows * columns - begin)
            for row in range(many):
                _look_around(first, start, rows, columns, begin + row, inputs, row)
            np.dot(inputs[:many], weight2, hidden[:many])
            _activate(hidden[:many], bias2, scales[1])
            np.dot(hidden[:many], weight3, moved[:many])
            for row in range(many):
                cell = start + begin + row
                for component in range(components):
                    more = np.floor((moved[row, component] + bias3[component]) * scales[2])
                    mixed = np.int64(min(max(more, -LARGEST_TOKEN), LARGEST_TOKEN))
                    mixed += np.int64(coefficients[cell, component]) * MIX_UNITS
                    value = (mixed * steps[component] + MIX_UNITS // 2) // MIX_UNITS
                    values[cell, component] = min(max(value, -LARGEST_VALUE), LARGEST_VALUE)
        start += rows * columns
    return values


@kernel
def _look_around(values: Singles, start: int, rows: int, columns: int, cell: int, inputs: Singles, at: int) -> None:
    """The values of the 3 x 3 cells around a cell of a picture, whose cells begin at `start`; 0 for those outside."""
    width, row, column = values.shape[1], cell // columns, cell % columns
    for place in range(9):
        down, right = place // 3 - 1, place % 3 - 1
        inside = 0 <= row + down < rows and 0 <= column + right < columns
        other = start + cell + down * columns + right
        for unit in range(width):
            inputs[at, place * width + unit] = values[other, unit] if inside else _ZERO


@kernel
def _activate(sums: Singles, bias: Singles, scale: np.float32) -> None:
    """The hidden values of sums, in place."""
    for row in range(len(sums)):
        for unit in range(len(bias)):
            sums[row, unit] = min(max(np.floor((sums[row, unit] + bias[unit]) * scale), _ZERO), _MOST_HIDDEN)


@kernel
def _decode(numbers: _Numbers, values: Ints, rows: int, planes: Singles, pixels: Pixels) -> bool:
    """Fill the pixels [pictures, H, W, C]; whether all sums are exact. planes : float32 [C, H, W], room for one"""
    cells = len(values) // len(pixels)
    for number in range(len(pixels)):
        own = values[number * cells : (number + 1) * cells]
        if not _decode_one(numbers, own, rows, planes, pixels[number]):
            return False
    return True


@kernel
def _decode_one(numbers: _Numbers, values: Ints, rows: int, planes: Singles, pixels: Pixels) -> bool:
    """Fill the pixels [H, W, C] of a picture; whether all sums are exact."""
    side, columns = len(numbers.lap), len(values) // rows
    half, channels, width = side // 2, len(planes), planes.shape[2]
    lines = np.empty((max(side, channels), width), np.float32)
    at_once, done = max(1, _CELLS // columns), 0
    for row in range(0, rows, at_once):
        end = min(row + at_once, rows)
        if _cells(numbers, values[row * columns : end * columns], columns, planes, row * side) > numbers.limit:
            return False
        if channels > 1:
            _rotate(numbers.colour, planes, row * side, end * side, lines)
        for border in range(max(row, 1), end):
            _lap_down(numbers.lap, planes, border * side - half, lines)
        till = end * side - half if end < rows else rows * side
        _lap_along(numbers.lap_back, planes, done, till, columns)
        _finish(planes, done, till, numbers.unit, numbers.offsets, numbers.most, numbers.hides, pixels)
        done = till
    return True


@kernel
def _cells(numbers: _Numbers, values: Ints, columns: int, planes: Singles, top: int) -> float:
    """The inverse transform of rows of cells, values [cells, M], to rows of planes. Returns the largest magnitude."""
    cells, side, begins, order, largest = len(values), len(numbers.lap), numbers.begins, numbers.order, 0.0
    own, made = np.empty(values.size), np.empty((cells, side * side))
    for channel in range(len(planes)):
        first, count = begins[channel], begins[channel + 1] - begins[channel]
        coefficients = own[: cells * count].reshape(cells, count)
        for cell in range(cells):
            for number in range(count):
                coefficients[cell, number] = values[cell, order[first + number]]
        np.dot(coefficients, numbers.bases[first : first + count], made)
        for cell in range(cells):
            y_first, x_first = top + cell // columns * side, cell % columns * side
            for y in range(side):
                for x in range(side):
                    value = np.floor(made[cell, y * side + x] + 0.5)
                    value = min(max(value, -_LARGEST), _LARGEST)
                    largest = max(largest, abs(value))
                    planes[channel, y_first + y, x_first + x] = value
    return largest


@kernel
def _rotate(colour: Singles, planes: Singles, top: int, bottom: int, lines: Singles) -> None:
    """Turn rotated channels into those of pixels, rounded, in place."""
    channels, width = len(planes), np.uint64(planes.shape[2])
    for y in range(top, bottom):
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
    width, first = (columns - 1) * side, side - side // 2
    before = np.empty(((bottom - top) * (columns - 1), side), np.float32)
    after = np.empty_like(before)
    lines, filtered = before.reshape(bottom - top, width), after.reshape(bottom - top, width)
    for channel in range(len(planes)):
        lines[:] = planes[channel, top:bottom, first : first + width]
        np.dot(before, lap_back, after)
        for y in range(bottom - top):
            for x in range(width):
                planes[channel, top + y, first + x] = np.floor(filtered[y, x] + _HALF)


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
