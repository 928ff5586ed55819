"""Tokens and residuals of an archive being written, on disk until all are known, so that memory does not grow."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.images.batch import Pixels
from smalti.residual.modes import PLAIN
from smalti.residual.residuals import Residuals
from smalti.storage.spool import spool_file

__all__ = ["BlankTokens", "PlainImages", "ResidualSpool", "TokenSpool", "count_codes"]

_PIECE_TOKENS = 1 << 20


def count_codes(tokens: NDArray[np.integer], codebook_size: int) -> NDArray[np.int64]:
    """Count each code in tokens: int64 [codebook_size]. Absent tokens are above all codes, and are not counted."""
    return np.bincount(tokens.ravel(), minlength=codebook_size)[:codebook_size]


class TokenSpool:
    """Tokens of images, in order, in a nameless temporary file beside the output `out_path`.

    Such a file vanishes when it is closed, even by a kill. Memory: one count per code, nothing per image.
    """

    def __init__(self, out_path: Path, tokens_per_image: int, codebook_size: int) -> None:
        self._file = spool_file(out_path)
        self.tokens_per_image = tokens_per_image
        self.counts = np.zeros(codebook_size, np.int64)
        self.images = 0

    def append(self, tokens: NDArray[np.integer]) -> None:
        """Add images. tokens : integers [n, T], each in [0, codebook_size), or 65,535 if absent"""
        self.counts += count_codes(tokens, len(self.counts))
        self._file.write(np.ascontiguousarray(tokens, "<u2").tobytes())
        self.images += len(tokens)

    def read(self, piece_images: int) -> Iterator[NDArray[np.uint16]]:
        """Yield the tokens of all images, `piece_images` at a time: uint16 [n, T]."""
        self._file.seek(0)
        for start in range(0, self.images, piece_images):
            count = min(piece_images, self.images - start) * self.tokens_per_image
            yield np.frombuffer(self._file.read(2 * count), "<u2").astype(np.uint16).reshape(-1, self.tokens_per_image)

    def position_counts(self, code_index: NDArray[np.uint16], codes: int) -> NDArray[np.int64]:
        """Count each code at each position: int64 [T, codes].

        code_index : uint16 [K], the index of each code among those in use
        """
        cells = np.zeros(self.tokens_per_image * codes, np.int64)
        offsets = np.arange(self.tokens_per_image, dtype=np.int64) * codes
        for tokens in self.read(max(1, _PIECE_TOKENS // self.tokens_per_image)):
            cells += np.bincount((code_index[tokens] + offsets).ravel(), minlength=len(cells))
        return cells.reshape(self.tokens_per_image, codes)

    def close(self) -> None:
        """Close the file, which frees its space."""
        self._file.close()


class BlankTokens:
    """Tokens that are all 0, for images that need no decoder."""

    def __init__(self, images: int, tokens_per_image: int, codebook_size: int) -> None:
        self.images, self.tokens_per_image = images, tokens_per_image
        self.counts = np.zeros(codebook_size, np.int64)
        self.counts[0] = images * tokens_per_image

    def read(self, piece_images: int) -> Iterator[NDArray[np.uint16]]:
        """Yield the tokens of all images, `piece_images` at a time."""
        for start in range(0, self.images, piece_images):
            yield np.zeros((min(piece_images, self.images - start), self.tokens_per_image), np.uint16)

    def position_counts(self, code_index: NDArray[np.uint16], codes: int) -> NDArray[np.int64]:
        """All images count for token 0, the one code in use."""
        return np.full((self.tokens_per_image, codes), self.images, np.int64)


class ResidualSpool:
    """Residuals of images, in order: modes in memory, symbols in a nameless temporary file beside `out_path`."""

    def __init__(self, out_path: Path, image_shape: tuple[int, int, int], dtype: DTypeLike = np.uint8) -> None:
        self._file = spool_file(out_path)
        self._image_shape, self._dtype = image_shape, np.dtype(dtype)
        self._modes: list[NDArray[np.uint8]] = []
        self.corrected = 0
        self.stored = 0

    def append(self, residuals: Residuals) -> None:
        """Add the residuals of more images."""
        self._modes.append(residuals.modes)
        self._file.write(residuals.symbols.tobytes())
        self.corrected += int(np.count_nonzero(residuals.corrected))
        self.stored += int(np.count_nonzero(residuals.stored))

    def read(self, piece_images: int) -> Iterator[Residuals]:
        """Yield the residuals of all images, `piece_images` at a time."""
        self._file.seek(0)
        modes = np.concatenate(self._modes)
        for start in range(0, len(modes), piece_images):
            part = modes[start : start + piece_images]
            shape = (int(np.count_nonzero(part)), *self._image_shape)
            data = self._file.read(self._dtype.itemsize * int(np.prod(shape)))
            symbols = np.frombuffer(data, self._dtype).reshape(shape)
            yield Residuals(part, symbols)

    def close(self) -> None:
        """Close the file, which frees its space."""
        self._file.close()


class PlainImages:
    """Images that are stored without the decoder: their residuals are the plain pixels.

    pixels : called with a number of images, yields the pixels [n, H, W, C] of all images, that many at a time
    """

    def __init__(self, images: int, pixels: Callable[[int], Iterator[Pixels]]) -> None:
        self._pixels = pixels
        self.corrected = 0
        self.stored = images

    def read(self, piece_images: int) -> Iterator[Residuals]:
        """Yield the residuals of all images, `piece_images` at a time."""
        for pixels in self._pixels(piece_images):
            yield Residuals(np.full(len(pixels), PLAIN, np.uint8), pixels)
