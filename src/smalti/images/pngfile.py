"""Pixels to the bytes of a PNG file, of 8 and 16 bits, without loss.

Pillow writes all that it knows: 8 bits, and grey of 16. Colours and alpha of 16 bits it does not, so these are written
here after the PNG specification (W3C, third edition), in the plainest way: whoever is sent an archive gets his images
out of it with what the reader itself needs.
"""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smalti.images.batch import Pixels

__all__ = ["png_bytes"]

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of channels
_SUB = 1  # the filter that stores each byte less the same byte of the pixel to its left


def png_bytes(pixels: Pixels) -> bytes:
    """The PNG file of an image, uint8 or uint16 [H, W, C] with C from 1 to 4."""
    if pixels.dtype == np.uint16 and pixels.shape[2] > 1:
        return _deep_png(pixels.astype(np.uint16))
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _deep_png(pixels: NDArray[np.uint16]) -> bytes:
    height, width, channels = pixels.shape
    samples = np.ascontiguousarray(pixels.astype(">u2")).view(np.uint8).reshape(height, width, 2 * channels)
    rows = np.empty((height, 1 + samples[0].size), np.uint8)
    rows[:, 0] = _SUB
    rows[:, 1:] = np.diff(samples, axis=1, prepend=np.uint8(0)).reshape(height, -1)  # modulo 256, as uint8 wraps
    head = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
