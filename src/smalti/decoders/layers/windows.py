"""The first two layers as one stage, by windows of tokens: each distinct window is evaluated once, then looked up.

If the layer of tokens has a kernel K and a stride s, ceil(K / s) tokens along an axis make s hidden values. These add
a patch to the second layer's sums that no other token changes. Sets of similar images repeat such windows many times
(8 in 100 windows of the study's digits are distinct among 1,000 images), and sums of integers may be regrouped.

    tokens -> windows -> number of each distinct window -> its patch of sums -> patches added where they overlap

Window a of an axis is the `reach` tokens a - reach + 1 to a, with those outside the grid. It makes `stride` hidden
values, which add a patch of `side` sums, `step` sums after the patch of window a - 1.

Patches are cut into cells as large as a step. Block b of the result is then cell 0 of the patch at b, plus cell 1 of
the patch at b - 1, and so on, along both axes: with few distinct patches, look-ups and additions of whole rows.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernels_pay
from smalti.decoders.layers.integer_network import Pair, Values
from smalti.decoders.layers.stages import Axis, Region, Span, TokenLayer, UpLayer, area, extent

if TYPE_CHECKING:
    from smalti.decoders.layers.windows_kernel import KeptPatches

__all__ = ["WindowAxis", "WindowPair", "add_cells", "cut_patches", "neighbours", "number_tuples"]


Index = NDArray[np.intp]


def cut_patches(patches: Values, step: Pair) -> Values:
    """Cut patches [r, y, x, channels] into cells: [r, cells, values of a cell]. Zeros fill the last ones."""
    count, height, width, channels = patches.shape
    rows, columns = -(-height // step[0]), -(-width // step[1])
    filled = np.zeros((count, rows * step[0], columns * step[1], channels), patches.dtype)
    filled[:, :height, :width] = patches
    by_cell = filled.reshape(count, rows, step[0], columns, step[1], channels).transpose(0, 1, 3, 2, 4, 5)
    return by_cell.reshape(count, rows * columns, step[0] * step[1] * channels)


def neighbours(numbers: Index, cells: Pair) -> Iterator[Index]:
    """Yield for each cell the numbers of the patches that it comes from, for the blocks [.., y, x].

    numbers : of patches [..., y + cells[0] - 1, x + cells[1] - 1], with those above and to the left
    """
    height, width = numbers.shape[-2] - cells[0] + 1, numbers.shape[-1] - cells[1] + 1
    for y in range(cells[0] - 1, -1, -1):
        for x in range(cells[1] - 1, -1, -1):
            yield numbers[..., y : y + height, x : x + width]


def add_cells(table: Values, numbers: Iterator[Index]) -> Values:
    """Sums of cells: [n, values of a cell].

    table : [patches, cells, values of a cell]
    numbers : for each cell, the patches that it comes from, n in all
    """
    cells = table.shape[1]
    rows = table.reshape(-1, table.shape[2])
    sums: Values = rows.take(next(numbers).ravel() * cells, axis=0)
    buffer = np.empty_like(sums)
    for cell, patch in enumerate(numbers, start=1):
        # mode="clip" lets NumPy write straight into `out`; no index is ever out of range
        rows.take(patch.ravel() * cells + cell, axis=0, out=buffer, mode="clip")
        sums += buffer
    return sums


_DIRECT = 16
"""A table of all possible keys is faster than sorting, up to this many entries per key (measured)."""

_MAX_KEY = 1 << 62


def number_tuples(elements: Iterable[NDArray[Any]], values: int) -> tuple[Index, int]:
    """Number tuples of small integers: equal tuples get equal numbers, from 0 on without gaps.

    elements : arrays of one shape; each holds one element of every tuple, integers in [0, values)

    Returns the numbers, intp of the same shape, and the number of distinct tuples.
    """
    keys: Index | None = None
    space = 1
    for element in elements:
        if keys is None:
            keys, space = element.astype(np.intp), values
            continue
        if space > _MAX_KEY // values:
            keys, space = _close_gaps(keys, space)
        keys *= values
        keys += element
        space *= values
    if keys is None:
        raise AssertionError("tuples without elements")
    return _close_gaps(keys, space)


def _close_gaps(keys: Index, space: int) -> tuple[Index, int]:
    """Number the distinct keys in [0, space) from 0 on, in ascending order."""
    if space > _DIRECT * keys.size + 1024:
        distinct, numbers = np.unique(keys, return_inverse=True)
        return numbers.reshape(keys.shape), len(distinct)
    seen = np.zeros(space, np.bool_)
    seen[keys] = True
    distinct = np.flatnonzero(seen)
    table = np.empty(space, np.intp)
    table[distinct] = np.arange(len(distinct))
    return table[keys], len(distinct)


@dataclass(frozen=True)
class WindowAxis:
    """One axis of two layers, from tokens to hidden values to sums."""

    first: Axis
    second: Axis

    @property
    def stride(self) -> int:
        """Hidden values of a window."""
        return self.first.stride

    @property
    def reach(self) -> int:
        """Tokens of a window."""
        return -(-self.first.kernel // self.first.stride)

    @property
    def step(self) -> int:
        """Sums from one window to the next."""
        return self.first.stride * self.second.stride

    @property
    def side(self) -> int:
        """Sums of a patch."""
        return (self.first.stride - 1) * self.second.stride + self.second.kernel

    @property
    def cells(self) -> int:
        """Parts of `step` sums that a patch is cut into."""
        return -(-self.side // self.step)

    @property
    def padding(self) -> int:
        """Sums that are cropped from the first windows' patches."""
        return self.first.padding * self.second.stride + self.second.padding

    @property
    def crops_known(self) -> bool:
        """True if a window's tokens, with those outside the grid, determine which of its hidden values are cropped.

        They do if no window inside the grid has such values: these then depend on how far outside a window lies.
        """
        return self.first.padding <= self.first.kernel - self.first.stride

    def windows(self, target: Span, tokens: int) -> Span:
        """The windows that add to the sums `target`."""
        return Axis(self.side, self.step, self.padding, transposed=True).needed(target, tokens + self.reach - 1)

    def tokens(self, windows: Span, tokens: int) -> Span:
        """The tokens of the grid that windows hold."""
        start = min(max(windows[0] - self.reach + 1, 0), tokens)
        return start, max(min(windows[1], tokens), start)

    def blocks(self, target: Span) -> Span:
        """The blocks of `step` sums each that hold `target`; block b begins where the patch of window b does."""
        return (target[0] + self.padding) // self.step, (target[1] - 1 + self.padding) // self.step + 1

    def within(self, target: Span, blocks: Span) -> slice:
        """The position of `target` in the sums of `blocks`."""
        first = target[0] + self.padding - blocks[0] * self.step
        return slice(first, first + target[1] - target[0])

    def uncropped(self, windows: NDArray[np.intp], tokens: int) -> NDArray[np.bool_]:
        """True for the hidden values of windows [d] that are not cropped: bool [d, stride]."""
        positions = windows[:, None] * self.stride + np.arange(self.stride) - self.first.padding
        return (positions >= 0) & (positions < self.first.output_size(tokens))


