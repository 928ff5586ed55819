"""Classical codecs on the study's test images: what a user would pick instead.

Every codec is run through imagecodecs, at its greatest effort that takes seconds rather than minutes, in two ways:

- `each`: every image is a file of its own, as a folder of images is kept; headers weigh heavily on 28x28 pixels;
- `mosaic`: all images are tiles of one large image, so that header costs vanish: the codec's best case, in which
  an image can no longer be read alone.

General compressors (xz, zstd, brotli) take the images' raw bytes in a row instead of a mosaic: `stream`. Bytes are
those of the codec's output, quality is measured on what it decodes to.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.study.baselines.codecs import CODECS, GENERAL, Codec
from smalti.study.baselines.matching import RatePoint, rate_point
from smalti.study.strict_json import read_json, write_json

__all__ = ["ClassicalResult", "CodecCurve", "cut_mosaic", "make_mosaic", "measure_classical", "measure_codec"]

FILE_NAME = "classical.json"


@dataclass(frozen=True)
class CodecCurve:
    """A codec's rate and distortion in one mode ("each", "mosaic" or "stream"), on the first `images` images."""

    codec: str
    mode: str
    lossless: bool
    settings: str
    images: int
    points: tuple[RatePoint, ...]


@dataclass(frozen=True)
class ClassicalResult:
    """What the classical codecs make of the test images.

    command : what measured it; versions : of each codec's library
    """

    command: str
    machine: str
    images: int
    versions: dict[str, str]
    curves: tuple[CodecCurve, ...]

    def write(self, folder: Path) -> None:
        """Write the result to its place in the study's folder."""
        write_json(folder / FILE_NAME, self)

    @classmethod
    def read(cls, folder: Path) -> "ClassicalResult | None":
        """Return the result in the study's folder, None if it was not measured."""
        path = folder / FILE_NAME
        return read_json(cls, path) if path.exists() else None


def measure_codec(codec: Codec, images: NDArray[np.uint8]) -> tuple[CodecCurve, CodecCurve]:
    """Return a codec's curves on uint8 images [N, H, W]: each image alone, and all at once."""
    few = images if codec.each_images is None else images[: codec.each_images]
    together = "stream" if codec.name in GENERAL else "mosaic"
    each = tuple(_measure_each(codec, few, setting) for setting in codec.each_ladder)
    mosaic = tuple(_measure_together(codec, images, setting) for setting in codec.mosaic_ladder)
    return (
        CodecCurve(codec.name, "each", codec.lossless, codec.settings, len(few), each),
        CodecCurve(codec.name, together, codec.lossless, codec.settings, len(images), mosaic),
    )


def _measure_each(codec: Codec, images: NDArray[np.uint8], setting: float) -> RatePoint:
    files = [codec.encode(np.ascontiguousarray(image), setting) for image in images]
    decoded = np.stack([codec.decode(file).reshape(images.shape[1:]) for file in files])
    return _point(codec, setting, sum(map(len, files)), images, decoded)


def _measure_together(codec: Codec, images: NDArray[np.uint8], setting: float) -> RatePoint:
    if codec.name in GENERAL:
        file = codec.encode(images, setting)
        decoded = codec.decode(file).reshape(images.shape)
    else:
        mosaic = make_mosaic(images)
        file = codec.encode(mosaic, setting)
        decoded = cut_mosaic(codec.decode(file), images.shape)
    return _point(codec, setting, len(file), images, decoded)


def _point(
    codec: Codec, setting: float, total_bytes: int, images: NDArray[np.uint8], decoded: NDArray[np.uint8]
) -> RatePoint:
    if codec.lossless and not np.array_equal(images, decoded):
        raise SourceError(f"{codec.name} is not lossless here: check the installed imagecodecs")
    return rate_point(setting, total_bytes, images, decoded)


def make_mosaic(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images [N, H, W] or [N, H, W, C] as tiles of one image, row by row, in a grid as square as can be.

    Tiles that are left over are black.
    """
    count, height, width, *channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    tiles = np.zeros((rows * columns, height, width, *channels), np.uint8)
    tiles[:count] = images
    grid = tiles.reshape(rows, columns, height, width, *channels).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(rows * height, columns * width, *channels))


def cut_mosaic(mosaic: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the tiles [N, H, W] or [N, H, W, C], as `shape` says, of an image from `make_mosaic`."""
    count, height, width, *channels = shape
    rows, columns = mosaic.shape[0] // height, mosaic.shape[1] // width
    tiles = mosaic.reshape(rows, height, columns, width, *channels).swapaxes(1, 2).reshape(-1, *shape[1:])
    return np.ascontiguousarray(tiles[:count])


def measure_classical(
    images: NDArray[np.uint8],
    command: str,
    machine: str,
    on_codec: Callable[[str], None] = lambda name: None,
    codecs: tuple[Codec, ...] = CODECS,
) -> ClassicalResult:
    """Return every codec's curves on uint8 images [N, H, W]; `on_codec` hears each codec's name as it starts.

    10,000 images of 28x28 take about a quarter of an hour on one core.
    """
    if images.ndim != 3 or images.dtype != np.uint8 or not len(images):
        raise SourceError(f"classical codecs are measured on grey uint8 images [N, H, W], not {images.shape}")
    curves: list[CodecCurve] = []
    for codec in codecs:
        on_codec(codec.name)
        curves.extend(measure_codec(codec, images))
    versions = {codec.library: str(getattr(imagecodecs, f"{codec.library}_version")()) for codec in codecs}
    versions["imagecodecs"] = str(imagecodecs.__version__)
    return ClassicalResult(command, machine, len(images), versions, tuple(curves))
