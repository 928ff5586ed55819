"""Frames of an animation that a decoder gives all at once."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from smalti.imagefiles.format import FRAME, ImageHeader, UnreadableImageError, as_stated
from smalti.images.batch import Pixels

__all__ = ["Frames"]

_MAX_BYTES = 1 << 30


class Frames:
    """The frames of one file. They are decoded together, when the first is asked for, and stay in memory.

    count : their number; UnreadableImageError if they have more than 1 GiB together
    header : what the header of each frame is, without its number
    decode : returns [count, H, W, C]; without the first axis if there is one frame, without the last for one channel
    """

    def __init__(self, count: int, header: ImageHeader, decode: Callable[[], Pixels]) -> None:
        if count < 1:
            raise UnreadableImageError("damaged: an animation without frames")
        total = count * math.prod(header.shape) * header.dtype.itemsize
        if total > _MAX_BYTES:
            height, width, _ = header.shape
            raise UnreadableImageError(
                f"{count:,} frames of {height}x{width} pixels are more than {_MAX_BYTES:,} bytes, decoded at once"
            )
        self._header, self._count, self._decode = header, count, decode
        self._decoded: Pixels | None = None
        self.headers: Sequence[ImageHeader] = [header] if count == 1 else [self._of(n) for n in range(count)]

    def image(self, number: int) -> tuple[ImageHeader, Pixels]:
        """Return a frame."""
        header = self.headers[number]
        if self._decoded is None:
            pixels = self._decode()
            shape = (self._count * header.shape[0], *header.shape[1:])  # of all frames, one below the other
            grey, several = header.shape[2] == 1, self._count > 1
            if pixels.ndim != 3 - grey + several or (several and len(pixels) != self._count):
                raise UnreadableImageError(f"decoded to {list(pixels.shape)}, not to {self._count} frames")
            as_stated(np.reshape(pixels, (-1, *pixels.shape[2:]) if several else pixels.shape), shape, header.dtype)
            self._decoded = pixels.reshape(self._count, *header.shape)
        return header, self._decoded[number]

    def _of(self, number: int) -> ImageHeader:
        header = self._header
        return ImageHeader(header.shape, header.dtype, {FRAME: number, **header.fields}, header.unread)
