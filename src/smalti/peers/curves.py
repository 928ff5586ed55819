"""What AVIF and JPEG XL take for a set of images of any sizes at a quality in decibels: as sheets, and file by file.

The sheet is their best case, in which no image can be read alone; file by file is what people have. Each codec runs at
two efforts. On a few images each effort looks for the settings next to the asked quality; the better effort (fewer
bytes) then codes the sample, at settings on either side of the quality. Between these two the logarithm of the bytes is
interpolated against the logarithm of the error. The error is the mean over images of `images.quality.image_errors`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from smalti.images.batch import Pixels
from smalti.images.quality import image_errors
from smalti.peers.matching import RatePoint, at_matched
from smalti.peers.peer_codecs import Effort, Peer
from smalti.peers.sheets import cut_sheet, draw_sheet, lay_out

__all__ = ["Curve", "Need", "Point", "better_effort", "first_reaching"]

_CLOSE = 1.25
"""Points whose errors differ by no more than this factor, 1 dB, are close enough to interpolate between them."""

Images = Sequence[Pixels]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """All images at one setting.

    bytes : of all together; mse : mean over images
    standard_error : of the mean bytes of an image, 0 for sheets; deviation of the mean if other images had been drawn
    """

    setting: float
    bytes: int
    mse: float
    standard_error: float


@dataclass(frozen=True)
class Need:
    """What a codec takes for a quality.

    bytes : of all images together; None if no setting reaches the quality
    coarsest : whether its coarsest setting is better than that
    points : the measured settings on either side
    """

    effort: str
    way: str
    bytes: float | None
    coarsest: bool
    points: tuple[Point, ...]


class Curve:
    """A codec at one effort on some images, measured where it is asked.

    way : "sheets" or "files"
    """

    def __init__(self, peer: Peer, effort: Effort, images: Images, way: str, say: Say = lambda line: None) -> None:
        self.peer, self.effort, self.way = peer, effort, way
        self._images, self._say = images, say
        self._points: dict[int, Point] = {}
        self.files: dict[int, list[bytes]] = {}

    def at(self, index: int) -> Point:
        """The point of a setting of the codec, by its number."""
        if index not in self._points:
            setting = self.peer.settings[index]
            coded, errors = (_as_sheets if self.way == "sheets" else _as_files)(self.effort, self._images, setting)
            sizes = [len(data) for data in coded]
            spread = np.std(sizes, ddof=1) / math.sqrt(len(sizes)) if self.way == "files" and len(sizes) > 1 else 0.0
            self._points[index] = Point(setting, sum(sizes), float(np.mean(errors)), float(spread))
            self.files[index] = coded
            self._say(f"{self.peer.name}, {self.effort.name}, {self.way}: {setting:g}, {sum(sizes):,} bytes")
        return self._points[index]

    def need(self, mse: float, start: int, stride: int = 1) -> tuple[Need, int]:
        """What the codec takes for an error, and the number of a setting that reaches it.

        start : the number of a setting where to begin; stride : the first step from there, doubled while it is in vain
        """
        last = len(self.peer.settings) - 1
        low = high = min(max(start, 0), last)
        while self.at(high).mse > mse and high < last:
            low, high, stride = high, min(high + stride, last), 2 * stride
        while self.at(low).mse <= mse and low > 0:
            low, high, stride = max(low - stride, 0), low, 2 * stride
        if self.at(low).mse <= mse:  # the coarsest setting
            high = low
        while high - low > 1 and self.at(low).mse > _CLOSE * self.at(high).mse:
            middle = (low + high) // 2
            low, high = (low, middle) if self.at(middle).mse <= mse else (middle, high)
        points = tuple(self.at(index) for index in sorted({low, high}))
        found = at_matched(tuple(RatePoint(p.setting, p.bytes, p.mse, math.nan) for p in points), mse=mse)
        total, coarsest = (None, False) if found is None else (found.bytes_per_image, found.coarsest)
        return Need(self.effort.name, self.way, total, coarsest, points), high


def _as_sheets(effort: Effort, images: Images, setting: float) -> tuple[list[bytes], list[float]]:
    sizes = [(image.shape[0], image.shape[1]) for image in images]
    coded: list[bytes] = []
    errors: list[float] = []
    for sheet in lay_out(sizes):
        coded.append(effort.encode(draw_sheet(sheet, images), setting))
        picture = effort.decode(coded[-1])
        errors += [_error(images[number], part) for number, part in cut_sheet(sheet, picture, sizes)]
    return coded, errors


def _as_files(effort: Effort, images: Images, setting: float) -> tuple[list[bytes], list[float]]:
    coded = [effort.encode(image, setting) for image in images]
    decoded = map(effort.decode, coded)
    return coded, [_error(image, found) for image, found in zip(images, decoded, strict=True)]


def _error(original: Pixels, decoded: Pixels) -> float:
    return float(image_errors(original[None], decoded[None])[0])


def better_effort(
    peer: Peer, images: Images, mse: float, way: str, say: Say, start: int | None = None
) -> tuple[int, int, tuple[Need, ...]]:
    """Return which effort takes fewer bytes for an error, the number of its setting there, and what each takes."""
    found: list[tuple[Need, int]] = []
    index = start
    for effort in peer.efforts:
        curve = Curve(peer, effort, images, way, say)
        if index is None:
            index = first_reaching(curve, mse)
        found.append(curve.need(mse, index))
        index = found[-1][1]
    sizes = [math.inf if need.bytes is None else need.bytes for need, _ in found]
    best = sizes.index(min(sizes))
    return best, found[best][1], tuple(need for need, _ in found)


def first_reaching(curve: Curve, mse: float) -> int:
    """Find the first setting that reaches an error, by halves."""
    low, high = 0, len(curve.peer.settings) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if curve.at(middle).mse <= mse else (middle + 1, high)
    return low
