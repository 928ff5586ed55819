"""Classical codecs on the study's test images: the codecs that a user would choose instead.

Every codec runs through imagecodecs, at its greatest effort that takes seconds rather than minutes, in two modes:

- `each`: every image is a file of its own, as in a folder of images; headers weigh heavily on 28x28 pixels;
- `mosaic`: all images are tiles of one large image, so that header costs vanish. This is the codec's best case, in
  which an image can no longer be read alone.

General compressors (xz, zstd, brotli) take the raw bytes of all images in a row instead of a mosaic: `stream`. Bytes
are those of the codec's output, and quality is measured on the decoded images.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from smalti.bench.codecs import GENERAL, STUDY_CODECS, Codec, codec_versions
from smalti.bench.mosaics import cut_mosaic, make_mosaic
from smalti.errors import SourceError
from smalti.peers.matching import RatePoint, rate_point
from smalti.study.results import StoredResult

__all__ = ["ClassicalResult", "CodecCurve", "measure_classical", "measure_codec"]


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
class ClassicalResult(StoredResult):
    """Curves of the classical codecs on the test images.

    command : the command that measured them; versions : of each codec's library
    """

    file_name: ClassVar[str] = "classical.json"
    command: str
    machine: str
    images: int
    versions: dict[str, str]
    curves: tuple[CodecCurve, ...]


def measure_codec(codec: Codec, images: NDArray[np.uint8]) -> tuple[CodecCurve, CodecCurve]:
    """Return a codec's curves on uint8 images [N, H, W]: each image alone, and all at once."""
    few = images if codec.each_images is None else images[: codec.each_images]
    together = "stream" if codec.name in GENERAL else "mosaic"
    each = tuple(_measure_each(codec, few, setting) for setting in codec.ladder)
    mosaic = tuple(_measure_together(codec, images, setting) for setting in codec.ladder)
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


def measure_classical(
    images: NDArray[np.uint8],
    command: str,
    machine: str,
    on_codec: Callable[[str], None] = lambda name: None,
    codecs: tuple[Codec, ...] = STUDY_CODECS,
) -> ClassicalResult:
    """Return every codec's curves on uint8 images [N, H, W]; `on_codec` is called with the name of each codec first.

    10,000 images of 28x28 take about a quarter of an hour on one core.
    """
    if images.ndim != 3 or images.dtype != np.uint8 or not len(images):
        raise SourceError(f"classical codecs are measured on grey uint8 images [N, H, W], not {images.shape}")
    curves: list[CodecCurve] = []
    for codec in codecs:
        on_codec(codec.name)
        curves.extend(measure_codec(codec, images))
    return ClassicalResult(command, machine, len(images), codec_versions(codecs), tuple(curves))
