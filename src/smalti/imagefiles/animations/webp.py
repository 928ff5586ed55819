"""WebP files: one picture, or the frames of an animation, which libwebp puts together.

WebP container (RFC 9649): RIFF chunks; VP8X says whether there are frames and alpha, ANMF chunks are frames. Their
heads are read here, and Pillow decodes, which uses libwebp's decoder of animations.
"""

from dataclasses import replace
from io import BytesIO
from typing import BinaryIO

import numpy as np
from PIL import Image

from smalti.imagefiles.animations.animation import DURATION, Disposal, Frame, frame_headers, shows_nothing
from smalti.imagefiles.format import (
    FRAME,
    SOURCE_MODE,
    SOURCE_ORIENTATION,
    ImageFile,
    ImageFormat,
    ImageHeader,
    UnreadableImageError,
    check_size,
    upright,
    upright_header,
    whole_file,
)
from smalti.imagefiles.pillow import exif_orientation, one_picture
from smalti.imagefiles.quiet import quiet_decoders
from smalti.images.batch import UINT8, Pixels

__all__ = ["WEBP"]

_FLAGS = 20  # the place of the flags of VP8X, the first chunk
_ANIMATED, _ALPHA = 0x02, 0x10
_CLEARS, _COVERS = 0x01, 0x02  # flags of a frame


def _open(file: BinaryIO) -> ImageFile:
    head = file.read(30)
    file.seek(0)
    if head[12:16] != b"VP8X" or len(head) < 30 or not head[_FLAGS] & _ANIMATED:
        return one_picture("WEBP")(file)
    data = whole_file(file)
    frames = _frames(data)
    return _Animation(data, frames) if len(frames) > 1 else one_picture("WEBP")(file)


WEBP = ImageFormat(
    "WebP",
    (".webp",),
    lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP",
    _open,
    (SOURCE_MODE, SOURCE_ORIENTATION, FRAME, DURATION),
)


class _Animation:
    """The frames of a file. After one that is damaged, all later ones are."""

    def __init__(self, data: bytes, frames: list[Frame]) -> None:
        width, height = (int.from_bytes(data[place : place + 3], "little") + 1 for place in (24, 27))
        check_size(width, height)
        if not data[_FLAGS] & _ALPHA and shows_nothing(frames, width, height):
            # Without this flag, libwebp would show black where the canvas is empty. Viewers show what is behind it.
            data = data[:_FLAGS] + bytes([data[_FLAGS] | _ALPHA]) + data[_FLAGS + 1 :]
        channels = 4 if data[_FLAGS] & _ALPHA else 3
        with quiet_decoders():
            self._image = Image.open(BytesIO(data), formats=["WEBP"])
            orientation = exif_orientation(self._image)
        if getattr(self._image, "n_frames", 1) != len(frames) or self._image.size != (width, height):
            raise UnreadableImageError("damaged: its frames are not those that it states")
        header = upright_header((height, width, channels), UINT8, None, orientation)
        self.headers = frame_headers(header, frames)
        self._damage: tuple[int, UnreadableImageError] | None = None

    def image(self, number: int) -> tuple[ImageHeader, Pixels]:
        header = self.headers[number]
        if self._damage is not None and number >= self._damage[0]:
            raise self._damage[1]
        try:
            with quiet_decoders():
                self._image.seek(number)
                pixels = np.asarray(self._image)
        except EOFError as error:
            self._damage = number, UnreadableImageError(f"damaged: frame {number} cannot be decoded")
            raise self._damage[1] from error
        return header, upright(pixels, header.fields.get(SOURCE_ORIENTATION))


def _frames(data: bytes) -> list[Frame]:
    """Find all frames. UnreadableImageError if the file is cut off."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if len(data) < end:
        raise UnreadableImageError("damaged: cut off")
    found: list[Frame] = []
    place = 12
    while place + 8 <= end:
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        if place + 8 + size > end:
            raise UnreadableImageError("damaged: cut off within a chunk")
        if data[place : place + 4] == b"ANMF":
            found.append(_frame(data[place + 8 : place + 24]))
        place += 8 + size + size % 2
    return found


def _frame(head: bytes) -> Frame:
    if len(head) < 16:
        raise UnreadableImageError("damaged: a frame without a head")
    left, top, width, height, duration = (int.from_bytes(head[at : at + 3], "little") for at in range(0, 15, 3))
    frame = Frame(2 * left, 2 * top, width + 1, height + 1, covers=bool(head[15] & _COVERS), duration=float(duration))
    return replace(frame, disposal=Disposal.CLEAR) if head[15] & _CLEARS else frame
