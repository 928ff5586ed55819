"""Probabilities of residuals, as frequency tables that cells share, and the coding of residuals with them.

Layer: within `residual`, above `residual_packing` and `table_fit`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.integer_network import PixelType
from smalti.entropy.coder import SymbolDecoder, SymbolEncoder
from smalti.entropy.frequency import FrequencyTable
from smalti.entropy.priors import TablePrior
from smalti.errors import DamagedArchiveError, UsageError
from smalti.images.batch import Pixels
from smalti.residual.modes import NONE, rebuild, uses_base
from smalti.residual.residual_packing import MODE_PRECISION, pack_prior, unpack_prior
from smalti.residual.residuals import ResidualCounts, Residuals, cells_of, join_groups, split_groups
from smalti.residual.symbol_classes import classes_of, take_further, write_further
from smalti.residual.table_fit import MAX_GROUP_VALUES, choose_group_images, fit_tables

__all__ = ["BaseOf", "ResidualPrior"]

EIGHT_BITS = np.dtype(np.uint8)

BaseOf = Callable[[NDArray[np.intp]], Pixels]
"""Given rows of a block, ascending, the decoder's images of them: [rows, H, W, C]."""


@dataclass(frozen=True, eq=False)
class ResidualPrior:
    """Distributions of modes, and of symbols in their cells (mode and context).

    mode_table : over MODES modes
    tables : 1 to 255 tables over classes of symbols, shared by cells
    table_of_cell : uint8 [MODES * CONTEXTS], the table of each cell, 255 where the mode does not occur
    group_images : images of a block that are coded together; they have at most 2**20 values, unless it is one image
    image_shape : height, width, channels
    dtype : of pixels and symbols, uint8 or uint16

    >>> prior = ResidualPrior.fit(counts, image_shape)
    >>> data = prior.encode(base, residuals)
    >>> prior.decode(data, len(base), rows, lambda needed: base[needed])  # apply_residuals(base, residuals)[rows]
    >>> ResidualPrior.from_bytes(prior.to_bytes(), image_shape)           # the same prior
    """

    mode_table: FrequencyTable
    tables: TablePrior
    table_of_cell: NDArray[np.uint8]
    group_images: int
    image_shape: tuple[int, int, int]
    dtype: PixelType = EIGHT_BITS

    @classmethod
    def fit(cls, counts: ResidualCounts, image_shape: tuple[int, int, int]) -> "ResidualPrior":
        """The prior that codes residuals with these counts in the fewest bytes, including its own.

        Raises UsageError if no image has residuals.
        """
        if not counts.modes[NONE + 1 :].any():
            raise UsageError("no image has residuals, so there are no tables to make")
        mode_table = FrequencyTable.from_counts(counts.modes, MODE_PRECISION)
        fitted = fit_tables(counts)
        bytes_per_image = (fitted.symbols_bytes + counts.further_bits / 8) / int(counts.modes.sum())
        group_images = choose_group_images(bytes_per_image, math.prod(image_shape))
        return cls(mode_table, fitted.tables, fitted.table_of_cell, group_images, image_shape, counts.dtype)

    def to_bytes(self) -> bytes:
        """Serialise; `from_bytes` is the inverse."""
        return pack_prior(self.mode_table, self.tables, self.table_of_cell, self.group_images, self.dtype)

    @classmethod
    def from_bytes(
        cls, data: bytes, image_shape: tuple[int, int, int], dtype: PixelType = EIGHT_BITS
    ) -> "ResidualPrior":
        """Read the prior of images of this shape and dtype.

        Raises DamagedArchiveError if the bytes are no such prior, UnsupportedArchiveError if they are of a later kind.
        """
        prior = cls(*unpack_prior(data, dtype), image_shape, dtype)
        if prior.group_images > 1 and prior.group_images * math.prod(image_shape) > MAX_GROUP_VALUES:
            raise DamagedArchiveError(f"corrections: {prior.group_images} images of that size are too many for a group")
        return prior

    def encode(self, base: Pixels, residuals: Residuals) -> bytes:
        """Code the residuals of a block of images. base : [n, H, W, C], the decoder's images"""
        groups = []
        for start in range(0, len(base), self.group_images):
            images = slice(start, start + self.group_images)
            groups.append(self._encode_group(base[images], residuals.part(images)))
        return join_groups(groups)

    def _encode_group(self, base: Pixels, residuals: Residuals) -> bytes:
        encoder = SymbolEncoder()
        encoder.add(residuals.modes, self.mode_table)
        rows = residuals.rows
        order, counts = self.order(base[rows], residuals.modes[rows])
        symbols = residuals.symbols.ravel()
        parts = np.split(classes_of(symbols)[order], np.cumsum(counts)[:-1])
        for table, part in zip(self.tables.frequency_tables, parts, strict=True):
            encoder.add(part, table)
        if symbols.dtype == np.uint16:
            write_further(encoder, symbols)
        return encoder.finish()

    def order(self, base: Pixels, modes: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The order in which the symbols of images with residuals are coded, and the number for each table."""
        tables = self.table_of_cell[cells_of(base, modes)].ravel()
        return np.argsort(tables, kind="stable"), np.bincount(tables, minlength=self.tables.rows)

    def decode(self, data: bytes, images: int, rows: NDArray[np.intp], base_of: BaseOf) -> Pixels:
        """The pixels of some images of a block of `images`: [rows, H, W, C].

        rows : ascending, each once
        base_of : is called once at most, with these rows and those that their decoding needs, without the images that
            are stored without the decoder

        Raises DamagedArchiveError if `data` cannot be the residuals of such a block.
        """
        parts = split_groups(data, -(-images // self.group_images))
        needed_groups = np.unique(rows // self.group_images).tolist()
        groups = [_ResidualGroup(self, parts[index], index * self.group_images, images) for index in needed_groups]
        modes = np.zeros(images, np.uint8)
        needed = np.zeros(images, np.bool_)
        needed[rows] = True
        for group in groups:
            modes[group.images] = group.modes
            needed[group.images] |= group.modes != NONE
        pixels: Pixels = np.zeros((images, *self.image_shape), self.dtype)
        from_base = np.flatnonzero(needed & uses_base(modes))
        if len(from_base):
            pixels[from_base] = base_of(from_base)
        for group in groups:
            group.finish(pixels[group.images])
        return pixels if len(rows) == images else pixels[rows]

    def read(self, data: bytes, images: int, base_of: BaseOf) -> Residuals:
        """The residuals of a block of `images` as `encode` got them, to code them again elsewhere.

        base_of : is called once at most, with the images whose residuals need their base

        Raises as `decode` does.
        """
        parts = split_groups(data, -(-images // self.group_images))
        groups = [_ResidualGroup(self, part, index * self.group_images, images) for index, part in enumerate(parts)]
        modes = np.concatenate([group.modes for group in groups])
        base: Pixels = np.zeros((images, *self.image_shape), self.dtype)
        from_base = np.flatnonzero((modes != NONE) & uses_base(modes))
        if len(from_base):
            base[from_base] = base_of(from_base)
        return Residuals(modes, np.concatenate([group.symbols(base[group.images]) for group in groups]))


class _ResidualGroup:
    """A group of images that is being decoded: first the modes, then, when the bases are known, the symbols."""

    def __init__(self, prior: ResidualPrior, data: bytes, first: int, images: int) -> None:
        self.images = slice(first, min(first + prior.group_images, images))
        self._prior = prior
        self._decoder = SymbolDecoder(data)
        self.modes = self._decoder.take(self.images.stop - first, prior.mode_table).astype(np.uint8)

    def finish(self, pixels: Pixels) -> None:
        """Turn the bases of the group's images into their pixels, in place."""
        rows = np.flatnonzero(self.modes)
        pixels[rows] = rebuild(self.modes[rows], self.symbols(pixels), pixels[rows])

    def symbols(self, base: Pixels) -> Pixels:
        """Decode the symbols of the images with residuals, [r, H, W, C], once. base : of all images of the group"""
        rows = np.flatnonzero(self.modes)
        modes, base = self.modes[rows], base[rows]
        order, counts = self._prior.order(base, modes)
        classes = np.empty(base.size, np.uint8)
        start = 0
        for table, count in zip(self._prior.tables.frequency_tables, counts.tolist(), strict=True):
            classes[order[start : start + count]] = self._decoder.take(count, table)
            start += count
        symbols: Pixels = classes if base.dtype == np.uint8 else take_further(self._decoder, classes)
        self._decoder.finish()
        return symbols.reshape(base.shape)
