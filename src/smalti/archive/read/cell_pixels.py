"""Pixels of images of any sizes from the tokens of their cells, and the checksums of these pixels.

Reader and writer both decode by this module, the one from blocks, the other from the tokens that it has collected.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.block_layout import Rectangle, SizedLayout
from smalti.archive.format.layout import crc32c
from smalti.archive.format.limits import Limits
from smalti.archive.read.block_decoder import plain_bytes
from smalti.decoders.contract import CellModel
from smalti.images.batch import Pixels

__all__ = ["CellPixels", "CellTokens", "Piece", "UnitChecksums"]

_PART_BYTES = 16 << 20  # pixels decoded at once


class CellTokens(Protocol):
    """Where tokens come from."""

    def window(self, wanted: Rectangle) -> NDArray[np.uint16]:
        """The tokens of cells of an image: uint16 [rows, columns, M]."""

    def whole(self, images: NDArray[np.int64]) -> NDArray[np.uint16]:
        """The tokens of images that are not cut, in ascending order: uint16 [cells, M]."""


class Piece(NamedTuple):
    """Rows [top, top + h) and columns [left, left + w) of the pixels of an image, h and w from 1.

    out : where they are written, [h, w, C]
    """

    image: int
    top: int
    left: int
    out: Pixels


class CellPixels:
    """Decodes pieces of images. Safe to use from several threads if `tokens` is."""

    def __init__(self, model: CellModel, layout: SizedLayout, tokens: CellTokens) -> None:
        self._model, self._layout, self._tokens = model, layout, tokens

    def cells(self, piece: Piece) -> Rectangle:
        """The cells whose tokens the pixels of a piece depend on."""
        cell, (height, width) = self._layout.sizes.cell, piece.out.shape[:2]
        top, left = piece.top // cell, piece.left // cell
        own = Rectangle(
            piece.image, top, left, -(-(piece.top + height) // cell) - top, -(-(piece.left + width) // cell) - left
        )
        return self._layout.around(own, self._model.reach)

    def fill(self, pieces: Sequence[Piece], threads: int) -> None:
        """Write the pixels of pieces. Raises the errors of the source of tokens."""
        for part in self._parts([(piece, self.cells(piece)) for piece in pieces]):
            windows = [window for _, window in part]
            tokens = [self._tokens.window(window).reshape(window.cells, -1) for window in windows]
            grids = np.array([(window.rows, window.columns) for window in windows], np.int64)
            joined = tokens[0] if len(tokens) == 1 else np.concatenate(tokens)
            decoded = self._model.decode(np.ascontiguousarray(joined), grids, threads)
            for (piece, window), pixels in zip(part, decoded, strict=True):
                top = piece.top - window.top * self._model.cell
                left = piece.left - window.left * self._model.cell
                height, width = piece.out.shape[:2]
                piece.out[...] = pixels[top : top + height, left : left + width]

    def fill_whole(self, images: NDArray[np.int64], outs: Sequence[Pixels], threads: int) -> None:
        """Write images that are not cut, in ascending order: the same as `fill`, in less time.

        images : int64 [n], n from 1    outs : [H, W, C] of each
        """
        grids = self._layout.image_grids(images)
        ends = np.cumsum(np.prod(grids, axis=1))
        start = before = 0
        while start < len(images):
            stop = max(start + 1, int(np.searchsorted(ends, before + self._part_cells, side="right")))
            part = slice(start, stop)
            decoded = self._model.decode(self._tokens.whole(images[part]), grids[part], threads)
            for out, pixels in zip(outs[part], decoded, strict=True):
                out[...] = pixels[: out.shape[0], : out.shape[1]]
            start, before = stop, int(ends[stop - 1])

    @property
    def _part_cells(self) -> int:
        """The number of cells that are decoded at once."""
        return max(1, _PART_BYTES // (self._model.cell**2 * self._model.channels * self._model.dtype.itemsize))

    def _parts(self, pieces: list[tuple[Piece, Rectangle]]) -> Iterator[list[tuple[Piece, Rectangle]]]:
        """Cut into parts that are decoded at once."""
        most, start, total = self._part_cells, 0, 0
        for stop, (_, window) in enumerate(pieces):
            if stop > start and total + window.cells > most:
                yield pieces[start:stop]
                start, total = stop, 0
            total += window.cells
        if pieces:
            yield pieces[start:]


class UnitChecksums:
    """The crc32c of the pixels of each block, asked for in order, and the digest of all pixels.

    signed : whether pixels are signed, and the model's are 32,768 more
    limits : bound the rows of a large image that wait for the digest; None for no bound
    """

    def __init__(
        self,
        model: CellModel,
        layout: SizedLayout,
        tokens: CellTokens,
        signed: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self._pixels = CellPixels(model, layout, tokens)
        self._model, self._layout, self._signed, self._limits = model, layout, signed, limits
        self._band: Pixels | None = None
        self.digest = hashlib.sha256()

    def checksum(self, block: int, threads: int) -> int:
        """The crc32c of the pixels of a block: unit after unit, each cropped to its image, in C order."""
        layout, cell, checksum = self._layout, self._layout.sizes.cell, 0
        units = layout.rectangles(layout.block_units(block))
        images = np.array([unit.image for unit in units], np.int64)
        heights, widths = layout.sizes.heights[images].tolist(), layout.sizes.widths[images].tolist()
        cut = layout.cut(images)
        pieces = []
        for unit, height, width in zip(units, heights, widths, strict=True):
            top, left = unit.top * cell, unit.left * cell
            size = min(unit.rows * cell, height - top), min(unit.columns * cell, width - left)
            pieces.append(Piece(unit.image, top, left, np.empty((*size, self._model.channels), self._model.dtype)))
        if not cut.all():
            outs = [pieces[number].out for number in np.flatnonzero(~cut).tolist()]
            self._pixels.fill_whole(images[~cut], outs, threads)
        self._pixels.fill([pieces[number] for number in np.flatnonzero(cut).tolist()], threads)
        for piece, width, is_part in zip(pieces, widths, cut.tolist(), strict=True):
            plain = plain_bytes(piece.out, self._signed)
            checksum = crc32c(plain, checksum)
            if is_part:
                self._add(piece, width)
            else:
                self.digest.update(plain)
        return checksum

    def _add(self, piece: Piece, width: int) -> None:
        """Add a part of a large image to the digest, whose order is that of the rows of the whole image."""
        rows, columns, channels = piece.out.shape
        if piece.left == 0:
            if self._limits is not None:
                needed = rows * width * channels * piece.out.dtype.itemsize
                self._limits.check("image_bytes", needed, "a row of regions of an image")
            self._band = np.empty((rows, width, channels), piece.out.dtype)
        if self._band is None or self._band.shape[:2] != (rows, width):
            return  # a block before could not be decoded, so that nobody will ask for the digest
        self._band[:, piece.left : piece.left + columns] = piece.out
        if piece.left + columns == width:
            self.digest.update(plain_bytes(self._band, self._signed))
            self._band = None
