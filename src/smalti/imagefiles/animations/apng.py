"""Animated PNG files: each frame is a PNG file of its own, which the decoder of PNG files reads.

PNG (third edition, W3C 2025), "Animation": acTL before the pixels has the number of frames; fcTL has the place of a
frame, its time, and how it is drawn; IDAT or fdAT its pixels. A picture in IDAT that is no frame, for programs that
know no animations, is an image, too.
"""

import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

import numpy as np
from PIL import Image

from smalti.imagefiles.animations.animation import Animation, Disposal, Frame, frame_headers, shows_nothing
from smalti.imagefiles.format import (
    SOURCE_MODE,
    SOURCE_ORIENTATION,
    ImageFile,
    ImageHeader,
    UnreadableImageError,
    check_size,
    upright,
    upright_header,
    whole_file,
)
from smalti.images.batch import Pixels

__all__ = ["apng_images", "is_animated", "png_chunk"]

_SIGNATURE_BYTES = 8
_COLOUR_CHUNKS = (b"PLTE", b"tRNS")
_DISPOSALS = (Disposal.KEEP, Disposal.CLEAR, Disposal.RESTORE)
_ORIENTATION = 0x0112
_LAST = b"IEND"

_ReadHeader = Callable[[BinaryIO], ImageHeader]
_ReadImage = Callable[[BinaryIO], tuple[ImageHeader, Pixels]]


def is_animated(file: BinaryIO) -> bool:
    """Whether a PNG file says before its pixels that it has frames. Rewinds the file."""
    try:
        file.seek(_SIGNATURE_BYTES)
        while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", _LAST):
            if head[4:] == b"acTL":
                return True
            file.seek(int.from_bytes(head[:4]) + 4, 1)
        return False
    finally:
        file.seek(0)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file: its length, kind, data and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@dataclass
class _Picture:
    """A frame, or the picture that is none, and its compressed bytes."""

    frame: Frame | None
    parts: list[bytes] = field(default_factory=list)


@dataclass
class _Chunks:
    """What an animated file holds."""

    head: bytes = b""
    colours: list[bytes] = field(default_factory=list)
    stated: int = 0
    orientation: int | None = None
    pictures: list[_Picture] = field(default_factory=list)


def apng_images(file: BinaryIO, read_header: _ReadHeader, read_image: _ReadImage) -> ImageFile | None:
    """Return the images of an animated file; None if it has only one.

    read_header, read_image : read a PNG file of one image
    """
    chunks = _read(whole_file(file))
    drawn = [picture for picture in chunks.pictures if picture.frame is not None]
    frames = [picture.frame for picture in drawn if picture.frame is not None]
    if chunks.stated != len(frames):
        raise UnreadableImageError(f"damaged: it states {chunks.stated} frames, and has {len(frames)}")
    if len(chunks.pictures) < 2:
        return None
    width, height = struct.unpack_from(">II", chunks.head)
    check_size(width, height)
    for frame in frames:
        if frame.left + frame.width > width or frame.top + frame.height > height or not frame.width * frame.height:
            raise UnreadableImageError("damaged: a frame outside the picture")
    kind = read_header(BytesIO(_alone(chunks, chunks.pictures[0], width, height)))
    channels = kind.shape[2]
    if channels in (1, 3) and shows_nothing(frames, width, height):
        channels += 1
    mode = kind.fields.get(SOURCE_MODE)
    shape = (height, width, channels)
    header = upright_header(shape, kind.dtype, None if mode is None else str(mode), chunks.orientation)

    def pixels_of(picture: _Picture) -> Pixels:
        frame = picture.frame or Frame(0, 0, width, height)
        return read_image(BytesIO(_alone(chunks, picture, frame.width, frame.height)))[1]

    animation = Animation(frame_headers(header, frames), frames, shape, lambda number: pixels_of(drawn[number]))
    first = chunks.pictures[0]
    return animation if first.frame is not None else _WithPicture(header, lambda: pixels_of(first), animation)


@dataclass(frozen=True)
class _WithPicture:
    """A picture that is no frame, and the frames behind it."""

    header: ImageHeader
    decode: Callable[[], Pixels]
    animation: Animation

    @property
    def headers(self) -> list[ImageHeader]:
        return [self.header, *self.animation.headers]

    def image(self, number: int) -> tuple[ImageHeader, Pixels]:
        if number:
            return self.animation.image(number - 1)
        pixels = self.decode()
        if pixels.shape[2] % 2 and self.header.shape[2] % 2 == 0:
            opaque = np.full((*pixels.shape[:2], 1), np.iinfo(pixels.dtype).max, pixels.dtype)
            pixels = np.concatenate([pixels, opaque], axis=2)
        return self.header, upright(pixels, self.header.fields.get(SOURCE_ORIENTATION))


def _read(data: bytes) -> _Chunks:
    found = _Chunks()
    following = 0
    for kind, content in _chunks(data):
        if kind == b"IHDR":
            found.head = content
        elif kind in _COLOUR_CHUNKS:
            found.colours.append(png_chunk(kind, content))
        elif kind == b"acTL":
            found.stated = int.from_bytes(content[:4])
        elif kind == b"eXIf":
            found.orientation = _orientation(content)
        elif kind in (b"fcTL", b"fdAT"):
            if int.from_bytes(content[:4]) != following:
                raise UnreadableImageError("damaged: its frames are not in order")
            following += 1
            if kind == b"fcTL":
                found.pictures.append(_Picture(_frame(content)))
            else:
                _latest(found).parts.append(content[4:])
        elif kind == b"IDAT":
            if not found.pictures:
                found.pictures.append(_Picture(None))
            _latest(found).parts.append(content)
    if len(found.head) != 13 or any(not picture.parts for picture in found.pictures):
        raise UnreadableImageError("damaged: a frame without pixels")
    return found


def _latest(found: _Chunks) -> _Picture:
    if not found.pictures:
        raise UnreadableImageError("damaged: pixels of a frame before its place")
    return found.pictures[-1]


def _chunks(data: bytes) -> Iterable[tuple[bytes, bytes]]:
    """Yield the kind and the content of each chunk. UnreadableImageError for one that is cut off or changed."""
    place, kind = _SIGNATURE_BYTES, b""
    while kind != _LAST:
        size, kind = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        content, end = data[place + 8 : place + 8 + size], place + 12 + size
        if end > len(data):
            raise UnreadableImageError("damaged: cut off")
        if zlib.crc32(kind + content) != int.from_bytes(data[end - 4 : end]):
            raise UnreadableImageError("damaged: a checksum is wrong")
        yield kind, content
        place = end


def _frame(content: bytes) -> Frame:
    if len(content) != 26 or content[24] >= len(_DISPOSALS) or content[25] > 1:
        raise UnreadableImageError("damaged: the place of a frame")
    width, height, left, top, number, parts = struct.unpack_from(">IIIIHH", content, 4)
    duration = 1000.0 * number / (parts or 100)
    return Frame(left, top, width, height, _DISPOSALS[content[24]], covers=content[25] == 0, duration=duration)


def _orientation(content: bytes) -> int | None:
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + content)
    found = exif.get(_ORIENTATION)
    return found if isinstance(found, int) else None


def _alone(chunks: _Chunks, picture: _Picture, width: int, height: int) -> bytes:
    """Return a PNG file of a frame alone."""
    head = png_chunk(b"IHDR", struct.pack(">II", width, height) + chunks.head[8:])
    pixels = [png_chunk(b"IDAT", part) for part in picture.parts]
    return b"".join([b"\x89PNG\r\n\x1a\n", head, *chunks.colours, *pixels, png_chunk(_LAST, b"")])
