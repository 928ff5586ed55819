"""Windows of tokens as kernels: the values that `WindowPair` makes, from patches that are kept from call to call.

Most windows of a call have occurred in calls before. A table finds the number of a window by a key that its tokens
make, so only new windows are evaluated. Patches are added, and values made of the sums, in one pass.
"""

from collections.abc import Callable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernel
from smalti.decoders.layers.integer_network import Pair, Values
from smalti.images.batch import Pixels

__all__ = ["KeptPatches", "sum_patches"]

_KEPT_BYTES = 64 << 20  # of patches; those of all of the study's 70,000 digits take less
_FIRST = 1 << 12
_FREE = -1

Index = NDArray[np.intp]
Numbers = NDArray[np.int32]


class KeptPatches:
    """Patches by the tokens of their windows, numbered as they come; number 0 is a patch of zeros.

    reach : tokens of a window along each axis    values : tokens are below it    cells, size : of a patch

    Several threads may ask at once.
    """

    def __init__(self, reach: Pair, values: int, cells: int, size: int) -> None:
        self._lock = Lock()
        self._reach, self._values, self._shape = reach, values, (cells, size)
        self._most = max(_FIRST, _KEPT_BYTES // (4 * cells * size))
        self._forget()

    def _forget(self) -> None:
        """Begin anew, in new memory: others may still read the old."""
        self._rows = np.zeros((_FIRST, *self._shape), np.float32)
        self._known = 1
        self._keys, self._places = np.full(4 * _FIRST, _FREE), np.zeros(4 * _FIRST, np.int32)

    def find(self, tokens: Index, patches_of: Callable[[Index], Values]) -> tuple[Numbers, Values] | None:
        """Number the windows of tokens [n, y, x].

        patches_of : gives the patches [new, cells, size] of new windows; it gets for each a position in the flattened
            numbers

        Returns numbers int32 [n, y - reach + 1, x - reach + 1], and the patches that they number, float32
        [patches, cells, size]. None if there is no room for all.
        """
        with self._lock:
            for _ in range(2):
                try:
                    found = self._number(tokens)
                    if found is not None:
                        numbers, samples = found
                        self._add(patches_of(samples))
                        return numbers, self._rows
                except BaseException:
                    self._forget()  # numbers without patches
                    raise
                self._forget()
        return None

    def _number(self, tokens: Index) -> tuple[Numbers, Index] | None:
        """Number windows, and find those that are new: `_add` must be given their patches. None if there is no room."""
        shape = tokens.shape[1] - self._reach[0] + 1, tokens.shape[2] - self._reach[1] + 1
        numbers = np.empty((len(tokens), *shape), np.int32)
        samples = np.empty(min(numbers.size, self._most - self._known), np.intp)
        done = found = 0
        while True:
            table = self._keys, self._places
            done, found = _number(tokens, self._reach, self._values, *table, self._known, numbers, samples, done, found)
            if done == numbers.size:
                return numbers, samples[:found]
            if found == len(samples):
                return None
            self._keys, self._places = _widened(*table)

    def _add(self, patches: Values) -> None:
        """Keep the patches [new, cells, size] of new windows, in the order of their numbers."""
        known = self._known + len(patches)
        if known > len(self._rows):
            rows = np.zeros((min(max(2 * len(self._rows), known), self._most), *self._shape), np.float32)
            rows[: self._known] = self._rows[: self._known]
            self._rows = rows
        self._rows[self._known : known] = patches
        self._known = known


@kernel
def _number(
    tokens: Index,
    reach: Pair,
    values: int,
    keys: Index,
    places: Numbers,
    known: int,
    numbers: Numbers,
    samples: Index,
    done: int,
    found: int,
) -> tuple[int, int]:
    """Number windows from position `done` on, until the table is half full or there is no room for a new one."""
    images, height, width = numbers.shape
    mask = len(keys) - 1
    at = 0
    for image in range(done // (height * width), images):
        for row in range(height):
            for column in range(width):
                at = (image * height + row) * width + column
                if at < done:
                    continue
                key = 0
                for y in range(row, row + reach[0]):
                    for x in range(column, column + reach[1]):
                        key = key * values + tokens[image, y, x]
                slot = _slot(keys, key, mask)
                if keys[slot] == _FREE:
                    if found == len(samples) or 2 * (known + found) >= len(keys):
                        return at, found
                    keys[slot], places[slot], samples[found] = key, known + found, at
                    found += 1
                numbers[image, row, column] = places[slot]
    return numbers.size, found


@kernel
def _slot(keys: Index, key: int, mask: int) -> int:
    """Where a key is in the table, or the free slot where it belongs."""
    spread = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)  # Knuth's multiplicative hash
    slot = int(spread >> np.uint64(32)) & mask
    while keys[slot] not in (_FREE, key):
        slot = (slot + 1) & mask
    return slot


@kernel
def _widened(keys: Index, places: Numbers) -> tuple[Index, Numbers]:
    """The table with twice as many slots."""
    wider, theirs = np.full(2 * len(keys), _FREE), np.zeros(2 * len(keys), np.int32)
    for old in range(len(keys)):
        if keys[old] != _FREE:
            slot = _slot(wider, keys[old], len(wider) - 1)
            wider[slot], theirs[slot] = keys[old], places[old]
    return wider, theirs


@kernel
def sum_patches(
    patches: Values,
    numbers: Numbers,
    cells: Pair,
    step: Pair,
    bias: Values,
    scale: Values,
    low: int,
    table: Pixels | Values,
    start: Pair,
    result: Pixels | Values,
) -> None:
    """Add patches where they overlap, and set `result` [n, y, x, channels] to table[floor(sum * scale) - low], clipped.

    Number 0 says that there is no window.

    numbers : [n, rows + cells - 1, columns + cells - 1]    step : of a block, whose sums are [step y, step x, channels]
    bias, scale : of each sum of a block    start : the row and column in the blocks where `result` begins
    """
    images, height, width, channels = result.shape
    rows, columns = numbers.shape[1] - cells[0] + 1, numbers.shape[2] - cells[1] + 1
    lines, across = result.reshape(images, height, width * channels), step[1] * channels
    size, left, right = patches.shape[2], start[1] * channels, start[1] * channels + width * channels
    # each patch is read once: far memory is what takes the time. A frame takes what falls beside the blocks
    canvas = np.empty((rows + 2 * cells[0] - 2, columns + 2 * cells[1] - 2, size), np.float32)
    places = np.empty(size, np.int32)
    lowest, highest, first = np.float32(low), np.float32(low + len(table) - 1), np.int32(low)
    for image in range(images):
        canvas[:] = bias
        for row in range(numbers.shape[1]):
            for column in range(numbers.shape[2]):
                number = numbers[image, row, column]
                for y in range(cells[0] if number else 0):
                    for x in range(cells[1]):
                        for at in range(size):
                            canvas[row + y, column + x, at] += patches[number, y * cells[1] + x, at]
        for row in range(rows):
            for column in range(columns):
                for at in range(size):
                    scaled = np.floor(canvas[row + cells[0] - 1, column + cells[1] - 1, at] * scale[at])
                    places[at] = np.int32(min(max(scaled, lowest), highest)) - first
                begin, end = max(column * across, left), min((column + 1) * across, right)
                for down in range(max(0, start[0] - row * step[0]), min(step[0], start[0] + height - row * step[0])):
                    line, before = row * step[0] + down - start[0], down * across - column * across
                    for at in range(begin, end):
                        lines[image, line, at - left] = table[places[before + at]]
