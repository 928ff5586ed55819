"""Tokens of images of any sizes, on disk until all are known, so that memory does not grow with them."""

from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.block_layout import Rectangle
from smalti.storage.spool import spool_file

__all__ = ["CellSpool"]

_ALL_TOKENS = 1 << 16
_COUNTED_TOKENS = 1 << 22


class CellSpool:
    """Tokens of images, in order, in a nameless temporary file beside the output `out_path`.

    Each image's cells are row by row. Memory: 16 bytes an image, and one count for each number that a token can be.

    counts : int64 [65536], how often each number occurs
    """

    def __init__(self, out_path: Path, cell: int, tokens_per_cell: int) -> None:
        self._file = spool_file(out_path)
        self._cell, self._tokens = cell, tokens_per_cell
        self._heights, self._widths = array("i"), array("i")
        self._starts = array("q", [0])  # of each image, in cells; then of what follows the last one
        self.counts = np.zeros(_ALL_TOKENS, np.int64)

    def __len__(self) -> int:
        return len(self._heights)

    @property
    def heights(self) -> NDArray[np.int32]:
        """int32 [N]."""
        return np.array(self._heights, np.int32)

    @property
    def widths(self) -> NDArray[np.int32]:
        """int32 [N]."""
        return np.array(self._widths, np.int32)

    def size(self, image: int) -> tuple[int, int]:
        """H and W of an image."""
        return self._heights[image], self._widths[image]

    def append(self, tokens: NDArray[np.uint16], sizes: NDArray[np.int64]) -> None:
        """Add images. tokens : uint16 [cells, M]    sizes : int64 [n, 2], H and W"""
        flat = tokens.reshape(-1)
        for start in range(0, len(flat), _COUNTED_TOKENS):  # each takes 8 bytes while it is counted
            self.counts += np.bincount(flat[start : start + _COUNTED_TOKENS], minlength=_ALL_TOKENS)
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(tokens, "<u2").tobytes())
        cells = np.prod(-(-sizes // self._cell), axis=1)
        self._heights.frombytes(sizes[:, 0].astype(np.int32).tobytes())
        self._widths.frombytes(sizes[:, 1].astype(np.int32).tobytes())
        self._starts.frombytes((self._starts[-1] + np.cumsum(cells)).astype(np.int64).tobytes())

    def window(self, wanted: Rectangle) -> NDArray[np.uint16]:
        """The tokens of cells of an image: uint16 [rows, columns, M]. Not for several threads at once."""
        columns = -(-self._widths[wanted.image] // self._cell)
        if wanted.columns == columns:  # whole rows follow each other
            found = self._read(wanted.image, wanted.top * columns, wanted.cells)
            return found.reshape(wanted.rows, columns, self._tokens)
        rows = range(wanted.top, wanted.top + wanted.rows)
        return np.stack([self._read(wanted.image, row * columns + wanted.left, wanted.columns) for row in rows])

    def whole(self, images: NDArray[np.int64]) -> NDArray[np.uint16]:
        """The tokens of images in ascending order: uint16 [cells, M]. Not for several threads at once."""
        first, last = int(images[0]), int(images[-1])
        if last - first + 1 == len(images):
            return self._read(first, 0, self._starts[last + 1] - self._starts[first])
        parts = [self._read(image, 0, self._starts[image + 1] - self._starts[image]) for image in images.tolist()]
        return np.concatenate(parts)

    def _read(self, image: int, first: int, cells: int) -> NDArray[np.uint16]:
        """The tokens of cells in a row: uint16 [cells, M]."""
        self._file.seek(2 * self._tokens * (self._starts[image] + first))
        data = self._file.read(2 * self._tokens * cells)
        return np.frombuffer(data, "<u2").astype(np.uint16).reshape(cells, self._tokens)

    def close(self) -> None:
        """Close the file, which frees its space."""
        self._file.close()
