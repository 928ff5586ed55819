"""Image files that Pillow reads: JPEG of 8 bits and BMP; and most PNG, TIFF, WebP and GIF files, for their modules.

Samples of 8 bits become uint8, grey samples of 16 bits become uint16; nothing is ever cut. Fields of the header record
each conversion (palettes, CMYK, grey of few bits, an EXIF orientation). Images that would lose something are refused:
float and 32-bit samples, animations, several pages, other colour spaces.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from smalti.imagefiles.format import (
    SOURCE_MODE,
    SOURCE_ORIENTATION,
    ImageFormat,
    ImageHeader,
    UnreadableImageError,
    check_size,
    one_image,
    upright,
    upright_header,
)
from smalti.imagefiles.format import ImageFile as Images
from smalti.imagefiles.quiet import quiet_decoders
from smalti.images.batch import UINT8, UINT16, PixelDtype, Pixels

__all__ = [
    "BMP",
    "PILLOW_JPEG",
    "exif_orientation",
    "header_of",
    "is_wide_grey",
    "one_picture",
    "opened",
    "pixels_of",
]

_ORIENTATION, _PHOTOMETRIC = 0x0112, 262  # EXIF and TIFF tags
_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_WIDE_GREY = ("I;16", "I;16B", "I;16L", "I;16N")
_FEW_BITS = {"L;2": "L;2", "L;4": "L;4", "BGR;15": "RGB;555", "BGR;16": "RGB;565"}  # by Pillow's raw modes
_ADOBE_YCCK = 2  # the colour transform of a JPEG's Adobe marker
_DIB_HEADS = (12, 40, 52, 56, 64, 108, 124)  # header lengths: the first bytes of a BMP without its file header


@contextmanager
def opened(file: BinaryIO, *kinds: str) -> Iterator[Image.Image]:
    """Open a file with Pillow, as one of these kinds (Pillow's names) only; inside, decoders are quiet."""
    file.seek(0)
    with quiet_decoders(), Image.open(file, formats=kinds) as image:
        yield image


def header_of(image: Image.Image, orientation: int | None) -> ImageHeader:
    """Return the header of an opened image; UnreadableImageError if Pillow would read only a part of it.

    orientation : the EXIF orientation, as `exif_orientation` finds it
    """
    tags = getattr(image, "tag_v2", None)
    width, height = image.size if tags is None else (tags[256], tags[257])  # as stored: `size` may be turned already
    check_size(width, height)
    frames = getattr(image, "n_frames", 1)
    unread = None
    if frames > 1 and image.format == "MPO":  # a JPEG photo with further views behind it
        views = "a second view" if frames == 2 else f"{frames - 1} further views"
        unread = f"{views} behind the photo"
    elif frames > 1:  # GIF, PNG, TIFF and WebP files of several images do not come here
        raise UnreadableImageError(f"{frames} frames; only single images are read")

    def made(dtype: PixelDtype, channels: int, mode: str | None) -> ImageHeader:
        return upright_header((height, width, channels), dtype, mode, orientation, unread)

    transparent = "transparency" in image.info
    if is_wide_grey(image):
        return made(UINT16, 2 if transparent else 1, "L;tRNS" if transparent else None)
    raw = _raw_mode(image)
    if image.format == "PNG" and raw.endswith(";16B"):
        channels = 4 if transparent else _CHANNELS[raw.removesuffix(";16B")]
        return made(UINT16, channels, "RGB;tRNS" if transparent else None)
    _refuse(image)
    return made(UINT8, _CHANNELS[_target_mode(image)], _source_mode(image, raw))


def pixels_of(image: Image.Image, header: ImageHeader) -> Pixels:
    """Return the pixels [H, W, C] of an opened image, turned upright; uint16 only for grey images."""
    image.load()
    pixels = _wide_grey(image) if header.dtype == np.uint16 else _narrow(image, header)
    # Pillow turns TIFF files when it loads them, and then drops their orientation.
    turn = image.getexif().get(_ORIENTATION) if image.format == "TIFF" else header.fields.get(SOURCE_ORIENTATION)
    return upright(pixels, turn)


def exif_orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation that Pillow finds before the pixels."""
    found = Image.Image.getexif(image).get(_ORIENTATION)  # the method of the PNG class would decode the pixels
    return found if isinstance(found, int) else None


def _refuse(image: Image.Image) -> None:
    """Raise for samples of more than 8 bits, and for colour spaces without a plain conversion to RGB."""
    if image.mode in ("I", "F"):
        raise UnreadableImageError(f"32-bit samples ({image.mode}); images have 8 or 16 bits, scale and convert them")
    if image.mode not in (*_CHANNELS, "1", "P", "PA", "CMYK"):
        raise UnreadableImageError(f"colour mode {image.mode}; convert it to grey or RGB")


def _raw_mode(image: Image.Image) -> str:
    """Return Pillow's name for the stored samples, because `mode` hides that 16-bit RGB would be cut to 8."""
    for tile in image.tile if isinstance(image, ImageFile.ImageFile) else []:
        arguments = tile[3]
        raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        return raw if isinstance(raw, str) else ""
    return ""


def is_wide_grey(image: Image.Image) -> bool:
    """Whether samples are grey and of 16 bits, which Pillow does not cut."""
    # Pillow before 11 opens 16-bit grey PNG files in a mode of 32 bits.
    return image.mode in _WIDE_GREY or (image.format == "PNG" and _raw_mode(image) == "I;16B")


def _is_white_zero(image: Image.Image) -> bool:
    tags = getattr(image, "tag_v2", None)
    return tags is not None and tags.get(_PHOTOMETRIC) == 0


def _source_mode(image: Image.Image, raw: str) -> str | None:
    """Return the stored form of pixels that are converted; None for pixels that are not."""
    if image.mode in ("P", "PA"):
        return "P"
    if image.mode == "CMYK":
        return "YCCK" if image.info.get("adobe_transform") == _ADOBE_YCCK else "CMYK"
    few = "1" if image.mode == "1" else next((_FEW_BITS[some] for some in _FEW_BITS if raw.startswith(some)), None)
    if "transparency" in image.info:
        return f"{few or image.mode};tRNS"
    if image.mode == "RGBA" and raw.startswith("RGBa"):
        return "RGBa"
    if image.mode in ("1", "L") and _is_white_zero(image):
        return f"{few or 'L'};I"
    return few


def _target_mode(image: Image.Image) -> str:
    transparent = "transparency" in image.info
    if image.mode in ("1", "L"):
        return "LA" if transparent else "L"
    if image.mode in ("P", "RGB"):
        return "RGBA" if transparent else "RGB"
    return {"PA": "RGBA", "CMYK": "RGB"}.get(image.mode, image.mode)


def _narrow(image: Image.Image, header: ImageHeader) -> NDArray[np.uint8]:
    mode = _target_mode(image)
    bits = {"L;2;tRNS": 2, "L;4;tRNS": 4}.get(str(header.fields.get(SOURCE_MODE)))
    if bits is not None and image.info["transparency"] < 1 << bits:
        image.info["transparency"] *= 255 // ((1 << bits) - 1)  # Pillow scales the pixels to 8 bits, and not this value
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels.reshape(*pixels.shape[:2], header.shape[2])


def _wide_grey(image: Image.Image) -> NDArray[np.uint16]:
    """Return pixels uint16 [H, W, 1], or [H, W, 2] if one value means transparency."""
    grey = np.asarray(image).astype(np.uint16)
    if "transparency" not in image.info:
        return grey[:, :, None]
    alpha = np.where(grey == image.info["transparency"], 0, 65535).astype(np.uint16)
    return np.stack([grey, alpha], axis=2)


def one_picture(*kinds: str) -> Callable[[BinaryIO], Images]:
    """Return the `open` of files of one image that Pillow alone reads, as one of these kinds (Pillow's names)."""

    def read_header(file: BinaryIO) -> ImageHeader:
        with opened(file, *kinds) as image:
            return header_of(image, exif_orientation(image))

    def read_image(file: BinaryIO) -> tuple[ImageHeader, Pixels]:
        with opened(file, *kinds) as image:
            header = header_of(image, exif_orientation(image))
            return header, pixels_of(image, header)

    return one_image(read_header, read_image)


def _is_bmp(head: bytes) -> bool:
    """Whether a file is a BMP, or the same without its file header: other formats begin with such a number, too."""
    size = int.from_bytes(head[:4], "little")
    place = 8 if size == _DIB_HEADS[0] else 12
    planes, bits = (int.from_bytes(head[at : at + 2], "little") for at in (place, place + 2))
    return head.startswith(b"BM") or (size in _DIB_HEADS and planes == 1 and bits in (1, 2, 4, 8, 16, 24, 32, 64))


_FIELDS = (SOURCE_MODE, SOURCE_ORIENTATION)

PILLOW_JPEG = ImageFormat(
    "JPEG",
    (".jpg", ".jpeg", ".jpe", ".jfif"),
    lambda head: head.startswith(b"\xff\xd8\xff"),
    one_picture("JPEG"),
    _FIELDS,
)
BMP = ImageFormat("BMP", (".bmp", ".dib"), _is_bmp, one_picture("BMP", "DIB"), _FIELDS)
