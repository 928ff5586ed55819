"""The classical codecs that the study compares with, each as it is run here, all through imagecodecs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import imagecodecs
import numpy as np
from numpy.typing import NDArray

__all__ = ["CODECS", "GENERAL", "Codec"]

Image = NDArray[np.uint8]
Encode = Callable[[Image, float], bytes]
Decode = Callable[[bytes], Image]
Compress = Callable[[bytes], bytes | bytearray]


@dataclass(frozen=True)
class Codec:
    """A codec as it is run here.

    encode : one grey image uint8 [H, W] and a setting to bytes; decode : back to uint8 [H, W]
    each_ladder, mosaic_ladder : the settings measured, coarse to fine
    each_images : how many images are measured one by one, for slow codecs; None: all
    """

    name: str
    library: str
    settings: str
    encode: Encode
    decode: Decode
    each_ladder: tuple[float, ...]
    mosaic_ladder: tuple[float, ...]
    lossless: bool = False
    each_images: int | None = None


def _grey(decoded: NDArray[np.uint8]) -> Image:
    """Return one channel of what a codec that knows only colour decoded."""
    return decoded if decoded.ndim == 2 else np.ascontiguousarray(decoded[..., 0])


def _colour(image: Image) -> Image:
    """Return a grey image as three equal channels, for a codec that knows only colour."""
    return np.ascontiguousarray(np.repeat(image[..., None], 3, axis=-1))


def _encode_jpeg(image: Image, quality: float) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(image, level=int(quality), optimize=True))


def _encode_webp(image: Image, quality: float, lossless: bool) -> bytes:
    return bytes(imagecodecs.webp_encode(_colour(image), level=quality, lossless=lossless, method=6))


def _encode_jpeg2000(image: Image, psnr_db: float) -> bytes:
    # A bare codestream: the JP2 container would add 85 bytes to each image.
    return bytes(
        imagecodecs.jpeg2k_encode(image, level=int(psnr_db), codecformat="j2k", reversible=False, numthreads=1)
    )


def _encode_jpegxl(image: Image, distance: float, lossless: bool) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(image, distance=distance, lossless=lossless, effort=9, numthreads=1))


def _encode_avif(image: Image, quality: float) -> bytes:
    # Grey input would be coded without loss whatever the level; colour input coded as 4:0:0 is grey again.
    return bytes(imagecodecs.avif_encode(_colour(image), level=int(quality), speed=6, pixelformat="400", numthreads=1))


def _decode_general(data: bytes, decompress: Compress) -> Image:
    """Return the pixels of raw bytes as one flat image; the caller knows its shape."""
    return np.frombuffer(decompress(data), np.uint8)


NO_SETTING = (0.0,)
JPEG_LADDER = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0, 55.0, 70.0, 85.0)
WEBP_LADDER = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 80.0)
JPEG2000_LADDER = (14.0, 16.0, 18.0, 19.0, 20.0, 21.0, 22.0, 23.0, 24.0, 25.0, 26.0, 28.0, 30.0, 33.0, 36.0, 40.0)
JPEGXL_LADDER = (25.0, 20.0, 19.0, 18.0, 17.0, 16.0, 15.0, 14.0, 13.0, 12.0, 10.0, 8.0, 6.0, 4.0, 2.0)
AVIF_LADDER = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0, 15.0, 20.0, 30.0, 45.0, 60.0, 80.0)


def _lossless(name: str, library: str, settings: str, encode: Encode, decode: Decode) -> Codec:
    return Codec(name, library, settings, encode, decode, NO_SETTING, NO_SETTING, lossless=True)


def _general(name: str, library: str, settings: str, compress: Compress) -> Codec:
    decompress = getattr(imagecodecs, f"{library}_decode")
    return _lossless(
        name,
        library,
        settings,
        lambda image, _: bytes(compress(image.tobytes())),
        partial(_decode_general, decompress=decompress),
    )


CODECS: tuple[Codec, ...] = (
    Codec(
        "JPEG",
        "jpeg8",
        "quality, optimised Huffman tables",
        _encode_jpeg,
        imagecodecs.jpeg8_decode,
        JPEG_LADDER,
        JPEG_LADDER,
    ),
    Codec(
        "WebP",
        "webp",
        "quality, method 6",
        partial(_encode_webp, lossless=False),
        lambda data: _grey(imagecodecs.webp_decode(data)),
        WEBP_LADDER,
        WEBP_LADDER,
    ),
    Codec(
        "JPEG 2000",
        "jpeg2k",
        "PSNR in dB, 9/7 wavelet, bare codestream",
        _encode_jpeg2000,
        imagecodecs.jpeg2k_decode,
        JPEG2000_LADDER,
        JPEG2000_LADDER,
    ),
    Codec(
        "JPEG XL",
        "jpegxl",
        "distance, effort 9",
        partial(_encode_jpegxl, lossless=False),
        partial(imagecodecs.jpegxl_decode, numthreads=1),
        JPEGXL_LADDER,
        JPEGXL_LADDER,
        each_images=1000,
    ),
    Codec(
        "AVIF",
        "avif",
        "quality, speed 6, 4:0:0",
        _encode_avif,
        lambda data: _grey(imagecodecs.avif_decode(data, numthreads=1)),
        AVIF_LADDER,
        AVIF_LADDER,
        each_images=1000,
    ),
    _lossless(
        "PNG",
        "png",
        "level 9",
        lambda image, _: bytes(imagecodecs.png_encode(image, level=9)),
        imagecodecs.png_decode,
    ),
    _lossless(
        "WebP lossless",
        "webp",
        "level 100, method 6",
        lambda image, _: _encode_webp(image, 100, True),
        lambda data: _grey(imagecodecs.webp_decode(data)),
    ),
    _lossless(
        "JPEG XL lossless",
        "jpegxl",
        "effort 9",
        lambda image, _: _encode_jpegxl(image, 0, True),
        partial(imagecodecs.jpegxl_decode, numthreads=1),
    ),
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
"""The codecs measured, lossy ones first."""

GENERAL = frozenset({"xz", "zstd", "brotli"})
"""Those that know nothing of images."""
