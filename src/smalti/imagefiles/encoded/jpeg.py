"""JPEG files: of 8 bits by Pillow; of other depths, lossless ones of them, and JPEG-LS by imagecodecs.

The markers up to the frame say which. Samples of 12 bits and of lossless JPEG (2 to 16 bits) are as stored, not scaled.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from PIL import Image

from smalti.imagefiles.format import (
    SIGNIFICANT_BITS,
    SOURCE_MODE,
    SOURCE_ORIENTATION,
    ImageFile,
    ImageFormat,
    ImageHeader,
    UnreadableImageError,
    as_stated,
    bits_field,
    check_size,
    exactly,
    imagecodecs_for,
    one_image,
    unsigned_of,
    upright,
    upright_header,
    whole_file,
)
from smalti.imagefiles.pillow import PILLOW_JPEG
from smalti.images.batch import Pixels

__all__ = ["JPEG"]

_ORIENTATION = 0x0112
_START, _END, _SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
_APP1, _APP8, _LS_FRAME, _LS_EXTENSION = 0xE1, 0xE8, 0xF7, 0xF8
_FRAMES = frozenset({*range(0xC0, 0xD0), _LS_FRAME}) - {0xC4, 0xC8, 0xCC}
_LONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a segment
_LS_TABLE = 2
_MAX_SEGMENTS = 10_000
_SPIFF_SPACES = {2: "none", 8: "grey", 10: "RGB"}


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame. marker : its kind    scan : the offset behind its segment"""

    marker: int
    bits: int
    height: int
    width: int
    channels: int
    exif: bytes | None
    scan: int

    @property
    def is_ls(self) -> bool:
        return self.marker == _LS_FRAME

    @property
    def what(self) -> str:
        return "JPEG-LS" if self.is_ls else f"JPEG of {self.bits} bits"

    @property
    def header(self) -> ImageHeader:
        check_size(self.width, self.height)
        if not 1 <= self.channels <= 4 or (self.channels in (2, 4) and not self.is_ls):
            raise UnreadableImageError(f"{self.what} with {self.channels} channels; convert it to grey or RGB")
        dtype = unsigned_of(self.bits)
        header = upright_header((self.height, self.width, self.channels), dtype, orientation=self.orientation)
        return replace(header, fields={**header.fields, **bits_field(self.bits, dtype)})

    @property
    def orientation(self) -> int | None:
        """The EXIF orientation."""
        if self.exif is None:
            return None
        exif = Image.Exif()
        exif.load(self.exif)
        found = exif.get(_ORIENTATION)
        return found if isinstance(found, int) else None


def _open(file: BinaryIO) -> ImageFile:
    frame = _frame(file)
    return (PILLOW_JPEG.open if frame is None else one_image(_read_header, _read_image))(file)


def _read_header(file: BinaryIO) -> ImageHeader:
    return _needed(file).header


def _read_image(file: BinaryIO) -> tuple[ImageHeader, Pixels]:
    frame = _needed(file)
    header = frame.header
    imagecodecs, data = imagecodecs_for(frame.what), whole_file(file)
    if data.find(_END, frame.scan) < 0:  # decoders fill up what is missing, and say nothing
        raise UnreadableImageError("damaged: cut off within its pixels")
    pixels: Pixels = (imagecodecs.jpegls_decode if frame.is_ls else imagecodecs.jpeg8_decode)(data)
    shape = (frame.height, frame.width, frame.channels)
    return header, upright(as_stated(pixels, shape, header.dtype), frame.orientation)


def _needed(file: BinaryIO) -> _Frame:
    frame = _frame(file)
    if frame is None:
        raise UnreadableImageError("changed while it was read")
    return frame


def _frame(file: BinaryIO) -> _Frame | None:
    """Return the frame of a file that imagecodecs reads; None for one that Pillow reads, or finds damaged."""
    exif, refusal = None, None
    for marker, size in _segments(file):
        if marker == _APP1 and exif is None and size < 65534:
            data = exactly(file, size)
            exif = data if data.startswith(b"Exif\0\0") else None
        elif marker == _APP8 and size >= 24:
            data = exactly(file, size)
            if data.startswith(b"SPIFF\0") and data[18] not in _SPIFF_SPACES:
                refusal = "colours other than grey and RGB (SPIFF); convert them"
        elif marker == _LS_EXTENSION and size and exactly(file, 1)[0] == _LS_TABLE:
            refusal = "JPEG-LS with a palette; convert it to RGB"
        elif marker in _FRAMES:
            bits, height, width, channels = struct.unpack(">BHHB", exactly(file, 6))
            if bits == 8 and marker != _LS_FRAME:
                return None
            if refusal is not None and marker == _LS_FRAME:
                raise UnreadableImageError(refusal)
            return _Frame(marker, bits, height, width, channels, exif, file.tell())
    return None


def _segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield marker and length of each segment before the pixels, with the file at its content."""
    file.seek(0)
    if file.read(2) != _START:
        return
    for _ in range(_MAX_SEGMENTS):
        head = file.read(2)
        if len(head) < 2 or head[0] != 0xFF:
            return
        if head[1] == 0xFF:  # a byte to fill up
            file.seek(-1, 1)
            continue
        if head[1] in _LONE:
            continue
        length = int.from_bytes(file.read(2))
        if length < 2 or head[1] == _SCAN:
            return
        start = file.tell()
        yield head[1], length - 2
        file.seek(start + length - 2)


JPEG = ImageFormat(
    "JPEG",
    (*PILLOW_JPEG.suffixes, ".jls"),
    PILLOW_JPEG.matches,
    _open,
    (SOURCE_MODE, SOURCE_ORIENTATION, SIGNIFICANT_BITS),
)
