"""Image files whose 16-bit samples Pillow cuts to 8, or does not know: PNG and TIFF, read by imagecodecs.

TIFF files are known here by the tags of their first page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from smalti.errors import MissingDependencyError

__all__ = ["RefusedError", "TiffLayout", "read_png", "read_tiff", "tiff_layout"]

_TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION = 256, 257, 258, 262, 274
_SAMPLES, _PLANES, _COLOUR_MAP, _EXTRA, _FORMAT = 277, 284, 320, 338, 339
_WHITE_IS_ZERO, _GREY, _RGB = 0, 1, 2
_COLOUR_SAMPLES = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # samples of a photometric interpretation without extras
_ASSOCIATED, _UNASSOCIATED = 1, 2  # alpha that is multiplied into the colours, and alpha that is not
_MAX_FILE_BYTES = 1 << 30


class RefusedError(Exception):
    """A file whose pixels cannot be kept; its text is the reason."""


@dataclass(frozen=True, slots=True)
class TiffLayout:
    """How the pixels of a TIFF file with 16-bit samples lie in it."""

    height: int
    width: int
    channels: int
    planes: bool  # channels one after the other
    white_is_zero: bool
    orientation: int | None

    @property
    def source_mode(self) -> str | None:
        """What is converted: grey whose white is stored as 0."""
        return None if not self.white_is_zero else "L;I" if self.channels == 1 else "LA;I"


def tiff_layout(file: BinaryIO) -> TiffLayout | None:
    """The layout of a TIFF file that is to be read here; None for files that Pillow reads. Rewinds the file.

    Here are read grey and RGB of 16 bits, with or without alpha, but for plain grey, which Pillow keeps.
    RefusedError for a TIFF file whose samples cannot be kept.
    """
    file.seek(0)
    tags = _tiff_tags(file)
    file.seek(0)
    if tags is None:
        return None
    _refuse_samples(tags)
    samples, photometric = int(tags.get(_SAMPLES, 1)), tags.get(_PHOTOMETRIC)
    if 16 not in _values(tags, _BITS, 1) or (samples == 1 and photometric == _GREY):
        return None
    if photometric not in (_WHITE_IS_ZERO, _GREY, _RGB):
        raise RefusedError("16-bit samples of a colour space other than grey or RGB; convert it")
    if tags.next:
        raise RefusedError("several pages; only single images are read")
    if _ASSOCIATED in _values(tags, _EXTRA, _UNASSOCIATED):
        raise RefusedError("16-bit colours multiplied by their alpha; store them unmultiplied")
    return TiffLayout(
        int(tags[_HEIGHT]),
        int(tags[_WIDTH]),
        samples,
        planes=tags.get(_PLANES, 1) == 2,
        white_is_zero=photometric == _WHITE_IS_ZERO,
        orientation=tags.get(_ORIENTATION),
    )


def _tiff_tags(file: BinaryIO) -> TiffImagePlugin.ImageFileDirectory_v2 | None:
    """The tags of a TIFF file's first page; None for files of other kinds."""
    head = file.read(8)
    if head[:4] not in _TIFF_HEADS:
        return None
    if head[:4] == b"MM\0+":  # Pillow does not know it
        raise RefusedError("big-endian BigTIFF; write a little-endian or a plain TIFF")
    tags = TiffImagePlugin.ImageFileDirectory_v2(head + (file.read(8) if head[2] == ord("+") else b""))
    file.seek(tags.next)
    tags.load(file)
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise RefusedError("damaged: a TIFF file without width and height")
    return tags


def _refuse_samples(tags: Mapping[int, Any]) -> None:
    """Raise RefusedError for samples that are of other kinds or more than can be kept."""
    depths = set(_values(tags, _BITS, 1))
    bits = max(depths)
    if bits > 16 or set(_values(tags, _FORMAT, 1)) != {1}:
        kinds = {2: "signed ", 3: "float "}
        kind = kinds.get(max(_values(tags, _FORMAT, 1)), "")
        raise RefusedError(f"{kind}{bits}-bit samples; images have unsigned ones of 8 or 16 bits, scale and convert")
    if len(depths) > 1 or bits not in (1, 2, 4, 8, 16):
        raise RefusedError(f"samples of {', '.join(map(str, sorted(depths)))} bits; images have 8 or 16")
    if any(value % 257 and value % 256 for value in tags.get(_COLOUR_MAP, ())):
        raise RefusedError("palette of 16-bit colours; convert it to RGB, nothing is cut silently")
    samples = int(tags.get(_SAMPLES, 1))
    extra = samples - _COLOUR_SAMPLES.get(int(tags.get(_PHOTOMETRIC, 0)), samples)
    known = [kind for kind in _values(tags, _EXTRA, _UNASSOCIATED) if kind in (_ASSOCIATED, _UNASSOCIATED)]
    if extra > len(known) or extra > 1:
        raise RefusedError(f"{samples} channels, of which {extra} are neither colour nor alpha; drop them")


def read_tiff(file: BinaryIO, layout: TiffLayout) -> NDArray[np.uint16]:
    """Pixels uint16 [H, W, C] as stored, not turned; white that is stored as 0 becomes 65535."""
    pixels = np.asarray(_imagecodecs("16-bit TIFF with other channels than grey").tiff_decode(_whole(file)))
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    elif layout.planes:
        pixels = np.moveaxis(pixels, 0, -1)
    expected = (layout.height, layout.width, layout.channels)
    if pixels.dtype != np.uint16 or pixels.shape != expected:
        raise RefusedError(f"decoded to {pixels.dtype} {list(pixels.shape)}, not to uint16 {list(expected)}")
    if layout.white_is_zero:
        pixels = pixels.copy()
        pixels[..., 0] = np.uint16(65535) - pixels[..., 0]
    return pixels


def read_png(file: BinaryIO) -> NDArray[np.uint16]:
    """Pixels uint16 [H, W, C] of a 16-bit PNG file; a transparent colour becomes an alpha channel."""
    pixels: NDArray[np.uint16] = _imagecodecs("16-bit PNG with other channels than grey").png_decode(_whole(file))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _whole(file: BinaryIO) -> bytes:
    """All bytes of a file of one image."""
    file.seek(0)
    data = file.read(_MAX_FILE_BYTES + 1)
    if len(data) > _MAX_FILE_BYTES:
        raise RefusedError(f"more than {_MAX_FILE_BYTES:,} bytes, which no one image has")
    return data


def _imagecodecs(what: str) -> Any:
    try:
        import imagecodecs  # noqa: PLC0415 (optional: only these files need it)
    except ImportError as error:
        raise MissingDependencyError.of(what, "imagecodecs", "formats") from error
    return imagecodecs


def _values(tags: Mapping[int, Any], tag: int, absent: int) -> tuple[int, ...]:
    """The numbers of a tag, which may be one or a row of them."""
    found = tags.get(tag, absent)
    return tuple(int(one) for one in found) if isinstance(found, tuple) else (int(found),)
