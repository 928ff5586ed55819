"""The pixels of a token block: the decoder network's output for its tokens, and the residuals added to it."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.frames import Block
from smalti.archive.format.header import Header
from smalti.decoders.contract import ImageModel
from smalti.images.batch import Pixels
from smalti.images.signs import to_signed
from smalti.residual.residual_prior import ResidualPrior

__all__ = ["BlockDecoder", "as_slice", "plain_bytes"]

_PART_BYTES = 16 << 20  # pixels decoded at once, whatever the size of a block


class BlockDecoder:
    """Decodes blocks to pixels. Immutable, and safe to use from several threads.

    residuals : the prior that the residuals of the blocks were coded with, None if there are no residuals
    """

    def __init__(self, model: ImageModel, residuals: ResidualPrior | None, header: Header) -> None:
        self._model, self._residuals = model, residuals
        self._shape = header.image_shape
        image_bytes = header.pixel_type.itemsize * math.prod(header.padded_shape) * header.image_shape[2]
        self._part_images = max(1, _PART_BYTES // image_bytes)

    def base(self, indices: NDArray[np.uint16], threads: int, levels: int | None = None) -> Pixels:
        """Decode tokens uint16 [n, T], or their first levels, without residuals. Returns pixels [n, H, W, C]."""
        decoded = self._model.decode(indices, threads, levels)
        return decoded[:, : self._shape[0], : self._shape[1]]

    def rows(
        self, block: Block, rows: NDArray[np.integer], threads: int, levels: int | None = None
    ) -> Iterator[tuple[slice, Pixels]]:
        """Decode rows of a block, part by part. Yields a slice of `rows`, and the pixels [k, H, W, C] of these rows.

        rows : positions of images in the block, ascending
        levels : decode the first levels of the tokens alone, without residuals

        Raises DamagedArchiveError if the residuals contradict the block.
        """
        if self._residuals is not None and levels is None:
            yield slice(0, len(rows)), self._with_residuals(block, rows, threads)
            return
        for start in range(0, len(rows), self._part_images):
            part = slice(start, start + self._part_images)
            yield part, self.base(block.indices[as_slice(rows[part])], threads, levels)

    def token_rows(
        self, indices: NDArray[np.uint16], threads: int, levels: int | None = None
    ) -> Iterator[tuple[slice, Pixels]]:
        """The same as `rows` for tokens uint16 [n, T] of any blocks, without residuals."""
        for start in range(0, len(indices), self._part_images):
            part = slice(start, start + self._part_images)
            yield part, self.base(indices[part], threads, levels)

    def _with_residuals(self, block: Block, rows: NDArray[np.integer], threads: int) -> Pixels:
        assert self._residuals is not None
        distinct, inverse = np.unique(rows, return_inverse=True)

        def base_of(needed: NDArray[np.intp]) -> Pixels:
            return self.base(block.indices[as_slice(needed)], threads)

        pixels = self._residuals.decode(block.residuals, len(block.indices), distinct.astype(np.intp), base_of)
        return pixels if len(distinct) == len(rows) else pixels[inverse]


def plain_bytes(pixels: Pixels, signed: bool = False) -> bytes:
    """The bytes of pixels that checksums are computed of: C order, 16 bits little-endian.

    signed : whether the pixels stand for signed ones, and are 32,768 more
    """
    if signed:
        pixels = to_signed(pixels)
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def as_slice(numbers: NDArray[np.integer]) -> slice | NDArray[np.integer]:
    """The same selection, of at least one number; a slice if the numbers are consecutive, which saves a copy."""
    first, last = int(numbers[0]), int(numbers[-1])
    if last - first + 1 == len(numbers) and (np.diff(numbers) == 1).all():
        return slice(first, last + 1)
    return numbers
