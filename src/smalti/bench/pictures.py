"""Which images of an archive are worth a look, kept while all of them are compared with their originals.

Some evenly spread over the archive, the worst, and the error of every image. Of an image larger than 384 pixels a side
the part with the largest error is kept, so that memory does not grow with the images. Also here: pixels as a screen can
show them, and the difference of two images as a picture. `pictures_page` makes a page of it.

Needs NumPy alone. Layer: part of `bench`, though it knows nothing of codecs.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.archive.read.selection import ArchiveBatch
from smalti.images.batch import ImageBatch, Pixels
from smalti.images.quality import image_errors
from smalti.images.seen import has_alpha, psnr_db

__all__ = ["MOST_SIDE", "Histogram", "Pair", "PictureCollector", "differences", "gain_for", "histogram", "shown"]

MOST_SIDE = 384
"""The most pixels of a picture, a side."""

_SPREAD = 12
_WORST = 10
_BIN_WIDTHS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_MOST_BINS = 40
_ROOM = 32.0
"""What a usual difference becomes on a picture, of 128 on either side of grey."""


@dataclass(frozen=True)
class Pair:
    """An image or a part of one, beside its original: [h, w, C] of one dtype.

    number, name : of the image in the archive
    mse : of the whole image, over what is seen if it has alpha (`images.seen`)
    size : height and width of the whole image
    top, left : where the part begins
    """

    number: int
    name: str | None
    mse: float
    size: tuple[int, int]
    top: int
    left: int
    original: Pixels
    decoded: Pixels

    @property
    def whole(self) -> bool:
        """Whether all of the image is shown."""
        return self.original.shape[:2] == self.size

    @property
    def psnr_db(self) -> float | None:
        """In decibels of 255 or 65,535; None if the images are equal."""
        return psnr_db(self.mse)


class PictureCollector:
    """Takes the images of an archive in order, beside their originals.

    images : the number of all; spread : how many are kept of these, evenly spread; worst : how many of the worst
    """

    def __init__(self, images: int, spread: int = _SPREAD, worst: int = _WORST) -> None:
        self._wanted = set(np.linspace(0, images - 1, min(images, spread)).round().astype(int).tolist())
        self._most_worst = min(images, worst)
        self._worst: list[tuple[float, int, Pair]] = []  # a heap, the best of the worst first
        self._errors: list[NDArray[np.float64]] = []
        self.spread: list[Pair] = []

    def add(self, original: ImageBatch, decoded: ArchiveBatch) -> None:
        """Take a batch of decoded images and their originals."""
        errors = image_errors(original.pixels, decoded.pixels)
        self._errors.append(errors)
        for row, (number, error) in enumerate(zip(decoded.numbers.tolist(), errors.tolist(), strict=True)):
            is_worst = len(self._worst) < self._most_worst or error > self._worst[0][0]
            if number not in self._wanted and not is_worst:
                continue
            names = original.names if decoded.names is None else decoded.names
            pair = _pair(
                number, None if names is None else names[row], error, original.pixels[row], decoded.pixels[row]
            )
            if number in self._wanted:
                self.spread.append(pair)
            if is_worst:
                push = heapq.heappush if len(self._worst) < self._most_worst else heapq.heapreplace
                push(self._worst, (error, -number, pair))

    @property
    def errors(self) -> NDArray[np.float64]:
        """The mean squared error of every image."""
        return np.concatenate(self._errors) if self._errors else np.empty(0)

    @property
    def worst(self) -> list[Pair]:
        """The images with the largest errors, the worst first."""
        return [pair for _, _, pair in sorted(self._worst, key=lambda each: each[:2], reverse=True)]


def _pair(number: int, name: str | None, error: float, original: Pixels, decoded: Pixels) -> Pair:
    height, width = original.shape[:2]
    top, left = _largest_error(original, decoded)
    part = slice(top, top + MOST_SIDE), slice(left, left + MOST_SIDE)
    return Pair(number, name, error, (height, width), top, left, original[part].copy(), decoded[part].copy())


def _largest_error(original: Pixels, decoded: Pixels) -> tuple[int, int]:
    """Where the part with the largest error begins, of parts that overlap by half."""
    height, width = original.shape[:2]
    tops = _starts(height)
    lefts = _starts(width)
    if len(tops) == len(lefts) == 1:
        return 0, 0
    best, place = -1.0, (0, 0)
    for top in tops:
        for left in lefts:
            part = slice(top, top + MOST_SIDE), slice(left, left + MOST_SIDE)
            error = float(np.square(original[part].astype(np.float64) - decoded[part]).sum())
            if error > best:
                best, place = error, (top, left)
    return place


def _starts(side: int) -> list[int]:
    last = max(0, side - MOST_SIDE)
    return sorted({*range(0, last, MOST_SIDE // 2), last})


def shown(pair: Pair) -> tuple[Pixels, Pixels]:
    """Original and decoded image as a screen shows them, uint8 [h, w, C]. 8 bits are as they are.

    Colours of 16 bits go from black to white where those of the original go from its least to its largest value.
    """
    return _to_eight_bits(pair.original, pair), _to_eight_bits(pair.decoded, pair)


def value_range(pair: Pair) -> tuple[int, int]:
    """The values that are black and white: of 16 bits those of the original that are least and largest."""
    if pair.original.dtype == np.uint8:
        return 0, 255
    colours = pair.original[..., :-1] if has_alpha(pair.original[None]) else pair.original
    low, high = int(colours.min()), int(colours.max())
    return low, max(high, low + 1)


def _to_eight_bits(pixels: Pixels, pair: Pair) -> Pixels:
    if pixels.dtype == np.uint8:
        return pixels
    low, high = value_range(pair)
    found = np.clip((pixels.astype(np.float64) - low) * (255 / (high - low)), 0, 255)
    if has_alpha(pixels[None]):
        found[..., -1] = pixels[..., -1] / 257
    return np.rint(found).astype(np.uint8)


def differences(pair: Pair, gain: float) -> list[NDArray[np.uint8]]:
    """Decoded minus original, times `gain`, around a grey of 128: one picture, or two, of colours and of alpha.

    Colours of images with alpha are multiplied by it. Alpha is left out if it does not differ.
    """
    colours, alpha = _plain_differences(pair)
    kept = [colours] if alpha is None or not alpha.any() else [colours, alpha]
    return [np.rint(np.clip(128 + gain * each, 0, 255)).astype(np.uint8) for each in kept]


def _plain_differences(pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Differences of colours [h, w, 1 or 3], and of alpha [h, w, 1], in the units of the screen, -255 to 255."""
    low, high = value_range(pair)
    scale = 255 / (high - low)
    before, after = pair.original.astype(np.float64), pair.decoded.astype(np.float64)
    if not has_alpha(before[None]):  # type: ignore[arg-type]
        return (after - before) * scale, None
    opaque = float(np.iinfo(pair.original.dtype).max)
    seen = [each[..., :-1] * (each[..., -1:] / opaque) for each in (before, after)]
    return (seen[1] - seen[0]) * scale, (after[..., -1:] - before[..., -1:]) * (255 / opaque)


