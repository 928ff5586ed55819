"""GIF files: one picture, or the frames of an animation.

GIF89a (CompuServe, 1990): a screen with a palette, then blocks; a graphic control block before a frame has its time,
its transparent colour and what becomes of it. Pillow decodes each frame from a small file of its own. A file of one
frame is read by Pillow as a whole.
"""

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

import numpy as np

from smalti.imagefiles.animations.animation import (
    DURATION,
    Animation,
    Disposal,
    Frame,
    frame_headers,
    shows_nothing,
)
from smalti.imagefiles.format import (
    FRAME,
    SOURCE_MODE,
    SOURCE_ORIENTATION,
    ImageFile,
    ImageFormat,
    UnreadableImageError,
    check_size,
    upright_header,
    whole_file,
)
from smalti.imagefiles.pillow import one_picture, opened
from smalti.images.batch import UINT8, Pixels

__all__ = ["GIF"]

_EXTENSION, _FRAME, _END = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL, _PLAIN_TEXT = 0xF9, 0x01
_DISPOSALS = {2: Disposal.CLEAR, 3: Disposal.RESTORE, 4: Disposal.RESTORE}  # 4 is an error of old programs


@dataclass(frozen=True, slots=True)
class _Control:
    """A graphic control block."""

    disposal: Disposal = Disposal.KEEP
    duration: float | None = None
    transparent: int | None = None


@dataclass(frozen=True, slots=True)
class _Stored:
    """A frame, and its bytes behind its place and size."""

    frame: Frame
    transparent: int | None
    rest: slice


def _open(file: BinaryIO) -> ImageFile:
    data = whole_file(file)
    try:
        stored = _frames(data)
    except IndexError as error:
        raise UnreadableImageError("damaged: cut off within a frame") from error
    return _animation(data, stored) if len(stored) > 1 else one_picture("GIF")(file)


GIF = ImageFormat(
    "GIF",
    (".gif",),
    lambda head: head.startswith((b"GIF87a", b"GIF89a")),
    _open,
    (SOURCE_MODE, SOURCE_ORIENTATION, FRAME, DURATION),
)


def _animation(data: bytes, stored: list[_Stored]) -> Animation:
    frames = [one.frame for one in stored]
    screen = struct.unpack_from("<HH", data, 6)
    # Frames may lie outside the screen: viewers make it larger, or cut them. Nothing is cut here.
    width = max([screen[0], *(frame.left + frame.width for frame in frames)])
    height = max([screen[1], *(frame.top + frame.height for frame in frames)])
    check_size(width, height)
    clear = stored[0].transparent is not None or shows_nothing(frames, width, height)
    shape = (height, width, 4 if clear else 3)
    headers = frame_headers(upright_header(shape, UINT8, "P"), frames)
    return Animation(headers, frames, shape, lambda number: _decoded(data, stored[number]))


def _frames(data: bytes) -> list[_Stored]:
    """Find all frames. IndexError if the file is cut off within a block; the mark of its end may be missing."""
    found: list[_Stored] = []
    control = _Control()
    place = 13 + _palette_bytes(data[10])
    while place < len(data) and data[place] != _END:
        kind = data[place]
        if kind == _EXTENSION:
            label = data[place + 1]
            if label == _GRAPHIC_CONTROL and data[place + 2] >= 4:
                control = _control(data[place + 3], data[place + 4] + 256 * data[place + 5], data[place + 6])
            elif label == _PLAIN_TEXT:
                control = _Control()
            place = _behind_blocks(data, place + 2)
        elif kind == _FRAME:
            start = place + 9
            end = _behind_blocks(data, start + 1 + _palette_bytes(data[start]) + 1)
            left, top, width, height = struct.unpack_from("<HHHH", data, place + 1)
            frame = Frame(left, top, width, height, control.disposal, duration=control.duration)
            if frame.width == 0 or frame.height == 0:
                raise UnreadableImageError("damaged: a frame without pixels")
            found.append(_Stored(frame, control.transparent, slice(start, end)))
            control, place = _Control(), end
        elif kind == 0:  # some programs write zeros between blocks
            place += 1
        elif len(found) > 1:
            raise UnreadableImageError(f"damaged: no frame, and no end, behind frame {len(found) - 1}")
        else:
            break
    return found


def _control(flags: int, hundredths: int, transparent: int) -> _Control:
    disposal = _DISPOSALS.get(flags >> 2 & 7, Disposal.KEEP)
    return _Control(disposal, hundredths * 10.0, transparent if flags & 1 else None)


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _behind_blocks(data: bytes, place: int) -> int:
    """Return the place behind a row of blocks, each after its length, the last of length 0."""
    while data[place]:
        place += 1 + data[place]
    return place + 1


def _decoded(data: bytes, stored: _Stored) -> Pixels:
    """Decode a frame alone: uint8 [h, w, 4]; the transparent colour has alpha 0."""
    size = struct.pack("<HH", stored.frame.width, stored.frame.height)
    screen = b"GIF89a" + size + data[10:13] + data[13 : 13 + _palette_bytes(data[10])]
    with opened(BytesIO(screen + b"\x2c\0\0\0\0" + size + data[stored.rest] + b"\x3b"), "GIF") as image:
        image.load()
        levels = np.asarray(image)
        colours = np.asarray(image.convert("RGB"))
    alpha = np.full(levels.shape, 255, np.uint8)
    if stored.transparent is not None:
        alpha[levels == stored.transparent] = 0
    pixels: Pixels = np.dstack([colours, alpha])
    return pixels
