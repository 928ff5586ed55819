"""What an archive will hold, kept on disk until all of it is known, so that memory does not grow with it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["TokenSpool"]

_PIECE_TOKENS = 1 << 20


class TokenSpool:
    """Tokens of images in the order they come, in a nameless temporary file of the folder of the output.

    Such a file vanishes when it is closed, even by a kill. Keeps one count per code, and nothing per image.
    """

    def __init__(self, folder: Path, tokens_per_image: int, codebook_size: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".smalti-")  # noqa: SIM115 (closed by close)
        self._width = tokens_per_image
        self.counts = np.zeros(codebook_size, np.int64)
        self.images = 0

    def append(self, tokens: NDArray[np.integer]) -> None:
        """Add images: integers [n, T], each in [0, codebook_size)."""
        self.counts += np.bincount(tokens.ravel(), minlength=len(self.counts))
        self._file.write(np.ascontiguousarray(tokens, "<u2").tobytes())
        self.images += len(tokens)

    def read(self, piece_images: int) -> Iterator[NDArray[np.uint16]]:
        """All images from the first, `piece_images` at a time: uint16 [n, T]."""
        self._file.seek(0)
        for start in range(0, self.images, piece_images):
            count = min(piece_images, self.images - start) * self._width
            yield np.frombuffer(self._file.read(2 * count), "<u2").astype(np.uint16).reshape(-1, self._width)

    def position_counts(self, ranks: NDArray[np.uint16], codes: int) -> NDArray[np.int64]:
        """How often each code stands at each position: int64 [T, codes]; `ranks` [K] numbers the codes in use."""
        cells = np.zeros(self._width * codes, np.int64)
        offsets = np.arange(self._width, dtype=np.int64) * codes
        for tokens in self.read(max(1, _PIECE_TOKENS // self._width)):
            cells += np.bincount((ranks[tokens] + offsets).ravel(), minlength=len(cells))
        return cells.reshape(self._width, codes)

    def close(self) -> None:
        """Give the space back."""
        self._file.close()
