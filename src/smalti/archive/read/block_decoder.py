"""The pixels of a token block: what the decoder network makes of its tokens, and the corrections of that."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from smalti.archive.format.frames import Block
from smalti.archive.format.header import Header
from smalti.decoders.contract import ImageModel
from smalti.images.batch import Pixels
from smalti.residual.residual_prior import ResidualPrior

__all__ = ["BlockDecoder", "as_slice", "plain_bytes"]

_PIECE_BYTES = 16 << 20  # pixels decoded at once, whatever the size of a block


class BlockDecoder:
    """Makes pixels of blocks; immutable, and safe to use from several threads.

    corrections : what the corrections of the blocks were coded with, None if there are none
    """

    def __init__(self, model: ImageModel, corrections: ResidualPrior | None, header: Header) -> None:
        self._model, self._corrections = model, corrections
        self._shape = header.image_shape
        image_bytes = header.pixel_type.itemsize * math.prod(header.padded_shape) * header.image_shape[2]
        self._piece_images = max(1, _PIECE_BYTES // image_bytes)

    def base(self, indices: NDArray[np.uint16], threads: int, levels: int | None = None) -> Pixels:
        """What the network makes of tokens uint16 [n, T], or of their first levels: [n, H, W, C]."""
        decoded = self._model.decode(indices, threads, levels)
        return decoded[:, : self._shape[0], : self._shape[1]]

    def rows(
        self, block: Block, rows: NDArray[np.integer], threads: int, levels: int | None = None
    ) -> Iterator[tuple[slice, Pixels]]:
        """Decode `rows` of a block, ascending, a piece at a time: which of the rows, and their pixels [k, H, W, C].

        levels : decode the first levels of the tokens alone, without corrections

        Raises DamagedArchiveError if the corrections contradict the block.
        """
        if self._corrections is not None and levels is None:
            yield slice(0, len(rows)), self._corrected(block, rows, threads)
            return
        for start in range(0, len(rows), self._piece_images):
            part = slice(start, start + self._piece_images)
            yield part, self.base(block.indices[as_slice(rows[part])], threads, levels)

    def together(
        self, indices: NDArray[np.uint16], threads: int, levels: int | None = None
    ) -> Iterator[tuple[slice, Pixels]]:
        """The same as `rows` for tokens uint16 [n, T] of any blocks, without corrections."""
        for start in range(0, len(indices), self._piece_images):
            part = slice(start, start + self._piece_images)
            yield part, self.base(indices[part], threads, levels)

    def _corrected(self, block: Block, rows: NDArray[np.integer], threads: int) -> Pixels:
        assert self._corrections is not None
        wanted, inverse = np.unique(rows, return_inverse=True)

        def base_of(needed: NDArray[np.intp]) -> Pixels:
            return self.base(block.indices[as_slice(needed)], threads)

        pixels = self._corrections.decode(block.corrections, len(block.indices), wanted.astype(np.intp), base_of)
        return pixels if len(wanted) == len(rows) else pixels[inverse]


def plain_bytes(pixels: Pixels) -> bytes:
    """Pixels as checksums are taken of them: in C order, those of 16 bits little-endian."""
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def as_slice(numbers: NDArray[np.integer]) -> slice | NDArray[np.integer]:
    """The same selection (at least one number) as a slice if it is one, which needs no copy."""
    first, last = int(numbers[0]), int(numbers[-1])
    if last - first + 1 == len(numbers) and (np.diff(numbers) == 1).all():
        return slice(first, last + 1)
    return numbers
