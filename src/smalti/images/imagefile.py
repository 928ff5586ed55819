"""One image file to pixels: which modes are read, and in which words the others are refused.

Nothing is ever converted with loss: samples of more than 8 bits, other colour spaces and animations are refused.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

__all__ = ["UnreadableImageError", "mode_of_channels", "read_image_file"]

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF")
_ORIENTATION, _BITS_PER_SAMPLE = 0x0112, 258  # EXIF and TIFF tags
_MODES = ("L", "LA", "RGB", "RGBA")
_WIDE_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")


class UnreadableImageError(Exception):
    """An image file that cannot be taken; its text is the reason. Never leaves this package."""


def mode_of_channels(channels: int) -> str:
    """Pillow's name for pixels of 1 to 4 channels: L, LA, RGB or RGBA."""
    return _MODES[channels - 1]


def read_image_file(path: Path) -> NDArray[np.uint8]:
    """Pixels uint8 [H, W, C] of an image file, turned upright as its EXIF orientation says.

    Black and white becomes L; palettes become RGB, or RGBA if there is transparency; a transparent colour becomes
    an alpha channel. Raises UnreadableImageError for anything that cannot be read without loss.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            _refuse(image)
            image.load()
            mode = _target_mode(image)
            pixels = np.asarray(_upright(image if image.mode == mode else image.convert(mode)))
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError(_unidentified(path)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError(f"too many pixels (more than {Image.MAX_IMAGE_PIXELS:,})") from error
    except Exception as error:  # Pillow's readers raise nearly anything on damaged bytes
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableImageError(f"damaged or unreadable: {text}") from error
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _refuse(image: Image.Image) -> None:
    """Raise for what Pillow would read only in part: deep samples, further frames, other colour spaces."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # an MPO is a JPEG photo with a second view behind it
        what = "pages" if image.format == "TIFF" else "frames"
        raise UnreadableImageError(f"{frames} {what}; only single images are read")
    bits = _bits_per_sample(image)
    if bits > 8:
        raise UnreadableImageError(f"{bits}-bit samples; images are 8-bit and nothing is cut silently")
    if image.mode not in (*_MODES, "1", "P", "PA"):
        raise UnreadableImageError(f"colour mode {image.mode}; convert it to grey or RGB")


def _bits_per_sample(image: Image.Image) -> int:
    """Bits of the deepest channel in the file, not in Pillow's mode: 16-bit RGB is opened as RGB, cut to 8."""
    tags = getattr(image, "tag_v2", None)
    if image.format == "TIFF" and tags is not None:
        bits = tags.get(_BITS_PER_SAMPLE, 1)
        return int(max(bits) if isinstance(bits, tuple) else bits)
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    if image.format == "PNG" and any(str(tile[3]).endswith(";16B") for tile in tiles):
        return 16
    if image.mode in _WIDE_MODES:
        return 16 if image.mode.startswith("I;16") else 32
    return 8


def _target_mode(image: Image.Image) -> str:
    transparent = "transparency" in image.info
    if image.mode in ("1", "L"):
        return "LA" if transparent else "L"
    if image.mode in ("P", "RGB"):
        return "RGBA" if transparent else "RGB"
    return "RGBA" if image.mode == "PA" else image.mode


def _upright(image: Image.Image) -> Image.Image:
    # Asking for the orientation first spares a copy of every image that has none.
    return ImageOps.exif_transpose(image) if image.getexif().get(_ORIENTATION, 1) != 1 else image


def _unidentified(path: Path) -> str:
    if path.stat().st_size == 0:
        return "empty file"
    return "not an image, or of a kind that is not read, whatever its suffix says"
