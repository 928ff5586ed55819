"""DDS files (DirectDraw Surface, of textures): uncompressed, and compressed as BC1 to BC5 and BC7.

Pillow decodes them, except colours of a byte each: for these it takes a microsecond a pixel, and NumPy a hundredth.

The first image is read. Smaller copies of it (mipmaps) are no further images; faces of a cube, slices of a volume and
further textures are told of. Two channels of BC5, a surface's slope, are red and green; blue is 0, as Pillow has it.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smalti.imagefiles.format import (
    ALPHA_ASSOCIATED,
    SOURCE_MODE,
    ImageFormat,
    ImageHeader,
    UnreadableImageError,
    as_stated,
    check_size,
    exactly,
    one_image,
)
from smalti.imagefiles.pillow import opened
from smalti.images.batch import UINT8, Pixels, Scalar

__all__ = ["DDS"]

_MAGIC = b"DDS "
_ALPHA_PIXELS, _FOURCC, _PALETTE, _RGB = 0x1, 0x4, 0x20, 0x40
_CUBE, _VOLUME = 0x200, 0x200000
_CUBE_TEXTURE = 0x4
_SIGNED = {b"BC4S": "BC4", b"BC5S": "BC5", 81: "BC4", 84: "BC5"}
_FLOATS = frozenset({95, 96})  # BC6H
_FIRST_BLOCKS = {b"DXT1": 128, 71: 148, 70: 148}  # BC1: the offset of its blocks
_ASSOCIATED, _OPAQUE = 2, 3  # what the newer header says of alpha
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the header says. alpha : 0 if it says nothing of alpha; 1 to 4 as in the newer header"""

    height: int
    width: int
    flags: int
    format: bytes | int
    pixel_bits: int
    masks: tuple[int, ...]
    alpha: int
    unread: str | None


def _facts(file: BinaryIO) -> _Facts:
    file.seek(0)
    head = exactly(file, 128)
    height, width = struct.unpack("<II", head[12:20])
    check_size(width, height)
    depth = int.from_bytes(head[24:28], "little")
    flags, fourcc = int.from_bytes(head[80:84], "little"), head[84:88]
    masks = struct.unpack("<4I", head[92:108])
    caps = int.from_bytes(head[112:116], "little")
    kind: bytes | int = fourcc if flags & _FOURCC else b""
    alpha, textures, cube = 0, 1, bool(caps & _CUBE)
    if kind == b"DX10":
        kind, _, misc, textures, misc2 = struct.unpack("<5I", exactly(file, 20))
        alpha, cube = misc2 & 7, cube or bool(misc & _CUBE_TEXTURE)
    elif kind in (b"DXT2", b"DXT4"):
        alpha = _ASSOCIATED
    further = ["the other faces of a cube"] if cube else []
    if caps & _VOLUME and depth > 1:
        further.append(f"{depth - 1} further slices of a volume")
    if textures > 1:
        further.append(f"{textures - 1} further textures")
    pixel_bits = int.from_bytes(head[88:92], "little")
    return _Facts(height, width, flags, kind, pixel_bits, masks, alpha, " and ".join(further) or None)


def _refuse(facts: _Facts) -> None:
    """Raise UnreadableImageError for samples that are signed, floats, or more than 8 bits."""
    if facts.format in _SIGNED:
        raise UnreadableImageError(f"signed samples ({_SIGNED[facts.format]}); write it as unsigned ones")
    if facts.format in _FLOATS:
        raise UnreadableImageError("float samples (BC6H); images have 8 or 16 bits, scale and convert them")
    if facts.flags & _RGB and any((mask >> _lowest(mask)).bit_length() > 8 for mask in facts.masks):
        raise UnreadableImageError("colours of more than 8 bits, which would be cut; write it as PNG")


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1 if mask else 0


