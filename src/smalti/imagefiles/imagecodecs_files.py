"""QOI and JPEG XR files: their headers are read here, and imagecodecs decodes the pixels.

QOI (qoiformat.org): 14 bytes of header, and 8 that end a file. JPEG XR (ITU-T T.832): a directory of tags as in TIFF,
and a codestream that says its size once more. Neither decoder sees that a file is cut off, so that is found here.
"""

import struct
from typing import BinaryIO

from smalti.imagefiles.format import (
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
from smalti.images.batch import UINT8, UINT16, PixelDtype, Pixels

__all__ = ["JPEGXR", "QOI"]

_QOI, _QOI_END = b"qoif", b"\0\0\0\0\0\0\0\1"
_JPEGXR = b"II\xbc\x01"
_PIXEL_FORMAT, _TURN, _WIDTH, _HEIGHT, _OFFSET, _BYTES = 0xBC01, 0xBC02, 0xBC80, 0xBC81, 0xBCC0, 0xBCC1
_FAMILY = bytes.fromhex("24c3dd6f034efe4bb1853d77768dc9")  # of most pixel formats, before their last byte
_RGBA = bytes.fromhex("2dadc7f58d6add43a7a8a29935261ae9")
_KINDS: dict[bytes, tuple[int, PixelDtype]] = {
    _FAMILY + b"\x08": (1, UINT8),
    _FAMILY + b"\x0b": (1, UINT16),
    _FAMILY + b"\x0c": (3, UINT8),  # stored as BGR; decoded to RGB
    _FAMILY + b"\x0d": (3, UINT8),
    _FAMILY + b"\x15": (3, UINT16),
    _RGBA: (4, UINT8),
    _FAMILY + b"\x0f": (4, UINT8),  # stored as BGRA
    _FAMILY + b"\x16": (4, UINT16),
}


def _qoi_header(file: BinaryIO) -> ImageHeader:
    file.seek(0)
    magic, width, height, channels, _ = struct.unpack(">4sIIBB", exactly(file, 14))
    check_size(width, height)
    if magic != _QOI or channels not in (3, 4):
        raise UnreadableImageError(f"damaged: a QOI file with {channels} channels")
    return ImageHeader((height, width, channels), UINT8)


def _qoi_image(file: BinaryIO) -> tuple[ImageHeader, Pixels]:
    header, data = _qoi_header(file), whole_file(file)
    if not data.endswith(_QOI_END):
        raise UnreadableImageError("damaged: cut off, or bytes behind its end")
    pixels: Pixels = imagecodecs_for("QOI").qoi_decode(data)
    return header, as_stated(pixels, header.shape, header.dtype)


QOI = ImageFormat("QOI", (".qoi",), lambda head: head.startswith(_QOI), one_image(_qoi_header, _qoi_image))


def _jpegxr_header(file: BinaryIO) -> ImageHeader:
    file.seek(4)
    file.seek(int.from_bytes(exactly(file, 4), "little"))
    count = int.from_bytes(exactly(file, 2), "little")
    tags = {tag: value for tag, _, _, value in struct.iter_unpack("<HHII", exactly(file, 12 * count))}
    if not {_PIXEL_FORMAT, _WIDTH, _HEIGHT, _OFFSET, _BYTES} <= tags.keys():
        raise UnreadableImageError("damaged: a JPEG XR file without size, format or pixels")
    width, height, offset = tags[_WIDTH], tags[_HEIGHT], tags[_OFFSET]
    check_size(width, height)
    if offset + tags[_BYTES] > file_size(file):
        raise UnreadableImageError("damaged: cut off within its pixels")
    file.seek(offset)
    if _jpegxr_size(exactly(file, 20)) != (height, width):
        raise UnreadableImageError("damaged: pixels of another size than its header says")
    if tags.get(_TURN, 0):
        raise UnreadableImageError("a turn or mirror in JPEG XR, which is not read; write it anew")
    file.seek(tags[_PIXEL_FORMAT])
    kind = exactly(file, 16)
    if kind not in _KINDS:
        raise UnreadableImageError(f"JPEG XR of a kind that is not read ({kind.hex()}); write it as RGB")
    channels, dtype = _KINDS[kind]
    return ImageHeader((height, width, channels), dtype)


def _jpegxr_size(head: bytes) -> tuple[int, int]:
    """Return height and width, as the codestream says."""
    if not head.startswith(b"WMPHOTO\0"):
        raise UnreadableImageError("damaged: pixels that are no JPEG XR codestream")
    is_short = bool(head[10] & 0x80)
    width, height = struct.unpack(">HH", head[12:16]) if is_short else struct.unpack(">II", head[12:20])
    return height + 1, width + 1


def _jpegxr_image(file: BinaryIO) -> tuple[ImageHeader, Pixels]:
    header = _jpegxr_header(file)
    pixels: Pixels = imagecodecs_for("JPEG XR").jpegxr_decode(whole_file(file))
    return header, as_stated(pixels, header.shape, header.dtype)


JPEGXR = ImageFormat(
    "JPEG XR",
    (".jxr", ".wdp", ".hdp"),
    lambda head: head.startswith(_JPEGXR),
    one_image(_jpegxr_header, _jpegxr_image),
)
