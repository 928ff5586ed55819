"""The classical codecs that archives are compared with, through imagecodecs: one list for the bench and the study.

The bench and the study differ only in this:

- the bench measures lossy codecs on mosaics, grey or RGB, with short ladders; JPEG XL runs at effort 7. In colour, JPEG
  and AVIF run with halved and with full chroma, because neither is better everywhere; WebP has only halved chroma.
- the study measures only grey images, with long ladders, and also lossless codecs and general compressors; JPEG XL runs
  at effort 9.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from smalti.bench.results import REFERENCE_DISTANCE
from smalti.errors import UsageError

__all__ = ["GENERAL", "STUDY_CODECS", "Codec", "codec_versions", "codecs_for"]

Image = NDArray[np.uint8]
Encode = Callable[[Image, float], bytes]
Decode = Callable[[bytes], Image]
Compress = Callable[[bytes], bytes | bytearray]
Ladders = Mapping[str, tuple[float, ...]]

BENCH_EFFORT = 7
BENCH_LADDERS: Ladders = {
    "JPEG": (3, 5, 8, 12, 20, 35, 60, 85),
    "JPEG 2000": (16, 18, 20, 22, 24, 27, 31, 36),
    "WebP": (0, 2, 5, 10, 20, 40, 60, 80),
    "AVIF": (5, 7, 10, 18, 25, 33, 42, 55),  # 5 is the coarsest: 0 to 2 are finer
    "JPEG XL": (25, 20, 15, 12, REFERENCE_DISTANCE, 8, 6, 3),
}
"""The settings that the bench measures, coarse to fine."""

FINER: Ladders = {"WebP": (90, 95, 100), "AVIF": (70, 85, 95), "JPEG XL": (1.5, 0.7, 0.3, 0.1)}
"""Further settings, for images on which the bench's miss the target error."""

STUDY_EFFORT = 9
STUDY_LADDERS: Ladders = {
    "JPEG": (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 55, 70, 85),
    "WebP": (0, 1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 45, 60, 80),
    "JPEG 2000": (14, 16, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 30, 33, 36, 40),
    "JPEG XL": (25, 20, 19, 18, 17, 16, 15, 14, 13, 12, 10, 8, 6, 4, 2),
    "AVIF": (0, 1, 2, 3, 4, 6, 8, 11, 15, 20, 30, 45, 60, 80),
}
"""The settings that the study measures, coarse to fine."""

EACH_IMAGES = {"JPEG XL": 1000, "AVIF": 1000}
"""How many images the study codes one by one with slow codecs."""

NO_SETTING = (0.0,)
GENERAL = frozenset({"xz", "zstd", "brotli"})
"""Compressors of bytes, which know nothing of images."""


@dataclass(frozen=True)
class Codec:
    """A codec with its settings.

    family : "JPEG"; name : of this variant, "JPEG 4:2:0"
    library : its name in imagecodecs; settings : a description in words
    encode : an image uint8 [H, W] or [H, W, 3] and a setting to bytes; decode : back to the same shape
    ladder : the settings that are measured, coarse to fine; finer : further ones, for a low error
    each_images : how many images the study codes one by one; None for all
    """

    family: str
    name: str
    library: str
    settings: str
    encode: Encode
    decode: Decode
    ladder: tuple[float, ...]
    finer: tuple[float, ...] = ()
    lossless: bool = False
    each_images: int | None = None


def codecs_for(channels: int) -> tuple[Codec, ...]:
    """Return the bench's codecs for images of 1 or 3 channels; UsageError for others."""
    if channels not in (1, 3):
        raise UsageError(f"classical codecs are measured on grey or RGB images, not on {channels} channels")
    return _lossy(channels, BENCH_EFFORT, BENCH_LADDERS)


def codec_versions(codecs: tuple[Codec, ...]) -> dict[str, str]:
    """Return the version of each codec's library and of imagecodecs itself, by name."""
    versions = {codec.library: str(getattr(imagecodecs, f"{codec.library}_version")()) for codec in codecs}
    return {**versions, "imagecodecs": str(imagecodecs.__version__)}


def _lossy(channels: int, effort: int, ladders: Ladders) -> tuple[Codec, ...]:
    """Return the lossy codecs, in the order of `ladders`; effort : of JPEG XL."""
    shaped = _grey if channels == 1 else np.ascontiguousarray
    subsamplings = ("4:2:0", "4:4:4") if channels == 3 else ("",)
    found: list[Codec] = []
    for family, settings in ladders.items():
        ladder = tuple(map(float, settings))
        if family == "JPEG":
            found += [_jpeg(chroma, ladder) for chroma in subsamplings]
        elif family == "AVIF":
            found += [_avif(chroma, shaped, ladder) for chroma in subsamplings]
        elif family == "JPEG 2000":
            found.append(_jpeg2000(ladder))
        elif family == "WebP":
            found.append(_webp(family, "quality, method 6", shaped, ladder))
        else:
            found.append(_jpegxl(family, f"distance, effort {effort}", effort, ladder))
    return tuple(found)


def _jpeg(chroma: str, ladder: tuple[float, ...]) -> Codec:
    """Return JPEG with a subsampling of chroma; "" for grey images."""
    name = f"JPEG {chroma}".strip()
    settings = f"quality, optimised Huffman tables{f', {chroma}' if chroma else ''}"
    encode = partial(_encode_jpeg, subsampling=chroma.replace(":", "") or None)
    return Codec("JPEG", name, "jpeg8", settings, encode, imagecodecs.jpeg8_decode, ladder)


