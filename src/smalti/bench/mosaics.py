"""Rate and distortion of a codec on images as mosaics: its best case, in which no image can be read alone.

Images are tiles of large images, so that header costs vanish. A mosaic has at most 10,000 tiles and 4,096 pixels a
side, and at least one tile. Of larger sets 10,000 images are measured, evenly spread: the bytes of an image do not
depend on how many there are.
"""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smalti.bench.results import BaselineCurve
from smalti.errors import SourceError, UsageError
from smalti.extras import needing
from smalti.images.batch import Pixels
from smalti.images.quality import QualityMeter
from smalti.peers.matching import RatePoint, at_matched, metered_point

if TYPE_CHECKING:
    from smalti.bench.codecs import Codec

__all__ = [
    "MOST_IMAGES",
    "baseline_bytes_per_image",
    "cut_mosaic",
    "evenly_spread",
    "images_per_mosaic",
    "make_mosaic",
    "measure_baseline",
]

MOST_TILES = 10_000
MOST_SIDE = 4096
MOST_IMAGES = 10_000

COMPARED = ("JPEG XL", "AVIF", "WebP")
"""The families of codecs that `baseline_bytes_per_image` measures."""

MOST_SAMPLE_VALUES = 2_000_000
"""The most pixels of a sample on which codecs search for a target error."""


def images_per_mosaic(height: int, width: int) -> int:
    """The most images of this size in a mosaic."""
    across = max(1, MOST_SIDE // max(height, width))
    return min(MOST_TILES, across * across)


def evenly_spread(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All images [N, ...], or 10,000 of them, evenly spread."""
    if len(images) <= MOST_IMAGES:
        return images
    return images[np.linspace(0, len(images) - 1, MOST_IMAGES).round().astype(np.int64)]


def make_mosaic(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images [N, H, W] or [N, H, W, C] as tiles of one image, row by row, in the squarest possible grid.

    Unused tiles are black.
    """
    count, height, width, *channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    tiles = np.zeros((rows * columns, height, width, *channels), np.uint8)
    tiles[:count] = images
    grid = tiles.reshape(rows, columns, height, width, *channels).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(rows * height, columns * width, *channels))


def cut_mosaic(mosaic: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the tiles, of shape [N, H, W] or [N, H, W, C], of an image from `make_mosaic`."""
    count, height, width, *channels = shape
    rows, columns = mosaic.shape[0] // height, mosaic.shape[1] // width
    tiles = mosaic.reshape(rows, height, columns, width, *channels).swapaxes(1, 2).reshape(-1, *shape[1:])
    return np.ascontiguousarray(tiles[:count])


def measure_baseline(codec: "Codec", images: NDArray[np.uint8]) -> BaselineCurve:
    """Return a codec's curve on uint8 images [N, H, W, C], C of 1 or 3. Memory depends only on the size of a mosaic."""
    some = evenly_spread(images)
    points = tuple(_measure(codec, some, setting) for setting in codec.ladder)
    return BaselineCurve(codec.family, codec.name, codec.library, codec.settings, codec.ladder, points)


def _measure(codec: "Codec", images: NDArray[np.uint8], setting: float) -> RatePoint:
    meter, total_bytes = QualityMeter(), 0
    for tiles in _parts(images):
        mosaic = make_mosaic(_without_grey_axis(tiles))
        data = codec.encode(mosaic, setting)
        total_bytes += len(data)
        decoded = codec.decode(data)
        if decoded.shape != mosaic.shape:
            raise SourceError(f"{codec.name} gives {decoded.shape} for {mosaic.shape}: check the installed imagecodecs")
        meter.add(tiles, cut_mosaic(decoded.reshape(*mosaic.shape[:2], tiles.shape[3]), tiles.shape))
    return metered_point(setting, total_bytes, len(images), meter)


def _parts(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    step = images_per_mosaic(*images.shape[1:3])
    for start in range(0, len(images), step):
        yield images[start : start + step]


def _without_grey_axis(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images if images.shape[3] > 1 else images[..., 0]


def baseline_bytes_per_image(sample: Pixels, mse: float, progress: Callable[[int, int], None]) -> dict[str, float]:
    """Return each codec's bytes per image at a mean squared error, for images as tiles of one large image.

    sample : [n, H, W, C], C of 1 or 3. Codecs that miss the error are skipped. Raises MissingDependencyError, and
    UsageError for images that the codecs do not accept.
    """
    if sample.dtype != np.uint8:
        raise UsageError("the classical codecs are measured on images of 8 bits, and these have 16")
    eight_bits = sample.astype(np.uint8, copy=False)
    with needing("comparing with classical codecs", "study"):
        from smalti.bench.codecs import codecs_for  # noqa: PLC0415 (it needs the extra)
    step = math.ceil(sample[..., 0].size / MOST_SAMPLE_VALUES)
    codecs = [codec for codec in codecs_for(sample.shape[3]) if codec.family in COMPARED]
    needed = {}
    for number, codec in enumerate(codecs):
        found = _need(codec, eight_bits[::step], mse)
        progress(number + 1, len(codecs))
        if found is not None:
            needed[codec.name] = found
    return needed


def _need(codec: "Codec", images: NDArray[np.uint8], mse: float) -> float | None:
    """Go from coarse to fine until the error is met; return the bytes per image, interpolated between settings."""
    mosaic = make_mosaic(_without_grey_axis(images))
    area = mosaic.size / images.size  # unused tiles are black and have no error
    points: list[RatePoint] = []
    for setting in (*codec.ladder, *codec.finer):
        data = codec.encode(mosaic, setting)
        error = (codec.decode(data).astype(np.float32) - mosaic) / 255
        found = area * float(np.square(error, dtype=np.float64).mean())
        points.append(RatePoint(setting, len(data) / len(images), found, math.nan))
        if found <= mse:
            break
    matched = at_matched(tuple(points), mse=mse)
    return None if matched is None else matched.bytes_per_image
