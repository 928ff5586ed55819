"""Which pages of TIFF files are read, by their tags, and the decoding of those that Pillow cannot read without loss.

imagecodecs reads these: samples of 16 bits other than plain grey, and further compressions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.imagefiles.format import (
    SOURCE_ORIENTATION,
    ImageHeader,
    UnreadableImageError,
    check_size,
    imagecodecs_for,
    upright,
    upright_header,
)
from smalti.imagefiles.tiff.tiff_page import (
    BITS,
    COLOUR_MAP,
    COMPRESSION,
    EXTRA,
    FILL_ORDER,
    FORMAT,
    HEIGHT,
    ORIENTATION,
    PHOTOMETRIC,
    PLANAR,
    SAMPLES,
    WIDTH,
    Page,
)
from smalti.imagefiles.tiff.tiff_segments import SEGMENT_CODECS, decode_segments
from smalti.images.batch import INT16, UINT8, UINT16, PixelDtype, Pixels

__all__ = ["Layout", "is_signed", "layout_of", "refuse_samples", "reversed_bits"]

WHITE_IS_ZERO, GREY, RGB = 0, 1, 2
_COLOUR_SAMPLES = {
    0: 1,
    1: 1,
    2: 3,
    3: 1,
    5: 4,
    6: 3,
    8: 3,
}  # samples of each photometric interpretation, without extra ones
_ASSOCIATED, _UNASSOCIATED = 1, 2  # whether colours are multiplied by alpha
_OF_PILLOW = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34676, 34677, 34925, 50000})
_COMPRESSIONS = {
    22610: "JPEG XR",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of DNG",
    34933: "PNG",
    34934: "JPEG XR",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_UNSIGNED, _SIGNED = 1, 2


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of pixels in a page that imagecodecs reads."""

    height: int
    width: int
    channels: int
    dtype: PixelDtype
    planes: bool  # channels one after the other
    white_is_zero: bool
    orientation: int | None
    what: str  # the kind of file, for messages

    @property
    def source_mode(self) -> str | None:
        """The stored form of grey with white as 0, which is converted; else None."""
        return None if not self.white_is_zero else "L;I" if self.channels == 1 else "LA;I"

    def header(self) -> ImageHeader:
        """Return the header of the image."""
        check_size(self.width, self.height)
        return upright_header((self.height, self.width, self.channels), self.dtype, self.source_mode, self.orientation)

    def pixels(self, page: Page, header: ImageHeader) -> Pixels:
        """Decode the pixels [H, W, C], turned upright; white that is stored as 0 becomes the largest value."""
        return upright(self._stored(page), header.fields.get(SOURCE_ORIENTATION))

    def _stored(self, page: Page) -> Pixels:
        imagecodecs = imagecodecs_for(self.what)
        if page.number(COMPRESSION, 1) in SEGMENT_CODECS:
            pixels = decode_segments(imagecodecs, page)
        else:
            pixels = np.asarray(imagecodecs.tiff_decode(page.alone()))
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        elif self.planes and pixels.shape[0] == self.channels:
            pixels = np.moveaxis(pixels, 0, -1)
        expected = (self.height, self.width, self.channels)
        if pixels.dtype != self.dtype or pixels.shape != expected:
            found = f"{pixels.dtype} {list(pixels.shape)}"
            raise UnreadableImageError(f"decoded to {found}, not to {self.dtype} {list(expected)}")
        return _black_is_zero(pixels) if self.white_is_zero else pixels


def is_signed(page: Page) -> bool:
    """Whether samples are signed."""
    return page.number(FORMAT, _UNSIGNED) == _SIGNED


def reversed_bits() -> str:
    """Return the reason to refuse bits that no decoder turns."""
    return "bits of each byte in reverse order (FillOrder 2); write it anew"


def refuse_samples(page: Page) -> None:
    """Raise UnreadableImageError for samples of other kinds, or more of them, than images can have."""
    depths, formats = set(page.tags.get(BITS, (1,))), set(page.tags.get(FORMAT, (_UNSIGNED,)))
    bits = max(depths)
    if bits > 16 or not (formats == {_UNSIGNED} or (formats == {_SIGNED} and bits == 16)):
        kind = {2: "signed ", 3: "float "}.get(max(formats), "")
        words = "images have unsigned ones of 8 or 16 bits, or signed ones of 16, scale and convert"
        raise UnreadableImageError(f"{kind}{bits}-bit samples; {words}")
    if len(depths) > 1 or bits not in (1, 2, 4, 8, 16):
        raise UnreadableImageError(f"samples of {', '.join(map(str, sorted(depths)))} bits; images have 8 or 16")
    if any(value % 257 and value % 256 for value in page.tags.get(COLOUR_MAP, ())):
        raise UnreadableImageError("palette of 16-bit colours; convert it to RGB, nothing is cut silently")
    samples, photometric = page.number(SAMPLES, 1), page.number(PHOTOMETRIC, 0)
    if is_signed(page) and photometric not in (GREY, RGB):
        raise UnreadableImageError("signed 16-bit samples that are neither grey nor RGB; convert them")
    extra = samples - _COLOUR_SAMPLES.get(photometric, samples)
    known = [kind for kind in page.tags.get(EXTRA, (_UNASSOCIATED,)) if kind in (_ASSOCIATED, _UNASSOCIATED)]
    if extra > len(known) or extra > 1:
        raise UnreadableImageError(f"{samples} channels, of which {extra} are neither colour nor alpha; drop them")


def layout_of(page: Page) -> Layout | None:
    """Return the layout of a page that imagecodecs reads; None for one that Pillow reads without loss."""
    bits, samples = max(page.tags.get(BITS, (1,))), page.number(SAMPLES, 1)
    photometric, compression = page.number(PHOTOMETRIC, -1), page.number(COMPRESSION, 1)
    deep = bits == 16 and not (samples == 1 and photometric == GREY)
    packed = compression not in _OF_PILLOW
    if not (deep or packed):
        return None
    if page.number(FILL_ORDER, 1) == 2 and not page.is_turned:
        raise UnreadableImageError(reversed_bits())
    name = _COMPRESSIONS.get(compression, f"scheme {compression}")
    what = f"TIFF compressed as {name}" if packed else "16-bit TIFF with other channels than grey"
    if packed and compression not in SEGMENT_CODECS and name not in ("LERC", "WebP"):
        raise UnreadableImageError(f"compressed in a way that is not read ({name}); write it as deflate or LZW")
    if photometric not in (WHITE_IS_ZERO, GREY, RGB):
        kind = "16-bit samples" if deep else what
        raise UnreadableImageError(f"{kind} of a colour space other than grey or RGB; convert it")
    if bits < 8:
        raise UnreadableImageError(f"{what} of {bits}-bit samples; write it as deflate or LZW")
    if _ASSOCIATED in page.tags.get(EXTRA, (_UNASSOCIATED,)):
        kind = "16-bit colours" if deep else "colours"
        raise UnreadableImageError(f"{kind} multiplied by their alpha; store them unmultiplied")
    return Layout(
        page.number(HEIGHT, 0),
        page.number(WIDTH, 0),
        samples,
        UINT8 if bits == 8 else INT16 if is_signed(page) else UINT16,
        planes=page.number(PLANAR, 1) == 2,
        white_is_zero=photometric == WHITE_IS_ZERO,
        orientation=page.number(ORIENTATION, 1),
        what=what,
    )


def _black_is_zero(pixels: NDArray[Any]) -> Pixels:
    made: Pixels = pixels.copy()
    made[..., 0] = np.iinfo(made.dtype).max - made[..., 0]
    return made