_CHUNK_BYTES = 1 << 20  # of hidden values or of sums: so they stay in a level-2 cache (measured)
_TABLE_BYTES = 20 << 20  # of the tokens' cells or of the matrix of patches: it takes about 10 ms to make them
_LARGEST_WINDOW = 9


class WindowPair:
    """A layer of tokens and the transposed convolution after it, as one stage, if `fits` allows it."""

    def __init__(self, first: TokenLayer, second: UpLayer) -> None:
        self._y, self._x = _window_axes(first, second)
        self._first, self._second = first, second
        codes, height, width, channels = first.weight.shape
        patches = np.zeros((codes + 1, height, width, channels), second.bias.dtype)  # the last one: outside the grid
        patches[:-1] = first.weight
        self._tokens = cut_patches(patches, (self._y.stride, self._x.stride))
        self._tokens[:, 0] += np.tile(first.bias, self._y.stride * self._x.stride)  # a window has one cell 0
        self._matrix = _patch_matrix(second, self._y, self._x)
        self._bias = np.tile(second.bias, self._y.step * self._x.step)  # of a block
        keyed = (codes + 1) ** (self._y.reach * self._x.reach) < 1 << 62  # a window's tokens make a key of 64 bits
        self._kept_by_process: dict[int, KeptPatches] = {}
        self._kept_fit = keyed and self._matrix.dtype == np.float32 and second.activation.table is not None

    @staticmethod
    def fits(first: TokenLayer, second: UpLayer) -> bool:
        """True if windows can serve these layers with tables of moderate size."""
        y, x = _window_axes(first, second)
        hidden = y.stride * x.stride * first.outputs
        tokens = (len(first.weight) + 1) * y.reach * x.reach * hidden
        matrix = hidden * y.cells * y.step * x.cells * x.step * second.outputs
        small = max(tokens, matrix) * second.bias.itemsize <= _TABLE_BYTES
        return y.crops_known and x.crops_known and y.reach * x.reach <= _LARGEST_WINDOW and small

    @property
    def outputs(self) -> int:
        """Channels out."""
        return self._second.outputs

    def output_size(self, size: Pair) -> Pair:
        """Rows and columns out for a grid of tokens."""
        return self._second.output_size(self._first.output_size(size))

    def needed(self, target: Region, size: Pair) -> Region:
        """The tokens, out of a grid of `size`, that `target` depends on."""
        rows, columns = self._windows(target, size)
        return self._y.tokens(rows, size[0]), self._x.tokens(columns, size[1])

    def scratch_bytes(self, target: Region, size: Pair) -> int:
        """Bytes of memory that `run` needs for one image if every window is distinct."""
        rows, columns = extent(self._windows(target, size))
        patch = int(self._matrix.shape[1]) * self._matrix.itemsize
        values = area(target) * self._second.outputs * self._second.activation.dtype.itemsize
        return values + (patch + 8 * 8) * (rows + 1) * (columns + 1)

    def run(self, tokens: Index, source: Region, target: Region, size: Pair) -> Values:
        """Values [n, y, x, channels] of `target` for tokens [n, y, x] of `source`, out of a grid of `size`."""
        windows = self._windows(target, size)
        start = (windows[0][0] - self._y.reach + 1, windows[1][0] - self._x.reach + 1)
        framed = _framed(tokens, source, (start, (windows[0][1], windows[1][1])), outside=len(self._tokens) - 1)
        if self._kept_fit and kernels_pay(len(tokens) * self._effort(target, windows)):
            kept = self._from_kept(framed, windows, target, size)
            if kept is not None:
                return kept
        members = list(neighbours(framed, (self._y.reach, self._x.reach)))
        numbers, distinct = number_tuples(members, len(self._tokens))
        samples = np.empty(distinct, np.intp)  # for each distinct window, one position where it occurs
        samples[numbers.ravel()] = np.arange(numbers.size)
        patches = self._patches(members, samples, windows, size)
        patches[:, 0] += self._bias  # each block has one cell 0, if only that of the patch of zeros
        return self._assembled(patches, numbers, windows, target)

    def _effort(self, target: Region, windows: Region) -> int:
        """Products and sums of one image, if one window in ten is new. To look a value up takes as long as ten."""
        return (
            self._matrix.size * area(windows) // 10 + 10 * self._y.cells * self._x.cells * area(target) * self.outputs
        )

    def _from_kept(self, framed: Index, windows: Region, target: Region, size: Pair) -> Values | None:
        """The values of `run` by kernels, with patches kept from call to call; None if there are too many of them."""
        from smalti.decoders.layers.windows_kernel import sum_patches  # noqa: PLC0415

        def patches_of(samples: Index) -> Values:
            members = list(neighbours(framed, (self._y.reach, self._x.reach)))
            return self._patches(members, samples, windows, size)[:-1]

        found = self._kept().find(framed, patches_of)
        if found is None:
            return None
        numbers, patches = found
        framed_numbers, rows, columns = self._by_blocks(numbers, windows, target, outside=0)
        activation = self._second.activation
        assert activation.table is not None  # `_kept_fit` says so
        result = np.empty((len(numbers), *extent(target), self._second.outputs), activation.dtype)
        starts = self._y.within(target[0], rows).start, self._x.within(target[1], columns).start
        sides, steps = (self._y.cells, self._x.cells), (self._y.step, self._x.step)
        scale = np.resize(activation.scale, len(self._bias))
        sum_patches(
            patches, framed_numbers, sides, steps, self._bias, scale, activation.low, activation.table, starts, result
        )
        return result

    def _kept(self) -> "KeptPatches":
        """The patches that this process keeps: one that was forked cannot wait for another one's lock."""
        from smalti.decoders.layers.windows_kernel import KeptPatches  # noqa: PLC0415

        process = os.getpid()
        kept = self._kept_by_process.get(process)
        if kept is None:
            cells = self._y.cells * self._x.cells
            reach = self._y.reach, self._x.reach
            kept = KeptPatches(reach, len(self._tokens), cells, self._matrix.shape[1] // cells)
            self._kept_by_process = {process: kept}
        return kept

    def _windows(self, target: Region, size: Pair) -> Region:
        return self._y.windows(target[0], size[0]), self._x.windows(target[1], size[1])

    def _patches(self, members: list[Index], samples: Index, windows: Region, size: Pair) -> Values:
        """Patches of distinct windows as cells, [distinct + 1, cells, values of a cell]; the last one is zeros.

        The bias of the second layer is not in them.
        """
        flat = np.zeros((len(samples) + 1, self._matrix.shape[1]), self._matrix.dtype)
        step = max(1, _CHUNK_BYTES // (self._matrix.shape[0] * self._matrix.itemsize))
        for start in range(0, len(samples), step):
            image, row, column = np.unravel_index(samples[start : start + step], members[0].shape)
            sums = add_cells(self._tokens, (member[image, row, column] for member in members))
            hidden = self._first.activation.apply(sums.reshape(len(image), -1, self._first.outputs))
            rows = self._y.uncropped(row + windows[0][0], size[0])
            columns = self._x.uncropped(column + windows[1][0], size[1])
            if not (rows.all() and columns.all()):
                hidden *= (rows[:, :, None] & columns[:, None, :]).reshape(len(image), -1, 1)
            np.matmul(hidden.reshape(len(image), -1), self._matrix, out=flat[start : start + len(image)])
        return flat.reshape(len(flat), self._y.cells * self._x.cells, -1)

    def _assembled(self, patches: Values, numbers: Index, windows: Region, target: Region) -> Values:
        """Add patches where they overlap, and apply the activation to the sums."""
        framed, rows, columns = self._by_blocks(numbers, windows, target, outside=len(patches) - 1)
        height, width = extent((rows, columns))
        result = np.empty((len(numbers), *extent(target), self._second.outputs), self._second.activation.dtype)
        step = max(1, _CHUNK_BYTES // (height * width * patches.shape[2] * patches.itemsize))
        for first in range(0, len(numbers), step):
            part = framed[first : first + step]
            sums = add_cells(patches, neighbours(part, (self._y.cells, self._x.cells)))
            values = self._second.activation.apply(sums.reshape(-1, self._second.outputs))
            blocks = values.reshape(len(part), height, width, self._y.step, self._x.step, -1)
            plain = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(
                len(part), height * self._y.step, width * self._x.step, self._second.outputs
            )
            plain = plain[:, self._y.within(target[0], rows), self._x.within(target[1], columns)]
            result[first : first + step] = plain
        return result

    def _by_blocks(
        self, numbers: NDArray[Any], windows: Region, target: Region, outside: int
    ) -> tuple[NDArray[Any], Span, Span]:
        """The numbers of all patches that overlap the blocks of `target`, and the rows and columns of blocks."""
        rows, columns = self._y.blocks(target[0]), self._x.blocks(target[1])
        start = (rows[0] - self._y.cells + 1, columns[0] - self._x.cells + 1)
        return _framed(numbers, windows, (start, (rows[1], columns[1])), outside), rows, columns


def _window_axes(first: TokenLayer, second: UpLayer) -> tuple[WindowAxis, WindowAxis]:
    y, x = (WindowAxis(one, two) for one, two in zip(first.axes, second.axes, strict=True))
    return y, x


def _framed(values: NDArray[Any], at: Region, corners: tuple[Pair, Pair], outside: int) -> NDArray[Any]:
    """Values [n, y, x] of the region between two corners, from values at `at`; `outside` where there is none."""
    (top, left), (bottom, right) = corners
    framed = np.full((len(values), bottom - top, right - left), outside, values.dtype)
    framed[:, at[0][0] - top : at[0][1] - top, at[1][0] - left : at[1][1] - left] = values
    return framed


def _patch_matrix(second: UpLayer, y: WindowAxis, x: WindowAxis) -> Values:
    """The matrix from the hidden values of a window [y, x, channels] to the cells of its patch."""
    channels, height, width, outputs = second.weight.shape
    patches = np.zeros((y.stride, x.stride, channels, y.side, x.side, outputs), second.bias.dtype)
    for row in range(y.stride):
        for column in range(x.stride):
            top, left = row * y.second.stride, column * x.second.stride
            patches[row, column, :, top : top + height, left : left + width] = second.weight
    cells = cut_patches(patches.reshape(-1, y.side, x.side, outputs), (y.step, x.step))
    return cells.reshape(len(cells), -1)