@contextmanager
def _looked_at(file: BinaryIO) -> Iterator[tuple[Image.Image, ImageHeader, str]]:
    """Open a file; with its header, and the mode to convert its pixels to."""
    facts = _facts(file)
    _refuse(facts)
    with opened(file, "DDS") as image:
        mode = image.mode
        if mode == "P":
            mode = "RGBA" if facts.flags & _ALPHA_PIXELS else "RGB"
        elif facts.alpha == _OPAQUE or (facts.format in _FIRST_BLOCKS and not _has_clear_pixels(file, facts)):
            mode = mode.removesuffix("A")
        fields: dict[str, Scalar] = {}
        stored = _source_mode(image, facts)
        if stored is not None:
            fields[SOURCE_MODE] = stored
        if facts.alpha == _ASSOCIATED and mode == "RGBA":
            fields[ALPHA_ASSOCIATED] = True
        header = ImageHeader((facts.height, facts.width, len(mode)), UINT8, fields, facts.unread)
        yield image, header, mode


def _source_mode(image: Image.Image, facts: _Facts) -> str | None:
    if image.mode == "P":
        return "P"
    if facts.flags & _RGB:
        bits = [mask.bit_count() for mask in facts.masks[:4] if mask]
        return None if all(each == 8 for each in bits) else f"RGB;{''.join(map(str, bits))}"
    return "BC5" if getattr(image, "pixel_format", "") == "BC5" else None


def _has_clear_pixels(file: BinaryIO, facts: _Facts) -> bool:
    """Whether a block of BC1 has a transparent pixel, which no header says. Keeps the position of the file.

    A block is two colours and 16 indices of 2 bits; if the first colour is not the larger number, index 3 is clear.
    """
    position = file.tell()
    file.seek(_FIRST_BLOCKS[facts.format])
    left = 8 * ((facts.height + 3) // 4) * ((facts.width + 3) // 4)
    try:
        while left > 0 and (data := file.read(min(left, _BLOCK_BYTES))):
            left -= len(data)
            parts = np.frombuffer(data[: len(data) // 8 * 8], np.dtype([("colours", "<u2", 2), ("indices", "<u4")]))
            clear = parts["colours"][:, 0] <= parts["colours"][:, 1]
            if (clear & (parts["indices"] & (parts["indices"] >> 1) & 0x55555555 != 0)).any():
                return True
    finally:
        file.seek(position)
    return False


def _read_header(file: BinaryIO) -> ImageHeader:
    with _looked_at(file) as (_, header, _):
        return header


def _read_image(file: BinaryIO) -> tuple[ImageHeader, Pixels]:
    with _looked_at(file) as (image, header, mode):
        pixels = _bytes(file, _facts(file), len(mode))
        if pixels is None:
            image.load()
            pixels = np.asarray(image if image.mode == mode else image.convert(mode))
        return header, as_stated(pixels, header.shape, header.dtype)


def _bytes(file: BinaryIO, facts: _Facts, channels: int) -> NDArray[np.uint8] | None:
    """Read colours of a byte each [H, W, C]; None if they are stored in another way. Keeps the position of the file."""
    places = [_lowest(mask) // 8 for mask in facts.masks[:channels]]
    if not facts.flags & _RGB or any(
        mask != 0xFF << 8 * place for mask, place in zip(facts.masks, places, strict=False)
    ):
        return None
    position, size = file.tell(), facts.pixel_bits // 8
    file.seek(128)
    data = file.read(facts.height * facts.width * size)
    file.seek(position)
    if len(data) < facts.height * facts.width * size:
        raise UnreadableImageError("damaged: cut off within its pixels")
    return np.frombuffer(data, np.uint8).reshape(facts.height, facts.width, size)[:, :, places]


DDS = ImageFormat(
    "DDS",
    (".dds",),
    lambda head: head.startswith(_MAGIC),
    one_image(_read_header, _read_image),
    (SOURCE_MODE, ALPHA_ASSOCIATED),
)
