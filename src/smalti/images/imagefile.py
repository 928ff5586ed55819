"""One image file to pixels: which modes are read, as what, and in which words the others are refused.

Samples of 8 bits become uint8, of 16 bits uint16; nothing is ever cut. What had to be converted (palettes, CMYK,
grey of few bits, an EXIF orientation) is said in the header, so that it can be kept beside the pixels. What cannot be
kept is refused: float and 32-bit samples, animations, several pages, other colour spaces.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from smalti.errors import MissingDependencyError, SourceError
from smalti.images import widefile
from smalti.images.batch import Pixels
from smalti.images.pngheader import has_damaged_pixels, orientation_behind, plain_png

__all__ = ["ImageHeader", "UnreadableImageError", "one_line", "pillow_warnings", "read_header", "read_image"]

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF")
_ORIENTATION, _PHOTOMETRIC = 0x0112, 262  # EXIF and TIFF tags
_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_WIDE_GREY = ("I;16", "I;16B", "I;16L", "I;16N")
_FEW_BITS = {"L;2": "L;2", "L;4": "L;4", "BGR;15": "RGB;555", "BGR;16": "RGB;565"}  # by Pillow's raw modes
_ADOBE_YCCK = 2  # the colour transform of a JPEG's Adobe marker


class UnreadableImageError(Exception):
    """An image that cannot be taken; its text is the reason. Never leaves this package."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a file says of its pixels before they are decoded.

    shape : height, width and channels as read, turned upright
    dtype : uint8 or uint16
    source_mode : how the pixels are stored if they are converted (see docs/images.md), else None
    orientation : the EXIF orientation from 2 to 8 if the image is turned, else None
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[np.uint8] | np.dtype[np.uint16]
    source_mode: str | None = None
    orientation: int | None = None


def read_header(file: BinaryIO) -> ImageHeader:
    """What the file at its beginning holds; no pixels are decoded. UnreadableImageError if it cannot be taken."""
    with _told(file):
        plain = plain_png(file)
        if plain is not None:
            _check_size(plain[1], plain[0])
            return ImageHeader(plain, np.dtype(np.uint8))
        tiff = widefile.tiff_layout(file)
        if tiff is not None:
            return _of_tiff(tiff)
        with Image.open(file, formats=_FORMATS) as image:
            return _header(image)


def read_image(file: BinaryIO) -> tuple[ImageHeader, Pixels]:
    """Header and pixels [H, W, C] of an image file, turned upright. UnreadableImageError if it cannot be taken.

    Black and white and grey of fewer than 8 bits become L from 0 to 255; palettes become RGB, or RGBA if there is
    transparency; a transparent colour becomes an alpha channel; CMYK becomes RGB. 16-bit samples of several channels
    are read by imagecodecs.
    """
    with _told(file):
        if has_damaged_pixels(file):
            raise UnreadableImageError("damaged: the checksum of its pixels is wrong")
        tiff = widefile.tiff_layout(file)
        if tiff is not None:
            header = _of_tiff(tiff)
            return header, _turned(widefile.read_tiff(file, tiff), header.orientation)
        with Image.open(file, formats=_FORMATS) as image:
            header = _header(image)
            if header.dtype == np.uint16 and header.shape[2] > 1 and not _is_wide_grey(image):
                return header, _turned(widefile.read_png(file), header.orientation)
            image.load()
            pixels = _wide_grey(image) if header.dtype == np.uint16 else _narrow(image, header)
            # Pillow turns TIFF files itself when it loads them, and then forgets their orientation.
            turn = image.getexif().get(_ORIENTATION) if image.format == "TIFF" else header.orientation
            return header, _turned(pixels, turn)


@contextmanager
def pillow_warnings() -> Iterator[None]:
    """Inside, Pillow's warnings (odd EXIF data, many pixels) are not shown: sizes are checked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _told(file: BinaryIO) -> Iterator[None]:
    """Turn what readers raise inside into UnreadableImageError with a reason for a person."""
    try:
        yield
    except (UnreadableImageError, SourceError):  # a SourceError is that of a network, and no file's fault
        raise
    except (MissingDependencyError, widefile.RefusedError) as error:
        raise UnreadableImageError(str(error)) from error
    except UnidentifiedImageError as error:
        empty = file.seek(0, 2) == 0
        words = "empty file" if empty else "not an image, or of a kind that is not read, whatever its suffix says"
        raise UnreadableImageError(words) from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(_too_many_pixels()) from error
    except Exception as error:  # Pillow's readers raise nearly anything on damaged bytes
        raise UnreadableImageError(f"damaged or unreadable: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """The first line of what an error says, or its kind if it says nothing."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _too_many_pixels() -> str:
    return f"too many pixels (more than {Image.MAX_IMAGE_PIXELS:,})"


