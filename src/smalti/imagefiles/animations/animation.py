"""Frames of an animation as whole pictures: each is drawn over what the earlier ones left, as viewers do.

GIF and APNG store parts of pictures. Pillow would put them together, but it clears parts to a colour that no viewer
shows, and clears again for a frame that does not say so. So it decodes frames one by one, and they are put together
here, by the rules of GIF89a (CompuServe, 1990) and PNG (third edition, W3C 2025).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from smalti.imagefiles.format import FRAME, SOURCE_ORIENTATION, ImageHeader, UnreadableImageError, upright
from smalti.images.batch import PixelDtype, Pixels

__all__ = ["DURATION", "Animation", "Disposal", "Frame", "frame_headers", "shows_nothing"]

DURATION = "duration_ms"
"""The field with the time for which a frame is shown, in milliseconds: a float."""


class Disposal(Enum):
    """What becomes of the part of the canvas that a frame covers, before the next one is drawn."""

    KEEP = 0
    CLEAR = 1
    RESTORE = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a frame lies on the canvas, and how it is drawn.

    covers : whether it replaces what is below, alpha included; else it is laid over it
    duration : milliseconds, None if the file does not say
    """

    left: int
    top: int
    width: int
    height: int
    disposal: Disposal = Disposal.KEEP
    covers: bool = False
    duration: float | None = None


def shows_nothing(frames: Sequence[Frame], width: int, height: int) -> bool:
    """Whether some part of the canvas may be empty in some frame, if frames themselves are opaque.

    So it is if the first frame does not fill the canvas, or if a part of it is cleared before a later frame.
    """
    first = frames[0]
    fills = first.left <= 0 and first.top <= 0 and first.width >= width and first.height >= height
    clears = any(frame.disposal is Disposal.CLEAR for frame in frames[:-1])
    return not fills or clears or (len(frames) > 1 and first.disposal is Disposal.RESTORE)


def frame_headers(header: ImageHeader, frames: Sequence[Frame]) -> list[ImageHeader]:
    """Return the header of each frame, made of that of the canvas."""
    found = []
    for number, frame in enumerate(frames):
        duration = {} if frame.duration is None else {DURATION: float(frame.duration)}
        found.append(replace(header, fields={**header.fields, FRAME: number, **duration}))
    return found


class Animation:
    """The frames of a file, put together in ascending order.

    headers : of each frame, all of one shape
    frames : where they are drawn
    stored_shape : height, width and channels of the canvas before it is turned upright
    decode : returns the pixels [h, w, C] of a frame alone, with or without an alpha channel
    """

    def __init__(
        self,
        headers: Sequence[ImageHeader],
        frames: Sequence[Frame],
        stored_shape: tuple[int, int, int],
        decode: Callable[[int], Pixels],
    ) -> None:
        self.headers = headers
        self._frames = frames
        self._shape = stored_shape
        self._decode = decode
        self._canvas: Pixels | None = None
        self._drawn = -1
        self._before: Pixels | None = None  # what a frame covers that is to be restored

    def image(self, number: int) -> tuple[ImageHeader, Pixels]:
        """Return a frame. After one that is damaged, all later ones are."""
        header = self.headers[number]
        if number < self._drawn or self._canvas is None:
            self._start(header.dtype)
        while self._drawn < number:
            self._draw(self._drawn + 1)
        assert self._canvas is not None
        channels = self._shape[2]
        pixels = self._canvas[..., :channels].copy()
        if channels in (1, 3) and (self._canvas[..., -1] != np.iinfo(header.dtype).max).any():
            raise UnreadableImageError("damaged: a frame is transparent where its file says that it is not")
        return header, upright(pixels, header.fields.get(SOURCE_ORIENTATION))

    def _start(self, dtype: PixelDtype) -> None:
        height, width, channels = self._shape
        self._canvas = np.zeros((height, width, channels + channels % 2), dtype)
        self._drawn, self._before = -1, None

    def _draw(self, number: int) -> None:
        canvas, frame = self._canvas, self._frames[number]
        assert canvas is not None
        pixels = _with_alpha(self._decode(number))
        if self._drawn >= 0:
            self._dispose(canvas, self._frames[self._drawn])
        part = _part(canvas, frame)
        self._before = part.copy() if frame.disposal is Disposal.RESTORE else None
        pixels = pixels[: part.shape[0], : part.shape[1]]
        part[...] = pixels if frame.covers else _over(pixels, part)
        self._drawn = number

    def _dispose(self, canvas: Pixels, frame: Frame) -> None:
        if frame.disposal is Disposal.CLEAR:
            _part(canvas, frame)[...] = 0
        elif self._before is not None:
            _part(canvas, frame)[...] = self._before


def _part(canvas: Pixels, frame: Frame) -> Pixels:
    return canvas[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width]


def _with_alpha(pixels: Pixels) -> Pixels:
    if pixels.shape[2] in (2, 4):
        return pixels
    alpha = np.full((*pixels.shape[:2], 1), np.iinfo(pixels.dtype).max, pixels.dtype)
    joined: Pixels = np.concatenate([pixels, alpha], axis=2)
    return joined


def _over(front: Pixels, back: Pixels) -> Pixels:
    """Lay pixels over others (Porter and Duff, 1984): exact where the front is opaque or empty, else rounded."""
    most = int(np.iinfo(front.dtype).max)
    made = np.where(front[..., -1:] == most, front, back)
    mixed = (front[..., -1] != most) & (front[..., -1] != 0)
    if mixed.any():
        made[mixed] = _mixed(front[mixed].astype(np.int64), back[mixed].astype(np.int64), most)
    return made


def _mixed(front: NDArray[np.int64], back: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    own, below = front[:, -1:] * most, (most - front[:, -1:]) * back[:, -1:]
    alpha = own + below
    colours = (front[:, :-1] * own + back[:, :-1] * below + alpha // 2) // alpha
    return np.concatenate([colours, (alpha + most // 2) // most], axis=1)
