"""Lossless codecs as peers of archives, file by file: JPEG XL, WebP, PNG; and JPEG-LS, which also allows an error.

JPEG XL and JPEG-LS run through imagecodecs, WebP and PNG through Pillow. JPEG-LS has no alpha. WebP has 8 bits, and
keeps colours under alpha 0 if it is told to. PNG of Pillow knows no colours of 16 bits; imagecodecs writes those.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from PIL import Image, features

from smalti.images.batch import Pixels
from smalti.peers.peer_codecs import imagecodecs_or_none

__all__ = ["LosslessPeer", "lossless_peers"]


@dataclass(frozen=True)
class LosslessPeer:
    """A codec. encode : an image uint8 or uint16 [H, W, C] to bytes"""

    name: str
    setting: str
    encode: Callable[[Pixels], bytes]


def lossless_peers(
    channels: int, dtype: np.dtype[Any], max_error: int = 0, jpegxl_effort: int = 7
) -> tuple[LosslessPeer, ...]:
    """Return the codecs that are installed. max_error : with an error, JPEG-LS alone can use it"""
    imagecodecs, wide = imagecodecs_or_none(), dtype == np.uint16
    found = []
    if imagecodecs is not None and imagecodecs.JPEGXL.available:
        encode = partial(_jpegxl, effort=jpegxl_effort)
        found.append(LosslessPeer("JPEG XL", f"lossless, effort {jpegxl_effort}", encode))
    if not wide and features.check("webp"):
        found.append(LosslessPeer("WebP", "lossless, method 6, exact", _webp))
    if not wide or (imagecodecs is not None and imagecodecs.PNG.available):
        found.append(LosslessPeer("PNG", "optimised", _deep_png if wide else _png))
    if channels in (1, 3) and imagecodecs is not None and imagecodecs.JPEGLS.available:
        found.append(LosslessPeer("JPEG-LS", f"near {max_error}", partial(_jpegls, near=max_error)))
    return tuple(found)


def _picture(image: Pixels) -> Pixels:
    return cast(Pixels, np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image))


def _pillow(image: Pixels) -> Image.Image:
    if image.shape[2] == 2:
        return Image.fromarray(np.ascontiguousarray(image), "LA")
    return Image.fromarray(_picture(image))


def _jpegxl(image: Pixels, effort: int) -> bytes:
    imagecodecs: Any = imagecodecs_or_none()
    return bytes(imagecodecs.jpegxl_encode(_picture(image), lossless=True, effort=effort, numthreads=1))


def _webp(image: Pixels) -> bytes:
    buffer = io.BytesIO()
    picture = _pillow(image)
    if picture.mode in ("L", "LA"):
        picture = picture.convert("RGB" if picture.mode == "L" else "RGBA")
    picture.save(buffer, "WEBP", lossless=True, method=6, quality=100, exact=True)
    return buffer.getvalue()


def _png(image: Pixels) -> bytes:
    buffer = io.BytesIO()
    _pillow(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _deep_png(image: Pixels) -> bytes:
    imagecodecs: Any = imagecodecs_or_none()
    return bytes(imagecodecs.png_encode(_picture(image), level=9))


def _jpegls(image: Pixels, near: int) -> bytes:
    imagecodecs: Any = imagecodecs_or_none()
    return bytes(imagecodecs.jpegls_encode(_picture(image), level=near))
