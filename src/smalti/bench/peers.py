"""The classical codecs that archives are compared with, on grey and on colour images, all through imagecodecs.

They see mosaics alone (`mosaics`), which is their best case. In colour, JPEG and AVIF are run with halved and with
full chroma, because neither is better everywhere; WebP knows halved chroma only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from smalti.errors import UsageError

__all__ = ["REFERENCE_DISTANCE", "Peer", "peers_for"]

Image = NDArray[np.uint8]

REFERENCE_DISTANCE = 10.0
"""The setting of JPEG XL that goals are stated at; it is in the codec's ladder."""


@dataclass(frozen=True)
class Peer:
    """A codec as it is run here.

    codec : its family, "JPEG"; name : with what sets it apart, "JPEG 4:2:0"
    encode : a mosaic uint8 [H, W] or [H, W, 3] and a setting to bytes; decode : back to the same shape
    ladder : the settings measured, coarse to fine
    """

    codec: str
    name: str
    library: str
    settings: str
    encode: Callable[[Image, float], bytes]
    decode: Callable[[bytes], Image]
    ladder: tuple[float, ...]


def _encode_jpeg(image: Image, quality: float, subsampling: str | None = None) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(image, level=int(quality), optimize=True, subsampling=subsampling))


def _encode_jpeg2000(image: Image, psnr_db: float) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(image, level=int(psnr_db), codecformat="j2k", reversible=False, numthreads=1)
    )


def _encode_webp(image: Image, quality: float) -> bytes:
    return bytes(imagecodecs.webp_encode(_colour(image), level=quality, lossless=False, method=6))


def _encode_avif(image: Image, quality: float, chroma: str) -> bytes:
    # Grey input would be coded without loss whatever the level; colour input coded as 4:0:0 is grey again.
    return bytes(imagecodecs.avif_encode(_colour(image), level=int(quality), speed=6, pixelformat=chroma, numthreads=1))


def _encode_jpegxl(image: Image, distance: float) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(image, distance=distance, lossless=False, effort=7, numthreads=1))


def _colour(image: Image) -> Image:
    """Return a grey image as three equal channels, for a codec that knows only colour."""
    return image if image.ndim == 3 else np.ascontiguousarray(np.repeat(image[..., None], 3, axis=-1))


def _grey(decoded: Image) -> Image:
    """Return one channel of what a codec that knows only colour decoded."""
    return decoded if decoded.ndim == 2 else np.ascontiguousarray(decoded[..., 0])


JPEG_LADDER = (3.0, 5.0, 8.0, 12.0, 20.0, 35.0, 60.0, 85.0)
JPEG2000_LADDER = (16.0, 18.0, 20.0, 22.0, 24.0, 27.0, 31.0, 36.0)
WEBP_LADDER = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0)
AVIF_LADDER = (5.0, 7.0, 10.0, 18.0, 25.0, 33.0, 42.0, 55.0)  # 5 is the coarsest: 0 to 2 are finer
JPEGXL_LADDER = (25.0, 20.0, 15.0, 12.0, REFERENCE_DISTANCE, 8.0, 6.0, 3.0)


def peers_for(channels: int) -> tuple[Peer, ...]:
    """Return the codecs for images of 1 or 3 channels; UsageError for others."""
    if channels not in (1, 3):
        raise UsageError(f"classical codecs are measured on grey or RGB images, not on {channels} channels")
    return _peers(_grey if channels == 1 else np.ascontiguousarray, channels == 3)


def _peers(shaped: Callable[[Image], Image], colour: bool) -> tuple[Peer, ...]:
    chroma = ("4:2:0", "4:4:4") if colour else ("4:0:0",)
    return (
        *(_jpeg(each if colour else None) for each in chroma),
        Peer(
            "JPEG 2000",
            "JPEG 2000",
            "jpeg2k",
            "PSNR in dB, 9/7 wavelet, bare codestream",
            _encode_jpeg2000,
            imagecodecs.jpeg2k_decode,
            JPEG2000_LADDER,
        ),
        Peer(
            "WebP",
            "WebP",
            "webp",
            "quality, method 6",
            _encode_webp,
            lambda data: shaped(imagecodecs.webp_decode(data)),
            WEBP_LADDER,
        ),
        *(_avif(each, shaped, colour) for each in chroma),
        Peer(
            "JPEG XL",
            "JPEG XL",
            "jpegxl",
            "distance, effort 7",
            _encode_jpegxl,
            partial(imagecodecs.jpegxl_decode, numthreads=1),
            JPEGXL_LADDER,
        ),
    )


def _jpeg(chroma: str | None) -> Peer:
    return Peer(
        "JPEG",
        f"JPEG {chroma}" if chroma else "JPEG",
        "jpeg8",
        f"quality, optimised Huffman tables{f', {chroma}' if chroma else ''}",
        partial(_encode_jpeg, subsampling=chroma.replace(":", "") if chroma else None),
        imagecodecs.jpeg8_decode,
        JPEG_LADDER,
    )


def _avif(chroma: str, shaped: Callable[[Image], Image], colour: bool) -> Peer:
    return Peer(
        "AVIF",
        f"AVIF {chroma}" if colour else "AVIF",
        "avif",
        f"quality, speed 6, {chroma}",
        partial(_encode_avif, chroma=chroma.replace(":", "")),
        lambda data: shaped(imagecodecs.avif_decode(data, numthreads=1)),
        AVIF_LADDER,
    )