def gain_for(pairs: Sequence[Pair]) -> int:
    """A power of two, from 1 to 128, with which the differences of these images can be seen."""
    squares = [float(np.square(_plain_differences(pair)[0]).mean()) for pair in pairs]
    usual = math.sqrt(sum(squares) / len(squares)) if squares else 0.0
    return 128 if usual == 0 else int(2 ** min(7, max(0, round(math.log2(_ROOM / usual)))))


@dataclass(frozen=True)
class Histogram:
    """How many images have which PSNR. Bin i holds those from start + i·width to below start + (i+1)·width.

    equal : the number of images without error, which are in no bin
    """

    start: float
    width: float
    counts: tuple[int, ...]
    equal: int


def histogram(errors: NDArray[np.float64]) -> Histogram:
    """Count images by the PSNR that belongs to each error, in at most 40 bins."""
    different = errors[errors > 0]
    if not len(different):
        return Histogram(0.0, 1.0, (), len(errors))
    decibels = -10 * np.log10(different)
    low, high = float(decibels.min()), float(decibels.max())
    width = next((each for each in _BIN_WIDTHS if (high - low) / each < _MOST_BINS - 2), (high - low) / _MOST_BINS)
    first = math.floor(low / width)
    bins = np.floor(decibels / width).astype(np.int64) - first
    return Histogram(first * width, width, tuple(np.bincount(bins).tolist()), len(errors) - len(different))
