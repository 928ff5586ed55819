"""Residuals of images, their counts, the error bound in integers, and groups of coded residuals in a block.

A block's stream of residuals is cut into groups of images that decode alone; each group has its length in front.

Layer: within `residual`, above `modes` and `symbol_classes`.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.decoders.layers.integer_network import PixelType
from smalti.errors import DamagedArchiveError, UsageError
from smalti.images.batch import PIXEL_DTYPES, Pixels
from smalti.residual.modes import CONTEXTS, EXACT, MODES, NONE, contexts_of, rebuild, uses_base
from smalti.residual.symbol_classes import class_count, classes_of, further_bits

__all__ = [
    "ResidualCounts",
    "Residuals",
    "apply_residuals",
    "cells_of",
    "join_groups",
    "max_squared_error",
    "split_groups",
    "squared_errors",
    "wide_type",
]


@dataclass(frozen=True, eq=False)
class Residuals:
    """The residuals of n consecutive images.

    modes : uint8 [n], each below MODES; 0 for an image without residuals
    symbols : [r, H, W, C], uint8 or uint16 as the pixels are, of the r images whose mode is not 0, in order

    Raises UsageError if this is not so.
    """

    modes: NDArray[np.uint8]
    symbols: Pixels

    def __post_init__(self) -> None:
        if self.modes.ndim != 1 or self.modes.dtype != np.uint8 or (self.modes >= MODES).any():
            raise UsageError(f"residual modes: expected uint8 [n] below {MODES}")
        if self.symbols.ndim != 4 or self.symbols.dtype not in PIXEL_DTYPES or len(self.symbols) != len(self.rows):
            raise UsageError(f"residuals: {list(self.symbols.shape)} do not fit {len(self.rows)} images with residuals")

    @classmethod
    def none(cls, images: int, image_shape: tuple[int, int, int], dtype: DTypeLike = np.uint8) -> "Residuals":
        """For images that need none."""
        return cls(np.zeros(images, np.uint8), np.zeros((0, *image_shape), dtype))

    @property
    def rows(self) -> NDArray[np.intp]:
        """Indices of the images whose mode is not 0."""
        return np.flatnonzero(self.modes)

    @property
    def corrected(self) -> NDArray[np.bool_]:
        """Which images are the decoder's and have residuals: bool [n]."""
        return self.modes >= EXACT

    @property
    def stored(self) -> NDArray[np.bool_]:
        """Which images are stored without the decoder, so that their tokens do not matter: bool [n]."""
        return ~uses_base(self.modes)

    @classmethod
    def join(cls, parts: "list[Residuals]") -> "Residuals":
        """The residuals of several batches as one."""
        return cls(np.concatenate([part.modes for part in parts]), np.concatenate([part.symbols for part in parts]))

    def part(self, images: slice) -> "Residuals":
        """The residuals of a slice of the images, of step 1."""
        ends = np.concatenate([[0], np.cumsum(self.modes != NONE)])
        start, stop, _ = images.indices(len(self.modes))
        return Residuals(self.modes[images], self.symbols[ends[start] : ends[max(start, stop)]])


def max_squared_error(max_mse: float, image_shape: tuple[int, int, int], dtype: DTypeLike = np.uint8) -> int:
    """The error bound `max_mse` of an image as the largest sum of squared differences of its pixels.

    max_mse : mean squared error of pixels scaled to 0..1, by 1/255 or 1/65535
    dtype : of the pixels

    Raises UsageError if `max_mse` is negative, infinite or no number.
    """
    if not 0 <= max_mse < float("inf"):
        raise UsageError(f"a mean squared error of {max_mse} is no error bound; give a number from 0 to 1")
    height, width, channels = image_shape
    return int(Fraction(max_mse) * np.iinfo(dtype).max ** 2 * height * width * channels)


def squared_errors(images: Pixels, others: Pixels) -> NDArray[np.int64]:
    """The sum of squared differences of each pair of images, uint8 or uint16 [n, ...]: int64 [n]."""
    differences = np.subtract(images, others, dtype=wide_type(images))
    sums: NDArray[np.int64] = np.square(differences).reshape(len(images), -1).sum(axis=1, dtype=np.int64)
    return sums