def _jpeg2000(ladder: tuple[float, ...]) -> Codec:
    settings = "PSNR in dB, 9/7 wavelet, bare codestream"
    decode = imagecodecs.jpeg2k_decode
    return Codec("JPEG 2000", "JPEG 2000", "jpeg2k", settings, _encode_jpeg2000, decode, ladder)


def _avif(chroma: str, shaped: Callable[[Image], Image], ladder: tuple[float, ...]) -> Codec:
    coded = chroma or "4:0:0"
    return Codec(
        "AVIF",
        f"AVIF {chroma}".strip(),
        "avif",
        f"quality, speed 6, {coded}",
        partial(_encode_avif, chroma=coded.replace(":", "")),
        lambda data: shaped(imagecodecs.avif_decode(data, numthreads=1)),
        ladder,
        FINER["AVIF"],
        each_images=EACH_IMAGES["AVIF"],
    )


def _webp(
    name: str, settings: str, shaped: Callable[[Image], Image], ladder: tuple[float, ...], lossless: bool = False
) -> Codec:
    encode = partial(_encode_webp, lossless=lossless)
    finer = () if lossless else FINER["WebP"]
    return Codec(
        "WebP",
        name,
        "webp",
        settings,
        encode,
        lambda data: shaped(imagecodecs.webp_decode(data)),
        ladder,
        finer,
        lossless,
    )


def _jpegxl(name: str, settings: str, effort: int, ladder: tuple[float, ...], lossless: bool = False) -> Codec:
    encode = partial(_encode_jpegxl, effort=effort, lossless=lossless)
    decode = partial(imagecodecs.jpegxl_decode, numthreads=1)
    finer, each_images = ((), None) if lossless else (FINER["JPEG XL"], EACH_IMAGES["JPEG XL"])
    return Codec("JPEG XL", name, "jpegxl", settings, encode, decode, ladder, finer, lossless, each_images)


def _lossless(name: str, library: str, settings: str, encode: Encode, decode: Decode) -> Codec:
    return Codec(name, name, library, settings, encode, decode, NO_SETTING, lossless=True)


def _general(name: str, library: str, settings: str, compress: Compress) -> Codec:
    """Return a compressor of bytes. It decodes to a flat row of pixels; the caller knows their shape."""
    decompress = getattr(imagecodecs, f"{library}_decode")
    return _lossless(
        name,
        library,
        settings,
        lambda image, _: bytes(compress(image.tobytes())),
        lambda data: np.frombuffer(decompress(data), np.uint8),
    )


def _encode_jpeg(image: Image, quality: float, subsampling: str | None) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(image, level=int(quality), optimize=True, subsampling=subsampling))


def _encode_jpeg2000(image: Image, psnr_db: float) -> bytes:
    # A bare codestream: the JP2 container would add 85 bytes to each image.
    return bytes(
        imagecodecs.jpeg2k_encode(image, level=int(psnr_db), codecformat="j2k", reversible=False, numthreads=1)
    )


def _encode_webp(image: Image, quality: float, lossless: bool) -> bytes:
    level = 100 if lossless else quality
    return bytes(imagecodecs.webp_encode(_colour(image), level=level, lossless=lossless, method=6))


def _encode_avif(image: Image, quality: float, chroma: str) -> bytes:
    # Grey input would be coded without loss at every level; colour input coded as 4:0:0 is grey again.
    return bytes(imagecodecs.avif_encode(_colour(image), level=int(quality), speed=6, pixelformat=chroma, numthreads=1))


def _encode_jpegxl(image: Image, distance: float, effort: int, lossless: bool) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(image, distance=distance, lossless=lossless, effort=effort, numthreads=1))


def _colour(image: Image) -> Image:
    """Return a grey image as three equal channels, for a codec that knows only colour."""
    return image if image.ndim == 3 else np.ascontiguousarray(np.repeat(image[..., None], 3, axis=-1))


def _grey(decoded: Image) -> Image:
    """Return one channel of the output of a codec that knows only colour."""
    return decoded if decoded.ndim == 2 else np.ascontiguousarray(decoded[..., 0])


STUDY_CODECS: tuple[Codec, ...] = (
    *_lossy(1, STUDY_EFFORT, STUDY_LADDERS),
    _lossless(
        "PNG", "png", "level 9", lambda image, _: bytes(imagecodecs.png_encode(image, level=9)), imagecodecs.png_decode
    ),
    _webp("WebP lossless", "level 100, method 6", _grey, NO_SETTING, lossless=True),
    _jpegxl("JPEG XL lossless", f"effort {STUDY_EFFORT}", STUDY_EFFORT, NO_SETTING, lossless=True),
    _lossless(
        "JPEG-LS",
        "jpegls",
        "defaults",
        lambda image, _: bytes(imagecodecs.jpegls_encode(image)),
        imagecodecs.jpegls_decode,
    ),
    _general("xz", "lzma", "level 9", partial(imagecodecs.lzma_encode, level=9)),
    _general("zstd", "zstd", "level 22", partial(imagecodecs.zstd_encode, level=22)),
    _general("brotli", "brotli", "level 11, window 2^24", partial(imagecodecs.brotli_encode, level=11, lgwin=24)),
)
"""The study's codecs, on grey images: lossy ones first."""
