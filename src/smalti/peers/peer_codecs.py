"""AVIF and JPEG XL as peers of archives: images of 1 to 4 channels, 8 or 16 bits, each codec at two efforts.

AVIF: 4:4:4 in colour, 4:0:0 for grey, speeds 6 and 4, through Pillow, whose quality is that of colour and of alpha. It
runs twice: as it comes, and with `tune=psnr`, which takes some 10% less for the same PSNR. It has at most 12 bits:
images of 16 are rounded to 12 (values times 4,095/65,535), through imagecodecs. That limits it to 83 dB of 65,535.

JPEG XL: efforts 7 and 9, through imagecodecs, 16 bits as they are. Alpha is coded without loss at every distance; the
same distance for alpha, in a stream of its own, takes more on emoji.

Colours under alpha 0 are not seen. AVIF gets those of the nearest pixel that is, the cheapest of what was tried (as
stored, black, nearest); JPEG XL replaces them itself. Without SciPy they are black.

The libraries are optional: `installed_peers` returns the codecs that can be run here.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from smalti.images.batch import Pixels

__all__ = [
    "Effort",
    "Peer",
    "decode_avif",
    "imagecodecs_or_none",
    "installed_peers",
    "peer_versions",
    "peers_for",
    "with_seen_colours",
]

_AVIF_BITS = 12


@dataclass(frozen=True)
class Effort:
    """A codec at one effort.

    encode : an image uint8 or uint16 [H, W, C] and a setting to bytes; decode : back to the same shape and dtype
    """

    name: str
    encode: Callable[[Pixels, float], bytes]
    decode: Callable[[bytes], Pixels]


@dataclass(frozen=True)
class Peer:
    """A codec. settings : what it is asked for, coarse to fine; efforts : the faster one first"""

    name: str
    settings: tuple[float, ...]
    setting_words: str
    efforts: tuple[Effort, ...]


_QUALITIES = tuple(map(float, range(101)))
_DISTANCES = tuple(round(25 * 0.93**step, 4) for step in range(104))  # to 0.014; 0.01 is the least it takes


def peers_for(channels: int, dtype: np.dtype[Any]) -> tuple[Peer, ...]:
    """Return the peers for images of 1 to 4 channels."""
    wide = dtype == np.uint16
    kinds: Mapping[str, str | None] = {"AVIF": None} if wide else {"AVIF": None, "AVIF, tune=psnr": "psnr"}
    avif = tuple(
        Peer(name, _QUALITIES, "quality", tuple(_avif(channels, wide, speed, tune) for speed in (6, 4)))
        for name, tune in kinds.items()
    )
    jpegxl = tuple(
        Effort(f"effort {effort}", partial(_encode_jpegxl, effort=effort), _decode_jpegxl) for effort in (7, 9)
    )
    return (*avif, Peer("JPEG XL", _DISTANCES, "distance", jpegxl))


def installed_peers(channels: int, dtype: np.dtype[Any]) -> tuple[Peer, ...]:
    """Return those of `peers_for` whose libraries are installed."""
    imagecodecs = imagecodecs_or_none()
    has_jpegxl = imagecodecs is not None and imagecodecs.JPEGXL.available
    has_deep_avif = imagecodecs is not None and imagecodecs.AVIF.available
    has_avif = has_deep_avif if dtype == np.uint16 else features.check("avif")
    return tuple(peer for peer in peers_for(channels, dtype) if (has_jpegxl if peer.name == "JPEG XL" else has_avif))


def imagecodecs_or_none() -> Any:
    """The module imagecodecs; None if it is not installed."""
    try:
        import imagecodecs  # noqa: PLC0415 (optional, and slow to import)
    except ImportError:
        return None
    return imagecodecs


def peer_versions() -> dict[str, str]:
    """Return the versions of the libraries."""
    imagecodecs = imagecodecs_or_none()
    return {
        "imagecodecs": str(imagecodecs.__version__),
        "libavif of Pillow": str(features.version("avif")),
        "libavif of imagecodecs": str(imagecodecs.avif_version()),
        "JPEG XL": str(imagecodecs.jpegxl_version()),
    }


def _avif(channels: int, wide: bool, speed: int, tune: str | None) -> Effort:
    name = f"speed {speed}, {'4:4:4' if channels > 2 else '4:0:0'}"
    if wide:
        encode = partial(_encode_deep_avif, speed=speed)
        return Effort(f"{name}, {_AVIF_BITS} bits", encode, partial(_decode_deep_avif, channels=channels))
    return Effort(name, partial(_encode_avif, speed=speed, tune=tune), partial(decode_avif, channels=channels))


def _encode_avif(image: Pixels, quality: float, speed: int, tune: str | None) -> bytes:
    channels = image.shape[2]
    picture: NDArray[Any] = with_seen_colours(image)
    if channels == 2:
        picture = np.concatenate([np.repeat(picture[..., :1], 3, axis=2), picture[..., 1:]], axis=2)
    found = Image.fromarray(picture[..., 0] if channels == 1 else np.ascontiguousarray(picture))
    buffer = io.BytesIO()
    subsampling = "4:4:4" if channels > 2 else "4:0:0"
    advanced = {} if tune is None else {"advanced": {"tune": tune}}
    found.save(buffer, "AVIF", quality=int(quality), speed=speed, subsampling=subsampling, max_threads=1, **advanced)
    return buffer.getvalue()


def decode_avif(data: bytes, channels: int) -> Pixels:
    """Decode an AVIF file of 8 bits with Pillow: uint8 [H, W, channels]."""
    with Image.open(io.BytesIO(data), formats=("AVIF",)) as image:
        pixels = np.asarray(image.convert("RGBA" if channels in (2, 4) else "RGB"))
    return _colours_to(pixels, channels)


def _encode_deep_avif(image: Pixels, quality: float, speed: int) -> bytes:
    channels = image.shape[2]
    picture = np.rint(with_seen_colours(image) * (_largest() / 65535)).astype(np.uint16)
    if channels < 3:  # the binding knows grey as three equal channels only
        picture = np.concatenate([np.repeat(picture[..., :1], 3, axis=2), picture[..., 1:]], axis=2)
    chroma = "444" if channels > 2 else "400"
    data = imagecodecs_or_none().avif_encode(
        picture, level=int(quality), speed=speed, pixelformat=chroma, bitspersample=_AVIF_BITS, numthreads=1
    )
    return bytes(data)


def _decode_deep_avif(data: bytes, channels: int) -> Pixels:
    pixels: NDArray[Any] = np.atleast_3d(imagecodecs_or_none().avif_decode(data, numthreads=1))
    return _colours_to(np.rint(pixels * (65535 / _largest())).astype(np.uint16), channels)


def _largest() -> int:
    return int((1 << _AVIF_BITS) - 1)


def _colours_to(pixels: Pixels, channels: int) -> Pixels:
    """Keep one of the equal colours of a grey image."""
    if pixels.shape[2] == channels:
        return pixels
    kept: NDArray[Any] = np.ascontiguousarray(pixels[..., [0, -1]] if channels == 2 else pixels[..., :channels])
    return kept


def _encode_jpegxl(image: Pixels, distance: float, effort: int) -> bytes:
    picture = np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image)
    return bytes(imagecodecs_or_none().jpegxl_encode(picture, distance=distance, effort=effort, numthreads=1))


def _decode_jpegxl(data: bytes) -> Pixels:
    pixels: Pixels = np.atleast_3d(imagecodecs_or_none().jpegxl_decode(data, numthreads=1))
    return pixels


def with_seen_colours(image: Pixels) -> Pixels:
    """Give pixels of alpha 0 the colour of the nearest pixel that is seen. image : [H, W, C]; C of 1 and 3 are as is"""
    if image.shape[2] in (1, 3):
        return image
    hidden: NDArray[np.bool_] = image[..., -1] == 0
    if not hidden.any():
        return image
    if hidden.all():
        return np.zeros_like(image)
    try:
        from scipy import ndimage  # noqa: PLC0415 (optional, and slow to import)
    except ImportError:
        return np.where(hidden[..., None], np.zeros_like(image), image)
    rows, columns = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    filled: Pixels = image[rows, columns]
    filled[..., -1] = image[..., -1]
    return filled