def wide_type(images: Pixels) -> type[np.int32] | type[np.int64]:
    """A dtype that holds the squares of differences of such pixels."""
    return np.int32 if images.dtype == np.uint8 else np.int64


def apply_residuals(base: Pixels, residuals: Residuals) -> Pixels:
    """The images that residuals make of the decoder's, [n, H, W, C]: a new array like `base`."""
    images = base.copy()
    rows = residuals.rows
    images[rows] = rebuild(residuals.modes[rows], residuals.symbols, base[rows])
    return images


def cells_of(base: Pixels, modes: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The cell, mode * CONTEXTS + context, of each pixel of images with residuals: uint16 [r, H, W, C], like `base`.

    Stored images do not use the base, so their context is 0.
    """
    contexts = contexts_of(base)
    contexts[~uses_base(modes)] = 0
    return contexts + modes.astype(np.uint16)[:, None, None, None] * np.uint16(CONTEXTS)


class ResidualCounts:
    """The counts of modes, and of classes of symbols in each cell (mode and context), of an archive.

    dtype : of pixels and symbols, uint8 or uint16
    modes : int64 [MODES]
    symbols : int64 [MODES * CONTEXTS, classes]
    """

    def __init__(self, dtype: DTypeLike = np.uint8) -> None:
        self.dtype: PixelType = np.dtype(np.uint8) if dtype == np.uint8 else np.dtype(np.uint16)
        self.modes = np.zeros(MODES, np.int64)
        self.symbols = np.zeros((MODES * CONTEXTS, class_count(dtype)), np.int64)

    @property
    def further_bits(self) -> int:
        """The number of further bits of all symbols."""
        return int(self.symbols.sum(axis=0) @ further_bits(self.dtype))

    def add(self, base: Pixels, residuals: Residuals) -> None:
        """Count the residuals of more images, whose bases are [n, H, W, C]."""
        rows = residuals.rows
        self.modes += np.bincount(residuals.modes, minlength=MODES)
        self.add_symbols(cells_of(base[rows], residuals.modes[rows]), residuals.symbols)

    def add_symbols(self, cells: NDArray[np.uint16], symbols: Pixels) -> None:
        """Count symbols in cells, arrays of one shape."""
        classes = self.symbols.shape[1]
        pairs = cells.ravel().astype(np.int32) * classes + classes_of(symbols).ravel()
        self.symbols += np.bincount(pairs, minlength=self.symbols.size).reshape(self.symbols.shape)


def join_groups(groups: list[bytes]) -> bytes:
    """Join groups: one byte, the width of a length (1 to 4); the lengths; the groups without trailing zeros."""
    parts = [group.rstrip(b"\0") for group in groups]
    width = max(1, *((len(part).bit_length() + 7) // 8 for part in parts))
    lengths = b"".join(len(part).to_bytes(width, "little") for part in parts)
    return bytes([width]) + lengths + b"".join(parts)


def split_groups(data: bytes, groups: int) -> list[bytes]:
    """Split data into `groups` groups of whole words. DamagedArchiveError if it does not consist of so many."""
    width = data[0] if data else 0
    start = 1 + width * groups
    if not 1 <= width <= 4 or len(data) < start:
        raise DamagedArchiveError("corrections: the lengths of their groups do not fit")
    raw = np.zeros((groups, 4), np.uint8)
    raw[:, :width] = np.frombuffer(data, np.uint8, width * groups, 1).reshape(groups, width)
    ends = start + np.concatenate([[0], np.cumsum(raw.view("<u4").ravel(), dtype=np.int64)])
    if ends[-1] != len(data):
        raise DamagedArchiveError(f"corrections: groups of {ends[-1] - start} bytes in {len(data) - start}")
    parts = [data[begin:end] for begin, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
    if any(part.endswith(b"\0") for part in parts):
        raise DamagedArchiveError("corrections: a group ends with a zero, which no writer leaves")
    return [part + bytes(-len(part) % 4) for part in parts]
