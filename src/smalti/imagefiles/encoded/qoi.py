"""QOI files (qoiformat.org), decoded by imagecodecs; and JPEG XR files, which are recognized and refused.

QOI has 14 bytes of header, and 8 that end a file. Its decoder does not see that a file is cut off; that is found here.
"""

import struct
from typing import BinaryIO

from smalti.imagefiles.format import (
    ImageFile,
    ImageFormat,
    ImageHeader,
    UnreadableImageError,
    as_stated,
    check_size,
    exactly,
    file_size,
    imagecodecs_for,
    one_image,
    whole_file,
)
from smalti.images.batch import UINT8, Pixels

__all__ = ["JPEGXR", "QOI"]

_MAGIC, _END = b"qoif", b"\0\0\0\0\0\0\0\1"
_LONGEST_RUN = 62  # pixels of one byte
_JPEGXR = b"II\xbc\x01"


def _read_header(file: BinaryIO) -> ImageHeader:
    file.seek(0)
    magic, width, height, channels, _ = struct.unpack(">4sIIBB", exactly(file, 14))
    check_size(width, height)
    if magic != _MAGIC or channels not in (3, 4):
        raise UnreadableImageError(f"damaged: a QOI file with {channels} channels")
    if width * height > _LONGEST_RUN * file_size(file):
        raise UnreadableImageError("damaged: cut off within its pixels")
    return ImageHeader((height, width, channels), UINT8)


def _read_image(file: BinaryIO) -> tuple[ImageHeader, Pixels]:
    header, data = _read_header(file), whole_file(file)
    if not data.endswith(_END):
        raise UnreadableImageError("damaged: cut off, or bytes behind its end")
    pixels: Pixels = imagecodecs_for("QOI").qoi_decode(data)
    return header, as_stated(pixels, header.shape, header.dtype)


QOI = ImageFormat("QOI", (".qoi",), lambda head: head.startswith(_MAGIC), one_image(_read_header, _read_image))


def _refuse(file: BinaryIO) -> ImageFile:
    """Raise UnreadableImageError. Some damaged files end jxrlib, the one decoder at hand, and the whole process."""
    raise UnreadableImageError("JPEG XR, which no safe decoder reads; write it as PNG or TIFF")


JPEGXR = ImageFormat("JPEG XR", (".jxr", ".wdp", ".hdp"), lambda head: head.startswith(_JPEGXR), _refuse)