def _of_tiff(tiff: widefile.TiffLayout) -> ImageHeader:
    _check_size(tiff.width, tiff.height)
    return _upright_header((tiff.height, tiff.width, tiff.channels), True, tiff.source_mode, tiff.orientation)


def _check_size(width: int, height: int) -> None:
    if width == 0 or height == 0:
        raise UnreadableImageError(f"{height}x{width} pixels; there is nothing to read")
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise UnreadableImageError(_too_many_pixels())


def _upright_header(shape: tuple[int, int, int], wide: bool, mode: str | None, orientation: int | None) -> ImageHeader:
    turned = orientation if orientation in range(2, 9) else None
    height, width, channels = shape
    size = (width, height) if turned is not None and turned >= 5 else (height, width)
    return ImageHeader((*size, channels), np.dtype(np.uint16) if wide else np.dtype(np.uint8), mode, turned)


def _header(image: Image.Image) -> ImageHeader:
    """What Pillow found on opening; UnreadableImageError for what it would read only in part."""
    tags = getattr(image, "tag_v2", None)
    width, height = image.size if tags is None else (tags[256], tags[257])  # as stored, never turned already
    _check_size(width, height)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # an MPO is a JPEG photo with a second view behind it
        what = "pages" if image.format == "TIFF" else "frames"
        raise UnreadableImageError(f"{frames} {what}; only single images are read")
    transparent = "transparency" in image.info
    orientation = _orientation(image)
    if _is_wide_grey(image):
        channels = 2 if transparent else 1
        return _upright_header((height, width, channels), True, "L;tRNS" if transparent else None, orientation)
    raw = _raw_mode(image)
    if image.format == "PNG" and raw.endswith(";16B"):
        channels = 4 if transparent else _CHANNELS[raw.removesuffix(";16B")]
        return _upright_header((height, width, channels), True, "RGB;tRNS" if transparent else None, orientation)
    _refuse(image)
    channels = _CHANNELS[_target_mode(image)]
    return _upright_header((height, width, channels), False, _source_mode(image, raw), orientation)


def _refuse(image: Image.Image) -> None:
    """Raise for samples that are not of 8 bits or fewer, and for colour spaces that have no plain RGB."""
    if image.mode in ("I", "F"):
        raise UnreadableImageError(f"32-bit samples ({image.mode}); images have 8 or 16 bits, scale and convert them")
    if image.mode not in (*_CHANNELS, "1", "P", "PA", "CMYK"):
        raise UnreadableImageError(f"colour mode {image.mode}; convert it to grey or RGB")


def _raw_mode(image: Image.Image) -> str:
    """Pillow's name for the samples as they lie in the file: 16-bit RGB is opened as RGB, cut to 8."""
    for tile in image.tile if isinstance(image, ImageFile.ImageFile) else []:
        arguments = tile[3]
        raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        return raw if isinstance(raw, str) else ""
    return ""


def _is_wide_grey(image: Image.Image) -> bool:
    # Pillow before 11 opens 16-bit grey PNG files in a mode of 32 bits.
    return image.mode in _WIDE_GREY or (image.format == "PNG" and _raw_mode(image) == "I;16B")


def _is_white_zero(image: Image.Image) -> bool:
    tags = getattr(image, "tag_v2", None)
    return tags is not None and tags.get(_PHOTOMETRIC) == 0


def _source_mode(image: Image.Image, raw: str) -> str | None:
    """How pixels that are converted are stored, None for those that are as they are."""
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
    bits = {"L;2;tRNS": 2, "L;4;tRNS": 4}.get(header.source_mode or "")
    if bits is not None and image.info["transparency"] < 1 << bits:
        image.info["transparency"] *= 255 // ((1 << bits) - 1)  # Pillow spreads the pixels over 8 bits, not this value
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels.reshape(*pixels.shape[:2], header.shape[2])


def _wide_grey(image: Image.Image) -> NDArray[np.uint16]:
    """Uint16 [H, W, 1], or [H, W, 2] if a value stands for transparency."""
    grey = np.asarray(image).astype(np.uint16)
    if "transparency" not in image.info:
        return grey[:, :, None]
    alpha = np.where(grey == image.info["transparency"], 0, 65535).astype(np.uint16)
    return np.stack([grey, alpha], axis=2)


def _orientation(image: Image.Image) -> int | None:
    found = Image.Image.getexif(image).get(_ORIENTATION)  # of PNG, the subclass's would decode the pixels
    if found is None and isinstance(image, PngImagePlugin.PngImageFile) and image.fp is not None and image.tile:
        found = orientation_behind(cast(BinaryIO, image.fp), image.tile[0][2])
    return found if isinstance(found, int) else None


def _turned(pixels: Pixels, orientation: int | None) -> Pixels:
    """Pixels upright: EXIF orientations 2 to 4 mirror or turn by 180 degrees, 5 to 8 also swap height and width."""
    if orientation is None or orientation not in range(2, 9):
        return pixels
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return pixels[rows, columns]
