"""PNG files: read, and written.

PNG (third edition, W3C 2025): 8 bytes of signature; chunks of a length, a kind, data and a CRC; IHDR first, IEND last.
For most files the heads of the chunks give the header, in a fraction of Pillow's time. Pillow decodes the pixels,
except colour and alpha of 16 bits, which it cuts to 8: imagecodecs reads these. Pillow does not write them either, so
they are written here, in the simplest form: extraction from an archive needs no more than its reader. Frames of an
animation are found in `apng`.
"""

import io
import struct
import zlib
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from smalti.imagefiles.animations.animation import DURATION
from smalti.imagefiles.animations.apng import apng_images, is_animated, png_chunk
from smalti.imagefiles.format import (
    FRAME,
    SOURCE_MODE,
    SOURCE_ORIENTATION,
    ImageFile,
    ImageFormat,
    ImageHeader,
    UnreadableImageError,
    check_size,
    imagecodecs_for,
    one_image,
    upright,
    whole_file,
)
from smalti.imagefiles.pillow import exif_orientation, header_of, is_wide_grey, opened, pixels_of
from smalti.images.batch import PIXEL_DTYPES, Pixels

__all__ = ["PNG", "png_bytes"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS_OF = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type; 3 is a palette
_ORIENTATION = 0x0112
_BLOCK_BYTES = 1 << 20
# Chunks that change neither the shape nor the values as read here.
_PLAIN = frozenset(
    {b"IDAT", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"bKGD", b"pHYs", b"tIME", b"hIST", b"PLTE"}
)
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of channels
_SUB = 1  # the filter that subtracts from each byte the same byte of the pixel to its left


def read_header(file: BinaryIO) -> ImageHeader:
    """Read the header of a PNG file, without its pixels."""
    plain = _plain_shape(file)
    if plain is not None:
        check_size(plain[1], plain[0])
        return ImageHeader(plain, PIXEL_DTYPES[0])
    with opened(file, "PNG") as image:
        return header_of(image, _orientation(image))


def read_image(file: BinaryIO) -> tuple[ImageHeader, Pixels]:
    """Read the header and the pixels of a PNG file, after a check of their checksums."""
    if _has_damaged_pixels(file):
        raise UnreadableImageError("damaged: the checksum of its pixels is wrong")
    with opened(file, "PNG") as image:
        header = header_of(image, _orientation(image))
        if header.dtype == np.uint16 and not is_wide_grey(image):
            return header, upright(_deep_pixels(file), header.fields.get(SOURCE_ORIENTATION))
        return header, pixels_of(image, header)


def _open(file: BinaryIO) -> ImageFile:
    frames = apng_images(file, read_header, read_image) if is_animated(file) else None
    return _one_image(file) if frames is None else frames


_one_image = one_image(read_header, read_image)

PNG = ImageFormat(
    "PNG",
    (".png", ".apng"),
    lambda head: head.startswith(_SIGNATURE),
    _open,
    (SOURCE_MODE, SOURCE_ORIENTATION, FRAME, DURATION),
)


def png_bytes(pixels: Pixels) -> bytes:
    """Return the PNG file of an image, uint8 or uint16 [H, W, C] with C from 1 to 4."""
    if pixels.dtype == np.uint16 and pixels.shape[2] > 1:
        return _deep_png(pixels.astype(np.uint16))
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _plain_shape(file: BinaryIO) -> tuple[int, int, int] | None:
    """Return height, width and channels of a PNG of 8 bits without palette, transparency, EXIF, text and frames.

    None for every other file, and for a truncated one. Rewinds the file.
    """
    try:
        file.seek(0)
        head = file.read(33)
        if len(head) < 33 or head[:16] != _SIGNATURE + b"\0\0\0\rIHDR" or head[24] != 8 or head[26:28] != b"\0\0":
            return None
        channels = _CHANNELS_OF.get(head[25])
        while (chunk := file.read(8))[4:] in _PLAIN:
            file.seek(int.from_bytes(chunk[:4]) + 4, 1)
        if channels is None or chunk[4:] != b"IEND":
            return None
        return int.from_bytes(head[20:24]), int.from_bytes(head[16:20]), channels
    finally:
        file.seek(0)


def _orientation_behind(file: BinaryIO, first_data: int) -> int | None:
    """Return the EXIF orientation in an eXIf chunk after the pixels, or None. Restores the file position.

    first_data : the offset of the data of the first IDAT chunk
    """
    position = file.tell()
    try:
        file.seek(first_data - 8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            size = int.from_bytes(head[:4])
            if head[4:] == b"eXIf":
                exif = Image.Exif()
                exif.load(b"Exif\0\0" + file.read(size))
                found = exif.get(_ORIENTATION)
                return found if isinstance(found, int) else None
            file.seek(size + 4, 1)
    finally:
        file.seek(position)
    return None


def _has_damaged_pixels(file: BinaryIO) -> bool:
    """Whether the file is a PNG with a wrong checksum of an IDAT chunk. Rewinds the file.

    Pillow ignores these checksums, and stops decompression at the last pixel, before the checksum of zlib: from damaged
    data it may make other pixels silently.
    """
    file.seek(0)
    try:
        if file.read(8) != _SIGNATURE:
            return False
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            left = int.from_bytes(head[:4])
            if head[4:] != b"IDAT":
                file.seek(left + 4, 1)
                continue
            crc = zlib.crc32(b"IDAT")
            while left and (block := file.read(min(left, _BLOCK_BYTES))):
                crc, left = zlib.crc32(block, crc), left - len(block)
            if left:
                return False  # truncated: Pillow reports it
            if file.read(4) != crc.to_bytes(4):
                return True
        return False
    finally:
        file.seek(0)


def _orientation(image: Image.Image) -> int | None:
    found = exif_orientation(image)
    if found is None and isinstance(image, PngImagePlugin.PngImageFile) and image.fp is not None and image.tile:
        found = _orientation_behind(cast(BinaryIO, image.fp), image.tile[0][2])
    return found


def _deep_pixels(file: BinaryIO) -> NDArray[np.uint16]:
    """Return the pixels uint16 [H, W, C] of a file of 16 bits; a transparent colour becomes an alpha channel."""
    imagecodecs = imagecodecs_for("16-bit PNG with other channels than grey")
    pixels: NDArray[np.uint16] = imagecodecs.png_decode(whole_file(file))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _deep_png(pixels: NDArray[np.uint16]) -> bytes:
    height, width, channels = pixels.shape
    samples = np.ascontiguousarray(pixels.astype(">u2")).view(np.uint8).reshape(height, width, 2 * channels)
    rows = np.empty((height, 1 + samples[0].size), np.uint8)
    rows[:, 0] = _SUB
    rows[:, 1:] = np.diff(samples, axis=1, prepend=np.uint8(0)).reshape(height, -1)  # modulo 256, as uint8 wraps
    head = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, data) for kind, data in chunks)
