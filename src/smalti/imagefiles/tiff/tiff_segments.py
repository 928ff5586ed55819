"""Strips and tiles of TIFF files, decoded one by one by imagecodecs: for compressions that libtiff does not know."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.imagefiles.format import UnreadableImageError
from smalti.imagefiles.tiff.tiff_page import COMPRESSION, HEIGHT, PLANAR, SAMPLES, WIDTH, Page

__all__ = ["SEGMENT_CODECS", "decode_segments"]

SEGMENT_CODECS = {
    33003: "jpeg2k_decode",
    33005: "jpeg2k_decode",
    34712: "jpeg2k_decode",
    34933: "png_decode",
    50002: "jpegxl_decode",
    52546: "jpegxl_decode",
}
"""The decoder of imagecodecs for one strip or tile, by the number of the compression.

That of JPEG XR is not used: it ends the whole process at some damaged files.
"""


def decode_segments(imagecodecs: Any, page: Page) -> NDArray[Any]:
    """Decode the pixels [H, W, C] of a page stored pixel by pixel. UnreadableImageError for damaged segments."""
    if page.number(PLANAR, 1) == 2 and page.number(SAMPLES, 1) > 1:
        raise UnreadableImageError("compressed in a way that is not read (each channel by itself); write it as deflate")
    decode = getattr(imagecodecs, SEGMENT_CODECS[page.number(COMPRESSION, 1)])
    height, width = page.number(HEIGHT, 0), page.number(WIDTH, 0)
    rows, columns = page.segment_shape
    corners = [(top, left) for top in range(0, height, rows) for left in range(0, width, columns)]
    pixels: NDArray[Any] | None = None
    for (top, left), place in zip(corners, page.segments(), strict=True):
        segment = np.atleast_3d(np.asarray(decode(page.bytes_of(place))))
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
