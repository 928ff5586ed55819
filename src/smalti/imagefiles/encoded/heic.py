"""HEIC files: HEIF with HEVC, decoded by pillow-heif. It crops and turns images as their properties say.

All images of a file are images; thumbnails and tiles are none. Samples of 10 and 12 bits, which pillow-heif scales to
16, are scaled back. An EXIF orientation means nothing in HEIF: the properties say the same.
"""

from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import numpy as np

from smalti.errors import MissingDependencyError
from smalti.imagefiles.encoded.heif_items import Items, brands, read_items, top_boxes
from smalti.imagefiles.format import (
    ALPHA_ASSOCIATED,
    PLANE,
    SIGNIFICANT_BITS,
    SOURCE_ORIENTATION,
    ImageFile,
    ImageFormat,
    ImageHeader,
    UnreadableImageError,
    as_stated,
    bits_field,
    check_size,
    unsigned_of,
    whole_file,
)
from smalti.images.batch import UINT8, UINT16, Pixels, Scalar

__all__ = ["HEIC"]

_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"})
_CHANNELS = {"L": 1, "I": 1, "RGB": 3, "RGBA": 4, "RGBa": 4}


class _Heic:
    """The images of one file."""

    def __init__(self, open_all: Callable[[], Sequence[Any]], items: Items, unread: str | None) -> None:
        self._open_all = open_all
        images, numbers = open_all(), items.images
        known = len(numbers) == len(images)  # both are in the order of the numbers
        self.headers = [
            _header(image, items.of(numbers[place]).orientation if known else 1, place if len(images) > 1 else None)
            for place, image in enumerate(images)
        ]
        last = self.headers[-1]
        self.headers[-1] = ImageHeader(last.shape, last.dtype, last.fields, unread)

    def image(self, number: int) -> tuple[ImageHeader, Pixels]:
        header, image = self.headers[number], self._open_all()[number]  # anew, since each keeps its pixels
        pixels: Pixels = np.array(image)  # a copy: with some releases, the memory of a view ends with its image
        if pixels.dtype == UINT16:
            pixels = pixels >> (16 - _bits(image))
        if header.shape[2] == 2:  # decoded as three equal colours and alpha
            if pixels.ndim != 3 or (pixels[..., 0] != pixels[..., 1]).any() or (pixels[..., 0] != pixels[..., 2]).any():
                raise UnreadableImageError("grey that was decoded as colours")
            pixels = pixels[..., [0, 3]]
        return header, as_stated(pixels, header.shape, header.dtype)


def _open(file: BinaryIO) -> ImageFile:
    try:
        import pillow_heif  # noqa: PLC0415 (optional: few files need it)
    except ImportError as error:
        raise MissingDependencyError.of("HEIC", "pillow-heif", "heif") from error
    parts = top_boxes(file)
    if b"meta" not in parts:
        raise UnreadableImageError("a HEIF file without images, such as a sequence of them; write them one by one")
    items = read_items(file, parts[b"meta"])
    for number in items.images:
        height, width = items.of(number).size
        check_size(width, height)
    data = whole_file(file)
    unread = items.unread(items.images) + (["a sequence of images"] if b"moov" in parts else [])
    return _Heic(
        lambda: list(pillow_heif.open_heif(data, convert_hdr_to_8bit=False)), items, " and ".join(unread) or None
    )


def _header(image: Any, orientation: int, place: int | None) -> ImageHeader:
    width, height = image.size
    check_size(width, height)
    mode, _, deep = image.mode.partition(";")
    if mode not in _CHANNELS:
        raise UnreadableImageError(f"colour mode {image.mode}; convert it to grey or RGB")
    bits = _bits(image)
    dtype = UINT16 if deep else UINT8
    if dtype != unsigned_of(bits):
        raise UnreadableImageError(f"{bits} bits decoded as {image.mode}")
    fields: dict[str, Scalar] = {} if place is None else {PLANE: place}
    if orientation > 1:
        fields[SOURCE_ORIENTATION] = orientation
    fields.update(bits_field(bits, dtype))
    if mode == "RGBa":
        fields[ALPHA_ASSOCIATED] = True
    is_grey = _CHANNELS[mode] == 1 or "chroma" not in image.info  # what says how colours are stored
    channels = _CHANNELS[mode] - (2 if is_grey and _CHANNELS[mode] == 4 else 0)
    return ImageHeader((height, width, channels), dtype, fields)


def _bits(image: Any) -> int:
    return int(image.info["bit_depth"])


def _matches(head: bytes) -> bool:
    found = brands(head)
    return bool(found) and found[0] in _BRANDS and {b"avif", b"avis"}.isdisjoint(found)


HEIC = ImageFormat(
    "HEIC",
    (".heic", ".heif", ".hif", ".heics", ".heifs"),
    _matches,
    _open,
    (SOURCE_ORIENTATION, SIGNIFICANT_BITS, ALPHA_ASSOCIATED, PLANE),
)
