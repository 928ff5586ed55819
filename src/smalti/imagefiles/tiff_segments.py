"""Strips and tiles of TIFF files, decoded one by one by imagecodecs: for compressions that libtiff does not know."""

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.imagefiles.format import UnreadableImageError

__all__ = ["SEGMENT_CODECS", "decode_segments"]

SEGMENT_CODECS = {
    33003: "jpeg2k_decode",
    33005: "jpeg2k_decode",
    34712: "jpeg2k_decode",
    34933: "png_decode",
    50002: "jpegxl_decode",
    52546: "jpegxl_decode",
}
"""The decoder of imagecodecs for one strip or tile, by the number of the compression."""

_WIDTH, _HEIGHT, _COMPRESSION, _SAMPLES = 256, 257, 259, 277
_STRIPS, _STRIP_ROWS, _STRIP_BYTES = 273, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 322, 323, 324, 325
_MAX_SEGMENT_BYTES = 1 << 30


def decode_segments(imagecodecs: Any, file: BinaryIO, tags: Mapping[int, Any], planes: bool) -> NDArray[Any]:
    """Decode the pixels [H, W, C] of a page stored pixel by pixel. UnreadableImageError for damaged segments."""
    if planes and int(tags.get(_SAMPLES, 1)) > 1:
        raise UnreadableImageError("compressed in a way that is not read (each channel by itself); write it as deflate")
    decode = getattr(imagecodecs, SEGMENT_CODECS[int(tags[_COMPRESSION])])
    height, width = int(tags[_HEIGHT]), int(tags[_WIDTH])
    tiled = _TILES in tags
    rows = int(tags[_TILE_HEIGHT]) if tiled else min(height, int(tags.get(_STRIP_ROWS, height)))
    columns = int(tags[_TILE_WIDTH]) if tiled else width
    offsets, sizes = (tags[_TILES], tags[_TILE_BYTES]) if tiled else (tags[_STRIPS], tags[_STRIP_BYTES])
    corners = [(top, left) for top in range(0, height, rows) for left in range(0, width, columns)]
    if len(corners) != len(offsets) or len(corners) != len(sizes):
        raise UnreadableImageError(f"damaged: {len(offsets)} strips or tiles, where {len(corners)} are needed")
    pixels: NDArray[Any] | None = None
    for (top, left), offset, size in zip(corners, offsets, sizes, strict=True):
        segment = np.atleast_3d(np.asarray(decode(_bytes_at(file, int(offset), int(size)))))
        if pixels is None:
            pixels = np.empty((height, width, segment.shape[2]), segment.dtype)
        part = pixels[top : top + rows, left : left + columns]
        if segment.dtype != pixels.dtype or segment.shape[2] != pixels.shape[2]:
            raise UnreadableImageError("damaged: its strips or tiles are of different kinds")
        if segment.shape[0] < part.shape[0] or segment.shape[1] < part.shape[1]:
            raise UnreadableImageError("damaged: a strip or tile is smaller than its place")
        part[...] = segment[: part.shape[0], : part.shape[1]]
    if pixels is None:
        raise UnreadableImageError("damaged: no strips or tiles")
    return pixels


def _bytes_at(file: BinaryIO, offset: int, size: int) -> bytes:
    if not 0 < size <= _MAX_SEGMENT_BYTES:
        raise UnreadableImageError(f"damaged: a strip or tile of {size:,} bytes")
    file.seek(offset)
    data = file.read(size)
    if len(data) < size:
        raise UnreadableImageError("damaged: cut off within a strip or tile")
    return data
